//! Backups that something else made, under the names that ours have, are taken over: each is read to its end and gets a manifest.
//! From then on it is listed, verified, kept and removed as one of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shelf::{self, OnShelf};
use crate::host::wire::backup::{Answer, Ask, Examined, Question, Work};
use crate::host::wire::{Op, Reply};
use crate::model::backup::by_hand;
use crate::model::backup::manifest::{self, DatabaseFacts, FileFacts, Manifest, PartEntry};
use crate::model::backup::name::{Content, FileName, Part, What};
use crate::model::desired::backup::{Access, BackupTarget};
use crate::model::desired::{Backup, Environment, Target};
use crate::model::observed::HostState;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::look::reach::ask;
use crate::run::pass::journaled::OperateError;
use crate::run::pass::roots::Roots;

/// Whether one without a manifest of ours could be whole: it has what the job saves, and is none that this program broke off.
///
/// # Errors
/// Why it is left alone.
pub fn candidate(backup: &Backup, one: &OnShelf, state: Option<&HostState>) -> Result<(), String> {
    let has =
        |wanted: Content| one.set.files.keys().any(|what| matches!(what, What::Part(part) if part.content == wanted));
    if !backup.databases.is_empty() && !has(Content::Database) {
        return Err("it has no dump of a database".to_owned());
    }
    if !backup.files.is_empty() && !has(Content::Files) {
        return Err("it has no archive of files".to_owned());
    }
    let backed = state.and_then(|state| state.record.backups.get(&backup.name));
    if backed.is_some_and(|backed| backed.started == Some(one.name.at.at())) {
        return Err("soll began it, and did not come to its end".to_owned());
    }
    Ok(())
}

/// Reads one to its end. What is wrong with it is an error.
///
/// # Errors
/// The target cannot be read; a file is not whole.
pub async fn examine(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    (env, target): (&Environment, &Target),
    backup: &Backup,
    place: &BackupTarget,
    one: &OnShelf,
) -> Result<(Manifest, Vec<Examined>), OperateError> {
    let mut questions = Vec::new();
    for what in one.set.files.keys() {
        let What::Part(part) = what else { continue };
        let file = FileName { at: one.name.at, what: what.clone(), checksum: false }.to_string();
        let of = backup.databases.iter().find(|database| database.part == part.name);
        let engine = of.filter(|_| part.content == Content::Database).map(|database| database.engine);
        questions.push(Question { file, engine });
    }
    let op = Op::Backups(Box::new(Ask::Examine { target: place.clone(), name: one.name, files: questions }));
    let answer = ask(controller, snapshot, target, op).await;
    let parts = match answer.map_err(|error| OperateError::Host { host: target.name.clone(), error })? {
        Reply::Backup(answer) => match *answer {
            Answer::Examined { parts } => parts,
            other => return Err(strange(&other)),
        },
        other => return Err(strange(&other)),
    };
    let wrong: Vec<_> = parts.iter().filter_map(|part| part.wrong.clone()).collect();
    if !wrong.is_empty() {
        return Err(OperateError::Refused(wrong.join("; ")));
    }
    let entries = parts.iter().filter_map(|part| entry(backup, part)).collect();
    let manifest = Manifest {
        format: manifest::FORMAT,
        name: one.name,
        job: backup.name.clone(),
        environment: env.name.clone(),
        host: target.name.clone(),
        release: None,
        before: None,
        of_restore: None,
        started: one.name.at.at(),
        ended: one.name.at.at(),
        soll: env!("CARGO_PKG_VERSION").to_owned(),
        imported: true,
        warnings: Vec::new(),
        unknown: BTreeMap::new(),
        parts: entries,
    };
    Ok((manifest, parts))
}

/// Gives it its manifest, and checksums where it had none.
///
/// # Errors
/// The target does not take them.
pub async fn seal(
    (roots, target): (&Roots<'_>, &Target),
    place: &BackupTarget,
    (mut manifest, parts): (Manifest, Vec<Examined>),
    one: &OnShelf,
) -> Result<(), OperateError> {
    // What whoever made it said of it is kept in the new one.
    if let Some(original) = &one.foreign {
        manifest.unknown.insert("original".to_owned(), toml::Value::String(original.clone()));
    }
    let text = manifest.to_text();
    let text = text.map_err(|error| OperateError::Refused(format!("the manifest cannot be written: {error}")))?;
    let checksums =
        parts.iter().filter(|part| !part.has_checksum).map(|part| (part.file.clone(), part.sha256)).collect();
    let work = Work::Import {
        target: place.clone(),
        name: manifest.name,
        manifest: text,
        checksums,
        replaces: one.foreign.is_some(),
        by_hand: by_hand::everywhere(),
    };
    match roots.call(target, Op::Backup { epoch: roots.epoch, work: Box::new(work) }).await? {
        Reply::Backup(answer) if matches!(*answer, Answer::Done) => Ok(()),
        other => Err(strange(&other)),
    }
}

/// What is known of a part.
fn entry(backup: &Backup, part: &Examined) -> Option<PartEntry> {
    let What::Part(Part { content, name, .. }) = part.file.parse::<FileName>().ok()?.what else { return None };
    let (mut database, mut files) = (None, None);
    match content {
        Content::Database => {
            let of = backup.databases.iter().find(|database| database.part == name);
            database = of.zip(part.rows.as_ref()).map(|(of, rows)| DatabaseFacts {
                engine: of.engine,
                database: match &of.access {
                    Access::Login(login) => login.database.clone(),
                    Access::EnvFile(from) => format!("of {from}"),
                    Access::Path(path) => path.clone(),
                },
                client: "not known: it was imported".to_owned(),
                server: None,
                instance: "not known".to_owned(),
                schema: None,
                position: None,
                non_transactional: Vec::new(),
                unknown: BTreeMap::new(),
                rows: rows.clone(),
            });
        }
        Content::Files => {
            let of = backup.files.iter().find(|files| files.part == name);
            files = part.entries.map(|entries| FileFacts {
                path: of.map(|of| of.path.clone()).unwrap_or_default(),
                entries,
                exclude: Vec::new(),
                special: Vec::new(),
                unknown: BTreeMap::new(),
            });
        }
    }
    Some(PartEntry {
        file: part.file.clone(),
        name,
        content,
        bytes: part.bytes,
        sha256: part.sha256,
        plain_bytes: part.plain.map(|(bytes, _)| bytes),
        plain_sha256: part.plain.map(|(_, digest)| digest),
        unknown: BTreeMap::new(),
        database,
        files,
    })
}

fn strange(answer: &dyn std::fmt::Debug) -> OperateError {
    OperateError::Refused(format!("the host gave an answer that does not fit: {answer:?}"))
}

/// Those of a target that have no manifest of ours, with what speaks against each; the oldest first.
pub fn strangers<'a>(
    rows: &'a [shelf::Row],
    backup: &Backup,
    state: Option<&HostState>,
) -> Vec<(&'a BackupTarget, &'a OnShelf, Result<(), String>)> {
    let mut all = Vec::new();
    for row in rows {
        let of = row.backups.iter().flatten().filter(|one| one.manifest.is_none());
        let of = of.filter(|one| one.foreign.is_some() || !one.set.files.contains_key(&What::Manifest));
        all.extend(of.map(|one| (&row.target, one, candidate(backup, one, state))));
    }
    all.sort_by_key(|(place, one, _)| (place.name.clone(), one.name));
    all
}
