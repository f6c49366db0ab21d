//! The manifest of a backup (F1): what it consists of, how each part is proven to be whole, and how a person restores it.
//! A text for people under which lies TOML for programs. It is written last, so that a backup without one is none; its
//! last line is the checksum of all lines before it, so that it vouches for itself, too.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::by_hand;
use super::name::{BackupName, Content, FileName, PartName, What};
use super::shrink::Size;
use crate::model::ids::{Digest, EnvName, HostName, ReleaseName};
use crate::model::shown::clean;

/// The version that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// A manifest may have so many bytes: a database of a hundred thousand tables has room in it.
pub const LARGEST: usize = 32 << 20;

const HEAD: &str = "# A backup made by soll.";
const FOOT: &str = "# sha256 of all lines above: ";

/// What is said of a backup. Keys that this version does not know are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    #[serde(rename = "manifest")]
    pub format: u32,
    pub name: BackupName,
    /// The job: `[backups.JOB]`.
    pub job: String,
    pub environment: EnvName,
    /// The host on which it was made.
    pub host: HostName,
    /// The release that was live when it was begun: what it is a way back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseName>,
    /// Before which deployment it was made: the release that came after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ReleaseName>,
    /// It keeps what was there when this backup was restored: nobody wants that one unless it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_restore: Option<BackupName>,
    pub started: Timestamp,
    pub ended: Timestamp,
    /// The version of the program that made it.
    pub soll: String,
    /// It was made by other means and taken over: what is not known of it is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// What people should know, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, toml::Value>,
    pub parts: Vec<PartEntry>,
}

/// One file of a backup, and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartEntry {
    /// The name in the directory of the backup's kind.
    pub file: String,
    /// What the job calls it; without it, it is the first or only one of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PartName>,
    pub content: Content,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// Of the file as it is stored: what `sha256sum -c` compares.
    pub sha256: Digest,
    /// The size of the stream before it was compressed and encrypted; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_bytes: Option<u64>,
    /// Of the stream before it was compressed and encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_sha256: Option<Digest>,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, toml::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FileFacts>,
}

/// The programs that read and write a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// MariaDB and MySQL.
    Mysql,
    Postgres,
    Sqlite,
}

/// What is known of a dump.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    pub engine: Engine,
    /// The database's name, or the path of its file.
    pub database: String,
    /// The program that dumped it, as it names itself.
    pub client: String,
    /// The server, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Which server it was: host and port, socket, or service. Never with a password.
    pub instance: String,
    /// Over the definitions of all tables, views and routines, in a form that does not change by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Digest>,
    /// The position in the server's log at which the dump is consistent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Tables of engines without transactions: they may have changed during the dump (I17).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_transactional: Vec<String>,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, toml::Value>,
    /// How many rows the dump holds of each table, counted in the stream.
    #[serde(default)]
    pub rows: BTreeMap<String, u64>,
}

/// What is known of an archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileFacts {
    /// The directory that was archived.
    pub path: String,
    /// How many entries the archive has.
    pub entries: u64,
    /// What was left out because the job says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Sockets, devices and pipes: they are not in the archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub special: Vec<String>,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, toml::Value>,
}

/// Why a text is no manifest that could be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Scripts write files of this name, too (F1).
    #[error("it was not written by soll: what was made by other means is kept, and is not read")]
    Foreign,
    #[error("it was written by a newer soll (form {0}, this one reads up to {FORMAT}); update soll to read it")]
    Newer(u32),
    #[error("it was changed or cut after it was written, so that nothing in it can be believed: {0}")]
    Damaged(String),
}

