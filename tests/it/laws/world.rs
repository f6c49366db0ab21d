//! The simulated world as a run sees it: one handle per controller, faults at every await.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use soll::artifact::manifest::{Entry, Manifest, Node};
use soll::artifact::picked::Picked;
use soll::artifact::registry::{Image, Layer};
use soll::host::wire::compose::Login;
use soll::host::wire::render::Version;
use soll::host::wire::{HostError, Op, Reply, Secret};
use soll::journal::{Event, FailureClass};
use soll::model::desired::{Delivery, Environment, MetricSource, Probe, Target};
use soll::model::ids::{Digest, Epoch, RunId, Sha};
use soll::model::image::Platform;
use soll::model::observed::{Attempt, Verdict};
use soll::plan::policy::{Refused, Secrets};
use soll::run::step::world::{Bundle, Interruption, RemoteBundle, Tree, Trouble, World};

use super::scenario::{Fault, sha};
use super::sim::{Mutation, Shared, Sim};

pub struct SimWorld {
    pub sim: Shared,
    pub id: usize,
}

pub fn build_digest(env: &Environment, sha: &Sha) -> Digest {
    match &env.delivery {
        Delivery::Bundle(_) => Digest::of(sha.as_str().as_bytes()),
        Delivery::Git(checkout) => checkout.digest(sha),
        Delivery::Compose(files) => files.digest(sha, &env.bundle_values()),
    }
}

enum Next {
    Go,
    Never,
    Wait(Duration),
}

impl SimWorld {
    pub fn lock(&self) -> MutexGuard<'_, Sim> {
        self.sim.lock().unwrap()
    }

    /// A moment in which this controller may die or hang, or a person may do something.
    async fn point(&self) {
        loop {
            let next = self.next();
            match next {
                Next::Go => return,
                Next::Never => std::future::pending().await,
                Next::Wait(time) => tokio::time::sleep(time).await,
            }
        }
    }

    fn next(&self) -> Next {
        let mut sim = self.lock();
        let now = sim.now();
        if sim.controllers[self.id].dead {
            return Next::Never;
        }
        if let Some(until) = sim.controllers[self.id].paused_until {
            if now < until {
                return Next::Wait(until.duration_since(now).unsigned_abs());
            }
            sim.say(|| format!("controller {} goes on", self.id));
            sim.resume_controller(self.id);
        }
        if sim.laws.broken.is_some() || sim.faults.strikes(Fault::ControllerKilled) {
            sim.kill_controller(self.id);
            return Next::Never;
        }
        if sim.faults.strikes(Fault::ControllerPaused) {
            sim.pause_controller(self.id);
            return Next::Wait(Duration::ZERO);
        }
        if sim.faults.strikes(Fault::Commit) {
            let to = sha(sim.dice.below(4));
            sim.commit(to);
        }
        if sim.faults.strikes(Fault::Meddle) {
            sim.meddle();
            // Not drawn, as below.
            if !sim.commits.is_multiple_of(2) {
                sim.say(|| "person: kills what the application needs, on every host".to_owned());
                sim.hosts.iter_mut().for_each(|host| host.ill = true);
            }
        }
        if sim.faults.strikes(Fault::Cancel) && sim.controllers[self.id].acts_for.is_some() {
            sim.say(|| format!("person: cancels controller {}", self.id));
            sim.controllers[self.id].cancelled = true;
            // Not drawn: every seed keeps its meaning.
            if sim.commits.is_multiple_of(2) {
                sim.stop_commands(self.id);
            }
        }
        Next::Go
    }

    /// One request over the wire: what the host does does not depend on whether the answer is awaited.
    async fn send(&self, i: usize, op: Op, up_to_ms: u64) -> Result<Reply, HostError> {
        let lost = || HostError::Connection("no answer".into());
        self.point().await;
        let travel = {
            let mut sim = self.lock();
            if sim.faults.strikes(Fault::Unreachable) {
                sim.cut_off(i);
            }
            if !sim.reachable(i) || sim.faults.strikes(Fault::RequestLost) {
                sim.say(|| format!("FAULT controller {} does not reach web{}", self.id, i + 1));
                return Err(lost());
            }
            sim.latency(up_to_ms)
        };
        let (answer, result) = tokio::sync::oneshot::channel();
        let (sim, id) = (self.sim.clone(), self.id);
        tokio::spawn(async move {
            tokio::time::sleep(travel).await;
            let _ = answer.send(on_host(&sim, i, id, op).await);
        });
        let result = result.await.map_err(|_| lost())?;
        if self.lock().faults.strikes(Fault::ReplyLost) {
            let mut sim = self.lock();
            sim.say(|| format!("FAULT the answer of web{} is lost: {result:?}", i + 1));
            return Err(lost());
        }
        self.point().await;
        result
    }

    fn index(&self, target: &Target) -> usize {
        self.lock().hosts.iter().position(|h| h.name == target.name).unwrap()
    }
}

