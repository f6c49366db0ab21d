//! The line in a `.sha256` beside a file (F1): as `sha256sum` writes and checks it. Scripts of others write it with the
//! path that the file had when it was made; what counts is its last part.

use crate::model::ids::Digest;

/// The line for a file of this name.
pub fn line(digest: &Digest, file: &str) -> String {
    format!("{digest}  {file}\n")
}

/// What a `.sha256` says of the file of this name. `None`: nothing that could be believed: no line for it, or several
/// that differ.
pub fn read(text: &str, file: &str) -> Option<Digest> {
    let mut found = None;
    for line in text.lines() {
        let Some((digest, named)) = line.trim_end().split_once(' ') else {
            // The bare digest is what some scripts write.
            if let Ok(bare) = line.trim().to_ascii_lowercase().parse::<Digest>() {
                if found.is_some_and(|found| found != bare) {
                    return None;
                }
                found = Some(bare);
            }
            continue;
        };
        let named = named.strip_prefix([' ', '*']).unwrap_or(named);
        if named.rsplit('/').next() != Some(file) {
            continue;
        }
        let digest = digest.to_ascii_lowercase().parse::<Digest>().ok()?;
        if found.is_some_and(|found| found != digest) {
            return None;
        }
        found = Some(digest);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_people_and_scripts_write_it() {
        let (digest, file) = (Digest::of(b"x"), "backup-db-20261130_010000.sql.gz");
        assert_eq!(read(&line(&digest, file), file), Some(digest));
        for text in [
            format!("{digest} *{file}\r\n"),
            format!("{digest}  /var/backups/x y/{file}\n"),
            format!("{}  ./{file}\n", digest.to_string().to_uppercase()),
            format!("{digest}\n"),
            format!("{}  another\n{digest}  {file}\n", Digest::of(b"y")),
        ] {
            assert_eq!(read(&text, file), Some(digest), "{text}");
        }
        for text in [
            String::new(),
            format!("{digest}  another\n"),
            format!("{}  {file}\n", &digest.to_string()[1..]),
            format!("{digest}  {file}\n{}  {file}\n", Digest::of(b"y")),
            format!("{file}: OK\n"),
        ] {
            assert_eq!(read(&text, file), None, "{text}");
        }
    }
}
