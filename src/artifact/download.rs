//! A download in progress: `NAME.part`, hashed while it grows, and `NAME.part.etag`, which says of what it is a part.
//! Knows nothing of retries.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, StatusCode, Url};

use crate::model::ids::{Digest, Hasher};

use super::fetch::{Asked, FetchError, Fetcher, OnProgress, Progress};
use super::files::{FileError, at};
use super::source::Location;
use super::sparing::Sparing;

/// The part that is here already. Chunks are written where they arrive: each costs microseconds, and a future that is
/// dropped leaves no writer behind.
pub(super) struct Part {
    path: PathBuf,
    file: Sparing,
    hasher: Hasher,
    len: u64,
    most: u64,
    /// The server's word for this version of the file.
    validator: Option<String>,
    resumed: bool,
}

impl Part {
    /// Takes up what an earlier attempt left in the directory, where it is known of what version that was.
    pub(super) async fn open(dir: &Path, name: &str, most: u64) -> Result<Self, FetchError> {
        let path = dir.join(format!("{name}.part"));
        let file = File::options().read(true).append(true).create(true).open(&path).map_err(at("opening", &path))?;
        let validator = std::fs::read_to_string(etag_of(&path)).ok().filter(|text| sendable(text));
        let file = Sparing::new(file);
        let mut part =
            Part { path, file, hasher: Hasher::new(), len: 0, most, validator: validator.clone(), resumed: false };
        if validator.is_none() {
            part.restart()?;
            return Ok(part);
        }
        let mut reader = part.file.file().try_clone().map_err(at("opening", &part.path))?;
        let hashed = tokio::task::spawn_blocking(move || {
            let (mut hasher, mut len, mut buffer) = (Hasher::new(), 0, vec![0; 256 << 10]);
            reader.seek(SeekFrom::Start(0))?;
            loop {
                let n = reader.read(&mut buffer)?;
                if n == 0 {
                    return io::Result::Ok((hasher, len));
                }
                hasher.update(&buffer[..n]);
                len += n as u64;
            }
        });
        let hashed = hashed.await.map_err(io::Error::other).and_then(|result| result);
        (part.hasher, part.len) = hashed.map_err(at("reading", &part.path))?;
        if part.len > most {
            part.restart()?;
        }
        Ok(part)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Some of it came from an earlier attempt.
    pub(super) fn resumed(&self) -> bool {
        self.resumed
    }

    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Back to nothing.
    pub(super) fn restart(&mut self) -> Result<(), FileError> {
        self.file.file().set_len(0).map_err(at("emptying", &self.path))?;
        let _ = std::fs::remove_file(etag_of(&self.path));
        (self.hasher, self.len, self.validator, self.resumed) = (Hasher::new(), 0, None, false);
        Ok(())
    }

    /// Removes it, as far as that goes: the next attempt would empty it anyway.
    pub(super) fn discard(self) {
        let _ = std::fs::remove_file(etag_of(&self.path));
        let _ = std::fs::remove_file(&self.path);
    }

    /// Gives it its name. It is not made durable: it is hashed again by whoever unpacks it, and gone after that.
    pub(super) fn finish(self, to: &Path) -> Result<(), FileError> {
        std::fs::rename(&self.path, to).map_err(at("renaming to", to))?;
        let _ = std::fs::remove_file(etag_of(&self.path));
        Ok(())
    }

    /// One attempt over HTTP; goes on where the last one stopped if the server still has the same file.
    pub(super) async fn download(
        &mut self,
        fetcher: &Fetcher,
        asked: &Asked<'_>,
        on: OnProgress<'_>,
    ) -> Result<(), FetchError> {
        let Asked { from, url, dress } = asked;
        let validator = self.validator.clone().filter(|_| self.len > 0);
        if validator.is_none() {
            self.restart()?;
        }
        let len = self.len;
        let request = |client: &Client, url: Url| {
            // Compression on the way would make offsets and digest those of something else.
            let request = dress(&url, client.get(url.clone())).header(ACCEPT_ENCODING, "identity");
            match &validator {
                Some(validator) => request.header(RANGE, format!("bytes={len}-")).header(IF_RANGE, validator),
                None => request,
            }
        };
        let mut answer = fetcher.send(from, url, request).await?;
        match answer.status() {
            StatusCode::OK => {
                self.restart()?;
                self.remember(answer.headers())?;
            }
            StatusCode::PARTIAL_CONTENT if self.len > 0 && self.continues(answer.headers()) => self.resumed = true,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if self.len > 0 => {
                self.restart()?;
                return Err(FetchError::transient(from, "the server has another version than before"));
            }
            status => return Err(FetchError::status(from, status)),
        }
        let total = answer.content_length().map(|rest| self.len.saturating_add(rest));
        self.check_size(from, total.unwrap_or(0))?;
        on(Progress { done: self.len, total });
        while let Some(piece) = answer.chunk().await.map_err(|error| FetchError::http(from, error))? {
            self.write(from, &piece)?;
            on(Progress { done: self.len, total });
        }
        Ok(())
    }

    fn write(&mut self, from: &Location, piece: &[u8]) -> Result<(), FetchError> {
        self.check_size(from, self.len + piece.len() as u64)?;
        self.file.write_all(piece).map_err(at("writing", &self.path))?;
        self.hasher.update(piece);
        self.len += piece.len() as u64;
        Ok(())
    }

    fn check_size(&self, from: &Location, bytes: u64) -> Result<(), FetchError> {
        check_size(from, bytes, self.most)
    }

    /// Keeps what identifies this version. A weak ETag does not promise the same bytes, so it is no basis for a range.
    fn remember(&mut self, headers: &HeaderMap) -> Result<(), FileError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| sendable(text));
        let validator = match text(ETAG) {
            Some(etag) if !etag.starts_with("W/") => Some(etag),
            _ => text(LAST_MODIFIED),
        };
        self.validator = validator.map(str::to_owned);
        if let Some(validator) = validator {
            let path = etag_of(&self.path);
            std::fs::write(&path, validator).map_err(at("writing", &path))?;
        }
        Ok(())
    }

    /// Whether a partial answer begins where we stopped, and in the same version.
    fn continues(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let start =
            text(CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes ")).and_then(|r| r.split('-').next());
        let same = match (text(ETAG), self.validator.as_deref()) {
            (Some(etag), Some(before)) if before.starts_with('"') => etag == before,
            _ => true,
        };
        same && start.and_then(|start| start.parse().ok()) == Some(self.len)
    }
}

/// A bundle may have so many bytes.
pub(super) fn check_size(from: &Location, bytes: u64, most: u64) -> Result<(), FetchError> {
    if bytes > most {
        let reason = format!("it has more than {most} bytes, the limit for a bundle");
        return Err(FetchError::refused(from, reason));
    }
    Ok(())
}

fn etag_of(part: &Path) -> PathBuf {
    part.with_added_extension("etag")
}

fn sendable(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1024 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
