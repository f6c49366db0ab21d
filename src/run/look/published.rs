//! Reading what others publish of their hosts (`model::published`), as far as it may be believed: no more than a limit while
//! it comes, over no way that somebody else may change, signed where the settings name a key, not older than they allow,
//! and of a host only from whoever may speak for it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Url, redirect};
use serde::Deserialize;

use crate::model::format::{Unreadable, fault};
use crate::model::ids::{EnvName, HostName};
use crate::model::observed::{EnvObserved, HostObserved, Observed};
use crate::model::published::{FORM, SCHEMA, View};
use crate::run::controller::now;
use crate::run::secrets::{self, Purpose, Use};
use crate::run::sources::{Source, Way};
use crate::state_repo::verify_observation;

/// The header that carries the signature of an answer: an SSH signature in base64, without its armor.
pub const SIGNATURE: &str = "soll-signature";

/// A view of a thousand hosts is a fifth of this.
const LIMIT: usize = 64 << 20;

/// Longer than any signature.
const SIGNATURE_LIMIT: u64 = 16 << 10;

/// Whoever publishes has answered to the end within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far the clock of whoever publishes may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What was heard of others.
#[derive(Debug, Default)]
pub struct Heard {
    observed: Observed,
    /// What is not believed, and why.
    refused: BTreeMap<(EnvName, HostName), String>,
    /// When the oldest of it was seen.
    pub oldest: Option<Timestamp>,
}

/// The form of the first programs that published, which read and wrote their live types.
#[derive(Deserialize)]
struct ViewV1 {
    at: Timestamp,
    observed: Observed,
}

/// One environment, and when it was looked at.
type Looked = (EnvName, Timestamp, EnvObserved);

impl Heard {
    /// Several views as one: hosts that look after themselves publish each its own. What was heard first stands.
    pub fn add(&mut self, more: Heard) {
        for (name, theirs) in more.observed.environments {
            match self.observed.environments.entry(name) {
                Entry::Vacant(free) => drop(free.insert(theirs)),
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    for (host, seen) in theirs.hosts {
                        if let Entry::Vacant(free) = known.hosts.entry(host) {
                            let other = theirs.other_machines.get(free.key());
                            known.other_machines.extend(other.map(|other| (free.key().clone(), other.clone())));
                            free.insert(seen);
                        }
                    }
                    known.live_trees.extend(theirs.live_trees);
                }
            }
        }
        for (host, why) in more.refused {
            self.refused.entry(host).or_insert(why);
        }
        self.oldest = self.oldest.into_iter().chain(more.oldest).min();
    }

    /// All of it. A host that nobody was believed about counts as one that could not be reached, and says why.
    pub fn observed(mut self) -> Observed {
        for ((name, host), why) in self.refused {
            let seen = self.observed.environments.entry(name).or_default();
            seen.hosts.entry(host).or_insert(HostObserved::Unreachable(why));
        }
        self.observed
    }

    /// Reads what is published there.
    ///
    /// # Errors
    /// It cannot be read, or nothing of it may be believed: which place, and why.
    pub async fn read(source: &Source, secrets: &secrets::Store) -> Result<Heard, String> {
        let (bytes, signature) = match source.way()? {
            Way::File(path) => {
                let place = source.clone();
                let read = tokio::task::spawn_blocking(move || file(&place, &path));
                read.await
                    .unwrap_or_else(|error| Err(format!("reading the observation {source} broke off: {error}")))?
            }
            Way::Web(url) => fetch(source, url, secrets).await?,
        };
        if let Some(publisher) = &source.publisher {
            let checked = match &signature {
                Some(armor) => verify_observation(&bytes, armor, publisher).map_err(|why| why.to_string()),
                None => Err("it is not signed".to_owned()),
            };
            checked.map_err(|why| format!("the observation {source} is not believed: {why}"))?;
        }
        judge(source, parse(source, &bytes)?, now())
    }
}

