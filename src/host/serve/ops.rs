//! One operation on one root: the only place where an [`Op`] becomes a deed. Whether the caller holds the root was
//! settled before; that its epoch is the newest is settled here (law 3).

use std::path::Path;
use std::time::{Duration, Instant};

use crate::host::backup;
use crate::host::convert;
use crate::host::disk::command;
use crate::host::disk::root::{Root, now};
use crate::host::examine;
use crate::host::provision;
use crate::host::release::activate;
use crate::host::release::claim;
use crate::host::release::compose;
use crate::host::release::fetch;
use crate::host::release::hook::{self, directory};
use crate::host::release::link;
use crate::host::release::observe::{current, observe};
use crate::host::release::prune::{self, Pruned};
use crate::host::release::recount;
use crate::host::release::render;
use crate::host::release::repin;
use crate::host::release::seal;
use crate::host::release::stage::{self, Feed};
use crate::host::release::switch;
use crate::host::release::trial;
use crate::host::release::units;
use crate::host::wire::{HostError, Op, Reply, Secret};
use crate::model::desired::{MetricSource, Probe};
use crate::model::observed::{Attempt, Verdict};
use crate::model::record::{Command, Record};

/// Makes the checks that need more than a command: HTTP, TCP, TLS, systemd, assets. The health room has the real one.
pub trait Prober: Send + Sync {
    /// One attempt. `dir` is what `current` leads to.
    fn probe(&self, probe: &Probe, dir: &Path, secret: Option<&Secret>, timeout: Duration) -> Attempt;
    /// One sample of a figure, or why there is none.
    fn measure(
        &self,
        source: &MetricSource,
        dir: &Path,
        secret: Option<&Secret>,
        timeout: Duration,
    ) -> Result<f64, String>;
}

