//! A bucket of S3, or of a server that speaks its language. An object is there with its last byte or not at all, so that nothing
//! unfinished is ever listed: what breaks off is an upload that the server forgets.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::remote::{Piece, RemotePut, RemoteRead, Work};
use super::{Found, NO_RIGHT};
use crate::backup::BackupError;
use crate::model::desired::backup::{Key, S3Place};
use crate::model::secret::Secret;

/// A piece of an upload has 8 MiB. Servers take none below 5 MiB, the last one aside.
const PIECE: usize = 8 << 20;
/// An upload has at most 10,000 pieces. The first 9,000 are sent as they are (75 GB): some servers want pieces of one size, and
/// take no upload that is larger.
const PLAIN: usize = 9_000;
/// Each one after them is made of so many, 128 MiB, so that an upload has up to 200 GB.
const JOINED: usize = 16;
/// Pieces on their way at the same time.
const UNDER_WAY: usize = 2;
/// A server that is asked something and says nothing for so long is not waited for.
const SILENCE: Duration = Duration::from_secs(60);
/// A piece may take so long: a server says nothing until it has all of it, and the larger ones have 128 MiB.
const SENDING: Duration = Duration::from_secs(15 * 60);
const CONNECT: Duration = Duration::from_secs(15);
/// What failed for a moment is asked again.
const RETRIES: usize = 4;
/// Of what a server says so much is told.
const TOLD: usize = 400;
/// Where servers are that are told of no region.
const REGION: &str = "us-east-1";

/// A prefix in a bucket.
#[derive(Clone)]
pub struct S3 {
    bucket: Arc<Bucket>,
    work: Arc<Work>,
}

struct Bucket {
    /// Is asked, and read from.
    store: AmazonS3,
    /// Is written to.
    sender: AmazonS3,
    /// As people write it.
    place: String,
    prefix: String,
    /// Servers repeat it in their answers.
    access: Secret,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3({})", self.bucket.place)
    }
}

