//! The whole simulated world behind one lock: hosts, controllers, faults, the trace, and the laws that are asserted
//! after every event.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use soll::host::wire::HostError;
use soll::model::desired::{Before, Environment, ReleaseRef};
use soll::model::ids::{Digest, Epoch, ReleaseName, Sha};
use soll::model::observed::Current;
use soll::model::record::Refusal;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::check::Laws;
use super::dice::Dice;
use super::host::{ENV_BAD, ENV_GOOD, SimHost};
use super::scenario::{Conduct, Fault, Faults, Feels, Scenario};

pub type Shared = Arc<Mutex<Sim>>;

/// A defect that is planted on purpose: the laws must notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    SkipFencing,
    PruneIgnoresConfirmed,
    SwitchBeforeArm,
    ConfirmWithoutHealth,
    LeaseNeverEnds,
    QuarantineForgotten,
    MigrationForgotten,
    IntentNotJournaled,
    HalfReleaseSwitched,
    ReturnLies,
    TransientQuarantined,
    ReturnWithoutVerdict,
    UnitsForgotten,
    RestForgotten,
    ProbationEndsWithTheLink,
    VersionForgotten,
    PullForgotten,
}

/// What one controller is doing.
#[derive(Default)]
pub struct Controller {
    pub dead: bool,
    pub paused_until: Option<Timestamp>,
    pub killed: Arc<Notify>,
    /// What it acts on, once it has a run.
    pub acts_for: Option<(Epoch, Sha)>,
    /// The state file as it read it.
    pub env: Option<Environment>,
    pub cancelled: bool,
}

pub struct Sim {
    pub start: Instant,
    pub dice: Dice,
    /// The state file at its newest commit.
    pub env: Environment,
    pub commits: u64,
    pub hosts: Vec<SimHost>,
    pub conduct: BTreeMap<Sha, Conduct>,
    pub faults: Faults,
    pub controllers: Vec<Controller>,
    pub laws: Laws,
    pub seen: BTreeMap<&'static str, u64>,
    pub mutation: Option<Mutation>,
    pub trace: Option<Vec<String>>,
}

impl Sim {
    pub fn new(scenario: Scenario, dice: Dice, mutation: Option<Mutation>, traced: bool) -> Self {
        let adopted = scenario.adopted;
        let hosts: Vec<_> = scenario
            .env
            .targets
            .iter()
            .map(|t| {
                let services = scenario.env.delivery.compose().is_some();
                let host = SimHost::new(t.name.clone(), adopted, super::scenario::versions(&scenario.env));
                SimHost { services, ..host }
            })
            .collect();
        let trace = traced.then(Vec::new);
        let mut sim = Sim {
            start: Instant::now(),
            dice,
            laws: Laws::new(hosts.len()),
            env: scenario.env,
            commits: 0,
            hosts,
            conduct: scenario.conduct,
            faults: scenario.faults,
            controllers: Vec::new(),
            seen: BTreeMap::new(),
            mutation,
            trace,
        };
        if traced {
            let text = format!("{:#?}\n{:#?}\n{:?}", sim.env, sim.conduct, sim.faults);
            sim.say(|| text);
        }
        sim
    }

