//! The lines of a manifest on their way to an agent, as pieces: memory holds one of them, however long the manifest is.

use std::io;

use crate::artifact::delta::Telling;
use crate::host::call::piece::{Packing, Piece, Pieces};
use crate::host::wire::frame::PIECE;

/// So many bytes has a line, more or less.
const LINE: u64 = 140;

/// A manifest that is being told.
pub struct Told {
    telling: Telling,
    /// `None`: it goes as it is.
    packing: Option<Packing>,
}

impl Told {
    /// From its beginning. `packs`: over a wire that is slower than a processor.
    pub fn new(telling: Telling, packs: bool) -> Told {
        let about = telling.listing().lines.saturating_mul(LINE);
        Told { packing: packs.then(|| Packing::of(about)), telling }
    }
}

impl Pieces for Told {
    async fn next(&mut self) -> io::Result<Option<Piece>> {
        let bytes = self.telling.bytes(self.packing.map_or(PIECE, |packing| packing.most));
        if bytes.is_empty() {
            return Ok(None);
        }
        match self.packing {
            Some(packing) => packing.pack(bytes).map(Some),
            None => Ok(Some(Piece { length: bytes.len(), packed: false, bytes })),
        }
    }
}