/// A file, and the signature beside it, as `ssh-keygen -Y sign` names it.
fn file(source: &Source, path: &Path) -> Result<(Vec<u8>, Option<String>), String> {
    let failed = |error: std::io::Error| format!("cannot read the observation {source}: {error}");
    let read = |path: &Path, limit: u64| {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read(path, LIMIT as u64).map_err(failed)?;
    if bytes.len() > LIMIT {
        return Err(too_large(source));
    }
    if source.publisher.is_none() {
        return Ok((bytes, None));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    match read(Path::new(&beside), SIGNATURE_LIMIT) {
        Ok(armor) => Ok((bytes, String::from_utf8(armor).ok())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((bytes, None)),
        Err(error) => Err(failed(error)),
    }
}

/// An answer, cut off where it becomes too much.
async fn fetch(source: &Source, url: Url, secrets: &secrets::Store) -> Result<(Vec<u8>, Option<String>), String> {
    let failed = |error: reqwest::Error| format!("cannot fetch the observation {source}: {}", error.without_url());
    // Another place than the one that was named is another publisher.
    let client = reqwest::Client::builder().http1_only().timeout(PATIENCE);
    let client = client.redirect(redirect::Policy::none()).referer(false);
    // A proxy is no part of the way to this machine.
    let client = if url.scheme() == "http" { client.no_proxy() } else { client };
    let mut request = client.build().map_err(failed)?.get(url.clone());
    if let Some(name) = &source.token {
        let purpose = Purpose { wanted: Use::Observation, environment: None, url: Some(url.as_str()) };
        let token = secrets.get(name, &purpose).map_err(|refused| {
            format!("the observation {source} wants the secret {name}, {}: {}", refused.why, refused.fix)
        })?;
        request = request.bearer_auth(token.expose());
    }
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(format!(
            "cannot fetch the observation {source}: it answers with {status}, and is not looked for elsewhere: name the \
             place where it is"
        ));
    }
    let answer = answer.error_for_status().map_err(failed)?;
    let signature = answer.headers().get(SIGNATURE).and_then(|value| value.to_str().ok()).map(armored);
    let (mut bytes, mut body) = (Vec::new(), answer.bytes_stream());
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(failed)?;
        if bytes.len() + piece.len() > LIMIT {
            return Err(too_large(source));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, signature))
}

fn too_large(source: &Source) -> String {
    format!("{source} is too large to be an observation: more than {} MiB, and not read further", LIMIT >> 20)
}

/// An armored signature as the value of a header, without its lines.
pub fn unarmored(armor: &str) -> String {
    armor.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// And back.
fn armored(value: &str) -> String {
    let mut armor = "-----BEGIN SSH SIGNATURE-----\n".to_owned();
    for (at, character) in value.chars().enumerate() {
        if at > 0 && at % 70 == 0 {
            armor.push('\n');
        }
        armor.push(character);
    }
    armor + "\n-----END SSH SIGNATURE-----\n"
}

fn parse(source: &Source, bytes: &[u8]) -> Result<Vec<Looked>, String> {
    #[derive(Deserialize)]
    struct Head {
        schema: Option<u64>,
    }
    let unreadable = |error: Unreadable| match error {
        Unreadable::Newer { .. } => format!("the observation {source} cannot be read here: {error}"),
        Unreadable::Damaged(error) => format!("{source} is no observation: {}", fault(&error)),
    };
    let head: Head = FORM.read(bytes).map_err(unreadable)?;
    if head.schema == Some(SCHEMA) {
        let view: View = FORM.read(bytes).map_err(unreadable)?;
        let environments = view.observed.environments.into_iter();
        return Ok(environments.map(|(name, seen)| (name, seen.at, seen.unveil())).collect());
    }
    let view: ViewV1 = FORM.read(bytes).map_err(unreadable)?;
    let environments = view.observed.environments.into_iter();
    Ok(environments.map(|(name, seen)| (name, view.at, seen)).collect())
}

/// What of it may be believed.
fn judge(source: &Source, looked: Vec<Looked>, now: Timestamp) -> Result<Heard, String> {
    let mut heard = Heard::default();
    let mut stale = None;
    let all = looked.len();
    let mut old = 0;
    for (name, at, mut seen) in looked {
        if at.duration_since(now) > AHEAD {
            return Err(format!(
                "the observation {source} is not believed: it says that {name} was looked at at {at}, which is still to \
                 come. Set the clock there, or here"
            ));
        }
        let hosts = std::mem::take(&mut seen.hosts);
        let age = Duration::try_from(now.duration_since(at)).unwrap_or_default();
        if age > source.max_age {
            let why = format!(
                "what {source} publishes of {name} is of {at}, {} ago, and may be {} old at most: see whether the soll there \
                 runs and acts on the newest commit",
                spoken(age),
                spoken(source.max_age)
            );
            old += 1;
            heard.refused.extend(hosts.into_keys().map(|host| ((name.clone(), host), why.clone())));
            stale.get_or_insert(why);
            continue;
        }
        for (host, of_host) in hosts {
            match source.speaks_for(&host) {
                true => drop(seen.hosts.insert(host, of_host)),
                false => {
                    let why = format!("{source} publishes something of it, and may not speak for it (`hosts`)");
                    tracing::warn!(environment = %name, %host, %source, "not believed: it may not speak for this host");
                    heard.refused.insert((name.clone(), host), why);
                }
            }
        }
        seen.other_machines.retain(|host, _| seen.hosts.contains_key(host));
        if seen.hosts.is_empty() && source.hosts.is_some() {
            continue;
        }
        // What a host runs, its publisher may say anyway.
        let runs = |sha: &_| {
            seen.hosts.values().any(|host| match host {
                HostObserved::Reached(state) => {
                    state.record.confirmed.as_ref().and_then(|confirmed| confirmed.sha.as_ref()) == Some(sha)
                }
                HostObserved::Unreachable(_) => false,
            })
        };
        let trees = std::mem::take(&mut seen.live_trees);
        seen.live_trees = trees.into_iter().filter(|(sha, _)| runs(sha)).collect();
        heard.oldest = heard.oldest.into_iter().chain([at]).min();
        heard.observed.environments.insert(name, seen);
    }
    match stale {
        Some(why) if old == all => Err(why),
        _ => Ok(heard),
    }
}

/// A length of time; from a second on, in whole seconds.
fn spoken(time: Duration) -> humantime::FormattedDuration {
    let whole = Duration::from_secs(time.as_secs());
    humantime::format_duration(if whole.is_zero() { Duration::from_millis(time.subsec_millis().into()) } else { whole })
}
