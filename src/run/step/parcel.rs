//! What is sent to several hosts, packed once: a file without a name in which the pieces lie as they travel. Whoever packs
//! waits for nobody, who sends takes each piece as soon as it is there, and memory holds one piece for each host.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::artifact::pack::Unpacked;
use crate::artifact::picked::Picked;
use crate::host::call::piece::{Packing, Piece, Pieces};
use crate::host::wire::frame::{DATA_HEAD, PIECE};

/// Pieces on their way to anybody.
pub struct Parcel {
    file: File,
    index: Mutex<Vec<Extent>>,
    packed: watch::Receiver<Packed>,
}

/// How far the packing is.
#[derive(Debug, Clone, Default)]
struct Packed {
    pieces: usize,
    /// Why there will be no more; an empty text where all is packed.
    ended: Option<String>,
}

/// Where a piece lies.
#[derive(Debug, Clone, Copy)]
struct Extent {
    offset: u64,
    size: usize,
    length: usize,
    packed: bool,
}

impl Parcel {
    /// Begins to pack these contents into a file in `dir`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn begin(dir: &Path, unpacked: Arc<Unpacked>, files: Picked, packing: Packing) -> io::Result<Arc<Parcel>> {
        let (progress, packed) = watch::channel(Packed::default());
        let parcel = Arc::new(Parcel { file: tempfile::tempfile_in(dir)?, index: Mutex::default(), packed });
        let (filled, index) = (parcel.file.try_clone()?, Arc::downgrade(&parcel));
        let note = move |place: Extent| {
            // Nobody is left who would send it.
            let parcel = index.upgrade().ok_or(io::Error::from(io::ErrorKind::BrokenPipe))?;
            parcel.index.lock().unwrap_or_else(PoisonError::into_inner).push(place);
            io::Result::Ok(())
        };
        tokio::task::spawn_blocking(move || {
            let done = fill(filled, &unpacked, &files, packing, |place| {
                note(place)?;
                progress.send_modify(|packed| packed.pieces += 1);
                io::Result::Ok(())
            });
            let ended = done.map_or_else(|error| error.to_string(), |()| String::new());
            progress.send_modify(|packed| packed.ended = Some(ended));
        });
        Ok(parcel)
    }

    /// Whether it will never be complete.
    pub fn has_failed(&self) -> bool {
        self.packed.borrow().ended.as_ref().is_some_and(|why| !why.is_empty())
    }

    fn place(&self, number: usize) -> Option<Extent> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).get(number).copied()
    }
}

fn fill(
    mut file: File,
    unpacked: &Unpacked,
    files: &Picked,
    packing: Packing,
    mut note: impl FnMut(Extent) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = 0;
    cut(unpacked, files, packing.most, |bytes| {
        let Piece { length, packed, bytes } = packing.pack(bytes)?;
        file.write_all(&bytes).map_err(|error| {
            io::Error::new(error.kind(), format!("what is sent cannot be kept in the controller's cache: {error}"))
        })?;
        let place = Extent { offset, size: bytes.len(), length, packed };
        offset += bytes.len() as u64;
        note(place)
    })
}

/// Gives contents in pieces of this size, the last one shorter: a small blob alone costs more than its bytes.
fn cut(
    unpacked: &Unpacked,
    files: &Picked,
    most: usize,
    mut each: impl FnMut(Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut together = Vec::with_capacity(most);
    for part in unpacked.stream(files) {
        let mut part = &part?[..];
        while !part.is_empty() {
            let (now, later) = part.split_at(part.len().min(most - together.len()));
            together.extend_from_slice(now);
            part = later;
            if together.len() == most {
                each(std::mem::replace(&mut together, Vec::with_capacity(most)))?;
            }
        }
    }
    if together.is_empty() { Ok(()) } else { each(together) }
}

/// One host's way through a parcel.
pub struct Sending<F> {
    parcel: Arc<Parcel>,
    packed: watch::Receiver<Packed>,
    next: usize,
    bytes: u64,
    /// Told how many bytes are on their way.
    sent: F,
}

impl<F: Fn(u64) + Send> Sending<F> {
    /// From its beginning.
    pub fn new(parcel: Arc<Parcel>, sent: F) -> Self {
        Sending { packed: parcel.packed.clone(), parcel, next: 0, bytes: 0, sent }
    }
}

impl<F: Fn(u64) + Send> Pieces for Sending<F> {
    async fn next(&mut self) -> io::Result<Option<Piece>> {
        let number = self.next;
        let state = self.packed.wait_for(|packed| packed.pieces > number || packed.ended.is_some()).await;
        let ended = state.map_err(|_| io::Error::other("whoever packed it is gone"))?.ended.clone();
        let Some(Extent { offset, size, length, packed }) = self.parcel.place(number) else {
            return match ended {
                Some(why) if !why.is_empty() => Err(io::Error::other(why)),
                _ => Ok(None),
            };
        };
        let parcel = self.parcel.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(size + DATA_HEAD);
            bytes.resize(size, 0);
            parcel.file.read_exact_at(&mut bytes, offset).map(|()| bytes)
        });
        let bytes = read.await.map_err(io::Error::other)??;
        self.next += 1;
        self.bytes += length as u64;
        (self.sent)(self.bytes);
        Ok(Some(Piece { length, packed, bytes }))
    }
}

/// The same to this machine: as it is, a few pieces ahead.
pub struct Plain<F> {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    bytes: u64,
    sent: F,
}

impl<F: Fn(u64) + Send> Plain<F> {
    /// Begins to read these contents.
    pub fn begin(unpacked: Arc<Unpacked>, files: Picked, sent: F) -> Self {
        let (sender, pieces) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            let read = cut(&unpacked, &files, PIECE, |bytes| sender.blocking_send(Ok(bytes)).map_err(gone));
            // Nobody listens any more where this fails: the upload has ended.
            let _ = read.map_err(|error| sender.blocking_send(Err(error)));
        });
        Plain { pieces, bytes: 0, sent }
    }
}

impl<F: Fn(u64) + Send> Pieces for Plain<F> {
    async fn next(&mut self) -> io::Result<Option<Piece>> {
        let Some(bytes) = self.pieces.recv().await.transpose()? else { return Ok(None) };
        self.bytes += bytes.len() as u64;
        (self.sent)(self.bytes);
        Ok(Some(Piece { length: bytes.len(), packed: false, bytes }))
    }
}
