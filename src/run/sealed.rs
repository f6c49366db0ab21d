//! The secrets of encrypted files of the state repository, opened when the first of them is wanted, and only for an accepted
//! commit (law 11): [`crate::run::accepted`] alone makes an [`Opened`] of one. What was opened stays in memory for as long as
//! that commit is acted on. Which file may serve which environment, the commit says; what a secret may be used for, the
//! settings say as of every other (`run::secrets`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::host::wire::Secret;
use crate::model::desired::{Desired, Sealed};
use crate::model::ids::EnvName;
use crate::model::key_text::KeySource;
use crate::seal;

/// After so long a file that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The secrets of one file, by name.
type Secrets = Arc<BTreeMap<String, Secret>>;

/// The encrypted files of one commit.
#[derive(Debug)]
pub struct Opened {
    files: Vec<Kept>,
    of: BTreeMap<EnvName, Vec<usize>>,
    identity: Option<KeySource>,
}

#[derive(Debug)]
struct Kept {
    sealed: Sealed,
    tried: Mutex<Option<Tried>>,
}

#[derive(Debug)]
enum Tried {
    Good(Secrets),
    Bad(String, Instant),
}

impl Opened {
    /// What a commit names. Nothing is opened yet.
    pub(in crate::run) fn of(desired: &Desired, identity: Option<KeySource>) -> Opened {
        let mut places: BTreeMap<&Sealed, usize> = BTreeMap::new();
        let mut of = BTreeMap::new();
        for env in desired.environments.values().filter(|env| !env.sealed.is_empty()) {
            let mut at = Vec::new();
            for sealed in &env.sealed {
                let next = places.len();
                at.push(*places.entry(sealed).or_insert(next));
            }
            of.insert(env.name.clone(), at);
        }
        let mut files: Vec<(usize, Kept)> = places
            .into_iter()
            .map(|(sealed, at)| (at, Kept { sealed: sealed.clone(), tried: Mutex::default() }))
            .collect();
        files.sort_by_key(|(at, _)| *at);
        Opened { files: files.into_iter().map(|(_, kept)| kept).collect(), of, identity }
    }

    /// The secret of that name in the files of an environment, where one of them has it.
    ///
    /// # Errors
    /// One of the files cannot be opened, so that nobody knows; or two of them have it. A sentence without any value.
    pub fn get(&self, env: &EnvName, name: &str) -> Result<Option<Secret>, String> {
        let mut found: Option<(&str, Secret)> = None;
        for (path, secrets) in self.each(env) {
            let Some(secret) = secrets?.get(name).cloned() else { continue };
            if let Some((first, _)) = &found {
                return Err(format!("{first} and {path} both hold {name}: keep one of them"));
            }
            found = Some((path, secret));
        }
        Ok(found.map(|(_, secret)| secret))
    }

    /// The files of an environment, each with its secrets or with why it cannot be opened.
    pub fn each(&self, env: &EnvName) -> impl Iterator<Item = (&str, Result<Secrets, String>)> {
        let files = self.of.get(env).into_iter().flatten().filter_map(|at| self.files.get(*at));
        files.map(|kept| (kept.sealed.path.as_str(), self.opened(kept)))
    }

    /// The names of the files of an environment.
    pub fn paths(&self, env: &EnvName) -> Vec<&str> {
        let files = self.of.get(env).into_iter().flatten().filter_map(|at| self.files.get(*at));
        files.map(|kept| kept.sealed.path.as_str()).collect()
    }

    /// The environments that have any.
    pub fn environments(&self) -> impl Iterator<Item = &EnvName> {
        self.of.keys()
    }

    /// Whoever comes while another one opens the file waits for it: beside the threads that keep leases (law 6).
    fn opened(&self, kept: &Kept) -> Result<Secrets, String> {
        aside(|| self.open(kept))
    }

    fn open(&self, kept: &Kept) -> Result<Secrets, String> {
        let mut tried = kept.tried.lock().unwrap_or_else(PoisonError::into_inner);
        match &*tried {
            Some(Tried::Good(secrets)) => return Ok(secrets.clone()),
            Some(Tried::Bad(why, at)) if at.elapsed() < AGAIN => return Err(why.clone()),
            Some(Tried::Bad(..)) | None => {}
        }
        let read = seal::open(&kept.sealed, self.identity.as_ref());
        let read = read.map(Arc::new).map_err(|why| format!("{} {why}", kept.sealed.path));
        *tried = Some(match &read {
            Ok(secrets) => Tried::Good(secrets.clone()),
            Err(why) => Tried::Bad(why.clone(), Instant::now()),
        });
        read
    }
}

/// Waits where nobody's lease depends on the thread.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
