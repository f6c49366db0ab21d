//! Moving `current`: forward on probation, confirmed, back (laws 1, 2 and 6). The only module that renames the link.

use std::fs;
use std::os::unix::fs::symlink;

use crate::fault::fault;
use crate::host::disk::beneath::{Dir, at};
use crate::host::disk::command;
use crate::host::disk::kept::Contents;
use crate::host::disk::reserve;
use crate::host::disk::room;
use crate::host::disk::root::{Root, now, remove};
use crate::host::release::activate;
use crate::host::release::compose;
use crate::host::release::hook::directory;
use crate::host::release::observe::{current, current_release, not_a_link};
use crate::host::release::render;
use crate::host::release::units;
use crate::host::wire::activate::Activated;
use crate::host::wire::{Cwd, HostError};
use crate::model::activation::Activation;
use crate::model::ids::{Epoch, ReleaseName};
use crate::model::observed::Current;
use crate::model::record::{Command, Confirmed, Probation, Quarantine, Record, Refusal};
use std::time::Duration;

/// Writes the probation, then moves the link. What can fail is done before the probation is written. Gives what there is to
/// tell of its rendered files.
pub fn switch(root: &Root, probation: Probation) -> Result<Vec<String>, HostError> {
    if current(root)? == Current::NotALink {
        return Err(HostError::Precondition(not_a_link(root)));
    }
    let name = probation.release.clone();
    verify_complete(root, &name)?;
    let prepared = Link::prepare(root, &name)?;
    fault!("host.switch.before-arm");
    root.note_heard(Duration::ZERO)?;
    root.update(|record| Ok(record.arm(probation)?))?;
    fault!("host.switch.after-arm");
    prepared.commit(root)?;
    fault!("host.switch.after-rename");
    let told = render::settle(root, &name)?;
    fault!("host.switch.after-files");
    Ok(told)
}

/// The release that `current` leads to is good.
pub fn confirm(root: &Root, epoch: Epoch, confirmed: Confirmed) -> Result<(), HostError> {
    let live = current_release(root)?;
    verify_complete(root, &confirmed.release)?;
    fault!("host.confirm.before-record");
    root.update(|record| Ok(record.confirm(epoch, &live, confirmed)?))?;
    fault!("host.confirm.after-record");
    Ok(())
}

/// Back to the confirmed release; the rollback hooks are the controller's. Asked twice, it answers twice.
pub fn give_back(root: &Root, epoch: Epoch, verdict: Option<Quarantine>) -> Result<ReleaseName, HostError> {
    let record = root.record()?;
    record.fence(epoch)?;
    let Some(probation) = &record.probation else {
        return match (&record.confirmed, current_release(root)?) {
            (Some(confirmed), live) if confirmed.release == live => {
                note(root, verdict)?;
                Ok(live)
            }
            (_, live) => Err(Refusal::NotOnProbation(live).into()),
        };
    };
    let from = probation.release.clone();
    let to = record.way_back().cloned().ok_or(Refusal::NowhereToGo)?;
    verify_complete(root, &to)?;
    fault!("host.return.before-link");
    point_to(root, &to)?;
    fault!("host.return.after-link");
    render::settle(root, &to)?;
    // What runs it comes next: until then a host that loses its controller goes on by itself.
    let waits = !probation.activation.is_empty();
    root.update(|record| {
        match waits {
            true => record.returning(),
            false => record.returned(&from),
        }
        verdict.into_iter().for_each(|verdict| record.quarantine(verdict));
        Ok(())
    })?;
    fault!("host.return.after-record");
    Ok(to)
}

fn note(root: &Root, verdict: Option<Quarantine>) -> Result<(), HostError> {
    let Some(verdict) = verdict else { return Ok(()) };
    root.update(|record| {
        record.quarantine(verdict);
        Ok(())
    })
}

/// Probation ends and the release stays.
pub fn hold(root: &Root, epoch: Epoch, verdict: Option<Quarantine>) -> Result<(), HostError> {
    root.update(|record| {
        record.hold(epoch)?;
        verdict.into_iter().for_each(|verdict| record.quarantine(verdict));
        Ok(())
    })?;
    fault!("host.hold.after-record");
    Ok(())
}

/// A lease ran out: the host goes back by itself and runs the rollback hooks (law 6); what was closed is opened. The
/// probation is removed last: whoever finds it after a crash does the whole of it again, so a hook runs at least once.
pub fn lease_ran_out(root: &Root) -> Result<(), HostError> {
    let record = root.record()?;
    if record.probation.is_none() {
        return reopen(root);
    }
    let (note, moved) = match destination(root, &record) {
        Ok(to) => {
            fault!("host.go-back.before-link");
            point_to(root, &to)?;
            fault!("host.go-back.after-link");
            let unled = render::settle(root, &to).err().map(|error| error.to_string());
            let unwell = record.probation.as_ref().and_then(|probation| activate(root, &probation.activation));
            fault!("host.go-back.after-units");
            let hooks = record.probation.as_ref().map_or(&[][..], |probation| &probation.rollback);
            let failed = complaints(&run_all(root, hooks));
            let complaints: Vec<String> = unled.into_iter().chain(unwell).chain(failed).collect();
            ((!complaints.is_empty()).then(|| complaints.join("; ")), true)
        }
        Err(why) => {
            // What stays is what should run: the switch to it may have been all that was done.
            let stays = matches!(why, HostError::Refused { refusal: Refusal::NowhereToGo });
            let unwell = record.probation.as_ref().filter(|_| stays).and_then(|p| activate(root, &p.activation));
            let unwell = unwell.map_or_else(String::new, |unwell| format!("; {unwell}"));
            (Some(format!("it stays: {why}{unwell}")), false)
        }
    };
    // The rollback hooks end with those that open the door. Where one of them failed it is still closed: tried again.
    let shut = reopen(root).err();
    fault!("host.go-back.after-hooks");
    root.update(|record| {
        record.lease_ran_out(now());
        if let Some(returned) = &mut record.returned {
            if !moved {
                returned.to = None;
            }
            if let Some(note) = note {
                returned.reason = format!("{}; {note}", returned.reason);
            }
        }
        Ok(())
    })?;
    fault!("host.go-back.after-record");
    shut.map_or(Ok(()), Err)
}

