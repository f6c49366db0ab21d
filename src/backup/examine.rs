//! Files of a backup that somebody else made: read to their end, unpacked on the way, so that what is cut off or damaged is found
//! before it is counted as a backup.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::backup::copied::Copied;
use crate::backup::count::{Counted, Counter};
use crate::backup::measure::{Counting, Dialect, Tallied};
use crate::backup::target::Target;
use crate::backup::{BackupError, Wanted};
use crate::model::backup::manifest::Engine;
use crate::model::backup::name::{Compression, Content, Part};
use crate::model::ids::Digest;
use crate::model::shown::counted;

/// What is in a file.
#[derive(Debug, Default)]
pub struct Found {
    /// As it is stored.
    pub bytes: u64,
    pub sha256: Option<Digest>,
    /// As it is unpacked; absent where it is encrypted.
    pub plain: Option<(u64, Digest)>,
    /// Rows by table, where the dialect is known.
    pub rows: Option<BTreeMap<String, u64>>,
    /// Entries of an archive.
    pub entries: Option<u64>,
    /// What people should know of it although it is whole.
    pub remarks: Vec<String>,
    /// Why it is no whole part of a backup, in spite of its name.
    pub wrong: Option<String>,
}

/// What a file should be.
#[derive(Debug, Default)]
pub struct Expected {
    /// Whose dialect a dump is in.
    pub engine: Option<Engine>,
    /// What an archive holds: a restore puts back what lies there, and nothing else.
    pub name: Option<PathBuf>,
}

/// Of names so many are told.
const NAMED: usize = 3;
/// Of the end of a dump so much is kept: its last statement, and remarks after it.
const TAIL: usize = 4096;

/// Reads a file to its end, whatever is wrong with it.
///
/// # Errors
/// The target cannot be read, or nobody waits for it any more: neither says anything about the file. What is wrong with the file
/// itself is in what is given.
pub fn examine(
    target: &Target,
    (dir, file): (&str, &str),
    part: &Part,
    expected: &Expected,
    wanted: &dyn Wanted,
) -> Result<Found, BackupError> {
    read(target.read(dir, file)?, file, part, expected, wanted)
        .map_err(|why| BackupError(format!("{dir}/{file} cannot be read: {why}")))
}

fn read(from: impl Read, file: &str, part: &Part, expected: &Expected, wanted: &dyn Wanted) -> Result<Found, String> {
    let mut stored = Tallied::new(from, wanted);
    let mut found = Found::default();
    if part.encrypted {
        found.remarks.push(format!("{file} is encrypted and was not opened: what is in it nobody has looked at"));
    } else if let Err(error) = unpacked(&mut stored, file, part, expected, wanted, &mut found) {
        found.wrong = Some(format!("{file} cannot be unpacked to its end: {error}"));
    }
    // What nobody unpacked belongs to the file all the same.
    let rest = io::copy(&mut stored, &mut io::sink());
    if let Some(why) = stored.broke() {
        return Err(why.to_owned());
    }
    rest.map_err(|error| error.to_string())?;
    let (bytes, sha256) = stored.end();
    Ok(Found { bytes, sha256: Some(sha256), ..found })
}

fn unpacked(
    stored: &mut dyn Read,
    file: &str,
    part: &Part,
    expected: &Expected,
    wanted: &dyn Wanted,
    found: &mut Found,
) -> io::Result<()> {
    let unpacked: Box<dyn Read + '_> = match part.compression {
        Compression::None => Box::new(stored),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stored)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(stored)?),
    };
    let mut plain = Tallied::new(unpacked, wanted);
    match part.content {
        Content::Files => archive(&mut plain, file, expected.name.as_deref(), found)?,
        Content::Database => dump(&mut plain, file, expected.engine, found)?,
    }
    io::copy(&mut plain, &mut io::sink())?;
    found.plain = Some(plain.end());
    Ok(())
}

