//! What an agent does beside operations: it holds the root, listens for its controller, and goes back by itself when
//! nobody is heard (law 6).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use soll::host::wire::{HostError, Op, Reply};
use soll::model::ids::Epoch;
use soll::model::observed::{Attempt, Verdict};
use soll::model::record::{Accepted, Command, Refusal};

use super::scenario::{Feels, Say};
use super::sim::{Mutation, Sim};

/// A held root.
#[derive(Debug, Clone)]
pub struct Session {
    pub controller: usize,
    pub epoch: Epoch,
    pub lease: Duration,
    /// The byte stream still stands, whether or not anybody speaks.
    pub connected: bool,
    /// Since when nothing was heard; `None`: frames come in.
    pub silent_since: Option<Timestamp>,
    /// Effects under way: the root is not given up in the middle of one.
    pub busy: u32,
}

impl Sim {
    /// Time passes on a host.
    pub fn tick(&mut self, i: usize) {
        let now = self.now();
        let host = &self.hosts[i];
        let Some(Session { silent_since: Some(since), busy: 0, lease, epoch, .. }) = host.session.clone() else {
            return;
        };
        let lease = host.record.leased().map_or(lease, |leased| leased.lease);
        let over = since + SignedDuration::try_from(lease).unwrap();
        if now < over || self.has(Mutation::LeaseNeverEnds) {
            return;
        }
        self.say(|| format!("  web{}: the lease of epoch {} ran out at {over}", i + 1, epoch.0));
        self.go_back(i, over);
        self.hosts[i].heard = since;
        self.hosts[i].session = None;
    }

    /// The way back that needs nobody. A crash in the middle leaves the probation, and the next one does it again.
    fn go_back(&mut self, i: usize, at: Timestamp) {
        let Some(probation) = self.hosts[i].record.probation.clone() else { return self.reopen(i) };
        let to = self.hosts[i].record.way_back().cloned().filter(|to| self.hosts[i].verify_complete(to).is_ok());
        let moved = to.is_some();
        if let Some(to) = to {
            let from = self.hosts[i].live().cloned();
            let linked = self.effect(i, &format!("by itself: current -> {to}"), |h| {
                h.point_to(&to);
                Ok(())
            });
            if linked.is_err() {
                return;
            }
            if from.as_ref() != Some(&to) {
                self.saw("returned by itself");
            }
            if !probation.activation.is_empty() && self.start_units(i).is_err() {
                return;
            }
            self.run_all(i, &probation.rollback);
        } else if self.hosts[i].record.way_back().is_none()
            && !probation.activation.is_empty()
            && self.start_units(i).is_err()
        {
            return;
        }
        self.reopen(i);
        let noted = self.effect(i, "by itself: probation over", |h| {
            h.record.lease_ran_out(at);
            h.record.returned.iter_mut().filter(|_| !moved).for_each(|r| r.to = None);
            Ok(())
        });
        if noted.is_ok() {
            self.saw("lease ran out");
            self.laws.lease_ran_out(i, &probation.key, &self.hosts[i]);
        }
    }

    /// The commands that open what was closed.
    pub fn reopen(&mut self, i: usize) {
        if let Some(closed) = self.hosts[i].record.closed.clone() {
            self.saw("reopened");
            if !closed.start.is_empty() && self.start_units(i).is_ok() {
                // As below.
                let _ = self.effect(i, "units run again", |h| {
                    h.record.started(&closed.start.units);
                    Ok(())
                });
            }
            self.run_all(i, &closed.open);
        }
    }

    fn run_all(&mut self, i: usize, commands: &[Command]) {
        for command in commands {
            if self.run_command(i, command) == Say::Yes {
                // An agent that dies here does it again.
                let _ = self.effect(i, "maybe open", |h| {
                    h.record.opened(&command.name);
                    Ok(())
                });
            }
        }
    }

    /// An answer to everything but hooks, which take time.
    pub fn serve(&mut self, i: usize, controller: usize, op: Op) -> Result<Reply, HostError> {
        self.tick(i);
        let now = self.now();
        match op {
            Op::Observe(_) => Ok(Reply::State(Box::new(self.hosts[i].state(now)))),
            Op::Acquire { epoch, lease, accept, .. } => self.acquire(i, controller, epoch, lease, accept),
            Op::Release { epoch, .. } => {
                self.release(i, epoch);
                Ok(Reply::Released { watched: self.hosts[i].session.is_some(), state: None })
            }
            Op::Probe { probe, .. } => {
                let soll::model::desired::Probe::Http { url, .. } = probe else {
                    return Err(HostError::Precondition("only http checks are simulated".to_owned()));
                };
                self.hear(i, controller);
                let verdict = self.health(i);
                if verdict == Verdict::Fail {
                    self.laws.said_no(controller);
                }
                self.say(|| format!("  web{}: {url} is {verdict:?}", i + 1));
                self.hosts[i].answers.insert(url, verdict);
                let blind = verdict == Verdict::Inconclusive && self.has(Mutation::ReturnWithoutVerdict);
                let verdict = if blind { Verdict::Fail } else { verdict };
                Ok(Reply::Attempt(Attempt { at: now, verdict, evidence: format!("{verdict:?}"), millis: 1 }))
            }
            Op::Measure { .. } => {
                self.hear(i, controller);
                let sha = self.hosts[i].live().cloned().and_then(|live| self.sha_of(i, &live));
                Ok(Reply::Figure(match self.conduct_of(sha.as_ref()).feels {
                    Feels::Leaky => {
                        self.laws.said_no(controller);
                        Ok(9.0)
                    }
                    Feels::Opaque => Err("timed out".to_owned()),
                    _ => Ok(1.0),
                }))
            }
            Op::Ping => {
                self.hear(i, controller);
                Ok(Reply::Done)
            }
            op => {
                self.held(i, controller, &op)?;
                self.change(i, controller, op)
            }
        }
    }

