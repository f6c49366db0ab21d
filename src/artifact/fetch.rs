//! From an address to a file whose SHA-256 is the expected one. Knows nothing of what is in the file.
//!
//! A download that breaks off goes on where it stopped, in this process or in the next one, as long as the server says
//! that the file is still the same; and what counts in the end is the digest alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{LOCATION, RANGE};
use reqwest::{RequestBuilder, StatusCode, Url};

use crate::model::ids::Digest;
use crate::model::observed::Fact;
use crate::model::{authority, causes};

use super::backoff::Backoff;
use super::checksum;
use super::download::{Part, check_size};
use super::files::{FileError, at};
use super::forge::Limits;
use super::origins::{PublicOnly, Rules, Way};
use super::source::{Location, Source};

/// How patient and how generous a [`Fetcher`] is.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// A bundle with more bytes is refused.
    pub max_bytes: u64,
    pub connect_timeout: Duration,
    /// The longest silence of a server.
    pub read_timeout: Duration,
    /// For one bundle, all attempts and pauses together.
    pub total_timeout: Duration,
    /// How often a download is tried again after an accident.
    pub retries: u32,
    /// Before the first retry; doubles with each further one.
    pub pause: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        FetchSettings {
            max_bytes: 20 << 30,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(2 * 3600),
            retries: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// Why something could not be fetched. Places are shown without secrets (law 9).
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// An accident on the way; worth another try later.
    #[error("{place} could not be fetched: {reason}")]
    Transient { place: String, reason: String },
    /// It is certainly not there.
    #[error("{place} does not exist; was the bundle of this commit built and uploaded, and is it still kept?")]
    Missing { place: String },
    /// It is there and is not what it should be, or may not be had. The same again until someone changes something.
    #[error("{place} cannot be used: {reason}")]
    Refused { place: String, reason: String },
    /// Whoever asked may not have it, or may not any more. Nothing of what came before is lost.
    #[error("{place} cannot be used: the server answered {status}; may this machine read it?")]
    Denied { place: String, status: StatusCode },
    /// The contents differ from what was promised.
    #[error(
        "{place} has the SHA-256 {found}, and {expected} was expected: it was replaced after its checksum was written, \
         or damaged on the way; build the bundle anew, or commit the commit that it really belongs to"
    )]
    Mismatch { place: String, expected: Digest, found: Digest },
    /// This machine is at fault.
    #[error(transparent)]
    File(#[from] FileError),
}

impl FetchError {
    /// Another attempt may succeed with nothing changed.
    pub fn is_transient(&self) -> bool {
        matches!(self, FetchError::Transient { .. })
    }

    pub(super) fn transient(place: &Location, reason: impl Into<String>) -> Self {
        FetchError::Transient { place: place.to_string(), reason: reason.into() }
    }

    pub(super) fn refused(place: &Location, reason: impl Into<String>) -> Self {
        FetchError::Refused { place: place.to_string(), reason: reason.into() }
    }

    pub(super) fn missing(place: &Location) -> Self {
        FetchError::Missing { place: place.to_string() }
    }

    /// Sorts an error of the HTTP client.
    pub(super) fn http(place: &Location, error: reqwest::Error) -> Self {
        let refused = error.is_builder();
        // The client's text repeats the address, secrets included; ours names the place.
        let error = error.without_url();
        let outermost = if error.is_timeout() { "the server took too long".to_owned() } else { error.to_string() };
        let mut reason = causes::behind(outermost, &error);
        if authority::is_unknown(&reason) {
            reason = format!("{reason}; {}", trust());
        }
        if refused { Self::refused(place, reason) } else { Self::transient(place, reason) }
    }

    /// Sorts an answer that is no success.
    pub(super) fn status(place: &Location, status: StatusCode) -> Self {
        match status.as_u16() {
            404 | 410 => Self::missing(place),
            408 | 425 | 429 | 500..=599 => Self::transient(place, format!("the server answered {status}")),
            401 | 403 | 407 => FetchError::Denied { place: place.to_string(), status },
            _ => Self::refused(place, format!("the server answered {status}")),
        }
    }
}