fn archive<R: Read>(plain: &mut Tallied<'_, R>, file: &str, name: Option<&Path>, found: &mut Found) -> io::Result<()> {
    let (mut entries, mut outside, mut named) = (0, 0, Vec::new());
    let mut archive = tar::Archive::new(&mut *plain);
    for entry in archive.entries()? {
        let entry = entry?;
        entries += 1;
        let path = entry.path()?;
        if name.is_some_and(|name| !belongs(&path, name)) {
            outside += 1;
            if named.len() < NAMED {
                named.push(path.display().to_string().escape_debug().to_string());
            }
        }
    }
    found.entries = Some(entries);
    if plain.is_over() {
        found.wrong = Some(format!("{file} has no end: it was cut off between two entries"));
    }
    if let Some(name) = name.filter(|_| outside > 0) {
        let (name, outside) = (name.display(), counted(outside, "entry", "entries"));
        let named = named.join(", ");
        found.remarks.push(format!("{file} has {outside} outside of {name}, which no restore puts back: {named}"));
    }
    Ok(())
}

/// Whether an entry of an archive is what it should hold, lies in it, or is a directory above it.
fn belongs(path: &Path, name: &Path) -> bool {
    let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    plain.starts_with(name) || name.starts_with(&plain)
}

fn dump(plain: &mut dyn Read, file: &str, engine: Option<Engine>, found: &mut Found) -> io::Result<()> {
    let ended = match engine {
        Some(Engine::Mysql) => rows::<Counter>(plain, found)?,
        Some(Engine::Postgres) => rows::<Copied>(plain, found)?,
        Some(Engine::Sqlite) => is_committed(&tail(plain)?),
        None => true,
    };
    if !ended {
        let last = match engine {
            Some(Engine::Sqlite) => " (`COMMIT;`)",
            _ => "",
        };
        found.wrong = Some(format!(
            "{file} does not say that it came to its end{last}: what is in it may be a part of the database"
        ));
    }
    Ok(())
}

/// Counts them. Gives whether the dumper said that it came to its end.
fn rows<D: Dialect + Default>(plain: &mut dyn Read, found: &mut Found) -> io::Result<bool> {
    let mut counting = Counting::<_, D>::new(io::sink());
    io::copy(plain, &mut counting)?;
    let Counted { tables, is_complete } = counting.end();
    found.rows = Some(tables);
    Ok(is_complete)
}