    /// The root is held under the operation's epoch, or nothing happens (law 3). What happens is entered with the laws.
    pub fn held(&mut self, i: usize, controller: usize, op: &Op) -> Result<(), HostError> {
        let epoch = op.epoch().unwrap();
        if !self.has(Mutation::SkipFencing) {
            self.hosts[i].record.fence(epoch).inspect_err(|_| *self.seen.entry("fenced").or_default() += 1)?;
            if self.hosts[i].session.as_ref().is_none_or(|s| s.epoch != epoch) {
                return Err(HostError::Connection("the agent has given the root up".into()));
            }
        }
        self.hear(i, controller);
        self.laws.acts(i, controller, epoch, op);
        Ok(())
    }

    /// A frame came in. That of a dead controller was under way when it died.
    fn hear(&mut self, i: usize, controller: usize) {
        let now = self.now();
        let quiet = self.controllers[controller].dead || self.controllers[controller].paused_until.is_some();
        if let Some(session) = self.hosts[i].session.as_mut().filter(|s| s.controller == controller) {
            session.connected = !self.controllers[controller].dead;
            session.silent_since = quiet.then_some(now);
        }
    }

    fn acquire(
        &mut self,
        i: usize,
        controller: usize,
        epoch: Epoch,
        lease: Duration,
        accept: Option<String>,
    ) -> Result<Reply, HostError> {
        let now = self.now();
        let host = &self.hosts[i];
        if host.session.as_ref().is_some_and(|s| s.busy > 0 || s.connected) {
            self.saw("locked");
            let holder = self.hosts[i].state(now).holder.unwrap();
            return Err(HostError::Locked { root: "/srv".to_owned(), holder: Box::new(holder) });
        }
        if epoch <= host.record.epoch {
            return Err(Refusal::Fenced { have: host.record.epoch.0, got: epoch.0 }.into());
        }
        if host.lease_over(now) {
            self.go_back(i, now);
        }
        self.effect(i, &format!("epoch {}", epoch.0), |h| h.record.acquire(epoch))?;
        self.laws.acquired(i, controller, epoch, &self.hosts[i]);
        self.effect(i, "taken over", |h| {
            h.record.take_over(epoch)?;
            h.record.set_lease(lease);
            if let Some(commit) = accept {
                h.record.accepted = Some(Accepted { commit, at: now });
            }
            Ok(())
        })?;
        let host = &mut self.hosts[i];
        host.session = Some(Session { controller, epoch, lease, connected: true, silent_since: None, busy: 0 });
        self.hear(i, controller);
        Ok(Reply::Acquired(Box::new(self.hosts[i].state(now))))
    }

    /// The root is given back. With a release on probation the agent stays and listens: the lease goes on.
    fn release(&mut self, i: usize, epoch: Epoch) {
        let now = self.now();
        let host = &mut self.hosts[i];
        let Some(session) = host.session.as_mut().filter(|s| s.epoch == epoch) else { return };
        if host.record.leased().is_some() {
            session.connected = false;
            session.silent_since.get_or_insert(now);
        } else {
            host.heard = now;
            host.session = None;
        }
        self.say(|| format!("  web{}: epoch {} lets go", i + 1, epoch.0));
    }

    /// What the live release says when it is asked.
    fn health(&mut self, i: usize) -> Verdict {
        let last = i + 1 == self.hosts.len();
        let Some(live) = self.hosts[i].live().cloned() else { return Verdict::Fail };
        if self.hosts[i].broken_env() || self.hosts[i].ill {
            return Verdict::Fail;
        }
        let sha = self.sha_of(i, &live);
        let asked = self.hosts[i].asked.entry(live).or_default();
        *asked += 1;
        let asked = *asked;
        match self.conduct_of(sha.as_ref()).feels {
            Feels::Sick => Verdict::Fail,
            Feels::SickOnLast if last => Verdict::Fail,
            Feels::SickFirst(n) if asked <= n => Verdict::Fail,
            Feels::BlindFirst(n) if asked <= n => Verdict::Inconclusive,
            _ => Verdict::Pass,
        }
    }
}
