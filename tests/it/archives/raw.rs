//! A tar writer that can also write what no tar writer should.

use std::io::Write;

/// An archive under construction.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

/// One header, every field of which can be set to nonsense.
#[derive(Clone)]
pub struct Head {
    pub block: [u8; 512],
}

impl Head {
    pub fn new(name: impl AsRef<[u8]>, kind: u8) -> Self {
        let mut head = Head { block: [0; 512] };
        let name = name.as_ref();
        head.block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        head.block[156] = kind;
        head.block[257..265].copy_from_slice(b"ustar\x0000");
        head.field(100, b"0000644\0")
            .field(108, b"0000000\0")
            .field(116, b"0000000\0")
            .field(136, b"00000000000\0")
            .size(0)
    }

    pub fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn size(self, size: u64) -> Self {
        let text = format!("{size:011o}\0");
        self.field(124, text.as_bytes())
    }

    pub fn mode(self, mode: u32) -> Self {
        let text = format!("{mode:07o}\0");
        self.field(100, text.as_bytes())
    }

    pub fn target(self, target: impl AsRef<[u8]>) -> Self {
        self.field(157, target.as_ref())
    }

    pub fn seal(mut self) -> [u8; 512] {
        seal(&mut self.block);
        self.block
    }
}

/// Writes the right checksum into a header.
pub fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn block(mut self, block: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(block.as_ref());
        self
    }

    /// Contents, padded.
    pub fn data(mut self, data: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(data.as_ref());
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn head(self, head: Head) -> Self {
        self.block(head.seal())
    }

    pub fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        let size = data.as_ref().len() as u64;
        self.head(Head::new(name, b'0').size(size)).data(data)
    }

    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.head(Head::new(name, b'5').mode(0o755))
    }

    pub fn link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.head(Head::new(name, b'2').target(target))
    }

    pub fn hard(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.head(Head::new(name, b'1').target(target))
    }

    /// A header that describes the next member: `x`, `g`, `L` or `K`.
    pub fn extension(self, kind: u8, data: impl AsRef<[u8]>) -> Self {
        self.head(Head::new("extension", kind).size(data.as_ref().len() as u64)).data(data)
    }

    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extension(b'x', pax(records))
    }

    /// The two blocks of zeros.
    pub fn end(self) -> Vec<u8> {
        self.block([0; 1024]).0
    }
}

/// Extended header records with their lengths.
pub fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        out.extend_from_slice(format!("{length} {key}=").as_bytes());
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}