/// What to do where an authority is not trusted here.
fn trust() -> String {
    let named = std::env::var(authority::VARIABLE).ok();
    authority::cure(named.as_deref(), |file| std::fs::File::open(file).map(drop).map_err(|error| error.to_string()))
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    /// Unknown where the server does not say.
    pub total: Option<u64>,
}

/// Called for every piece that arrives.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// A bundle as a file of this machine. What was downloaded has the digest that it should have; what lay here already was
/// not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Fetches. Keeps connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Arc<LazyClient>,
    /// For servers that are asked only at addresses of the public Internet.
    stranger: Option<Arc<LazyClient>>,
    rules: Arc<Rules>,
    pub(super) limits: Arc<Limits>,
    pub(super) settings: FetchSettings,
}

/// A client that is made when it is first asked: it reads every certificate of this machine, which most commands need none
/// of.
#[derive(Debug, Default)]
struct LazyClient {
    public_only: bool,
    made: OnceLock<reqwest::Client>,
}

impl LazyClient {
    fn get(&self, settings: &FetchSettings) -> Result<&reqwest::Client, FetchError> {
        if let Some(client) = self.made.get() {
            return Ok(client);
        }
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("soll/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .referer(false)
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout);
        if self.public_only {
            // A proxy would look names up by itself, and connect to what nobody checked.
            client = client.no_proxy().dns_resolver(PublicOnly::shared());
        }
        let client = client.build().map_err(|error| FetchError::Refused {
            place: "any https:// address".to_owned(),
            // Without any authority it does not.
            reason: format!("the TLS client of this machine does not start: {error}; {}", trust()),
        })?;
        Ok(self.made.get_or_init(|| client))
    }
}

/// What is put on a request to an address: a login goes to the server that it is for, and not where that leads.
pub(super) type Dress<'a> = &'a (dyn Fn(&Url, RequestBuilder) -> RequestBuilder + Send + Sync);

/// A file that is asked for, over all attempts.
pub(super) struct Asked<'a> {
    /// For people.
    pub from: &'a Location,
    pub url: &'a Url,
    pub dress: Dress<'a>,
}

async fn within<T>(
    from: &Location,
    limit: Duration,
    work: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(FetchError::transient(from, format!("it was not complete after {limit}")))
    })
}

/// So many redirects are followed.
const HOPS: usize = 5;

impl Fetcher {
    /// No cookies, no step down from https to http, at most five redirects, each of them checked.
    pub fn new(settings: FetchSettings) -> Self {
        Fetcher { client: Arc::default(), stranger: None, rules: Arc::default(), limits: Arc::default(), settings }
    }

    /// The same under these rules.
    pub fn under(&self, rules: Rules) -> Self {
        let public = || Arc::new(LazyClient { public_only: true, ..LazyClient::default() });
        let stranger = rules.known.as_ref().map(|_| public());
        let (client, limits) = (self.client.clone(), self.limits.clone());
        Fetcher { client, stranger, rules: Arc::new(rules), limits, settings: self.settings.clone() }
    }

    /// What may be asked.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// One request, and those that it is redirected to. The answer to the last one, whatever it says.
    pub(super) async fn send(
        &self,
        from: &Location,
        url: &Url,
        request: impl Fn(&reqwest::Client, Url) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, FetchError> {
        let mut url = url.clone();
        for hop in 0..=HOPS {
            let led = if hop == 0 { "" } else { "it was redirected, and " };
            let refused = |why: String| FetchError::refused(from, format!("{led}{why}"));
            let client = match self.rules.way(&url).map_err(refused)? {
                Way::Any => &self.client,
                // Rules that tell strangers apart come with a client for them.
                Way::Public => self.stranger.as_ref().unwrap_or(&self.client),
            };
            let client = client.get(&self.settings)?;
            let answer = request(client, url.clone()).send().await.map_err(|error| FetchError::http(from, error))?;
            let moved = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let next = answer.headers().get(LOCATION).filter(|_| moved);
            let Some(next) = next else { return Ok(answer) };
            let next = next.to_str().ok().and_then(|next| url.join(next).ok());
            let Some(next) = next.filter(|next| matches!(next.scheme(), "http" | "https")) else {
                return Err(FetchError::refused(from, "it was redirected to no address of a web server"));
            };
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(FetchError::refused(from, "it was redirected from https to http"));
            }
            url = next;
        }
        Err(FetchError::refused(from, "it was redirected more than five times"))
    }

