//! Projects of containers: what a release of one needs is brought before it is sealed, and what `current` holds is what runs.
//!
//! A release says all of it in one file ([`crate::model::compose::RESOLVED`]), so that a way back needs no registry, no
//! controller and no state file. What the engine says of containers is a verdict. That there is no engine, no program, no
//! registry or no room is an error.

mod archive;
mod brought;
mod container;
mod engine;
mod enter;
mod facts;
mod heal;
mod held;
mod holds;
mod images;
mod load;
mod mounts;
mod observe;
mod ports;
mod program;
mod prune;
mod resolve;
mod up;
mod volumes;
mod watch;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::container::{Container, Inspected};
use self::engine::Engine;
pub use self::enter::enter;
pub use self::facts::facts;
pub use self::held::Held;
use self::images::{Before, From, Images};
pub use self::load::load;
use self::mounts::Mounts;
pub use self::observe::services;
use self::program::Program;
pub use self::prune::after as prune;
use self::resolve::Draft;
use self::up::{Stop, Up};
use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at, check};
use crate::host::disk::command::hidden;
use crate::host::disk::root::{Root, json, now};
use crate::host::release::observe::{current, current_release};
use crate::host::wire::HostError;
use crate::host::wire::activate::{Activated, Deed, UnitFailure};
use crate::host::wire::compose::{Lacking, Pull, Pulled};
use crate::model::activation::Activation;
use crate::model::compose::{Project, RESOLVED};
use crate::model::ids::ReleaseName;
use crate::model::record::{Command, Refusal};

/// For so long an engine may be behind what its program says was stopped.
const LAG: Duration = Duration::from_secs(10);
/// Reading a project takes no longer, or its program hangs.
const CONFIG: Duration = Duration::from_secs(120);

/// Resolves the project of a release that is not sealed, and brings the images that it needs. `gone`: nobody waits for it.
pub fn pull(root: &Root, name: &ReleaseName, what: &Pull, gone: &dyn Fn() -> bool) -> Result<Pulled, HostError> {
    is_open(root, name)?;
    let (engine, dir, project) = (Engine::here()?, root.release(name), &what.project);
    let (mut draft, mut warnings) = draft(&dir, what)?;
    let mut mounts = Mounts::new(root, &dir)?;
    draft.mounts(|who, source, writable| mounts.place(who, source, writable))?;
    warnings.append(&mut ports::taken(&engine, &project.name, &draft.ports())?);
    volumes::stay(root, &draft, project)?;
    let before = before(root)?;
    let from = what.brought.as_ref().map_or(From::Registries(&what.registries), From::Controller);
    let note = |name: &str| brought::note(root, name);
    let mut images = Images::new(&engine, from, &before, gone, &note);
    let (mut pinned, mut pulled) = (BTreeMap::new(), Vec::new());
    for service in draft.services.keys() {
        let (image, one) = images.bring(service, &draft.image(service))?;
        pinned.insert(service.clone(), image);
        pulled.push(one);
    }
    warnings.append(&mut images.warnings);
    warnings.append(&mut mounts.warnings);
    for one in pinned.values() {
        holds::hold(root, &engine, one)?;
    }
    fault!("host.compose.after-pull");
    let document = draft.finish(project, pinned, mounts.used);
    write(root, name, &zeroize::Zeroizing::new(json(&document)?))?;
    fault!("host.compose.after-resolved");
    if let Err(error) = brought::settle(root, &engine) {
        tracing::warn!(root = %root.path().display(), %error, "images of a release that was given up could not be removed");
    }
    Ok(Pulled { images: pulled, warnings })
}

