//! The names of backups and of their files (F1): `daily/backup-db-20261130_010000.sql.gz`. What this program did not name
//! so is no backup to it, and is never pruned. Each name that is written is read back as what it was written from.
//!
//! The first or only database of a job has F1's name, each other one a part's name before the time:
//! `backup-db-NAME-TS.sql.gz`; likewise files, `backup-app-NAME-TS.tar.gz`. Times are UTC, so that the hour that comes
//! twice in autumn has two names.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::ids::BadId;

/// What a file ends in while it is written: it counts as nothing.
pub const UNFINISHED: &str = ".part";
/// What the manifest of somebody else ends in while one of ours takes its place.
pub const ASIDE: &str = ".before-import";
/// The directory of a target that what is pruned is moved to first.
pub const TRASH: &str = "trash";
/// Lies beside the directories of a target: how to restore by hand.
pub const RESTORE: &str = "RESTORE.txt";

/// Why a backup was made; each has a directory on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// By its schedule.
    Daily,
    /// Before a deployment changed the database.
    PreDeploy,
    /// Because a person asked for it.
    Manual,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Daily, Kind::PreDeploy, Kind::Manual];

    /// The directory on a target, and the word of the contract (1.8).
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Daily => "daily",
            Kind::PreDeploy => "pre-deploy",
            Kind::Manual => "manual",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| BadId(format!("`{text}` is not a kind of backup: `daily`, `pre-deploy` or `manual`")))
    }
}

/// The time in a name: a second of UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(Timestamp);

impl Stamp {
    /// The second in which `at` lies.
    pub fn of(at: Timestamp) -> Stamp {
        Stamp(Timestamp::from_second(at.as_second()).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The instant.
    pub fn at(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y%m%d_%H%M%S"))
    }
}

impl FromStr for Stamp {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(format!("`{text}` is not the time of a backup: YYYYMMDD_HHMMSS in UTC is needed"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (day, time) = text.split_once('_').ok_or_else(bad)?;
        if day.len() != 8 || time.len() != 6 || !digits(day) || !digits(time) {
            return Err(bad());
        }
        let number = |text: &str| text.parse::<i8>().map_err(|_| bad());
        let year = day[..4].parse::<i16>().map_err(|_| bad())?;
        let (month, date) = (number(&day[4..6])?, number(&day[6..])?);
        let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
        let wall = DateTime::new(year, month, date, hour, minute, second, 0).map_err(|_| bad())?;
        Offset::UTC.to_timestamp(wall).map(Stamp).map_err(|_| bad())
    }
}

/// One backup: its kind and its time. `daily/20261130_010000`, as lists show it and `--at` takes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupName {
    pub at: Stamp,
    pub kind: Kind,
}

impl BackupName {
    /// Of a backup of this kind that was begun at this time.
    pub fn new(kind: Kind, at: Timestamp) -> BackupName {
        BackupName { kind, at: Stamp::of(at) }
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.at)
    }
}

impl FromStr for BackupName {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(format!("`{text}` is not the name of a backup, as in `daily/20261130_010000`"));
        let (kind, at) = text.split_once('/').ok_or_else(bad)?;
        Ok(BackupName { kind: kind.parse().map_err(|_| bad())?, at: at.parse().map_err(|_| bad())? })
    }
}

/// The name of a database or of a set of files: small letters, digits, `_` and `-`, beginning with a letter, at most 40. It
/// becomes a part of a file's name, on file systems that may not tell small letters from capitals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName(String);

impl PartName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PartName {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let good = (1..=40).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        if good {
            return Ok(PartName(text.to_owned()));
        }
        Err(BadId(format!(
            "`{text}` is not the name of a part of a backup: small letters, digits, `_` and `-`, beginning with a \
             letter, at most 40"
        )))
    }
}

/// What a part was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// The statements that make a database again: `.sql`.
    Database,
    /// An archive of files: `.tar`.
    Files,
}

