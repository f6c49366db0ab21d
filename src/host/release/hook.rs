//! Gates and hooks: the questions and the configured commands of a deployment, in the directory where they belong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::fault;
use crate::host::disk::beneath::check;
use crate::host::disk::command;
use crate::host::disk::root::{Root, now};
use crate::host::release::compose;
use crate::host::wire::{CommandResult, CommandRole, Cwd, Exit, GateResult, HostError};
use crate::model::activation::Activation;
use crate::model::desired::{Gate, GateTest};
use crate::model::ids::{Epoch, ReleaseName, Sha};
use crate::model::record::{Closed, Command, Migration, Quarantine, QuarantineKey, Refusal};

/// Asks one gate about a release that is not live yet.
pub fn gate(
    root: &Root,
    epoch: Epoch,
    name: &ReleaseName,
    gate: &Gate,
    run: Option<&Command>,
) -> Result<GateResult, HostError> {
    gate_in(&directory(root, &Cwd::Release(name.clone()))?, gate, run, &|run, dir| stoppable(root, epoch, run, dir))
}

/// The same about any directory that holds a release, with a way to run the command of a gate.
pub fn gate_in(
    dir: &Path,
    gate: &Gate,
    run: Option<&Command>,
    how: &dyn Fn(&Command, &Path) -> Result<CommandResult, HostError>,
) -> Result<GateResult, HostError> {
    let (path, kind) = match &gate.test {
        GateTest::File(path) => (path, "file"),
        GateTest::Dir(path) => (path, "directory"),
        GateTest::Run(_) => {
            let run = run.ok_or_else(|| {
                HostError::Precondition(format!("gate `{}` is a command, but no command came with it", gate.name))
            })?;
            let result = how(&compose::equipped(run, dir), dir)?;
            return Ok(GateResult { pass: result.ok(), evidence: result.evidence() });
        }
    };
    check(path)?;
    // Followed: a gate may ask for what a link to `shared/` leads to.
    let (pass, evidence) = match fs::metadata(dir.join(path)) {
        Ok(meta) if kind == "file" && meta.is_file() || kind == "directory" && meta.is_dir() => {
            (true, format!("{kind} `{path}` is there"))
        }
        Ok(_) => (false, format!("`{path}` is there, but it is no {kind}")),
        Err(error) => (false, format!("{kind} `{path}`: {error}")),
    };
    Ok(GateResult { pass, evidence })
}

/// Runs a configured command and notes what it means.
pub fn hook(
    root: &Root,
    epoch: Epoch,
    cwd: &Cwd,
    run: &Command,
    means: CommandRole,
) -> Result<CommandResult, HostError> {
    let dir = directory(root, cwd)?;
    let run = &*compose::equipped(run, &dir);
    match means {
        CommandRole::Work => {
            // What hooks keep from one release to the next (`{cache}`).
            if run.env.contains_key("SOLL_CACHE") {
                root.own_dir("")?.make_missing("cache", 0o700)?;
            }
            stoppable(root, epoch, run, &dir)
        }
        CommandRole::Back => command::run(run, &dir),
        CommandRole::Migration { key, case } => migrate(root, epoch, &dir, run, &key, case),
        CommandRole::Close { open, lease } => {
            root.note_heard(Duration::ZERO)?;
            root.update(|record| {
                Ok(record.close(Closed { epoch, at: now(), lease, open, start: Activation::default() })?)
            })?;
            fault!("host.hook.after-closed");
            stoppable(root, epoch, run, &dir)
        }
        CommandRole::Open => {
            let result = command::run(run, &dir)?;
            if result.ok() {
                root.update(|record| {
                    record.opened(&run.name);
                    Ok(())
                })?;
            }
            Ok(result)
        }
    }
}

/// Runs a command until it ends, or a person wants what this run has begun to be stopped at once.
fn stoppable(root: &Root, epoch: Epoch, run: &Command, dir: &Path) -> Result<CommandResult, HostError> {
    let (began, mut by) = (now(), None);
    let mut stop = || {
        by = root.record().ok().and_then(|record| record.stops(epoch, began).map(str::to_owned));
        by.is_some()
    };
    let result = command::run_until(run, dir, &mut stop)?;
    match result.exit {
        Exit::Stopped => {
            let by = by.unwrap_or_else(|| "a person".to_owned());
            Err(HostError::Stopped(format!("`{}` was {}, as {by} wanted", run.name, result.evidence())))
        }
        _ => Ok(result),
    }
}

/// A migration is noted as begun before, and with its verdict after (law 5). One that was killed gave no verdict: it
/// stays begun, which is unknown. One that said no is not run again by itself, whoever asked for it lives or not (law 4).
fn migrate(
    root: &Root,
    epoch: Epoch,
    dir: &Path,
    run: &Command,
    key: &str,
    case: Option<QuarantineKey>,
) -> Result<CommandResult, HostError> {
    root.update(|record| {
        record.fence(epoch)?;
        if record.migrations.get(key) == Some(&Migration::Begun) {
            return Err(HostError::Precondition(format!(
                "the migration `{}` was begun here and not seen to finish. Look at the database, then say which it is: \
                 `soll retry ENV --migration done` or `--migration again`",
                run.name
            )));
        }
        record.migration(key, Migration::Begun);
        Ok(())
    })?;
    fault!("host.hook.after-begun");
    let result = stoppable(root, epoch, run, dir);
    fault!("host.hook.after-run");
    let verdict = match &result {
        // Nobody knows what it did until then.
        Err(HostError::Stopped(_)) => Migration::Begun,
        Ok(CommandResult { exit: Exit::Code(0), .. }) => Migration::Done,
        Ok(CommandResult { exit: Exit::Code(_), .. }) => Migration::Failed,
        Ok(_) => Migration::Begun,
        // It was never started.
        Err(_) => Migration::Failed,
    };
    let said_no = result.as_ref().ok().filter(|_| verdict == Migration::Failed);
    root.update(|record| {
        record.migration(key, verdict);
        if let (Some(key), Some(no)) = (case, said_no) {
            let reason = format!("migrate hook `{}` says no: {}", run.name, no.evidence());
            record.quarantine(Quarantine { key, reason, at: now(), verdict: true, alone: false });
        }
        Ok(())
    })?;
    fault!("host.hook.after-verdict");
    result
}

/// A person's word on the migrations of a commit that were begun here or said no, or were done elsewhere, and on its
/// verdicts. Returns how many of these were lifted.
pub fn retry(
    root: &Root,
    epoch: Epoch,
    sha: &Sha,
    migration: Option<Migration>,
    done: &[String],
) -> Result<u32, HostError> {
    let ours = format!("{sha}/");
    root.update(|record| {
        record.fence(epoch)?;
        let lifted = record.retry(sha);
        if let Some(word) = migration {
            record.settle(sha, word);
        }
        for key in done.iter().filter(|key| key.starts_with(&ours)) {
            record.migration(key, Migration::Done);
        }
        Ok(u32::try_from(lifted).unwrap_or(u32::MAX))
    })
}

/// Where a command runs.
pub fn directory(root: &Root, cwd: &Cwd) -> Result<PathBuf, HostError> {
    match cwd {
        Cwd::Release(name) => {
            let dir = root.release(name);
            if !fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir()) {
                return Err(Refusal::NoSuchRelease(name.clone()).into());
            }
            Ok(dir)
        }
        Cwd::Current if root.current().is_dir() => Ok(root.current()),
        Cwd::Current => Ok(root.path().to_owned()),
    }
}