impl S3 {
    /// The bucket that the state file means, with the key that came with the request.
    ///
    /// # Errors
    /// There is no key; the server cannot be reached, does not take the key, or has no such bucket.
    pub fn of(place: &S3Place) -> Result<S3, BackupError> {
        let address = place.address();
        let (access, secret) = match &place.key {
            Key::Given { access, secret } => (access, secret),
            Key::Refused(why) => return Err(BackupError(format!("{address}: {why}"))),
            Key::Named { access, .. } => {
                return Err(BackupError(format!("{address}: the key {access} did not come with the request")));
            }
        };
        let client = |patience: Duration| {
            let options = ClientOptions::new()
                .with_timeout_disabled()
                .with_read_timeout(patience)
                .with_connect_timeout(CONNECT)
                .with_allow_http(place.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")));
            let retry = RetryConfig { max_retries: RETRIES, retry_timeout: patience, ..RetryConfig::default() };
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(&place.bucket)
                .with_region(place.region.as_deref().unwrap_or(REGION))
                .with_access_key_id(access.expose())
                .with_secret_access_key(secret.expose())
                .with_client_options(options)
                .with_retry(retry);
            if let Some(endpoint) = &place.endpoint {
                builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
            }
            builder.build().map_err(|error| BackupError(format!("{address} cannot be asked: {error}")))
        };
        let (store, sender) = (client(SILENCE)?, client(SENDING)?);
        let work = Work::new()?;
        let (place, prefix) = (address.to_string(), place.prefix.clone());
        let bucket = Bucket { store, sender, place, prefix, access: access.clone() };
        work.wait(bucket.look())?;
        Ok(S3 { bucket: Arc::new(bucket), work })
    }

    /// See [`super::Target::put`].
    pub fn put(&self, dir: &str, name: &str) -> Result<RemotePut, BackupError> {
        let path = self.bucket.path(dir, name)?;
        let bucket = self.bucket.clone();
        self.work.wait(async {
            match bucket.size(&path).await? {
                Some(_) => Err(bucket.say(&path, "is there already, and no backup is overwritten")),
                None => Ok(()),
            }
        })?;
        Ok(RemotePut::begin(&self.work, PIECE, |pieces| async move { bucket.write(&path, pieces).await }))
    }

    /// See [`super::Target::list`].
    pub fn list(&self, dir: &str) -> Result<Vec<Found>, BackupError> {
        self.work.wait(self.bucket.list(dir))
    }

    /// See [`super::Target::read`].
    pub fn read(&self, dir: &str, name: &str) -> Result<RemoteRead, BackupError> {
        let path = self.bucket.path(dir, name)?;
        let bucket = self.bucket.clone();
        let found = self.work.wait(bucket.store.get(&path)).map_err(|error| bucket.failed("read", &path, &error))?;
        Ok(RemoteRead::begin(&self.work, |into| async move {
            let mut pieces = found.into_stream();
            while let Some(piece) = pieces.next().await {
                let piece = piece.map(|piece| piece.to_vec()).map_err(|error| bucket.failed("read", &path, &error));
                let failed = piece.is_err();
                // An empty piece would be the end.
                if piece.as_ref().is_ok_and(Vec::is_empty) {
                    continue;
                }
                if into.send(piece).await.is_err() || failed {
                    return;
                }
            }
            let _ = into.send(Ok(Vec::new())).await;
        }))
    }

    /// Removes an object. That is one step, which no crash divides: there is nothing that would have to lie in `trash/`.
    ///
    /// # Errors
    /// As for [`super::Target::remove`].
    pub fn remove(&self, dir: &str, name: &str) -> Result<(), BackupError> {
        let path = self.bucket.path(dir, name)?;
        let removed = self.work.wait(self.bucket.store.delete(&path));
        removed.map_err(|error| match error {
            Error::PermissionDenied { .. } => {
                self.bucket.say(&path, &format!("stays: {NO_RIGHT} (the server denies it)"))
            }
            error => self.bucket.failed("remove", &path, &error),
        })
    }
}

impl Bucket {
    fn path(&self, dir: &str, name: &str) -> Result<Path, BackupError> {
        let parts: Vec<_> = [self.prefix.as_str(), dir, name].into_iter().filter(|part| !part.is_empty()).collect();
        let path = parts.join("/");
        Path::parse(&path).map_err(|error| BackupError(format!("{path} cannot be the name of an object: {error}")))
    }

    fn say(&self, path: &Path, what: &str) -> BackupError {
        BackupError(format!("{}: {path} {what}", self.place))
    }

    /// `s3://bucket: cannot write daily/x: …`
    fn failed(&self, doing: &str, path: &Path, error: &Error) -> BackupError {
        let text = error.to_string();
        let cause = match (error, answer(&text)) {
            (_, Some(("NoSuchBucket", _))) => "there is no such bucket: make it, or name another one".to_owned(),
            (Error::NotFound { .. }, _) => "it is not there".to_owned(),
            (_, Some((code, message))) => format!("the server says {code}: {message}"),
            (_, None) => text,
        };
        let cause = cause.replace(self.access.expose(), "…");
        let cause: String = cause.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TOLD).collect();
        BackupError(format!("{}: cannot {doing} {path}: {cause}", self.place))
    }