    pub fn now(&self) -> Timestamp {
        let base = Timestamp::from_second(1_750_000_000).unwrap();
        base + SignedDuration::try_from(self.start.elapsed()).unwrap()
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        let at = self.start.elapsed().as_secs_f64();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:9.3} {}", what()));
        }
    }

    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn latency(&mut self, up_to_ms: u64) -> Duration {
        Duration::from_millis(1 + self.dice.below(up_to_ms))
    }

    pub fn desired(&self) -> Sha {
        match &self.env.release {
            ReleaseRef::Sha(sha) => sha.clone(),
            ReleaseRef::Tag(_) | ReleaseRef::Directory(_) | ReleaseRef::Awaited => {
                unreachable!("the simulated state file names commits")
            }
        }
    }

    /// The state file as a controller read it.
    pub fn env_of(&self, controller: usize) -> Environment {
        self.controllers[controller].env.clone().unwrap_or_else(|| self.env.clone())
    }

    pub fn commit(&mut self, sha: Sha) {
        self.say(|| format!("person: release = {}", sha.short()));
        self.env.release = ReleaseRef::Sha(sha);
        self.commits += 1;
    }

    pub fn sha_of(&self, i: usize, release: &ReleaseName) -> Option<Sha> {
        let known = self.hosts[i].record.releases.get(release).and_then(|r| r.sha.clone());
        known.or_else(|| (0..6).map(super::scenario::sha).find(|sha| release.names(sha)))
    }

    pub fn conduct_of(&self, sha: Option<&Sha>) -> Conduct {
        sha.and_then(|sha| self.conduct.get(sha)).cloned().unwrap_or_else(Conduct::good)
    }

    /// Whether no deployment may begin: what runs on a host is ill for good, and the environment says `before = "block"`.
    pub fn kept_out_by_illness(&self) -> bool {
        let ill = |(i, host): (usize, &SimHost)| {
            let sha = host.live().and_then(|live| self.sha_of(i, live));
            let for_good = match self.conduct_of(sha.as_ref()).feels {
                Feels::Sick => true,
                Feels::SickOnLast => i + 1 == self.hosts.len(),
                _ => false,
            };
            host.live().is_some() && (for_good || host.broken_env())
        };
        self.env.health.before == Before::Block && self.hosts.iter().enumerate().any(ill)
    }

    /// Whether a host runs a release that nobody can judge: its figures cannot be had, and there is nothing to go back to.
    /// It is asked again and again, and neither confirmed nor condemned (law 4).
    pub fn kept_from_its_verdict(&self) -> bool {
        let opaque = |i: usize, host: &SimHost| {
            let sha = host.live().and_then(|live| self.sha_of(i, live));
            self.conduct_of(sha.as_ref()).feels == Feels::Opaque && host.record.confirmed.is_none()
        };
        self.env.watch.is_some() && self.hosts.iter().enumerate().any(|(i, host)| opaque(i, host))
    }

    /// One durable change of a host. Its agent may die before it; the laws are asserted after it.
    pub fn effect<T>(
        &mut self,
        i: usize,
        what: &str,
        change: impl FnOnce(&mut SimHost) -> Result<T, Refusal>,
    ) -> Result<T, HostError> {
        if self.faults.strikes(Fault::AgentKilled) {
            self.kill_agent(i, what);
            return Err(HostError::Connection("the agent died".into()));
        }
        let result = change(&mut self.hosts[i])?;
        self.say(|| format!("  web{}: {what}", i + 1));
        self.laws.state(i, &self.hosts[i]);
        Ok(result)
    }

    fn kill_agent(&mut self, i: usize, what: &str) {
        self.say(|| format!("FAULT web{}: its agent is killed before `{what}`", i + 1));
        let now = self.now();
        let host = &mut self.hosts[i];
        if let Some(session) = host.session.take() {
            host.heard = session.silent_since.unwrap_or(now);
        }
    }

    pub fn kill_controller(&mut self, id: usize) {
        self.say(|| format!("FAULT controller {id} is killed"));
        self.saw("controller killed");
        self.controllers[id].killed.notify_one();
        self.hang_up(id);
    }

    /// The byte streams of a controller are closed. What is still under way on them is heard, and nothing after it.
    pub fn hang_up(&mut self, id: usize) {
        self.controllers[id].dead = true;
        let now = self.now();
        for session in self.hosts.iter_mut().filter_map(|h| h.session.as_mut()).filter(|s| s.controller == id) {
            session.connected = false;
            session.silent_since.get_or_insert(now);
        }
    }

    pub fn pause_controller(&mut self, id: usize) {
        let seconds = *self.dice.pick(&[20, 90, 130, 400, 4000]);
        self.say(|| format!("FAULT controller {id} hangs for {seconds} s"));
        let now = self.now();
        self.controllers[id].paused_until = Some(now + SignedDuration::from_secs(seconds));
        for session in self.hosts.iter_mut().filter_map(|h| h.session.as_mut()).filter(|s| s.controller == id) {
            session.silent_since.get_or_insert(now);
        }
    }

    /// It goes on; whoever still listens hears it.
    pub fn resume_controller(&mut self, id: usize) {
        self.controllers[id].paused_until = None;
        for i in 0..self.hosts.len() {
            self.tick(i);
            let mine = self.hosts[i].session.as_mut().filter(|s| s.controller == id && s.connected);
            mine.into_iter().for_each(|s| s.silent_since = None);
        }
    }

    pub fn cut_off(&mut self, i: usize) {
        let seconds = *self.dice.pick(&[5, 60, 200, 1000]);
        self.say(|| format!("FAULT web{} is unreachable for {seconds} s", i + 1));
        let now = self.now();
        let host = &mut self.hosts[i];
        host.unreachable_until = Some(now + SignedDuration::from_secs(seconds));
        if let Some(session) = &mut host.session {
            session.connected = false;
            session.silent_since.get_or_insert(now);
        }
    }

    pub fn reachable(&mut self, i: usize) -> bool {
        let now = self.now();
        self.hosts[i].unreachable_until.is_none_or(|until| now >= until)
    }

    /// A person with a shell on a host.
    pub fn meddle(&mut self) {
        let i = usize::try_from(self.dice.below(self.hosts.len() as u64)).unwrap();
        self.tick(i);
        let n = i + 1;
        let there: Vec<_> = self.hosts[i].dirs.keys().cloned().collect();
        match self.dice.below(4) {
            0 if !there.is_empty() => {
                let to = self.dice.pick(&there).clone();
                self.say(|| format!("person: web{n}/current -> {to}"));
                self.hosts[i].point_to(&to);
                self.hosts[i].by_person = true;
            }
            1 if self.hosts[i].services && !self.hosts[i].gone && self.hosts[i].process.is_some() => {
                self.say(|| format!("person: stops a service of web{n}"));
                self.saw("a service stopped");
                self.hosts[i].gone = true;
            }
            1 if !there.is_empty() => {
                let name = self.dice.pick(&there).clone();
                self.say(|| format!("person: edits a file of {name} on web{n}"));
                self.hosts[i].dirs.entry(name).and_modify(|d| d.drifted = true);
            }
            2 => {
                self.say(|| format!("person: web{n}/current is deleted"));
                self.hosts[i].current = Current::Missing;
                self.hosts[i].by_person = true;
            }
            _ => {
                let file = *self.dice.pick(&[Some(ENV_GOOD), Some(ENV_BAD), Some(b"A=2"), None]);
                self.say(|| format!("person: .env of web{n} is {:?}", file.map(String::from_utf8_lossy)));
                self.hosts[i].files.insert(".env".to_owned(), file.map(Digest::of));
            }
        }
    }
}
