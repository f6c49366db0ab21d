//! Backups that something else made, under the names that ours have, are taken over: each is read to its end and gets a manifest.
//! From then on it is listed, verified, kept and removed as one of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shelf::{self, OnShelf};
use crate::host::wire::backup::{Answer, Ask, Examined, Question, Work};
use crate::host::wire::{Op, Reply, tame};
use crate::model::backup::by_hand;
use crate::model::backup::manifest::{self, DatabaseFacts, FileFacts, Manifest, PartEntry};
use crate::model::backup::name::{Content, FileName, Part, PartName, What};
use crate::model::desired::backup::{Access, BackupTarget};
use crate::model::desired::{Backup, Environment, Target};
use crate::model::observed::HostState;
use crate::model::record::backup::{Backed, Backups};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::look::reach::ask;
use crate::run::pass::journaled::OperateError;
use crate::run::pass::roots::Roots;

/// Whether one without a manifest of ours could be whole: each database and each set of files that the job declares has a file
/// of its own in it, and it is none that this program began and did not finish, for whichever of `jobs`, as the host remembers
/// them.
///
/// # Errors
/// Why it is left alone.
pub fn candidate(backup: &Backup, one: &OnShelf, jobs: Option<&Backups>) -> Result<(), String> {
    let began = |backed: &Backed| {
        let open = backed.open.is_some_and(|open| open.name == one.name);
        open || backed.started == Some(one.name.at.at()) || backed.left.contains(&one.name)
    };
    if let Some((job, _)) = jobs.into_iter().flatten().find(|(_, backed)| began(backed)) {
        return Err(format!("soll began it for the job {job}, and did not come to its end"));
    }
    let has = |content: Content, name: &Option<PartName>| {
        let is = |part: &Part| part.content == content && part.name == *name;
        one.set.files.keys().any(|what| matches!(what, What::Part(part) if is(part)))
    };
    let databases = backup.databases.iter().filter(|one| !has(Content::Database, &one.part));
    let databases = databases.map(|one| format!("it has no dump of the database {}", one.name));
    let files = backup.files.iter().filter(|one| !has(Content::Files, &one.part));
    let files = files.map(|one| format!("it has no archive of the files {}", one.name));
    let lacks: Vec<String> = databases.chain(files).collect();
    if lacks.is_empty() { Ok(()) } else { Err(lacks.join(", and ")) }
}