/// What of the images of a release that is not sealed this host lacks, so that somebody else brings it. Reads only.
pub fn lack(root: &Root, name: &ReleaseName, what: &Pull) -> Result<Lacking, HostError> {
    is_open(root, name)?;
    let (engine, (draft, _)) = (Engine::here()?, draft(&root.release(name), what)?);
    let references: BTreeSet<String> = draft.services.keys().map(|service| draft.image(service)).collect();
    let changed = what.project.images.values().map(String::as_str).collect();
    let images = images::lacking(&engine, &before(root)?, &references, &changed)?;
    let chains = if images.is_empty() { BTreeSet::new() } else { engine.chains()? };
    Ok(Lacking { platform: engine.platform()?, images, chains })
}

/// It can still change.
fn is_open(root: &Root, name: &ReleaseName) -> Result<(), HostError> {
    let record = root.record()?;
    let release = record.releases.get(name).ok_or_else(|| Refusal::NoSuchRelease(name.clone()))?;
    if release.sealed {
        let text = format!("release {name} is sealed: its project does not change any more, stage the release anew");
        return Err(HostError::Precondition(text));
    }
    Ok(())
}

/// What the program says of the files of a release.
fn draft(dir: &Path, what: &Pull) -> Result<(Draft, Vec<String>), HostError> {
    let (program, project) = (Program::here()?, &what.project);
    let paths = project.files.iter().chain(&project.env_file).chain(Some(&project.directory));
    paths.filter(|path| !path.is_empty()).try_for_each(|path| check(path))?;
    let env_file = project.env_file.as_ref().map(|file| dir.join(file).display().to_string());
    let mut words = vec!["-p", project.name.as_str()];
    words.extend(project.files.iter().flat_map(|file| ["-f", file.as_str()]));
    words.extend(env_file.iter().flat_map(|file| ["--env-file", file.as_str()]));
    words.extend(project.profiles.iter().flat_map(|profile| ["--profile", profile.as_str()]));
    words.push("config");
    if !program.is_first() {
        words.extend(["--format", "json"]);
    }
    let done = program.run(&words, &dir.join(&project.directory), &what.variables, None, CONFIG, &mut || None)?;
    let said = hidden(done.said, &what.hides);
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let no = |why: &str| HostError::Precondition(format!("the project {} is refused: {why}", refused_in(project)));
    if done.late {
        return Err(HostError::Io(format!("`{} config` did not end within {CONFIG:?}", program.words())));
    }
    if !done.ok {
        let why: Vec<&str> = lines.collect();
        return Err(no(&format!("`{} config` says: {}", program.words(), why.join(" "))));
    }
    let warnings = lines.filter_map(warning).collect();
    let draft = resolve::read(&done.output).and_then(|document| Draft::of(document, project));
    Ok((draft.map_err(|why| no(&hidden(why, &what.hides)))?, warnings))
}

/// `shop (compose.yml, compose.production.yml)`.
fn refused_in(project: &Project) -> String {
    let files = if project.files.is_empty() { "its file".to_owned() } else { project.files.join(", ") };
    format!("{} ({files})", project.name)
}

/// `WARNING: …` of the first generation, `time="…" level=warning msg="…"` of the second one.
fn warning(line: &str) -> Option<String> {
    let second = || line.split_once("level=warning msg=").map(|(_, text)| text.trim_matches('"').replace("\\\"", "\""));
    line.strip_prefix("WARNING: ").map(str::to_owned).or_else(second)
}

/// What references mean in the release that is live.
fn before(root: &Root) -> Result<Before, HostError> {
    let Some(live) = current(root)?.release().cloned() else { return Ok(Before::new()) };
    // One that cannot be read pins nothing: what it ran is still here, by its digest.
    let held = Held::of(root, &live).ok().flatten();
    let images = held.into_iter().flat_map(|held| held.resolved.images.into_values());
    Ok(images.map(|one| (one.reference.clone(), one)).collect())
}

/// Readable by the agent alone: values of the environment are in it.
fn write(root: &Root, name: &ReleaseName, bytes: &[u8]) -> Result<(), HostError> {
    let dir = Dir::open(&root.releases())?.sub(name.as_str())?;
    let temp = format!(".{RESOLVED}.tmp");
    dir.remove(&temp)?;
    let mut file = dir.create(&temp, 0o600)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at("write", &dir.path().join(RESOLVED)))?;
    dir.rename(&temp, RESOLVED)?;
    dir.sync()
}

