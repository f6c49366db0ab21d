//! Makes the release that `current` leads to what runs (I6, I7, I10): units restart in their order, and count as started when
//! they have stayed the same for a while and run from that release.
//!
//! What systemd says of a unit that was started is a verdict. That there is no systemd, no such unit, or no right to restart it
//! is an error: it says nothing about the release.

pub mod journal;
pub mod process;
pub mod seen;
mod settle;
pub mod systemctl;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::journal::Since;
use self::process::Runs;
use self::settle::Watch;
use self::systemctl::{Done, Seen, Systemd};
use crate::fault::fault;
use crate::host::disk::root::{Root, now};
use crate::host::release::observe::current_release;
use crate::host::release::settled::Look;
use crate::host::wire::HostError;
use crate::host::wire::activate::{Activated, Deed, UnitFailure};
use crate::model::activation::{Activation, Unit};
use crate::model::ids::Epoch;
use crate::model::record::Closed;

/// Between two looks at a unit.
const TICK: Duration = Duration::from_millis(200);

/// Does it. `stop`: who wants it to end before its time, if anybody does.
pub fn perform(
    root: &Root,
    activation: &Activation,
    deed: Deed,
    stop: &mut dyn FnMut() -> Option<String>,
) -> Result<Activated, HostError> {
    match deed {
        Deed::Look => look(root, activation),
        Deed::Restart | Deed::Start => run(root, activation, deed == Deed::Start, stop),
        Deed::Back => back(root, activation),
        Deed::Stop => halt(activation),
    }
}

/// Stops units before a migration, each when it has finished what it is at. It is noted before, so that whoever finds them
/// stopped starts them again.
pub fn drain(root: &Root, epoch: Epoch, activation: &Activation, lease: Duration) -> Result<Activated, HostError> {
    root.note_heard(Duration::ZERO)?;
    let closed = Closed { epoch, at: now(), lease, open: Vec::new(), start: activation.clone() };
    root.update(|record| Ok(record.drain(closed)?))?;
    fault!("host.drain.after-record");
    let done = halt(activation)?;
    fault!("host.drain.after-units");
    Ok(done)
}

/// Starts what was stopped before a migration, with what `current` leads to, and waits until it has settled.
pub fn undrain(root: &Root, activation: &Activation) -> Result<Activated, HostError> {
    let done = run(root, activation, true, &mut || None)?;
    if done.failed.is_none() {
        running(root, activation)?;
    }
    Ok(done)
}

/// Notes that units run which may have been stopped before a migration.
pub fn running(root: &Root, activation: &Activation) -> Result<(), HostError> {
    if root.record()?.closed.is_none_or(|closed| closed.start.is_empty()) {
        return Ok(());
    }
    root.update(|record| {
        record.started(&activation.units);
        Ok(())
    })
}

/// What only the release that failed had stops; the others restart with what `current` is back at.
fn back(root: &Root, activation: &Activation) -> Result<Activated, HostError> {
    let gone = Activation { units: activation.stop.clone(), ..Activation::default() };
    let halted = halt(&gone)?;
    if halted.failed.is_some() {
        return Ok(halted);
    }
    let mut done = run(root, activation, false, &mut || None)?;
    done.told.splice(0..0, halted.told);
    Ok(done)
}

/// Whether all of them are there, may be restarted, and would run what `current` leads to.
fn look(root: &Root, activation: &Activation) -> Result<Activated, HostError> {
    let systemd = Systemd::here();
    for unit in &activation.units {
        let seen = there(&systemd, unit)?;
        if let Some(path) = process::pinned(root, &seen) {
            return Err(HostError::Precondition(format!(
                "{} on {} names {path}, and would run that release for ever: let WorkingDirectory and ExecStart in {} lead \
                 through {}, then run `systemctl{} daemon-reload` there",
                unit.name,
                systemd.host,
                seen.fragment,
                root.current().display(),
                unit.manager()
            )));
        }
        if !systemd.lingers(unit) {
            return Err(HostError::Precondition(format!(
                "{} on {} belongs to the manager of {user}, which ends with the last session of that user; as root: loginctl \
                 enable-linger {user}",
                unit.name,
                systemd.host,
                user = systemd.user
            )));
        }
        systemd.may(unit, &["reset-failed", &unit.name])?;
        systemd.may(unit, &["restart", &unit.name])?;
    }
    Ok(Activated { told: Vec::new(), failed: None })
}

/// The unit, where it is one that can be started.
fn there(systemd: &Systemd, unit: &Unit) -> Result<Seen, HostError> {
    let seen = systemd.show(unit)?;
    let (name, host, user) = (&unit.name, &systemd.host, unit.manager());
    match seen.load.as_str() {
        "loaded" => Ok(seen),
        "not-found" => Err(HostError::Precondition(format!(
            "there is no unit {name} on {host}: install its file there and run `systemctl{user} daemon-reload`, or correct \
             `unit` in the state file"
        ))),
        "masked" => Err(HostError::Precondition(format!(
            "the unit {name} is masked on {host}, so that nobody starts it: `systemctl{user} unmask {name}` there"
        ))),
        other => Err(HostError::Precondition(format!(
            "systemd cannot read the unit {name} on {host} ({other}): {}. `systemd-analyze{user} verify {name}` there says more",
            seen.load_error
        ))),
    }
}