/// How a part is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

/// One file of a backup, without its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    Part(Part),
    Manifest,
}

/// One database or one set of files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    pub content: Content,
    /// `None`: the first or only one of the job.
    pub name: Option<PartName>,
    pub compression: Compression,
    /// Encrypted by age: `.age`.
    pub encrypted: bool,
}

/// The name of one file in the directory of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    pub at: Stamp,
    pub what: What,
    /// It holds the checksum of the file that is called so without `.sha256`.
    pub checksum: bool,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Manifest => write!(f, "backup-manifest-{}.txt", self.at)?,
            What::Part(Part { content, name, compression, encrypted }) => {
                let (word, ending) = match content {
                    Content::Database => ("db", ".sql"),
                    Content::Files => ("app", ".tar"),
                };
                write!(f, "backup-{word}-")?;
                if let Some(name) = name {
                    write!(f, "{name}-")?;
                }
                let packed = match compression {
                    Compression::None => "",
                    Compression::Gzip => ".gz",
                    Compression::Zstd => ".zst",
                };
                let sealed = if *encrypted { ".age" } else { "" };
                write!(f, "{}{ending}{packed}{sealed}", self.at)?;
            }
        }
        f.write_str(if self.checksum { ".sha256" } else { "" })
    }
}

impl FromStr for FileName {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(format!("`{text}` is not the name of a file of a backup"));
        let (name, checksum) = match text.strip_suffix(".sha256") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = name.strip_prefix("backup-").ok_or_else(bad)?;
        // A part's name may hold everything that a time is made of, and never a dot: the time is read from the right.
        let (name, endings) = name.split_once('.').ok_or_else(bad)?;
        let (before, at) = name.rsplit_once('-').ok_or_else(bad)?;
        let at: Stamp = at.parse().map_err(|_| bad())?;
        if (before, endings) == ("manifest", "txt") {
            return Ok(FileName { at, what: What::Manifest, checksum });
        }
        let (word, part) = match before.split_once('-') {
            Some((word, part)) => (word, Some(part.parse().map_err(|_| bad())?)),
            None => (before, None),
        };
        let mut endings = endings.split('.');
        let content = match (word, endings.next()) {
            ("db", Some("sql")) => Content::Database,
            ("app", Some("tar")) => Content::Files,
            _ => return Err(bad()),
        };
        let mut rest = endings.collect::<Vec<_>>();
        let encrypted = rest.pop_if(|ending| *ending == "age").is_some();
        let compression = match rest[..] {
            [] => Compression::None,
            ["gz"] => Compression::Gzip,
            ["zst"] => Compression::Zstd,
            _ => return Err(bad()),
        };
        Ok(FileName { at, what: What::Part(Part { content, name: part, compression, encrypted }), checksum })
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Stamp, BackupName, PartName);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(text: &str) -> Option<FileName> {
        text.parse().ok()
    }

    #[test]
    fn the_names_are_those_that_people_know() {
        let daily = BackupName::new(Kind::Daily, "2026-11-30T01:00:00.9Z".parse().unwrap());
        assert_eq!(daily.to_string(), "daily/20261130_010000");
        for (content, name, wanted) in [
            (Content::Database, None, "backup-db-20261130_010000.sql.gz"),
            (Content::Files, None, "backup-app-20261130_010000.tar.gz"),
            (Content::Files, Some("nginx"), "backup-app-nginx-20261130_010000.tar.gz"),
        ] {
            let name = name.map(|name| name.parse().unwrap());
            let what = What::Part(Part { content, name, compression: Compression::Gzip, encrypted: false });
            assert_eq!(FileName { at: daily.at, what, checksum: false }.to_string(), wanted);
        }
        let manifest = FileName { at: daily.at, what: What::Manifest, checksum: false };
        assert_eq!(manifest.to_string(), "backup-manifest-20261130_010000.txt");
        let file = named("backup-db-20261130_010000.sql.zst.age").unwrap();
        assert_eq!(FileName { checksum: true, ..file }.to_string(), "backup-db-20261130_010000.sql.zst.age.sha256");
    }

    #[test]
    fn what_this_program_did_not_name_is_no_backup() {
        for name in [
            "",
            "backup",
            "backup-db.sql.gz",
            "backup-db-20261130.sql.gz",
            "backup-db-20261130_010000.sql.gz.part",
            "backup-db-20261130_010000.sql.gz~",
            "backup-db-20261330_010000.sql.gz",
            "backup-db-20261130_250000.sql.gz",
            "backup-db-20261130_010060.sql.gz",
            "backup-db-20261130_010000.tar.gz",
            "backup-app-20261130_010000.sql.gz",
            "backup-db-Main-20261130_010000.sql.gz",
            "backup-db-a.b-20261130_010000.sql.gz",
            "backup-db--20261130_010000.sql.gz",
            "backup-db-20261130_010000.sql.age.gz",
            "backup-db-20261130_010000",
            "backup-db-20261130_010000.sql.gz.gz",
            "Backup-db-20261130_010000.sql.gz",
            "backup-db-+0261130_010000.sql",
            "backup-files-20261130_010000.tar.gz",
            "backup-manifest-20261130_010000.toml",
            "mybackup-db-20261130_010000.sql",
            "backup-manifest-x-20261130_010000.txt",
            " backup-db-20261130_010000.sql",
            "backup-db-20261130_010000.sql.gz.sha256.sha256",
        ] {
            assert_eq!(named(name), None, "{name}");
        }
        for name in ["20261130_010000", "weekly/20261130_010000", "daily/", "daily/20261130_010000/x", "daily/2026"] {
            assert!(name.parse::<BackupName>().is_err(), "{name}");
        }
        for name in ["", "Main", "1st", "-x", "a.b", "a/b", "a b", &"x".repeat(41)] {
            assert!(name.parse::<PartName>().is_err(), "{name}");
        }
    }

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (0i64..253_000_000_000).prop_map(|second| Stamp::of(Timestamp::from_second(second).unwrap()))
    }

    fn any_file() -> impl Strategy<Value = FileName> {
        // Names that look like what stands around them are the ones that could be read wrongly.
        let name = prop_oneof!["[a-z][a-z0-9_-]{0,39}", Just("x-20250101_000000".to_owned()), Just("db".to_owned())];
        let content = prop_oneof![Just(Content::Database), Just(Content::Files)];
        let compression = prop_oneof![Just(Compression::None), Just(Compression::Gzip), Just(Compression::Zstd)];
        let part = (content, prop::option::of(name), compression, any::<bool>());
        let part = part.prop_map(|(content, name, compression, encrypted)| {
            What::Part(Part { content, name: name.map(|name| name.parse().unwrap()), compression, encrypted })
        });
        let what = prop_oneof![1 => Just(What::Manifest), 4 => part];
        (any_stamp(), what, any::<bool>()).prop_map(|(at, what, checksum)| FileName { at, what, checksum })
    }

    proptest! {
        #[test]
        fn each_name_is_read_as_what_it_was_written_from(file in any_file(), at in any_stamp()) {
            prop_assert_eq!(named(&file.to_string()), Some(file));
            for kind in Kind::ALL {
                let backup = BackupName { at, kind };
                prop_assert_eq!(backup.to_string().parse::<BackupName>().unwrap(), backup);
            }
        }

        #[test]
        fn whatever_is_read_is_written_the_same_way(text in "backup-(db|app|manifest)(-[a-z0-9_]{0,4})?-2026[01][0-9][0-3][0-9]_[0-2][0-9][0-6][0-9][0-6][0-9]\\.(sql|tar|txt)(\\.gz|\\.zst|\\.age|\\.sha256){0,3}") {
            if let Some(file) = named(&text) {
                prop_assert_eq!(file.to_string(), text);
            }
        }
    }
}