/// Does it. `Acquire`, `Release` and `Ping` are about the session and not about the root: they never come here.
pub fn perform(root: &Root, op: Op, prober: &dyn Prober, feed: &mut dyn Feed) -> Result<Reply, HostError> {
    if let Some(epoch) = op.epoch() {
        root.record()?.fence(epoch)?;
    }
    // Half converted, it is not what it seems: a plan would ask for data that are only on their way.
    if matches!(op, Op::Observe(_)) || op.epoch().is_some() && !matches!(op, Op::Convert { .. }) {
        convert::guard(root)?;
    }
    match op {
        Op::Observe(what) => Ok(Reply::State(Box::new(observe(root, &what)?))),
        Op::Missing { listing, keep, .. } => stage::missing(root, listing, keep, feed),
        Op::Upload { tree, files, .. } => {
            stage::upload(root, &tree, &files, feed).map(|bytes| Reply::Uploaded { bytes })
        }
        Op::Fetch { place, digest, commit, terms, keep, .. } => {
            fetch::fetch(root, (&place, commit.as_ref()), (digest, &terms), keep, feed)
        }
        Op::Extract { name, release, tree, .. } => stage::extract(root, &name, release, &tree),
        Op::Link { name, shared, env_file, required_env, .. } => {
            link::link(root, &name, &shared, env_file.as_deref(), &required_env).map(|()| Reply::Done)
        }
        Op::Pull { name, pull, .. } => compose::pull(root, &name, &pull, &|| feed.is_gone()).map(Reply::Pulled),
        Op::Lack { name, pull, .. } => compose::lack(root, &name, &pull).map(Reply::Lacking),
        Op::Load { load, .. } => compose::load(root, &load, &|| feed.is_gone()).map(Reply::Loaded),
        Op::Render { files, .. } => render::render(root, &files).map(Reply::Rendered),
        Op::Compare { files } => render::compare(root, &files).map(Reply::Rendered),
        Op::Gate { epoch, name, gate, command } => {
            hook::gate(root, epoch, &name, &gate, command.as_ref()).map(Reply::Gate)
        }
        Op::Hook { epoch, cwd, command, means } => hook::hook(root, epoch, &cwd, &command, means).map(Reply::Command),
        Op::Reopen { .. } => switch::reopen(root).map(|()| Reply::Done),
        Op::Seal { name, shared, mutable, .. } => seal::seal(root, &name, &shared, &mutable),
        Op::Adopt { name, release, shared, mutable, .. } => seal::adopt(root, &name, release, &shared, &mutable),
        Op::Verify { name, .. } => seal::verify(root, &name).map(|()| Reply::Done),
        Op::Switch { probation, .. } => switch::switch(root, probation).map(|told| Reply::Switched { told }),
        Op::Activate { epoch, activation, deed } => {
            activate::perform(root, epoch, &activation, deed).map(Reply::Activated)
        }
        Op::Drain { epoch, activation, lease } => units::drain(root, epoch, &activation, lease).map(Reply::Activated),
        Op::Confirm { epoch, confirmed } => switch::confirm(root, epoch, confirmed).map(|()| Reply::Confirmed),
        Op::Watched { epoch, watched } => root.update(|record| {
            record.watched(epoch, watched)?;
            Ok(Reply::Done)
        }),
        Op::Return { epoch, verdict } => switch::give_back(root, epoch, verdict).map(|to| Reply::Returned { to }),
        Op::Hold { epoch, verdict } => switch::hold(root, epoch, verdict).map(|()| Reply::Done),
        Op::Prune { keep, .. } => {
            let Pruned { removed, kept_in_use, left } = prune::old(root, keep)?;
            Ok(Reply::Pruned { removed, kept_in_use, left })
        }
        Op::Retry { epoch, sha, migration, done } => {
            hook::retry(root, epoch, &sha, migration, &done).map(|lifted| Reply::Retried { lifted })
        }
        Op::Probe { cwd, probe, command, secret, timeout } => {
            let dir = directory(root, &cwd)?;
            Ok(Reply::Attempt(match &probe {
                Probe::Run { .. } => attempt(&dir, command, timeout),
                _ => prober.probe(&probe, &dir, secret.as_ref(), timeout),
            }))
        }
        Op::Measure { cwd, source, command, secret, timeout } => {
            let dir = directory(root, &cwd)?;
            Ok(Reply::Figure(match &source {
                MetricSource::Run { .. } => figure(&dir, command, timeout),
                _ => prober.measure(&source, &dir, secret.as_ref(), timeout),
            }))
        }
        Op::Provision(what) => Ok(Reply::Provisioned(provision::provision(root, &what)?)),
        Op::Trial { trial, .. } => trial::perform(root, &trial),
        Op::Survey(ask) => Ok(Reply::Surveyed(Box::new(convert::survey(root, &ask)?.told()))),
        Op::Convert { convert: what, .. } => convert::perform(root, &what),
        Op::Examine(what) => Ok(Reply::Examined(Box::new(examine::examine(root, &what, convert::guard(root).err())?))),
        Op::Backup { work, .. } => backup::work(root, *work, &|| feed.is_gone()),
        Op::Backups(ask) => backup::ask(root, *ask, &|| feed.is_gone()),
        Op::Quarantine { entry, .. } => note(root, |record| record.quarantine(entry)),
        Op::Acquit { epoch, case, suspect } => root.update(|record| {
            record.fence(epoch)?;
            record.suspect(&case, suspect);
            Ok(Reply::Done)
        }),
        Op::SetStopped { stopped, .. } => note(root, |record| record.stopped = stopped),
        Op::Recount { who, have, to } => recount::recount(root, who, have, to).map(|()| Reply::Done),
        Op::Claim { who, machine, releases } => {
            claim::claim(root, who, machine.as_ref(), &releases).map(|()| Reply::Done)
        }
        Op::Repin { who, machine } => repin::repin(root, who, machine).map(|()| Reply::Done),
        Op::Cancel { by, now: at_once, only } => managed_note(root, |record| record.cancel(by, now(), at_once, only)),
        Op::Sample { healthy, every } => match current(root)?.release() {
            Some(live) => managed_note(root, |record| record.sample(live, healthy, every, now())),
            None => Ok(Reply::Done),
        },
        Op::Acquire { .. } | Op::Release { .. } | Op::Ping => {
            Err(HostError::Connection("this request is about a session, and there is none in process".into()))
        }
    }
}

fn note(root: &Root, change: impl FnOnce(&mut Record)) -> Result<Reply, HostError> {
    root.update(|record| {
        change(record);
        Ok(Reply::Done)
    })
}

/// Where `soll` has never acted there is nothing to note, and no directory is made for it.
fn managed_note(root: &Root, change: impl FnOnce(&mut Record)) -> Result<Reply, HostError> {
    if root.is_managed() { note(root, change) } else { Ok(Reply::Done) }
}

fn limited(command: Option<Command>, timeout: Duration) -> Result<Command, String> {
    let command = command.ok_or("it is a command, but no command came with it")?;
    Ok(Command { timeout: command.timeout.min(timeout), ..command })
}

fn attempt(dir: &Path, command: Option<Command>, timeout: Duration) -> Attempt {
    let (at, started) = (now(), Instant::now());
    let ran = limited(command, timeout)
        .and_then(|run| command::run(&compose::equipped(&run, dir), dir).map_err(|error| error.to_string()));
    let (verdict, evidence) = match ran {
        Ok(result) if result.ok() => (Verdict::Pass, result.evidence()),
        Ok(result) => (Verdict::Fail, result.evidence()),
        Err(why) => (Verdict::Inconclusive, why),
    };
    Attempt { at, verdict, evidence, millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) }
}

fn figure(dir: &Path, command: Option<Command>, timeout: Duration) -> Result<f64, String> {
    let run = limited(command, timeout)?;
    let result = command::run(&compose::equipped(&run, dir), dir).map_err(|error| error.to_string())?;
    if !result.ok() {
        return Err(result.evidence());
    }
    let last = result.output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("").trim();
    match last.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("`{}` printed no number in its last line: `{last}`", run.name)),
    }
}
