//! Some of the files of a manifest that both sides have: one bit for each entry, however long their digests are. Pure.

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::manifest::Manifest;
use crate::model::ids::Digest;

/// Numbers of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picked(Vec<u8>);

impl Picked {
    /// Of these numbers.
    pub fn of(numbers: impl IntoIterator<Item = usize>) -> Picked {
        let mut picked = Picked::default();
        numbers.into_iter().for_each(|number| picked.add(number));
        picked
    }

    /// This number, too.
    pub fn add(&mut self, number: usize) {
        if self.0.len() <= number / 8 {
            self.0.resize(number / 8 + 1, 0);
        }
        self.0[number / 8] |= 1 << (number % 8);
    }

    /// Not this number any more; whether it was among them.
    pub fn take(&mut self, number: usize) -> bool {
        let had = self.has(number);
        if had {
            self.0[number / 8] &= !(1 << (number % 8));
        }
        had
    }

    /// Whether this number is among them.
    pub fn has(&self, number: usize) -> bool {
        self.0.get(number / 8).is_some_and(|byte| byte & (1 << (number % 8)) != 0)
    }

    /// No number is.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// The numbers, in order.
    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        let bits = |(at, byte): (usize, &u8)| {
            let byte = *byte;
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at * 8 + bit)
        };
        self.0.iter().enumerate().filter(|(_, byte)| **byte != 0).flat_map(bits)
    }

    /// Those that are files of this manifest: number, digest and size of each.
    pub fn files<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = (usize, &'a Digest, u64)> {
        self.numbers().filter_map(|number| manifest.file(number).map(|(digest, size)| (number, digest, size)))
    }
}

impl Serialize for Picked {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Base64::encode_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Picked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Picked, D::Error> {
        let text = String::deserialize(from)?;
        Base64::decode_vec(&text).map(Picked).map_err(|error| serde::de::Error::custom(format!("numbers: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_went() {
        let mut picked = Picked::of([0, 7, 8, 500_000]);
        let text = serde_json::to_string(&picked).unwrap();
        assert!(text.len() < 90_000, "{}", text.len());
        assert_eq!(serde_json::from_str::<Picked>(&text).unwrap(), picked);
        assert_eq!(picked.numbers().collect::<Vec<_>>(), [0, 7, 8, 500_000]);
        assert!(picked.take(7) && !picked.take(7) && !picked.take(9_000_000));
        assert_eq!((picked.count(), picked.has(8), picked.has(9)), (3, true, false));
        assert!(Picked::default().is_empty() && !picked.is_empty());
    }
}