/// Has the units restart what the host is back at. What goes wrong with them is told: the host is back all the same.
fn activate(root: &Root, activation: &Activation) -> Option<String> {
    if activation.is_empty() {
        return None;
    }
    why_not(activate::back(root, activation))
}

fn why_not(done: Result<Activated, HostError>) -> Option<String> {
    match done {
        Ok(done) => done.failed.map(|failed| format!("{} does not run: {}", failed.unit, failed.why)),
        Err(error) => Some(error.to_string()),
    }
}

/// Starts the units that were stopped before a migration, and runs the hooks that open what a maintenance hook closed; it is
/// recorded as open when each does well. A unit that does not run keeps no door shut.
pub fn reopen(root: &Root) -> Result<(), HostError> {
    let Some(closed) = root.record()?.closed else { return Ok(()) };
    let start = Some(&closed.start).filter(|start| !start.is_empty());
    let unwell = start.and_then(|start| why_not(units::undrain(root, start)));
    let shut: Vec<String> = unwell.into_iter().chain(complaints(&run_all(root, &closed.open))).collect();
    match (!shut.is_empty()).then(|| shut.join("; ")) {
        None => Ok(()),
        Some(why) => Err(HostError::Io(format!("it stays closed for maintenance: {why}"))),
    }
}

fn destination(root: &Root, record: &Record) -> Result<ReleaseName, HostError> {
    let to = record.way_back().cloned().ok_or(Refusal::NowhereToGo)?;
    verify_complete(root, &to)?;
    Ok(to)
}

/// Each hook with what went wrong. One that fails does not keep the host from having gone back, nor the next one from
/// running; one that opens the door is noted.
fn run_all<'a>(root: &Root, hooks: &'a [Command]) -> Vec<(&'a Command, Result<(), String>)> {
    let run = |hook: &Command| match directory(root, &Cwd::Current)
        .and_then(|dir| command::run(&compose::equipped(hook, &dir), &dir))
    {
        Ok(result) if result.ok() => root
            .update(|record| {
                record.opened(&hook.name);
                Ok(())
            })
            .map_err(|error| error.to_string()),
        Ok(result) => Err(result.evidence()),
        Err(error) => Err(error.to_string()),
    };
    hooks.iter().map(|hook| (hook, run(hook))).collect()
}

fn complaints(ran: &[(&Command, Result<(), String>)]) -> Option<String> {
    let failed =
        ran.iter().filter_map(|(hook, result)| Some(format!("hook `{}`: {}", hook.name, result.as_ref().err()?)));
    let failed: Vec<_> = failed.collect();
    (!failed.is_empty()).then(|| failed.join("; "))
}

/// Law 1: only a directory that is there, with a manifest that was sealed, may become `current`.
fn verify_complete(root: &Root, name: &ReleaseName) -> Result<(), HostError> {
    let record = root.record()?;
    let known = record.releases.get(name).ok_or_else(|| Refusal::NoSuchRelease(name.clone()))?;
    if !fs::symlink_metadata(root.release(name)).is_ok_and(|meta| meta.is_dir()) {
        return Err(Refusal::NoSuchRelease(name.clone()).into());
    }
    if !known.sealed {
        return Err(Refusal::NotSealed(name.clone()).into());
    }
    Contents::of_sealed(root, name).map(|_| ())
}

fn point_to(root: &Root, name: &ReleaseName) -> Result<(), HostError> {
    match current(root)? {
        Current::Release(live) if live == *name => Ok(()),
        Current::NotALink => Err(HostError::Precondition(not_a_link(root))),
        _ => Link::prepare(root, name)?.commit(root),
    }
}

/// A temporary link beside `current`, about to be renamed over it.
struct Link {
    temp: std::path::PathBuf,
}

impl Link {
    fn prepare(root: &Root, name: &ReleaseName) -> Result<Link, HostError> {
        let temp = root.path().join(format!(".current.tmp-{}", std::process::id()));
        remove(&temp)?;
        let make = || symlink(format!("releases/{name}"), &temp);
        let mut made = make();
        // Where the disk is full, room that is kept for the way back makes room for the link.
        while made.as_ref().is_err_and(room::is_no_room) && reserve::give_up_one(root) {
            made = make();
        }
        made.map_err(at("make the link", &temp))?;
        Ok(Link { temp })
    }

    /// rename(2): whoever follows `current` meanwhile finds the old release or the new one, never nothing.
    fn commit(self, root: &Root) -> Result<(), HostError> {
        fs::rename(&self.temp, root.current()).map_err(at("switch", &root.current()))?;
        Dir::open(root.path())?.sync()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // After the rename there is nothing under this name.
        let _ = fs::remove_file(&self.temp);
    }
}