    /// Whether a place may be asked at all: for who has somebody else ask it.
    ///
    /// # Errors
    /// [`FetchError::Refused`]: it may not.
    pub fn permit(&self, place: &Location) -> Result<(), FetchError> {
        let permitted = match place {
            Location::Http(url) => self.rules.way(url).map(|_| ()),
            Location::File(path) => self.rules.file(path).map(|_| ()),
        };
        permitted.map_err(|why| FetchError::refused(place, why))
    }

    fn file(&self, place: &Location, path: &Path) -> Result<PathBuf, FetchError> {
        self.rules.file(path).map_err(|why| FetchError::refused(place, why))
    }

    /// The digest that is written beside the bundle.
    pub async fn checksum(&self, source: &Source) -> Result<Digest, FetchError> {
        let bytes = self.small_bytes(&source.sha256).await?;
        checksum::parse(&bytes, &source.url.name()).map_err(|reason| FetchError::refused(&source.sha256, reason))
    }

    /// Whether the bundle and its checksum are there, for those who follow a branch (B1).
    pub async fn exists(&self, source: &Source) -> Fact<()> {
        match self.probe(&source.sha256).await {
            Fact::Known(()) => self.probe(&source.url).await,
            other => other,
        }
    }

    /// Fetches the bundle into a directory, under its own name; one that is a file of this machine stays where it is.
    ///
    /// Errors: see [`FetchError`]; after a mismatch nothing of the download is left. One caller at a time for a
    /// directory: [`super::store`] sees to that.
    pub async fn fetch(
        &self,
        source: &Source,
        expected: Digest,
        dest_dir: &Path,
        progress: OnProgress<'_>,
    ) -> Result<Fetched, FetchError> {
        let limit = self.settings.total_timeout;
        let url = match &source.url {
            Location::File(path) => return self.local(&source.url, &self.file(&source.url, path)?, progress),
            Location::Http(url) => url,
        };
        let asked = Asked { from: &source.url, url, dress: &|_, request| request };
        within(&source.url, limit, self.whole(&asked, expected, dest_dir, progress)).await
    }

    /// The same for one file of a server that wants to see something on each request.
    pub(super) async fn fetch_dressed(
        &self,
        (from, url): (&Location, &Url),
        expected: Digest,
        dest_dir: &Path,
        dress: Dress<'_>,
        progress: OnProgress<'_>,
    ) -> Result<Fetched, FetchError> {
        let asked = Asked { from, url, dress };
        within(from, self.settings.total_timeout, self.whole(&asked, expected, dest_dir, progress)).await
    }

