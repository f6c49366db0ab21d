//! Identifiers with a grammar: what is parsed here needs no check anywhere else.
//!
//! Every one of these ends up in a path, a git argument or a command line, so the grammars are allow-lists.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::digest::{Digest, Hasher};

/// Why a text is not the identifier it was meant to be. Displays as a sentence that names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadId(pub String);

/// A full Git commit id: 40 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha(String);

impl Sha {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits, as release names carry them (A1).
    pub fn short(&self) -> &str {
        &self.0[..8]
    }

    /// Stands for the commit of a release of which nobody knows it. Sixteen zeros and a digest of the name: no commit.
    pub fn unknown_of(release: &ReleaseName) -> Sha {
        Sha(format!("{:016}{}", 0, &Digest::of(release.as_str().as_bytes()).to_string()[..24]))
    }

    /// Whether it stands for a commit that nobody knows.
    pub fn is_unknown(&self) -> bool {
        self.0.starts_with("0000000000000000")
    }
}

impl FromStr for Sha {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Ok(Sha(text.to_owned()));
        }
        Err(BadId(format!("`{text}` is not a full commit id: 40 lower-case hexadecimal digits are needed")))
    }
}

/// The name of a directory under `ROOT/releases/`: `YYYYMMDD_HHMMSS-SHA8` for our own (A1), any plain name for adopted ones.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseName(String);

impl ReleaseName {
    /// The name of a release staged at `at` (UTC) from `sha`.
    pub fn new(at: jiff::Timestamp, sha: &Sha) -> Self {
        ReleaseName(format!("{}-{}", at.strftime("%Y%m%d_%H%M%S"), sha.short()))
    }

    /// The directory's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name says that it was made from this commit (`…-SHA8`).
    pub fn names(&self, sha: &Sha) -> bool {
        self.0.rsplit_once('-').is_some_and(|(_, tail)| tail.len() >= 7 && sha.as_str().starts_with(tail))
    }

    /// Whether the name begins with the time of a deployment, as the tools of this field write it: `20250101120000`,
    /// `20250101_120000-abc`. Such a directory is an old release, whoever made it (contract 1.4).
    pub fn is_dated(&self) -> bool {
        let digits =
            |text: &str, count: usize| text.len() >= count && text.bytes().take(count).all(|b| b.is_ascii_digit());
        if !digits(&self.0, 8) {
            return false;
        }
        let time = self.0[8..].strip_prefix(['_', '-', 'T']).unwrap_or(&self.0[8..]);
        digits(time, 6) && !time[6..].starts_with(|c: char| c.is_ascii_alphanumeric())
    }
}

impl FromStr for ReleaseName {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let plain = !text.is_empty()
            && text.len() <= 200
            && !text.starts_with(['.', '-'])
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b));
        if plain {
            return Ok(ReleaseName(text.to_owned()));
        }
        Err(BadId(format!("`{text}` is not a release name: letters, digits and `._-+`, not starting with `.` or `-`")))
    }
}

/// A fencing number: every effect on a host carries one, and the host refuses an older one (law 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

macro_rules! text_id {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&self.0) }
        }
        text_serde!($name);
    )*};
}
macro_rules! text_serde {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
macro_rules! name_id {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);
        impl $name {
            /// The name itself.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> { name(text).map($name) }
        }
        text_id!($name);
    )*};
}

/// Names that people choose: letters, digits, `.`, `_`, `-`, starting with a letter or a digit, at most 64.
fn name(text: &str) -> Result<String, BadId> {
    let good = (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good {
        return Ok(text.to_owned());
    }
    Err(BadId(format!(
        "`{text}` is not a name: letters, digits, `.`, `_` and `-`, starting with a letter or digit, at most 64"
    )))
}

name_id!(
    /// The name of an environment (`[environments.NAME]`).
    EnvName,
    /// The name of an application (`[apps.NAME]`).
    AppName,
    /// The name of a host (`[hosts.NAME]`).
    HostName,
    /// The name of one run: sortable by start.
    RunId
);
text_id!(Sha, ReleaseName);
text_serde!(Digest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_deployment_makes_a_directory_a_release() {
        let dated = |name: &str| name.parse::<ReleaseName>().unwrap().is_dated();
        for name in ["20250101120000", "20250101_120000-f0959baf", "20250101-120000", "20250101T120000.1"] {
            assert!(dated(name), "{name}");
        }
        for name in ["3", "20250101", "uploads", "2025010112000", "202501011200001", "20250101_backup", "lost+found"] {
            assert!(!dated(name), "{name}");
        }
    }

    #[test]
    fn release_names_carry_time_and_sha() {
        let sha: Sha = "f0959bafdeadbeeff0959bafdeadbeeff0959baf".parse().unwrap();
        let at: jiff::Timestamp = "2025-11-02T15:49:00Z".parse().unwrap();
        let name = ReleaseName::new(at, &sha);
        assert_eq!(name.as_str(), "20251102_154900-f0959baf");
        assert!(name.names(&sha));
        assert!("20251028_150000-f0959ba".parse::<ReleaseName>().unwrap().names(&sha));
        assert!(!"20251028_150000-abc1234".parse::<ReleaseName>().unwrap().names(&sha));
    }

    #[test]
    fn grammars_refuse_what_could_be_an_option_or_a_path() {
        for bad in ["", "-x", ".", "..", "a/b", "a b", ".git"] {
            assert!(bad.parse::<ReleaseName>().is_err(), "{bad}");
            assert!(bad.parse::<EnvName>().is_err(), "{bad}");
        }
        assert!("F0959BAFDEADBEEFF0959BAFDEADBEEFF0959BAF".parse::<Sha>().is_err());
        assert!("null".parse::<Sha>().is_err());
    }
}
