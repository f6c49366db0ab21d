//! Places that are there only for a restore: noted in the record before they are made, removed by what is noted there.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::SignedDuration;

use super::restore::instance;
use crate::backup::Wanted;
use crate::backup::dump::Login;
use crate::backup::load::mysql::{SCRATCH, copy, drop_database};
use crate::host::disk::root::{Root, now};
use crate::host::wire::HostError;
use crate::host::wire::backup::Prove;
use crate::model::backup::proof::Check;
use crate::model::record::backup::Scratch;

/// What somebody wanted to look at stays so long.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Below `.soll`: where files of scratch lie.
pub const DIR: &str = "scratch";

/// Notes a place that is about to be made. Gives its name, which nothing else has.
/// `instance`: the server of a database; `None`: it is a file.
pub fn note(root: &Root, asked: &Prove, instance: Option<&str>) -> Result<String, HostError> {
    let job: String = asked.job.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let name = format!("{SCRATCH}{}_{nanos:x}", job.to_ascii_lowercase());
    let (database, instance) = (instance.is_some(), instance.unwrap_or_default().to_owned());
    let scratch =
        Scratch { name: name.clone(), job: asked.job.clone(), database, instance, at: now(), kept: asked.keep };
    root.own_dir("")?.make_missing(DIR, 0o700)?;
    root.update(|record| {
        record.scratch.push(scratch);
        Ok(())
    })?;
    Ok(name)
}

/// Removes what lies below `.soll`, and the note. A database is dropped before.
pub fn forget(root: &Root, name: &str, database: bool) -> Result<(), HostError> {
    if !database {
        root.remove_own(&format!("{DIR}/{name}"))?;
    }
    root.update(|record| {
        record.scratch.retain(|scratch| scratch.name != name);
        Ok(())
    })
}

/// Removes what others left that broke off. Who holds the root is the only one who restores here.
pub fn sweep(
    root: &Root,
    asked: &Prove,
    login: Option<&Login>,
    wanted: &dyn Wanted,
    checks: &mut Vec<Check>,
) -> Result<(), HostError> {
    let is_over = |scratch: &Scratch| !scratch.kept || now().duration_since(scratch.at) > KEPT;
    for scratch in root.record()?.scratch.into_iter().filter(is_over) {
        match (scratch.database, login) {
            (false, _) => forget(root, &scratch.name, false)?,
            // The same user on another server would find nothing there, and the note of what is left would be lost.
            (true, Some(login)) if !scratch.instance.is_empty() && scratch.instance != instance(login) => {
                if scratch.job == asked.job {
                    let why =
                        format!("{} is left of an earlier one on {}: drop it there", scratch.name, scratch.instance);
                    checks.push(Check::pass("clean-up", why));
                }
            }
            (true, Some(login)) if scratch.job == asked.job => {
                let login = Login { database: scratch.name.clone(), ..copy(login) };
                match drop_database(&login, wanted) {
                    Ok(()) => forget(root, &scratch.name, true)?,
                    Err(spoilt) => {
                        let why = format!(
                            "{} is left of an earlier one, and cannot be dropped: {}",
                            scratch.name, spoilt.why
                        );
                        checks.push(Check::inconclusive("clean-up", why));
                    }
                }
            }
            (true, _) => {}
        }
    }
    Ok(())
}
