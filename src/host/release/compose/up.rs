//! Makes the project that `current` holds what runs, with exactly what its release says: nothing is built, no volume is renewed
//! or removed, what a release does not change keeps its containers (I2). Then the verdict is ours, out of what the engine says
//! (I3).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::container::{Container, Inspected};
use super::engine::Engine;
use super::held::Held;
use super::images::is_full;
use super::program::{Done, Program};
use super::watch::Watch;
use super::{heal, started};
use crate::fault::fault;
use crate::host::disk::beneath::at;
use crate::host::disk::command::hidden;
use crate::host::disk::root::Root;
use crate::host::release::settled::Look;
use crate::host::wire::HostError;
use crate::host::wire::activate::{Activated, UnitFailure};
use crate::model::activation::Activation;
use crate::model::compose::Update;

/// Between two looks at the containers.
const TICK: Duration = Duration::from_millis(250);
/// Below `.soll/`.
const LOCK: &str = "compose.lock";
/// So many lines of a container are told.
const LINES: usize = 50;

/// Who may want it to stop, and who that is.
pub type Stop<'a> = &'a mut dyn FnMut() -> Option<String>;

type Verdict<T> = Result<Result<T, UnitFailure>, HostError>;

/// One project on its way up.
pub struct Up<'a> {
    root: &'a Root,
    activation: &'a Activation,
    held: Held,
    engine: Engine,
    program: Program,
    began: Instant,
    stop: Stop<'a>,
}

