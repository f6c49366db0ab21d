//! SHA-256: the one digest of everything here, bundles, contents, manifests and plans. Computed by the library that TLS and SSH
//! bring along: where a processor has no instructions for it, it takes half the time of `sha2`, and hashing is most of
//! what a deployment computes.

use std::fmt;
use std::io;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Serialize, Serializer};

use super::ids::BadId;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest of a value's JSON form. Maps in what is hashed must be ordered (`BTreeMap`).
    pub fn of_json<T: Serialize>(value: &T) -> Self {
        // Serialization of our own plain data into memory has no failing case.
        Self::of(&serde_json::to_vec(value).unwrap_or_default())
    }

    /// What another function that ends in a SHA-256 gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl Digest {
    /// The hexadecimal digits, without an allocation: fingerprints are full of these.
    fn hex(&self) -> [u8; 64] {
        let mut text = [0u8; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        text
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.hex()).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(str::from_utf8(&self.hex()).map_err(serde::ser::Error::custom)?)
    }
}

impl FromStr for Digest {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(format!("`{text}` is not a SHA-256: 64 hexadecimal digits are needed"));
        // Manifests have thousands of them.
        let digit = |b: u8| match b {
            b'0'..=b'9' => Ok(b - b'0'),
            b'a'..=b'f' => Ok(b - b'a' + 10),
            b'A'..=b'F' => Ok(b - b'A' + 10),
            _ => Err(bad()),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(bad()) };
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| bad())?;
        let mut bytes = [0u8; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Digest(bytes))
    }
}

/// A SHA-256 under way. What is written into it is hashed.
#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    /// Of nothing yet.
    pub fn new() -> Self {
        Hasher(Context::new(&SHA256))
    }

    /// Goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of them.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Hasher::new()
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sha_256() {
        // FIPS 180-2, and the empty text.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let none = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!((Digest::of(b"abc").to_string(), Digest::of(b"").to_string()), (abc.to_owned(), none.to_owned()));
        let mut pieces = Hasher::new();
        pieces.update(b"a");
        let mut other = pieces.clone();
        pieces.update(b"bc");
        io::copy(&mut &b"bc"[..], &mut other).unwrap();
        assert_eq!([pieces.finish(), other.finish()].map(|digest| digest.to_string()), [abc, abc]);
        assert_eq!(abc.parse::<Digest>().unwrap(), Digest::of(b"abc"));
    }
}
