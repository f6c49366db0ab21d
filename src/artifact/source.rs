//! Where a bundle lies, and what lies beside it. Pure: nothing is looked at here.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::model::address::{beside, redacted};

/// The three places of one bundle, with every template filled in (A2, B8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub url: Location,
    /// The file with its SHA-256.
    pub sha256: Location,
    /// The record of the build.
    pub checks: Location,
}

impl Source {
    /// Parses the three texts. Relative paths must have been joined with the directory of the state file before.
    pub fn parse(url: &str, sha256: &str, checks: &str) -> Result<Self, BadLocation> {
        Ok(Source { url: url.parse()?, sha256: sha256.parse()?, checks: checks.parse()? })
    }

    /// The bundle, with the checksum and the record under their usual names beside it.
    pub fn beside(url: &str) -> Result<Self, BadLocation> {
        Self::parse(url, &beside(url, ".sha256"), &beside(url, ".checks.json"))
    }
}

/// One place that can be read. Shown without user and password, and with no value of its query: signed
/// addresses carry secrets there (law 9).
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// `http://` or `https://`.
    Http(reqwest::Url),
    /// An absolute path on this machine.
    File(PathBuf),
}

/// Why a text is no place that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLocation(String);

impl Location {
    /// As it was written, with what is secret in it: for whoever fetches from there. Never to be shown.
    pub fn address(&self) -> String {
        match self {
            Location::Http(url) => url.to_string(),
            Location::File(path) => path.display().to_string(),
        }
    }

    /// The last part of the path, as whoever made the file knows it: for comparing, and no file name of ours.
    pub fn name(&self) -> String {
        match self {
            Location::Http(url) => {
                let last = url.path().rsplit('/').next().unwrap_or_default();
                decode(last).unwrap_or_else(|| last.to_owned())
            }
            Location::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }

    /// The last part of the path, where it is a plain file name; `bundle` otherwise. Safe to use as a file name.
    pub fn file_name(&self) -> String {
        let name = match self {
            Location::Http(url) => url.path().rsplit('/').next().unwrap_or_default().to_owned(),
            Location::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let plain = !name.is_empty()
            && name.len() <= 200
            && !name.starts_with(['.', '-'])
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
        if plain { name } else { "bundle".to_owned() }
    }
}

impl FromStr for Location {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, BadLocation> {
        let bad = |why: &str| Err(BadLocation(format!("`{}` cannot be read from: {why}", redacted(text))));
        if text.contains('\0') {
            return bad("it contains a NUL byte");
        }
        if text.starts_with('/') {
            return Ok(Location::File(PathBuf::from(text)));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return bad("it is a relative path; write https://, file:// or an absolute path");
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => match reqwest::Url::parse(text) {
                Ok(mut url) => {
                    url.set_fragment(None);
                    Ok(Location::Http(url))
                }
                Err(error) => bad(&error.to_string()),
            },
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                if !path.starts_with('/') {
                    return bad("a file:// address needs an absolute path: file:///srv/bundles/…");
                }
                match decode(path) {
                    Some(path) => Ok(Location::File(PathBuf::from(path))),
                    None => bad("its %-escapes do not give a UTF-8 path"),
                }
            }
            "sftp" => bad(
                "sftp:// is not supported yet; serve the bundles over https://, or mount the directory and use file://",
            ),
            other => bad(&format!("{other}:// is not known; use https://, http:// or file://")),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::File(path) => write!(f, "{}", path.display()),
            Location::Http(url) => f.write_str(&redacted(url.as_str())),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `%20` and its like, decoded.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|b| *b != 0)?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_can_be_read() {
        let show = |text: &str| text.parse::<Location>().map(|l| l.to_string()).unwrap_or_else(|e| e.to_string());
        let all: Vec<String> = [
            "https://ci:hunter2@a.example/b/deployment-bundle-1.tar.gz?X-Signature=hunter2#frag",
            "HTTP://a.example/x",
            "file:///srv/My%20Bundles/x.tar.gz",
            "file://localhost/srv/x",
            "/srv/x.tar.gz",
            "file://srv/x",
            "file:///srv/%zz",
            "bundles/x.tar.gz",
            "sftp://ci:hunter2@nas/Backup/x.tar.gz",
            "s3://bucket/x",
            "https://",
        ]
        .iter()
        .map(|text| show(text))
        .collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn what_lies_beside_keeps_the_query() {
        let source = Source::beside("https://a.example/x.tar.gz?token=1").unwrap();
        let Location::Http(sha256) = &source.sha256 else { panic!("a URL") };
        assert_eq!(sha256.as_str(), "https://a.example/x.tar.gz.sha256?token=1");
        assert_eq!(Source::beside("/srv/x.tar.gz").unwrap().checks, Location::File("/srv/x.tar.gz.checks.json".into()));
    }

    #[test]
    fn file_names_are_plain() {
        let name = |text: &str| text.parse::<Location>().unwrap().file_name();
        assert_eq!(name("https://a.example/b/x-1.tar.gz?y=1"), "x-1.tar.gz");
        for strange in ["https://a.example/", "https://a.example/.x", "/srv/a b", "https://a.example/%2e%2e%2fx"] {
            assert_eq!(name(strange), "bundle", "{strange}");
        }
    }
}