impl<'a> Up<'a> {
    /// Not begun.
    pub fn new(root: &'a Root, activation: &'a Activation, held: Held, stop: Stop<'a>) -> Result<Up<'a>, HostError> {
        let engine = Engine::here()?;
        let program = Program::here()?.on(&engine);
        Ok(Up { root, activation, held, engine, program, began: Instant::now(), stop })
    }

    /// Does it.
    pub fn run(mut self) -> Result<Activated, HostError> {
        // A program that is still at it would go on with what is healed here.
        drop(turn(self.root, self.activation.limit(), self.stop)?);
        heal::renamed(&self.engine, &self.held.resolved.project)?;
        heal::others(self.root, &self.engine, &self.held)?;
        let before = self.containers()?;
        let kept: BTreeSet<String> = before.iter().map(|container| container.id.clone()).collect();
        let (first, plain): (Vec<_>, Vec<_>) = self
            .held
            .services()
            .map(|(name, wanted)| (name.to_owned(), wanted))
            .partition(|(name, wanted)| *wanted > 0 && self.starts_first(name, &before));
        fault!("host.compose.before-up");
        if let Err(failed) = self.bring(&plain, &[], &kept)? {
            return Ok(verdict(failed));
        }
        for (service, wanted) in &first {
            if let Err(failed) = self.start_first(service, *wanted, &kept)? {
                return Ok(verdict(failed));
            }
        }
        fault!("host.compose.after-up");
        let all: Vec<_> = plain.into_iter().chain(first).collect();
        match self.settle(&all, &kept, &|_| true)? {
            Err(failed) => Ok(verdict(failed)),
            Ok(()) => Ok(Activated { told: self.told(&all, &kept)?, failed: None }),
        }
    }

    /// The containers of the project that stay up.
    fn containers(&self) -> Result<Vec<Container>, HostError> {
        let all = self.engine.containers(Some(&self.held.resolved.project))?;
        Ok(all.into_iter().filter(|one| !one.is_once()).collect())
    }

    /// Old containers of it run, and new ones can run beside them.
    fn starts_first(&self, service: &str, before: &[Container]) -> bool {
        self.held.resolved.update.get(service) == Some(&Update::StartFirst)
            && before.iter().any(|one| one.service() == service && one.state == "running" && !self.is_new(service, one))
    }

    fn is_new(&self, service: &str, container: &Container) -> bool {
        container.digest() == self.held.digests.get(service).map(String::as_str)
    }

    /// Has the program bring these services up.
    fn bring(&mut self, services: &[(String, u32)], more: &[&str], kept: &BTreeSet<String>) -> Verdict<()> {
        if services.is_empty() {
            return Ok(Ok(()));
        }
        let scale: Vec<String> = services.iter().map(|(name, count)| format!("{name}={count}")).collect();
        // What is missing is no reason to ask a registry: a way back pulls nothing.
        let never: &[&str] = if self.program.is_first() { &[] } else { &["--pull", "never"] };
        let mut words = vec!["up", "--detach", "--no-build", "--no-deps"];
        words.extend(never.iter().chain(more));
        words.extend(scale.iter().flat_map(|one| ["--scale", one.as_str()]));
        words.extend(services.iter().map(|(name, _)| name.as_str()));
        let done = self.call(&words)?;
        if let Some(by) = &done.stopped {
            return Err(HostError::Stopped(format!("the project was not brought up in full, as {by} wanted")));
        }
        if done.ok {
            return Ok(Ok(()));
        }
        self.failed(services, &done, kept).map(Err)
    }

    /// Runs the program on what the release holds.
    fn call(&mut self, words: &[&str]) -> Result<Done, HostError> {
        call(self.root, &self.program, &self.held, words, self.activation.limit(), self.stop)
    }

    /// Why the program did not bring it up: a container that does not run, or what the program itself says. Where there was no
    /// engine, no registry or no room it is no verdict, whatever the containers look like by now.
    fn failed(
        &mut self,
        services: &[(String, u32)],
        done: &Done,
        kept: &BTreeSet<String>,
    ) -> Result<UnitFailure, HostError> {
        let said = hidden(done.said.clone(), &self.activation.hides);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let why = lines.last().map_or("it said nothing", |line| *line);
        let accident = |why: &str| {
            let (words, project) = (self.program.words(), &self.held.resolved.project);
            HostError::Io(format!("`{words} up` could not do its work for the project {project}: {why}"))
        };
        if let Some(signal) = done.signal {
            return Err(accident(&format!("it was ended by signal {signal} ({why})")));
        }
        if is_accident(&said) {
            return Err(accident(why));
        }
        for container in self.containers()? {
            let is_ours = services.iter().any(|(name, _)| name == container.service());
            let Some(seen) = self.engine.inspect(&container.id)?.filter(|_| is_ours) else { continue };
            let mut watch = if kept.contains(&seen.id) { Watch::of_kept() } else { Watch::of_new() };
            // It was made, and the engine could not start it.
            if seen.state.status == "created" && !seen.state.error.is_empty() {
                let error = seen.state.error.trim();
                if is_accident(error) {
                    return Err(accident(&hidden(error.to_owned(), &self.activation.hides)));
                }
                return Ok(self.verdict(&container, &seen, format!("it cannot be started: {error}")));
            }
            if let Look::Failed(why) = watch.look(&seen, started(&seen), self.activation.settle) {
                return Ok(self.verdict(&container, &seen, why));
            }
        }
        let why = match done.late {
            true => format!("it was not up within {}: {why}", humantime::format_duration(self.activation.limit())),
            false => format!("`{} up` says no: {why}", self.program.words()),
        };
        let journal = lines[lines.len().saturating_sub(LINES)..].join("\n");
        let of = services
            .iter()
            .map(|(name, _)| name)
            .filter(|name| why.contains(name.as_str()))
            .max_by_key(|name| name.len());
        Ok(UnitFailure { unit: of.unwrap_or(&self.held.resolved.project).clone(), why, journal })
    }

    /// New ones run, and are well, before old ones go. Where they are not, the old ones have never stopped.
    fn start_first(&mut self, service: &str, wanted: u32, kept: &BTreeSet<String>) -> Verdict<()> {
        let mut old = Vec::new();
        let mut there = 0;
        for one in self.containers()?.into_iter().filter(|one| one.service() == service) {
            match (self.is_new(service, &one), one.state.as_str()) {
                (true, _) => there += 1,
                (false, "running") => old.push(one),
                // It holds a number and serves nobody.
                (false, _) => self.engine.remove(&one.id)?,
            }
        }
        let beside = u32::try_from(old.len()).unwrap_or(u32::MAX);
        let only = [(service.to_owned(), beside.saturating_add(wanted.max(there)))];
        let brought = match self.bring(&only, &["--no-recreate"], kept)? {
            Ok(()) => self.settle(&[(service.to_owned(), wanted)], kept, &|one| !old.iter().any(|o| o.id == one.id))?,
            Err(failed) => Err(failed),
        };
        fault!("host.compose.beside");
        if brought.is_err() {
            for one in self.containers()? {
                if one.service() == service && !kept.contains(&one.id) {
                    self.engine.remove(&one.id)?;
                }
            }
            return Ok(brought);
        }
        for one in &old {
            self.engine.stop(&one.id)?;
            self.engine.remove(&one.id)?;
        }
        Ok(Ok(()))
    }

    /// Waits until each container of these services has settled.
    fn settle(
        &mut self,
        services: &[(String, u32)],
        kept: &BTreeSet<String>,
        counts: &dyn Fn(&Container) -> bool,
    ) -> Verdict<()> {
        let mut watches: BTreeMap<String, Watch> = BTreeMap::new();
        loop {
            if let Some(by) = (self.stop)() {
                return Err(HostError::Stopped(format!("the wait for its services was stopped, as {by} wanted")));
            }
            let is_late = self.began.elapsed() >= self.activation.limit();
            let containers: Vec<_> = self.containers()?.into_iter().filter(counts).collect();
            let mut all = true;
            for (service, wanted) in services {
                let of: Vec<_> = containers.iter().filter(|one| one.service() == service).collect();
                if of.len() < usize::try_from(*wanted).unwrap_or(usize::MAX) {
                    let why = format!("only {} of its {wanted} containers are there", of.len());
                    return Ok(Err(UnitFailure { unit: service.clone(), why, journal: String::new() }));
                }
                for container in of {
                    let Some(seen) = self.engine.inspect(&container.id)? else {
                        all = false;
                        continue;
                    };
                    if !self.is_new(service, container) {
                        let why = "it was made from another definition than that of the release, and was not made anew";
                        return Ok(Err(self.verdict(container, &seen, why.to_owned())));
                    }
                    let new = || if kept.contains(&container.id) { Watch::of_kept() } else { Watch::of_new() };
                    let watch = watches.entry(container.id.clone()).or_insert_with(new);
                    match watch.look(&seen, started(&seen), self.activation.settle) {
                        Look::Settled => {}
                        Look::Waits(why) if is_late => {
                            let limit = humantime::format_duration(self.activation.limit());
                            let why = format!("it has not settled within {limit}: {why}");
                            return Ok(Err(self.verdict(container, &seen, why)));
                        }
                        Look::Waits(_) => all = false,
                        Look::Failed(why) => return Ok(Err(self.verdict(container, &seen, why))),
                    }
                }
            }
            if all {
                return Ok(Ok(()));
            }
            std::thread::sleep(TICK);
        }
    }

    /// With the last lines of the container that does not run (I23).
    fn verdict(&self, container: &Container, seen: &Inspected, why: String) -> UnitFailure {
        let log = self.engine.log(seen, LINES).unwrap_or_else(|error| format!("(its lines cannot be read: {error})"));
        let log = if log.trim().is_empty() { "(it wrote nothing)".to_owned() } else { log };
        let unit = format!("{} ({})", container.service(), container.name());
        let hides = &self.activation.hides;
        // The engine and a healthcheck say what they like.
        UnitFailure { unit, why: hidden(why, hides), journal: hidden(log.trim_end().to_owned(), hides) }
    }

    fn told(&self, services: &[(String, u32)], kept: &BTreeSet<String>) -> Result<Vec<String>, HostError> {
        let containers = self.containers()?;
        let mut told = Vec::new();
        let mut same = Vec::new();
        for (service, _) in services {
            let of: Vec<_> = containers.iter().filter(|one| one.service() == service).collect();
            let names: Vec<&str> = of.iter().filter(|one| !kept.contains(&one.id)).map(|one| one.name()).collect();
            match names.is_empty() {
                true => same.push(service.as_str()),
                false => told.push(format!("{service} runs anew ({})", names.join(", "))),
            }
        }
        if !same.is_empty() {
            told.push(format!("as before: {}", same.join(", ")));
        }
        Ok(told)
    }
}

/// Runs the program on what a release holds. One that an agent started and that has outlived it ends first.
pub fn call(
    root: &Root,
    program: &Program,
    held: &Held,
    words: &[&str],
    limit: Duration,
    stop: Stop<'_>,
) -> Result<Done, HostError> {
    let file = held.file.display().to_string();
    let mut all = vec!["-p", held.resolved.project.as_str(), "-f", file.as_str()];
    all.extend(words);
    let dir = held.file.parent().unwrap_or(&held.file).to_owned();
    let turn = turn(root, limit, stop)?;
    program.run(&all, &dir, &BTreeMap::new(), Some(turn), limit, stop)
}

/// The lock that a program holds while it changes containers.
fn turn(root: &Root, limit: Duration, stop: Stop<'_>) -> Result<File, HostError> {
    let (began, flags) = (Instant::now(), OFlags::RDWR | OFlags::CREATE);
    let lost = || HostError::Io(format!("{} cannot be made", root.own(LOCK).display()));
    let file = root.own_file(LOCK, flags)?.ok_or_else(lost)?;
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != Errno::WOULDBLOCK && error != Errno::INTR {
            return Err(at("lock", &root.own(LOCK))(error));
        }
        if let Some(by) = stop() {
            return Err(HostError::Stopped(format!("the wait for an earlier program was stopped, as {by} wanted")));
        }
        if began.elapsed() > limit {
            return Err(HostError::Io(format!(
                "a program that an earlier run started is still changing containers after {limit:?}: see `fuser -v {}`",
                root.own(LOCK).display()
            )));
        }
        std::thread::sleep(TICK);
    }
    Ok(file)
}