    fn local(&self, from: &Location, path: &Path, progress: OnProgress<'_>) -> Result<Fetched, FetchError> {
        let found = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(FetchError::missing(from)),
            other => other.map_err(at("reading", path))?,
        };
        // Opening a named pipe would wait forever.
        if !found.is_file() {
            return Err(FetchError::refused(from, "it is not a file"));
        }
        let bytes = found.len();
        check_size(from, bytes, self.settings.max_bytes)?;
        progress(Progress { done: bytes, total: Some(bytes) });
        Ok(Fetched { path: path.to_owned(), bytes })
    }

    async fn whole(
        &self,
        asked: &Asked<'_>,
        expected: Digest,
        dest_dir: &Path,
        progress: OnProgress<'_>,
    ) -> Result<Fetched, FetchError> {
        let from = asked.from;
        let mut backoff = Backoff::new(self.settings.retries, self.settings.pause);
        let mut part = Part::open(dest_dir, &from.file_name(), self.settings.max_bytes).await?;
        let found = loop {
            match part.download(self, asked, progress).await {
                Ok(()) if part.digest() == expected => break expected,
                // The server may have joined two files that it took for one: once more, from the start.
                Ok(()) if part.resumed() => part.restart()?,
                Ok(()) => break part.digest(),
                Err(error @ FetchError::Transient { .. }) => backoff.pause(error).await?,
                // Whoever may have it again goes on where it was.
                Err(error @ FetchError::Denied { .. }) if part.len() > 0 => return Err(error),
                Err(error) => {
                    part.discard();
                    return Err(error);
                }
            }
        };
        if found != expected {
            part.discard();
            return Err(FetchError::Mismatch { place: from.to_string(), expected, found });
        }
        let path = dest_dir.join(from.file_name());
        let bytes = part.len();
        part.finish(&path)?;
        Ok(Fetched { path, bytes })
    }

    /// A file of a few lines, as text. Tried twice: whoever plans is waiting.
    pub(super) async fn small(&self, from: &Location) -> Result<String, FetchError> {
        let bytes = self.small_bytes(from).await?;
        String::from_utf8(bytes).map_err(|_| FetchError::refused(from, "it is not a text"))
    }

    async fn small_bytes(&self, from: &Location) -> Result<Vec<u8>, FetchError> {
        const MOST: usize = 1 << 20;
        let mut backoff = Backoff::new(1.min(self.settings.retries), self.settings.pause);
        loop {
            let result = match from {
                Location::File(path) => self.file(from, path).and_then(|path| small_file(from, &path, MOST)),
                Location::Http(url) => self.small_body(from, url, MOST).await,
            };
            match result {
                Ok(bytes) => return Ok(bytes),
                Err(error) => backoff.pause(error).await?,
            }
        }
    }

    async fn small_body(&self, from: &Location, url: &reqwest::Url, most: usize) -> Result<Vec<u8>, FetchError> {
        let answer = self.send(from, url, |client, url| client.get(url)).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::status(from, answer.status()));
        }
        self.body(from, answer, most).await
    }

    /// The whole of an answer that has at most so many bytes.
    pub(super) async fn body(
        &self,
        from: &Location,
        mut answer: reqwest::Response,
        most: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| FetchError::http(from, error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > most {
                return Err(too_long(from, most));
            }
        }
        Ok(bytes)
    }

    /// Whether something is at this place.
    pub async fn probe(&self, place: &Location) -> Fact<()> {
        let url = match place {
            Location::File(path) => {
                let path = match self.file(place, path) {
                    Ok(path) => path,
                    Err(error) => return missing_or_unknown(error),
                };
                return match std::fs::metadata(path) {
                    Ok(found) if found.is_file() => Fact::Known(()),
                    Ok(_) => Fact::Unknown(format!("{place} is not a file")),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fact::Missing,
                    Err(error) => Fact::Unknown(format!("{place}: {error}")),
                };
            }
            Location::Http(url) => url,
        };
        let answer = match self.send(place, url, |client, url| client.head(url)).await {
            Ok(answer) if answer.status().is_success() => return Fact::Known(()),
            Ok(answer) if matches!(answer.status().as_u16(), 404 | 410) => return Fact::Missing,
            // Signed addresses are often good for GET alone.
            Ok(_) => self.send(place, url, |client, url| client.get(url).header(RANGE, "bytes=0-0")).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) if answer.status().is_success() => Fact::Known(()),
            Ok(answer) => missing_or_unknown(FetchError::status(place, answer.status())),
            Err(error) => missing_or_unknown(error),
        }
    }
}

/// What an error says about something that was looked for.
pub(super) fn missing_or_unknown<T>(error: FetchError) -> Fact<T> {
    match error {
        FetchError::Missing { .. } => Fact::Missing,
        other => Fact::Unknown(other.to_string()),
    }
}

fn too_long(from: &Location, most: usize) -> FetchError {
    FetchError::refused(from, format!("it has more than {most} bytes, and a few lines were expected"))
}

fn small_file(from: &Location, path: &Path, most: usize) -> Result<Vec<u8>, FetchError> {
    let found = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(FetchError::missing(from)),
        other => other.map_err(at("reading", path))?,
    };
    if !found.is_file() {
        return Err(FetchError::refused(from, "it is not a file"));
    }
    if found.len() > most as u64 {
        return Err(too_long(from, most));
    }
    Ok(std::fs::read(path).map_err(at("reading", path))?)
}