/// The last bytes.
fn tail(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let (mut tail, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(tail),
            Ok(length) => {
                tail.extend_from_slice(&piece[..length]);
                tail.drain(..tail.len().saturating_sub(TAIL));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a dump of SQLite ends with the end of its transaction. `sqlite3` writes `ROLLBACK` where it could not read all of it.
fn is_committed(tail: &[u8]) -> bool {
    let lines = tail.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let last = lines.rev().find(|line| !line.is_empty() && !line.starts_with(b"--"));
    last.is_some_and(|line| line.eq_ignore_ascii_case(b"COMMIT;"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Always;
    use std::io::Write;

    fn part(content: Content, compression: Compression) -> Part {
        Part { content, name: None, compression, encrypted: false }
    }

    fn of(bytes: &[u8], part: &Part, expected: &Expected) -> Found {
        let found = read(bytes, "FILE", part, expected, &Always).unwrap();
        assert_eq!((found.bytes, found.sha256), (bytes.len() as u64, Some(Digest::of(bytes))), "of the whole file");
        found
    }

    fn sql(text: &str, engine: Engine) -> Found {
        let expected = Expected { engine: Some(engine), name: None };
        of(text.as_bytes(), &part(Content::Database, Compression::None), &expected)
    }

    fn tar(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(2000);
            builder.append_data(&mut header, name, [0; 2000].as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn a_dump_must_say_that_it_came_to_its_end() {
        let wrong = |text: &str, engine| sql(text, engine).wrong;
        for (text, whole) in [
            ("BEGIN TRANSACTION;\nINSERT INTO t VALUES('COMMIT;');\nCOMMIT;\n", true),
            ("COMMIT;\r\n-- Dump completed\n\n", true),
            ("BEGIN TRANSACTION;\nINSERT INTO t VALUES(1);\n", false),
            ("BEGIN TRANSACTION;\nROLLBACK; -- due to errors\n", false),
            ("INSERT INTO t VALUES('\n-- COMMIT;", false),
            ("", false),
        ] {
            let long = format!("{}{text}", "-- x\n".repeat(50_000));
            assert_eq!(wrong(&long, Engine::Sqlite).is_none(), whole, "{text}");
        }
        let why = wrong("", Engine::Sqlite).unwrap();
        assert!(why.starts_with("FILE does not say that it came to its end (`COMMIT;`)"), "{why}");
        let mysql = sql("INSERT INTO `a` VALUES (1),(2);\n-- Dump completed\n", Engine::Mysql);
        assert_eq!((mysql.wrong, mysql.rows), (None, Some([("a".to_owned(), 2)].into())));
        assert!(wrong("INSERT INTO `a` VALUES (1),(2);\n", Engine::Mysql).is_some());
        assert!(wrong("SELECT 1;\n", Engine::Postgres).is_some());
    }

    #[test]
    fn an_archive_that_was_cut_is_told_wherever_that_was() {
        let files = part(Content::Files, Compression::None);
        let all = tar(&["shared/a", "shared/b"]);
        assert_eq!(of(&all, &files, &Expected::default()).wrong, None);
        // Between two entries, whose last bytes are as those of an end.
        for entries in [0, 1] {
            let found = of(&all[..entries * 2560], &files, &Expected::default());
            assert_eq!(
                (found.wrong.unwrap(), found.entries),
                ("FILE has no end: it was cut off between two entries".to_owned(), Some(entries as u64))
            );
        }
        for length in [1000, 2000] {
            let why = of(&all[..length], &files, &Expected::default()).wrong.unwrap();
            assert!(why.starts_with("FILE cannot be unpacked to its end: "), "{why}");
        }
        let gzip = part(Content::Files, Compression::Gzip);
        let small = packed(&all);
        assert_eq!(of(&small, &gzip, &Expected::default()).plain, Some((all.len() as u64, Digest::of(&all))));
        let mut spoilt = [packed(&vec![7; 4 << 20]), vec![1; 1 << 20]].concat();
        assert!(of(&spoilt, &gzip, &Expected::default()).wrong.is_some());
        spoilt[20] ^= 4;
        let found = of(&spoilt, &gzip, &Expected::default());
        assert!(found.wrong.is_some() && found.plain.is_none(), "{found:?}");
    }

    #[test]
    fn what_no_restore_would_put_back_is_told() {
        let files = part(Content::Files, Compression::None);
        let expected = Expected { engine: None, name: Some("srv/shared".into()) };
        let inside = tar(&["srv", "./srv/shared", "srv/shared/a"]);
        assert_eq!(of(&inside, &files, &expected).remarks, Vec::<String>::new());
        let found = of(&tar(&["srv/shared/a", "srv/shared2", "b", "c", "d"]), &files, &expected);
        let told = "FILE has 4 entries outside of srv/shared, which no restore puts back: srv/shared2, b, c";
        assert_eq!((found.remarks.as_slice(), found.wrong), ([told.to_owned()].as_slice(), None));
    }

    #[test]
    fn what_is_encrypted_is_read_and_said_to_be_unopened() {
        let encrypted = Part { encrypted: true, ..part(Content::Files, Compression::Gzip) };
        let found = of(b"age-encryption.org/v1", &encrypted, &Expected::default());
        let told = "FILE is encrypted and was not opened: what is in it nobody has looked at";
        assert_eq!((found.remarks.as_slice(), found.wrong, found.plain), ([told.to_owned()].as_slice(), None, None));
    }

    /// Breaks off in the middle.
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("the wire broke"))?;
            into.fill(0);
            Ok(into.len())
        }
    }

    #[test]
    fn a_wire_that_breaks_says_nothing_about_the_file() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            for reads in 0..2 {
                for content in [Content::Files, Content::Database] {
                    let ended = read(Broken(reads), "FILE", &part(content, compression), &Expected::default(), &Always);
                    assert_eq!(ended.map(|found| found.wrong), Err("the wire broke".to_owned()));
                }
            }
        }
    }
}