fn verdict(failed: UnitFailure) -> Activated {
    Activated { told: Vec::new(), failed: Some(failed) }
}

/// What the program says is about this host, a registry or the program itself, and not about the release.
fn is_accident(said: &str) -> bool {
    const ACCIDENTS: [&str; 17] = [
        // The program itself has crashed.
        "panic: ",
        "goroutine ",
        "toomanyrequests",
        "pull access denied",
        // Somebody has removed it since it was brought, and nothing is pulled here.
        "No such image",
        // Nobody answers, in the words of the second generation and of the first one.
        "Cannot connect to the Docker daemon",
        "Couldn't connect to Docker daemon",
        "error during connect",
        "unexpected EOF",
        "Connection aborted",
        "connection reset by peer",
        "connection refused",
        "dial tcp",
        "i/o timeout",
        "TLS handshake timeout",
        // An engine that is newer than the program.
        "Minimum supported API version",
        // It crashed: one of the first generation is written in Python.
        "Traceback (most recent call last)",
    ];
    is_full(said) || ACCIDENTS.iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accident_is_no_verdict() {
        for said in [
            "ERROR: write /var/lib/docker/tmp: no space left on device",
            "Get https://ghcr.io/v2/: dial tcp: lookup ghcr.io: no such host",
            "toomanyrequests: You have reached your pull rate limit",
            "Error response from daemon: No such image: sha256:12",
            "Error response from daemon: client version 1.44 is too old. Minimum supported API version is 1.52, please upgrade",
            "error during connect: Post \"http://%2Frun%2Fdocker.sock/v1.41/containers/create\": EOF",
            "Traceback (most recent call last):\n  File \"/usr/bin/docker-compose\", line 33\nAttributeError: x",
        ] {
            assert!(is_accident(said), "{said}");
        }
        for said in ["ERROR: for api  Cannot start service api: exec: \"/api\": no such file or directory", ""] {
            assert!(!is_accident(said), "{said}");
        }
    }
}