/// Reads one to its end. Gives its manifest, or what is wrong with it.
///
/// # Errors
/// The host or the target cannot be asked: that says nothing about the backup.
pub async fn examine(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    (env, target): (&Environment, &Target),
    backup: &Backup,
    place: &BackupTarget,
    one: &OnShelf,
) -> Result<Result<(Manifest, Vec<Examined>), String>, OperateError> {
    let (mut questions, mut remarks) = (Vec::new(), Vec::new());
    for what in one.set.files.keys() {
        let What::Part(part) = what else { continue };
        let file = FileName { at: one.name.at, what: what.clone(), checksum: false }.to_string();
        let database = backup.databases.iter().find(|database| database.part == part.name);
        let files = backup.files.iter().find(|files| files.part == part.name);
        let (engine, path) = match part.content {
            Content::Database => (database.map(|database| database.engine), None),
            Content::Files => (None, files.map(|files| files.path.clone())),
        };
        if engine.is_none() && path.is_none() {
            remarks.push(format!("{file} is of nothing that the job declares: it is kept with the others"));
        }
        questions.push(Question { file, engine, path });
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
        return Ok(Err(wrong.join("; ")));
    }
    remarks.extend(parts.iter().flat_map(|part| part.remarks.clone()));
    remarks.iter_mut().for_each(tame::tame);
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
        warnings: remarks,
        unknown: BTreeMap::new(),
        parts: entries,
    };
    Ok(Ok((manifest, parts)))
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
    let jobs = state.map(|state| &state.record.backups);
    let mut all = Vec::new();
    for row in rows {
        let of = row.backups.iter().flatten().filter(|one| one.manifest.is_none());
        let of = of.filter(|one| one.foreign.is_some() || !one.set.files.contains_key(&What::Manifest));
        all.extend(of.map(|one| (&row.target, one, candidate(backup, one, jobs))));
    }
    all.sort_by_key(|(place, one, _)| (place.name.clone(), one.name));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::manifest::Engine;
    use crate::model::backup::name::{BackupName, Compression, Kind};
    use crate::model::backup::set::{Contents, Stored};
    use crate::model::desired::backup::{Database, FileSet, Keep};
    use crate::model::ids::Epoch;
    use crate::model::record::backup::Open;
    use crate::plan::retention::State;

    /// A job with two databases and two sets of files.
    fn job() -> Backup {
        let part = |name: &str| (name != "main").then(|| name.parse().unwrap());
        let database = |name: &str| Database {
            part: part(name),
            name: name.to_owned(),
            engine: Engine::Sqlite,
            access: Access::Path(format!("shared/{name}.sqlite")),
            service: None,
        };
        let files = |name: &str| FileSet {
            part: part(name),
            name: name.to_owned(),
            path: name.to_owned(),
            exclude: Vec::new(),
        };
        Backup {
            name: "nightly".to_owned(),
            schedule: None,
            zone: "UTC".to_owned(),
            pre_deploy: false,
            keep: Keep::default(),
            max_shrink: 50,
            compress: Compression::Gzip,
            encrypt: Vec::new(),
            limit: None,
            ping: None,
            databases: ["main", "orders"].map(database).into(),
            files: ["main", "photos"].map(files).into(),
            targets: Vec::new(),
            identity: None,
            restore_test: None,
        }
    }

    const WHOLE: [&str; 4] = [
        "backup-db-20261101_010000.sql.gz",
        "backup-db-orders-20261101_010000.sql.gz",
        "backup-app-20261101_010000.tar.gz",
        "backup-app-photos-20261101_010000.tar.gz",
    ];

    fn there(files: &[&str]) -> OnShelf {
        let stored = files.iter().map(|file| Stored { path: format!("daily/{file}"), bytes: 10 });
        let set = Contents::of(stored).sets.into_values().next().unwrap();
        OnShelf { name: set.name, state: State::NoManifest, manifest: None, set, foreign: None }
    }

    #[test]
    fn each_declared_part_must_be_there_by_its_name() {
        assert_eq!(candidate(&job(), &there(&WHOLE), None), Ok(()));
        for (lacks, why) in WHOLE.iter().zip([
            "it has no dump of the database main",
            "it has no dump of the database orders",
            "it has no archive of the files main",
            "it has no archive of the files photos",
        ]) {
            let files: Vec<_> = WHOLE.into_iter().filter(|file| file != lacks).collect();
            assert_eq!(candidate(&job(), &there(&files), None), Err(why.to_owned()));
        }
        // One of another name is none of these.
        let other = [WHOLE[0], WHOLE[2], WHOLE[3], "backup-db-order-20261101_010000.sql.gz"];
        assert_eq!(candidate(&job(), &there(&other), None), Err("it has no dump of the database orders".to_owned()));
        let why = "it has no dump of the database main, and it has no archive of the files main";
        assert_eq!(candidate(&job(), &there(&[WHOLE[1], WHOLE[3]]), None), Err(why.to_owned()));
    }

    #[test]
    fn what_any_job_began_and_did_not_finish_is_none_that_somebody_else_made() {
        let one = there(&WHOLE);
        let (name, later) = (one.name, BackupName::new(Kind::Daily, "2026-11-02T01:00:00Z".parse().unwrap()));
        for (began, by) in [
            (true, Backed { started: Some(name.at.at()), ..Backed::default() }),
            (true, Backed { started: Some(later.at.at()), left: vec![later, name], ..Backed::default() }),
            (true, Backed { open: Some(Open { name, epoch: Epoch::default() }), ..Backed::default() }),
            (false, Backed { started: Some(later.at.at()), left: vec![later], ..Backed::default() }),
        ] {
            let jobs = Backups::from([("nightly".to_owned(), Backed::default()), ("weekly".to_owned(), by)]);
            let why = began.then_some("soll began it for the job weekly, and did not come to its end".to_owned());
            assert_eq!(candidate(&job(), &one, Some(&jobs)).err(), why, "{jobs:?}");
        }
    }
}