async fn on_host(sim: &Shared, i: usize, id: usize, op: Op) -> Result<Reply, HostError> {
    let Op::Hook { cwd, command, means, .. } = &op else { return sim.lock().unwrap().serve(i, id, op) };
    let began = sim.lock().unwrap().now();
    let time = {
        let mut sim = sim.lock().unwrap();
        sim.tick(i);
        sim.held(i, id, &op)?;
        sim.hook_begins(i, op.epoch().unwrap(), cwd, means)?;
        sim.hosts[i].session.iter_mut().for_each(|s| s.busy += 1);
        sim.latency(8_000)
    };
    tokio::time::sleep(time).await;
    let mut sim = sim.lock().unwrap();
    let epoch = op.epoch();
    match sim.hosts[i].session.as_mut().filter(|s| Some(s.epoch) == epoch) {
        Some(session) => session.busy -= 1,
        None => return Err(HostError::Connection("the agent died".into())),
    }
    if sim.hook_is_stopped(i, epoch.unwrap(), began, means) {
        return Err(HostError::Stopped("a person wants it to stop".to_owned()));
    }
    sim.hook_ends(i, id, command, means).map(Reply::Command)
}

impl World for SimWorld {
    fn now(&self) -> Timestamp {
        self.lock().now()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn call(&self, target: &Target, op: Op) -> Result<Reply, HostError> {
        self.send(self.index(target), op, 200).await
    }

    async fn offer(
        &self,
        target: &Target,
        epoch: Epoch,
        tree: &Tree,
        base: Option<&Tree>,
        keep: Option<u32>,
    ) -> Result<Reply, HostError> {
        let listing = tree.telling(base).listing();
        self.send(self.index(target), Op::Missing { epoch, listing, keep }, 200).await
    }

    async fn upload(&self, target: &Target, epoch: Epoch, bundle: &Bundle, files: Picked) -> Result<Reply, HostError> {
        let tree = bundle.tree.digest;
        self.send(self.index(target), Op::Upload { epoch, tree, files }, 5_000).await
    }

    async fn remote_bundle(&self, env: &Environment, sha: &Sha) -> Result<RemoteBundle, Trouble> {
        self.point().await;
        self.lock().laws.controller_acts(self.id, "checksum");
        let (known_as, place) = ("sha256".to_owned(), Secret::new(String::new()));
        Ok(RemoteBundle { digest: build_digest(env, sha), known_as, commit: None, place, tree: OnceLock::new() })
    }

    async fn fetch(&self, _env: &Environment, sha: &Sha) -> Result<String, Trouble> {
        self.point().await;
        self.lock().laws.controller_acts(self.id, "fetch");
        if self.lock().faults.strikes(Fault::FetchFails) {
            let mut trouble = Trouble::error(format!("the bundle of {} cannot be fetched: timed out", sha.short()));
            if self.lock().has(Mutation::TransientQuarantined) {
                trouble.class = FailureClass::Verdict;
            }
            return Err(trouble);
        }
        Ok("1 kB".to_owned())
    }

    async fn verify(&self, env: &Environment, sha: &Sha) -> Result<Bundle, Trouble> {
        self.point().await;
        if self.lock().faults.strikes(Fault::BundleWrong) {
            return Err(Trouble::error("the bundle does not match its SHA-256"));
        }
        let digest = build_digest(env, sha);
        let node = Node::<&str>::File { sha256: digest, size: 1, executable: false };
        let manifest = Manifest::of([Entry::plain("index.php", node)]).unwrap();
        Ok(Bundle { digest, known_as: "sha256".to_owned(), tree: Tree::new(manifest.into()), notes: Vec::new() })
    }

    fn tree_of(&self, _env: &Environment, _bundle: &Digest) -> Option<Tree> {
        None
    }

    async fn probe(&self, _probe: &Probe, _secret: Option<Secret>, _timeout: Duration) -> Attempt {
        Attempt { at: self.now(), verdict: Verdict::Inconclusive, evidence: String::new(), millis: 0 }
    }

    async fn measure(
        &self,
        _source: &MetricSource,
        _secret: Option<Secret>,
        _timeout: Duration,
    ) -> Result<f64, String> {
        Err("nothing is measured here".to_owned())
    }

    fn secret(&self, env: &Environment, name: &str, url: &str) -> Result<Secret, Refused> {
        Err(BTreeSet::new().refused(&env.name, name, url).unwrap())
    }

    async fn image(&self, _: &Environment, _: &str, _: &Platform) -> Result<Arc<Image>, Trouble> {
        Err(Trouble::error("no registry is asked here"))
    }

    async fn layer(&self, _: &Environment, _: &str, _: &Layer) -> Result<Bundle, Trouble> {
        Err(Trouble::error("no registry is asked here"))
    }

    fn login(&self, _: &Environment, _: &str) -> Result<Option<Login>, Trouble> {
        Ok(None)
    }

    fn password(&self, _: &Environment, name: &str) -> Result<Secret, Trouble> {
        Err(Trouble::error(format!("there is no secret {name} here")))
    }

    fn render(&self, env: &Environment, target: &Target, sha: &Sha) -> Result<Vec<Version>, Trouble> {
        soll::run::rendered::render(&soll::run::secrets::Store::default(), env, target, sha).map_err(Trouble::error)
    }

    async fn revert(&self, _env: &Environment, from: &Sha, to: &Sha, _reason: &str) -> Result<String, Trouble> {
        self.point().await;
        let mut sim = self.lock();
        sim.laws.controller_acts(self.id, "revert-commit");
        if sim.desired() != *from {
            return Err(Trouble::error("the state repository has moved on"));
        }
        sim.commit(to.clone());
        sim.saw("reverted");
        Ok("0123456789abcdef".to_owned())
    }

    async fn journal(&self, _run: &RunId, event: &Event) -> Result<(), Trouble> {
        self.point().await;
        {
            let mut sim = self.lock();
            if sim.faults.strikes(Fault::JournalFails) {
                sim.say(|| "FAULT the journal cannot be written".to_owned());
                return Err(Trouble::error("the journal: disk I/O error"));
            }
            let sim = &mut *sim;
            if !(matches!(event, Event::Intended { .. }) && sim.has(Mutation::IntentNotJournaled)) {
                let env = sim.controllers[self.id].env.as_ref().unwrap_or(&sim.env);
                sim.laws.journaled(self.id, event, env, &sim.hosts);
            }
            if matches!(event, Event::SetAside { .. }) {
                sim.saw("set aside");
            }
            sim.say(|| format!("journal {}: {}", self.id, line(event)));
        }
        self.point().await;
        Ok(())
    }

    async fn other_wish(&self, heard: Option<&Interruption>) {
        while self.interruption().as_ref() == heard {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn interruption(&self) -> Option<Interruption> {
        let sim = self.lock();
        let me = &sim.controllers[self.id];
        if me.cancelled {
            return Some(Interruption::Cancelled("a person".to_owned()));
        }
        let (_, sha) = me.acts_for.as_ref()?;
        let newer = sim.desired();
        (newer != *sha).then(|| Interruption::Superseded(newer.short().to_owned()))
    }
}

fn line(event: &Event) -> String {
    match event {
        Event::Started(s) => {
            let steps: Vec<_> = s.steps.iter().map(|s| s.id.as_str()).collect();
            format!("started {} -> {}: {}", s.run, s.release, steps.join(" "))
        }
        Event::TurnedBack { failure, steps, .. } => {
            let steps: Vec<_> = steps.iter().map(|s| s.id.as_str()).collect();
            format!("turned back {:?}: {}", failure.as_ref().map(|f| &f.message), steps.join(" "))
        }
        other => format!("{other:?}"),
    }
}