/// Makes the project of `current` run, asks whether that could be done, or ends it. None of it is about what it was told before.
pub fn perform(root: &Root, activation: &Activation, deed: Deed, stop: Stop<'_>) -> Result<Activated, HostError> {
    let done = |told: Vec<String>| Ok(Activated { told, failed: None });
    let Some(project) = &activation.project else { return done(Vec::new()) };
    if deed == Deed::Look {
        Engine::here()?;
        Program::here()?;
        return done(Vec::new());
    }
    let live = current_release(root)?;
    match Held::of(root, &live)? {
        Some(held) if deed == Deed::Stop => halt(root, activation, &held),
        Some(held) => Up::new(root, activation, held, stop)?.run(),
        None if deed == Deed::Restart => Err(HostError::Precondition(format!(
            "release {live} holds no {RESOLVED}, so that there is nothing to run of {project}: stage it anew"
        ))),
        // It was not ours when it was made.
        None => done(vec![format!("release {live} holds no project: the containers of {project} stay as they are")]),
    }
}

fn halt(root: &Root, activation: &Activation, held: &Held) -> Result<Activated, HostError> {
    let engine = Engine::here()?;
    let program = Program::here()?.on(&engine);
    let project = &held.resolved.project;
    let done = up::call(root, &program, held, &["stop"], activation.limit(), &mut || None)?;
    let running = || -> Result<Option<Container>, HostError> {
        let ours = |one: &Container| one.digest().is_some() && matches!(one.state.as_str(), "running" | "restarting");
        Ok(engine.containers(Some(project))?.into_iter().find(ours))
    };
    // An engine with much to do says for a moment that a container runs which has ended.
    let begun = Instant::now();
    let mut runs = running()?;
    while runs.is_some() && done.ok && begun.elapsed() < LAG {
        std::thread::sleep(Duration::from_millis(100));
        runs = running()?;
    }
    match runs {
        None => Ok(Activated { told: vec![format!("the project {project} is stopped")], failed: None }),
        Some(one) => {
            let said = hidden(done.said, &activation.hides);
            let why = format!("it does not stop: {}", said.lines().last().unwrap_or("nothing is said"));
            let failed = UnitFailure { unit: one.service().to_owned(), why, journal: String::new() };
            Ok(Activated { told: Vec::new(), failed: Some(failed) })
        }
    }
}

/// A command that runs in the directory of a release with a project finds that as SOLL_COMPOSE: the words that call the program
/// on exactly what the release holds.
pub fn equipped<'a>(command: &'a Command, dir: &Path) -> Cow<'a, Command> {
    let file = dir.join(RESOLVED);
    if !file.is_file() {
        return Cow::Borrowed(command);
    }
    // Without a program the command says so by itself, where it needs one.
    let Ok(mut program) = Program::here() else { return Cow::Borrowed(command) };
    if program.is_first()
        && let Ok(engine) = Engine::here()
    {
        program = program.on(&engine);
    }
    let Some(project) = held::project(&file) else { return Cow::Borrowed(command) };
    let mut command = command.clone();
    let words = format!("{} -p {project} -f {}", program.words(), file.display());
    command.env.insert("SOLL_COMPOSE".to_owned(), words);
    command.env.extend(program.variables().map(|(name, value)| (name.to_owned(), value.to_owned())));
    command.env.extend(std::env::var("DOCKER_HOST").ok().map(|host| ("DOCKER_HOST".to_owned(), host)));
    Cow::Owned(command)
}

/// For how long a container has been the same process, by the clock that its engine shares.
fn started(seen: &Inspected) -> Duration {
    let since = seen.state.started_at.parse::<Timestamp>().unwrap_or_else(|_| now());
    Duration::try_from(now().duration_since(since)).unwrap_or_default()
}