    /// Whether the bucket is there for this key.
    async fn look(&self) -> Result<(), BackupError> {
        let path = self.path("", "")?;
        let mut listed = self.store.list(Some(&path));
        match listed.next().await {
            Some(Err(error)) => Err(self.failed("list", &path, &error)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// How large an object is; `None`: it is not there.
    async fn size(&self, path: &Path) -> Result<Option<u64>, BackupError> {
        match self.store.head(path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("look at", path, &error)),
        }
    }

    async fn list(&self, dir: &str) -> Result<Vec<Found>, BackupError> {
        let path = self.path(dir, "")?;
        let listed = self.store.list_with_delimiter(Some(&path)).await;
        let listed = listed.map_err(|error| self.failed("list", &path, &error))?;
        let found = |object: object_store::ObjectMeta| {
            Some(Found { name: object.location.filename()?.to_owned(), bytes: object.size })
        };
        let mut all: Vec<_> = listed.objects.into_iter().filter_map(found).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// What is one piece is one object; what is more is an upload in pieces, which is taken back where it breaks off.
    async fn write(&self, path: &Path, mut pieces: mpsc::Receiver<Piece>) -> Result<(), BackupError> {
        let failed = |error: Error| self.failed("write", path, &error);
        let first = match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => bytes,
            Some(Piece::End) => Vec::new(),
            None => return Err(self.broken(path)),
        };
        let mut bytes = first.len() as u64;
        if first.len() < PIECE {
            // Nothing follows but its end.
            if bytes > 0 && !matches!(pieces.recv().await, Some(Piece::End)) {
                return Err(self.broken(path));
            }
            self.sender.put(path, PutPayload::from(first)).await.map_err(failed)?;
        } else {
            let mut upload = self.sender.put_multipart(path).await.map_err(failed)?;
            let sent = match self.send(path, &mut *upload, first, pieces).await {
                Ok(sent) => upload.complete().await.map(|_| sent).map_err(failed),
                Err(error) => Err(error),
            };
            if sent.is_err() {
                // Pieces of an upload that nobody ends are kept there, and paid for.
                let _ = tokio::time::timeout(CONNECT, upload.abort()).await;
            }
            bytes = sent?;
        }
        match self.size(path).await? {
            Some(there) if there == bytes => Ok(()),
            Some(there) => Err(self.say(path, &format!("has {there} bytes there where {bytes} were written"))),
            None => Err(self.say(path, &format!("is not there, although {bytes} bytes were written"))),
        }
    }

    /// Gives the number of bytes that were sent.
    async fn send(
        &self,
        path: &Path,
        upload: &mut dyn MultipartUpload,
        first: Vec<u8>,
        mut pieces: mpsc::Receiver<Piece>,
    ) -> Result<u64, BackupError> {
        let mut under_way = FuturesUnordered::new();
        let (mut bytes, mut parts, mut joined) = (0, 0, vec![first]);
        let mut ended = false;
        while !ended || !joined.is_empty() {
            let wanted = if parts < PLAIN { 1 } else { JOINED };
            while !ended && joined.len() < wanted {
                match pieces.recv().await {
                    Some(Piece::Bytes(piece)) => joined.push(piece),
                    Some(Piece::End) => ended = true,
                    None => return Err(self.broken(path)),
                }
            }
            if joined.is_empty() {
                break;
            }
            let payload = PutPayload::from_iter(std::mem::take(&mut joined).into_iter().map(Bytes::from));
            bytes += payload.content_length() as u64;
            parts += 1;
            under_way.push(upload.put_part(payload));
            while under_way.len() >= UNDER_WAY {
                if let Some(Err(error)) = under_way.next().await {
                    return Err(self.failed("write", path, &error));
                }
            }
        }
        while let Some(done) = under_way.next().await {
            done.map_err(|error| self.failed("write", path, &error))?;
        }
        Ok(bytes)
    }

    fn broken(&self, path: &Path) -> BackupError {
        self.say(path, "was not written to its end, and is not there")
    }
}

/// What a server says in its own words: the code and the message of its page of XML.
fn answer(text: &str) -> Option<(&str, &str)> {
    let between = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    Some((between("Code")?, between("Message").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_heard_in_its_own_words() {
        let text = "Error performing GET http://x in 10ms - 403: <?xml version=\"1.0\"?> <Error><Code>AccessDenied</Code>\
                    <Message>Not for this key.</Message><RequestId>1</RequestId></Error>";
        assert_eq!(answer(text), Some(("AccessDenied", "Not for this key.")));
        assert_eq!(answer("<Error><Code>SlowDown</Code></Error>"), Some(("SlowDown", "")));
        assert_eq!(answer("error sending request"), None);
    }
}
