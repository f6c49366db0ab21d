//! How a person restores a backup without this program (F1): `gunzip`, `tar`, and the client of the database. The same
//! commands stand at the top of each manifest, with its own names, and in the target's `RESTORE.txt`, for all of them.

use super::manifest::{DatabaseFacts, Engine, Manifest, PartEntry};
use super::name::{Compression, Content, FileName, What};
use crate::model::shown::shell_word;

/// The lines for one backup: first what it is, then the commands, in the directory in which its files lie.
pub fn of(manifest: &Manifest) -> Vec<String> {
    let Manifest { name, job, environment, host, .. } = manifest;
    let mut lines = vec![
        format!("{name}: the job {job} of the environment {environment}, made on {host}, begun {}.", manifest.started),
        String::new(),
        "To restore it by hand, copy its files to an empty directory, and there:".to_owned(),
    ];
    for part in &manifest.parts {
        lines.push(format!("  sha256sum -c {}.sha256", shell_word(&part.file)));
    }
    for part in &manifest.parts {
        lines.push(String::new());
        lines.extend(restore(part));
    }
    if manifest.parts.iter().any(|part| part.file.ends_with(".age")) {
        lines.push(String::new());
        lines.push("KEY.txt is a private key (identity) of one of the age recipients of the job.".to_owned());
    }
    lines
}

fn restore(part: &PartEntry) -> Vec<String> {
    let what = part.file.parse::<FileName>().ok().map(|file| file.what);
    let Some(What::Part(named)) = what else { return Vec::new() };
    let file = shell_word(&part.file);
    let unpack = unpack(&file, named.compression, named.encrypted);
    let named_so = part.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    match (named.content, &part.database) {
        (Content::Database, Some(facts)) => {
            let mut lines = vec![format!("# The database{named_so}: into an empty one, never into the one in use.")];
            lines.extend(into_database(&unpack, facts));
            lines
        }
        (Content::Database, None) => {
            vec![format!("# The database{named_so}: statements of SQL."), format!("{unpack} > dump.sql")]
        }
        (Content::Files, _) => {
            let from =
                part.files.as_ref().map(|files| format!(", from {}", shell_word(&files.path))).unwrap_or_default();
            vec![
                format!("# The files{named_so}{from}: into an empty directory, then take from there what is needed."),
                format!("mkdir files && {unpack} | tar -xpf - -C files"),
            ]
        }
    }
    .into_iter()
    .map(|line| format!("  {line}"))
    .collect()
}

/// The command that writes the plain stream of a file to its output.
fn unpack(file: &str, compression: Compression, encrypted: bool) -> String {
    let (open, from) = if encrypted { (format!("age -d -i KEY.txt {file} | "), "") } else { (String::new(), file) };
    let command = match compression {
        Compression::None if encrypted => return format!("age -d -i KEY.txt {file}"),
        Compression::None => "cat",
        Compression::Gzip => "gunzip -c",
        Compression::Zstd => "zstd -dc",
    };
    format!("{open}{command} {from}").trim_end().to_owned()
}

fn into_database(unpack: &str, facts: &DatabaseFacts) -> Vec<String> {
    match facts.engine {
        Engine::Mysql => vec!["mysql -e 'CREATE DATABASE restored'".to_owned(), format!("{unpack} | mysql restored")],
        Engine::Postgres => {
            vec!["createdb restored".to_owned(), format!("{unpack} | psql -v ON_ERROR_STOP=1 -1 -q restored")]
        }
        Engine::Sqlite => vec![format!("{unpack} | sqlite3 -bail restored.sqlite")],
    }
}

/// The text of a target's `RESTORE.txt`.
pub fn everywhere() -> String {
    EVERYWHERE.to_owned()
}

const EVERYWHERE: &str = "\
How to restore these backups by hand
====================================

Nothing here needs soll. What is needed: sha256sum, gunzip (or zstd), tar, the client of the database, and age where a
file's name ends in .age.

daily/        by the schedule
pre-deploy/   before a deployment changed the database
manual/       when a person asked for it
trash/        what was pruned; it can be deleted

One backup is all the files with the same time in their names. The time is UTC: YYYYMMDD_HHMMSS.

backup-manifest-TIME.txt     what the backup consists of, how many rows each table has, and its own commands. It is
                             written last: a backup without it was not finished.
backup-db-TIME.sql.gz        a database, as statements of SQL (backup-db-NAME-TIME.sql.gz: one of several)
backup-app-TIME.tar.gz       files (backup-app-NAME-TIME.tar.gz: one of several)
FILE.sha256                  the checksum of FILE

1. Copy the files of one backup to an empty directory, and compare them with their checksums:
       sha256sum -c *.sha256
2. Where the names end in .age, decrypt them; KEY.txt is a private key of one of the recipients of the job:
       age -d -i KEY.txt FILE.age > FILE
3. The database, into an empty one, never into the one in use. Which of these it is, the manifest says (engine):
       mysql -e 'CREATE DATABASE restored'  &&  gunzip -c backup-db-TIME.sql.gz | mysql restored
       createdb restored  &&  gunzip -c backup-db-TIME.sql.gz | psql -v ON_ERROR_STOP=1 -1 -q restored
       gunzip -c backup-db-TIME.sql.gz | sqlite3 -bail restored.sqlite
   Compare the number of rows of its tables with those in the manifest before it is used.
4. The files, into an empty directory; .env and storage/ of a running application are not to be overwritten by them:
       mkdir files  &&  gunzip -c backup-app-TIME.tar.gz | tar -xpf - -C files

Where a name ends in .zst, write `zstd -dc` instead of `gunzip -c`; where it ends in neither, `cat`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_file_has_its_command() {
        let gz = Compression::Gzip;
        assert_eq!(unpack("f.sql.gz", gz, false), "gunzip -c f.sql.gz");
        assert_eq!(unpack("f.sql.gz.age", gz, true), "age -d -i KEY.txt f.sql.gz.age | gunzip -c");
        assert_eq!(unpack("f.sql.zst", Compression::Zstd, false), "zstd -dc f.sql.zst");
        assert_eq!(unpack("f.sql", Compression::None, false), "cat f.sql");
        assert_eq!(unpack("f.sql.age", Compression::None, true), "age -d -i KEY.txt f.sql.age");
    }

    #[test]
    fn the_text_for_all_backups_names_what_there_is() {
        let text = everywhere();
        for kind in crate::model::backup::name::Kind::ALL {
            assert!(text.contains(&format!("\n{kind}/ ")), "{kind}");
        }
        assert!(text.lines().all(|line| line.len() <= 120));
    }
}