/// One unit that was started, and how it is watched.
struct Started<'a> {
    unit: &'a Unit,
    watch: Watch,
    /// When it was told to start: what it wrote from then on explains a failure.
    since: Timestamp,
}

/// Restarts all of them, one after the other, and waits until all have settled. `start`: what runs is left running.
fn run(
    root: &Root,
    activation: &Activation,
    start: bool,
    stop: &mut dyn FnMut() -> Option<String>,
) -> Result<Activated, HostError> {
    let systemd = Systemd::here();
    let mut work = Work { systemd, activation, began: Instant::now(), stop };
    let mut started: Vec<Started<'_>> = Vec::new();
    for unit in activation.in_order() {
        fault!("host.activate.before-unit");
        let failed = match work.start(unit, start)? {
            Ok(one) => {
                started.push(one);
                continue;
            }
            Err(failed) => failed,
        };
        return Ok(Activated { told: Vec::new(), failed: Some(failed) });
    }
    fault!("host.activate.after-units");
    work.settle(root, started)
}

struct Work<'a> {
    systemd: Systemd,
    activation: &'a Activation,
    began: Instant,
    stop: &'a mut dyn FnMut() -> Option<String>,
}

type Verdict<T> = Result<Result<T, UnitFailure>, HostError>;

impl<'a> Work<'a> {
    /// Starts one unit anew, and waits until systemd has done that.
    fn start(&mut self, unit: &'a Unit, start: bool) -> Verdict<Started<'a>> {
        let mut seen = there(&self.systemd, unit)?;
        if seen.stale {
            let done = self.systemd.do_now(unit, &["daemon-reload"])?;
            if !done.ok {
                return Err(self.failed(unit, "daemon-reload", &done));
            }
            seen = there(&self.systemd, unit)?;
        }
        let runs = seen.active == "active";
        // Kept, its clients wait in the queue of the kernel while the service restarts; closed, they would be refused.
        if runs && (start || unit.is_socket()) {
            return Ok(Ok(Started { unit, watch: Watch::of_kept(&seen), since: now() }));
        }
        if unit.is_socket() {
            self.make_way(&seen)?;
        }
        let reset = self.systemd.do_now(unit, &["reset-failed", &unit.name])?;
        // One that nobody uses is not kept in memory, and then it has nothing to forget.
        if !reset.ok && !reset.said.contains("not loaded") {
            return Err(self.failed(unit, "reset-failed", &reset));
        }
        let before = self.systemd.show(unit)?;
        let mut one = Started { unit, watch: Watch::of_start(&before), since: now() };
        let verb = ["restart", unit.name.as_str()];
        let mut running = self.systemd.start(&self.systemd.words(unit, &verb))?;
        let done = loop {
            if let Some(done) = running.ended()? {
                break done;
            }
            if let Some(by) = (self.stop)() {
                running.stop();
                return Err(HostError::Stopped(format!("the start of {} was stopped, as {by} wanted", unit.name)));
            }
            let seen = self.systemd.show(unit)?;
            let look = one.watch.look(&seen, self.began.elapsed(), self.activation.settle, false);
            if let (Look::Waits(why), true) = (look, self.is_late()) {
                running.stop();
                return Ok(Err(self.late(&one, &why)));
            }
            std::thread::sleep(TICK);
        };
        self.systemd.refused(unit, &verb, &done)?;
        let seen = self.systemd.show(unit)?;
        match one.watch.look(&seen, self.began.elapsed(), self.activation.settle, true) {
            Look::Failed(why) => Ok(Err(self.verdict(&one, why))),
            Look::Waits(_) | Look::Settled if done.ok => Ok(Ok(one)),
            Look::Waits(_) | Look::Settled => Err(self.failed(unit, "restart", &done)),
        }
    }

    /// systemd opens no socket whose service runs without it: the one that is about to restart anyway stops first.
    fn make_way(&self, socket: &Seen) -> Result<(), HostError> {
        for unit in self.activation.units.iter().filter(|unit| socket.triggers.contains(&unit.name)) {
            if self.systemd.show(unit)?.active == "active" {
                let words = self.systemd.words(unit, &["stop", &unit.name]);
                let done = self.systemd.run(&words, self.activation.limit())?;
                self.systemd.refused(unit, &["stop", &unit.name], &done)?;
            }
        }
        Ok(())
    }

    /// Waits until all of them have settled, and looks from where they run.
    fn settle(&mut self, root: &Root, mut started: Vec<Started<'_>>) -> Result<Activated, HostError> {
        loop {
            if let Some(by) = (self.stop)() {
                return Err(HostError::Stopped(format!("the wait for its units was stopped, as {by} wanted")));
            }
            let mut told = Vec::new();
            // One that has settled is looked at until all have: another one may take it down.
            for one in &mut started {
                let seen = self.systemd.show(one.unit)?;
                let placed = match one.watch.look(&seen, self.began.elapsed(), self.activation.settle, true) {
                    Look::Failed(why) => return Ok(failed(self.verdict(one, why))),
                    Look::Waits(why) if self.is_late() => return Ok(failed(self.late(one, &why))),
                    Look::Waits(_) => None,
                    Look::Settled => self.place(root, one, &seen)?,
                };
                match placed {
                    Some(Ok(note)) => told.push(note),
                    Some(Err(failure)) => return Ok(failed(failure)),
                    None => {}
                }
            }
            if told.len() == started.len() {
                return Ok(Activated { told, failed: None });
            }
            std::thread::sleep(TICK);
        }
    }

    /// From where a settled unit runs; `None`: its process is another one by now.
    fn place(
        &self,
        root: &Root,
        one: &Started<'_>,
        seen: &Seen,
    ) -> Result<Option<Result<String, UnitFailure>>, HostError> {
        let unit = one.unit;
        if seen.stale {
            return Err(HostError::Precondition(format!(
                "the file of {} on {} was changed while it started, and runs as it was before: run `systemctl{} daemon-reload` \
                 there, then apply again",
                unit.name,
                self.systemd.host,
                unit.manager()
            )));
        }
        let state = settle::state(seen);
        if seen.pid == 0 {
            return Ok(Some(Ok(format!("{unit} is {state}"))));
        }
        let live = current_release(root)?;
        Ok(match process::runs(root, &live, seen) {
            Runs::Here => Some(Ok(format!("{unit} is {state} as process {}, in {live}", seen.pid))),
            Runs::Nowhere => Some(Ok(format!(
                "{unit} is {state} as process {}; nothing of it shows that it runs from {live}",
                seen.pid
            ))),
            Runs::Elsewhere(why) => {
                let why = format!("it is {state}, but does not run the release: {why}");
                Some(Err(self.verdict(one, why)))
            }
            Runs::Gone => None,
        })
    }

    fn is_late(&self) -> bool {
        self.began.elapsed() >= self.activation.limit()
    }

    fn late(&self, one: &Started<'_>, why: &str) -> UnitFailure {
        let limit = humantime::format_duration(self.activation.limit());
        self.verdict(one, format!("it has not settled within {limit}: {why}"))
    }

    fn verdict(&self, one: &Started<'_>, why: String) -> UnitFailure {
        let since = Since { time: one.since, before: one.watch.before().map(str::to_owned) };
        let journal = journal::lines(&self.systemd, one.unit, &since, &self.activation.hides);
        // systemd forgets how a process ended once the next one runs; its line does not.
        let end =
            journal.lines().rfind(|line| line.contains("Main process exited, ")).map(|line| line.trim().to_owned());
        let is_told = why.contains("exit status") || why.contains("signal");
        let why = end.filter(|_| !is_told).map_or(why.clone(), |end| format!("{why}; {end}"));
        UnitFailure { unit: one.unit.to_string(), why, journal }
    }

    fn failed(&self, unit: &Unit, verb: &str, done: &Done) -> HostError {
        HostError::Precondition(format!(
            "`systemctl{manager} {verb}` for {} failed on {}: {}. `systemctl{manager} status {}` there says more",
            unit.name,
            self.systemd.host,
            done.said,
            unit.name,
            manager = unit.manager()
        ))
    }
}

fn failed(failure: UnitFailure) -> Activated {
    Activated { told: Vec::new(), failed: Some(failure) }
}

/// Stops all of them, the last one first.
fn halt(activation: &Activation) -> Result<Activated, HostError> {
    let (systemd, mut told) = (Systemd::here(), Vec::new());
    for unit in activation.in_reverse() {
        let seen = systemd.show(unit)?;
        if matches!(seen.active.as_str(), "inactive" | "failed") && !seen.job {
            continue;
        }
        let verb = ["stop", unit.name.as_str()];
        let done = systemd.run(&systemd.words(unit, &verb), activation.limit())?;
        systemd.refused(unit, &verb, &done)?;
        let seen = systemd.show(unit)?;
        if !done.ok || !matches!(seen.active.as_str(), "inactive" | "failed") {
            let why = format!("it does not stop: {}, {}", settle::state(&seen), done.said);
            return Ok(failed(UnitFailure { unit: unit.to_string(), why, journal: String::new() }));
        }
        // Killed, it has left in the middle what it was at.
        told.push(match seen.result.as_str() {
            "" | "success" => format!("{unit} is stopped"),
            _ => format!("{unit} is stopped, and not as it should: {}", settle::state(&seen)),
        });
    }
    Ok(Activated { told, failed: None })
}
