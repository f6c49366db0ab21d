//! One simulated host: what is on its disk, and what it remembers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use soll::host::wire::HostError;
use soll::model::compose::ServiceSeen;
use soll::model::ids::{Digest, HostName, ReleaseName};
use soll::model::observed::{Current, Drift, DriftKind, DriftReport, HostState, Verdict};
use soll::model::record::{Holder, Leased, Record, Refusal};

use super::agent::Session;

/// One directory in `releases/`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dir {
    pub complete: bool,
    /// Its manifest was made from it, or someone else vouches for it.
    pub matched: bool,
    pub drifted: bool,
}

pub struct SimHost {
    pub name: HostName,
    pub record: Record,
    pub current: Current,
    pub dirs: BTreeMap<ReleaseName, Dir>,
    pub files: BTreeMap<String, Option<Digest>>,
    /// What is rendered for it comes to these versions, as its controllers say.
    pub rendered: BTreeMap<String, Digest>,
    /// The versions that were written here.
    pub versions: BTreeSet<String>,
    /// Maintenance is on.
    pub closed: bool,
    /// Its units were stopped before a migration.
    pub resting: bool,
    /// What the application needs beside itself is gone: no release is well.
    pub ill: bool,
    pub session: Option<Session>,
    /// When a controller was heard last, for whoever finds a probation without an agent.
    pub heard: Timestamp,
    pub unreachable_until: Option<Timestamp>,
    /// The link is as a person left it.
    pub by_person: bool,
    /// It runs projects of services, and no units.
    pub services: bool,
    /// One of them was stopped by a person.
    pub gone: bool,
    /// The releases whose images came here.
    pub pulled: BTreeSet<ReleaseName>,
    /// The release that its units have started, where they ever did.
    pub process: Option<ReleaseName>,
    /// The last answer of each check since the link moved.
    pub answers: BTreeMap<String, Verdict>,
    /// How often each release was asked.
    pub asked: BTreeMap<ReleaseName, u32>,
}

pub const ENV_GOOD: &[u8] = b"A=1";
pub const ENV_BAD: &[u8] = b"A=";

impl SimHost {
    pub fn new(name: HostName, adopted: bool, rendered: BTreeMap<String, Digest>) -> Self {
        let mut host = SimHost {
            name,
            record: Record::default(),
            current: Current::Missing,
            dirs: BTreeMap::new(),
            files: [(".env".to_owned(), Some(Digest::of(ENV_GOOD)))].into(),
            rendered,
            versions: BTreeSet::new(),
            closed: false,
            resting: false,
            ill: false,
            session: None,
            heard: Timestamp::UNIX_EPOCH,
            unreachable_until: None,
            by_person: true,
            services: false,
            gone: false,
            pulled: BTreeSet::new(),
            process: None,
            answers: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        if adopted {
            let name: ReleaseName = format!("20250101_000000-{}", super::scenario::sha(4).short()).parse().unwrap();
            host.dirs.insert(name.clone(), Dir { complete: true, matched: true, drifted: false });
            host.current = Current::Release(name);
        }
        host
    }

    pub fn live(&self) -> Option<&ReleaseName> {
        self.current.release()
    }

    pub fn broken_env(&self) -> bool {
        self.files.get(".env") == Some(&Some(Digest::of(ENV_BAD)))
    }

    pub fn state(&self, now: Timestamp) -> HostState {
        let drift = self.live().map(|live| {
            let path = "index.php".to_owned();
            let drifted = self.dirs.get(live).is_some_and(|d| d.drifted);
            let entries =
                drifted.then_some(Drift { path, kind: DriftKind::Changed, touched: None }).into_iter().collect();
            DriftReport { release: live.clone(), at: Timestamp::UNIX_EPOCH, looked: None, age: 0, entries, more: 0 }
        });
        HostState {
            record: self.record.clone(),
            current: self.current.clone(),
            releases: self.dirs.keys().cloned().collect(),
            files: self.files.clone(),
            unreadable: BTreeMap::new(),
            rendered: self.rendered.clone(),
            rerendered: Vec::new(),
            missing_env: Vec::new(),
            drift,
            leftovers: Vec::new(),
            foreign: Default::default(),
            revisions: BTreeMap::new(),
            misplaced: Vec::new(),
            holder: self.session.as_ref().map(|s| Holder {
                who: format!("controller {}", s.controller),
                since: Timestamp::UNIX_EPOCH,
                epoch: s.epoch,
                pid: 1,
            }),
            lease_over: self.lease_over(now),
            health: Vec::new(),
            machine: None,
            seat: None,
            services: self.seen().into_iter().collect(),
            services_unseen: None,
        }
    }

    /// Its service, where one was ever started.
    fn seen(&self) -> Option<ServiceSeen> {
        let live = self.live().filter(|live| self.services && self.pulled.contains(*live))?;
        Some(ServiceSeen {
            service: "app".to_owned(),
            wanted: 1,
            running: u32::from(!self.gone),
            digest_ok: self.process.as_ref() == Some(live),
            state: if self.gone { "exited (137)" } else { "running" }.to_owned(),
            ..ServiceSeen::default()
        })
    }

    pub fn lease_over(&self, now: Timestamp) -> bool {
        let over = |l: Leased| now.duration_since(self.heard.max(l.since)).unsigned_abs() > l.lease;
        self.session.is_none() && self.record.leased().is_some_and(over)
    }

    /// Law 1, as the real host keeps it: what may become `current`.
    pub fn verify_complete(&self, name: &ReleaseName) -> Result<(), Refusal> {
        let release = self.record.releases.get(name).ok_or_else(|| Refusal::NoSuchRelease(name.clone()))?;
        let dir = self.dirs.get(name).ok_or_else(|| Refusal::NoSuchRelease(name.clone()))?;
        if release.sealed && dir.matched { Ok(()) } else { Err(Refusal::NotSealed(name.clone())) }
    }

    pub fn point_to(&mut self, name: &ReleaseName) {
        if self.live() != Some(name) {
            self.answers.clear();
        }
        self.current = Current::Release(name.clone());
        self.by_person = false;
    }
}

/// What a host says of a release that it does not have.
pub fn gone(name: &ReleaseName) -> HostError {
    Refusal::NoSuchRelease(name.clone()).into()
}