impl Manifest {
    /// The bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
    }

    /// The rows of all tables; `None`: it has no database whose rows are known.
    pub fn rows(&self) -> Option<u64> {
        let facts = self.parts.iter().filter_map(|part| part.database.as_ref());
        // A database without a table has no rows, which is known.
        let rows = facts.map(|facts| facts.rows.values().copied().fold(0, u64::saturating_add));
        rows.reduce(u64::saturating_add)
    }

    /// How much it is.
    pub fn size(&self) -> Size {
        Size { bytes: self.bytes(), rows: self.rows() }
    }

    /// As it is written.
    ///
    /// # Errors
    /// A number does not fit into TOML, whose numbers end at 2^63.
    pub fn to_text(&self) -> Result<String, toml::ser::Error> {
        let mut text = format!("{HEAD}\n#\n");
        for line in by_hand::of(self) {
            // A path may hold a line end, behind which it would be no comment.
            text.push_str(format!("# {}", clean(&line)).trim_end());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&toml::to_string(self)?);
        let digest = Digest::of(text.as_bytes());
        text.push_str(&format!("{FOOT}{digest}\n"));
        Ok(text)
    }

    /// Reads what [`Manifest::to_text`] wrote, here or in another version. Line ends of Windows are no change.
    ///
    /// # Errors
    /// It is none of ours, of a newer form, or not whole.
    pub fn parse(text: &str) -> Result<Manifest, BadManifest> {
        let damaged = |why: String| BadManifest::Damaged(why);
        let text = text.replace("\r\n", "\n");
        if !text.starts_with(HEAD) {
            return Err(BadManifest::Foreign);
        }
        let (body, foot) = match text.trim_end_matches('\n').rsplit_once('\n') {
            Some((body, foot)) if foot.starts_with(FOOT) => (format!("{body}\n"), foot[FOOT.len()..].trim()),
            _ => return Err(damaged("its last line, the checksum of all others, is missing".to_owned())),
        };
        if foot.parse() != Ok(Digest::of(body.as_bytes())) {
            return Err(damaged("its last line is not the checksum of all others".to_owned()));
        }
        let table: toml::Table = body.parse().map_err(|error: toml::de::Error| damaged(error.message().to_owned()))?;
        match table.get("manifest").and_then(toml::Value::as_integer).map(u32::try_from) {
            Some(Ok(form)) if form > FORMAT => return Err(BadManifest::Newer(form)),
            Some(Ok(1..)) => {}
            _ => return Err(damaged("it does not say of which form it is".to_owned())),
        }
        let manifest: Manifest = table.try_into().map_err(|error| damaged(error.message().to_owned()))?;
        match manifest.misnamed() {
            Some(why) => Err(damaged(why)),
            None => Ok(manifest),
        }
    }

    /// A part whose file is not one of this backup's: nothing is ever read from or written to a path that a manifest
    /// thinks up.
    fn misnamed(&self) -> Option<String> {
        let other = |part: &&PartEntry| match part.file.parse::<FileName>() {
            Ok(FileName { at, what: What::Part(what), checksum: false }) => {
                at != self.name.at || what.content != part.content || what.name != part.name
            }
            _ => true,
        };
        let part = self.parts.iter().find(other)?;
        Some(format!("`{}` is not the name of a part of {}", part.file.escape_debug(), self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::name::{Compression, Kind, Part};

    pub fn example() -> Manifest {
        let started: Timestamp = "2026-11-30T01:00:00Z".parse().unwrap();
        let name = BackupName::new(Kind::Daily, started);
        let file = |content, part: Option<&str>| {
            let name_of = part.map(|part| part.parse().unwrap());
            let part = Part { content, name: name_of, compression: Compression::Gzip, encrypted: false };
            FileName { at: name.at, what: What::Part(part), checksum: false }.to_string()
        };
        let database = DatabaseFacts {
            engine: Engine::Mysql,
            database: "shop".to_owned(),
            client: "mariadb-dump  Ver 10.19".to_owned(),
            server: Some("10.11.6-MariaDB".to_owned()),
            instance: "127.0.0.1:3306".to_owned(),
            schema: Some(Digest::of(b"schema")),
            position: Some("mariadb-bin.000001:330".to_owned()),
            non_transactional: vec!["log".to_owned()],
            unknown: BTreeMap::new(),
            rows: BTreeMap::from([("users".to_owned(), 20_001), ("a \"b\" \u{1b}[1m".to_owned(), 0)]),
        };
        let files = FileFacts {
            path: "/srv/shop\nmanifest = 9\nshared".to_owned(),
            entries: 12,
            exclude: vec!["storage/logs/**".to_owned()],
            special: vec!["run/app.sock".to_owned()],
            unknown: BTreeMap::new(),
        };
        let part = |content, file: String, name: Option<&str>| PartEntry {
            file,
            name: name.map(|name| name.parse().unwrap()),
            content,
            bytes: 100,
            sha256: Digest::of(b"stored"),
            plain_bytes: Some(1000),
            plain_sha256: Some(Digest::of(b"plain")),
            unknown: BTreeMap::new(),
            database: None,
            files: None,
        };
        Manifest {
            format: FORMAT,
            name,
            job: "production".to_owned(),
            environment: "production".parse().unwrap(),
            host: "web1".parse().unwrap(),
            release: Some("20261120_154900-f0959baf".parse().unwrap()),
            before: None,
            of_restore: None,
            started,
            ended: "2026-11-30T01:00:42Z".parse().unwrap(),
            soll: "0.1.0".to_owned(),
            imported: false,
            warnings: vec!["The table `log` has an engine without transactions.".to_owned()],
            unknown: BTreeMap::new(),
            parts: vec![
                PartEntry { database: Some(database), ..part(Content::Database, file(Content::Database, None), None) },
                PartEntry {
                    files: Some(files),
                    ..part(Content::Files, file(Content::Files, Some("nginx")), Some("nginx"))
                },
            ],
        }
    }

    #[test]
    fn it_says_everything_to_people_and_to_programs() {
        let text = example().to_text().unwrap();
        insta::assert_snapshot!(text);
        assert_eq!(Manifest::parse(&text), Ok(example()));
        assert_eq!(Manifest::parse(&text.replace('\n', "\r\n")), Ok(example()));
        assert_eq!((example().bytes(), example().rows()), (200, Some(20_001)));
    }

    #[test]
    fn a_database_without_tables_has_no_rows_and_files_have_none_to_count() {
        let mut empty = example();
        for part in &mut empty.parts {
            part.database.iter_mut().for_each(|facts| facts.rows.clear());
        }
        assert_eq!(empty.rows(), Some(0));
        empty.parts.retain(|part| part.database.is_none());
        assert_eq!(empty.rows(), None);
    }

    #[test]
    fn what_a_later_version_adds_is_kept() {
        let mut later = example();
        later.unknown.insert("later".to_owned(), toml::Value::Boolean(true));
        let table = toml::Table::from_iter([("a".to_owned(), toml::Value::from(1))]);
        later.unknown.insert("aside".to_owned(), toml::Value::Table(table));
        later.parts[0].unknown.insert("cipher".to_owned(), toml::Value::from("x"));
        let facts = later.parts[0].database.as_mut().unwrap();
        facts.unknown.insert("charset".to_owned(), toml::Value::from("utf8mb4"));
        let read = Manifest::parse(&later.to_text().unwrap()).unwrap();
        assert_eq!(read, later);
        assert_eq!(read.to_text(), later.to_text());
        let newer = Manifest { format: FORMAT + 1, ..example() };
        assert_eq!(Manifest::parse(&newer.to_text().unwrap()), Err(BadManifest::Newer(FORMAT + 1)));
    }

    #[test]
    fn no_byte_of_it_can_be_changed_unseen() {
        let text = example().to_text().unwrap();
        assert!(text.is_ascii());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            // The last line end may be any.
            let changed = String::from_utf8(bytes).unwrap();
            assert!(at == text.len() - 1 || Manifest::parse(&changed).is_err(), "byte {at}");
            assert!(at == text.len() - 1 || Manifest::parse(&text[..at]).is_err(), "cut at {at}");
        }
        for foreign in ["", "Backup of 2026-11-30\nDatabase: shop\n", "manifest = 1\n"] {
            assert_eq!(Manifest::parse(foreign), Err(BadManifest::Foreign), "{foreign}");
        }
    }

    #[test]
    fn a_file_that_is_not_this_backups_is_not_believed() {
        for file in ["../../etc/shadow", "backup-db-20251130_010000.sql.gz", "backup-app-20261130_010000.tar.gz"] {
            let mut other = example();
            other.parts[0].file = file.to_owned();
            let told = Manifest::parse(&other.to_text().unwrap()).unwrap_err().to_string();
            assert!(told.contains("is not the name of a part of daily/20261130_010000"), "{told}");
        }
    }
}
