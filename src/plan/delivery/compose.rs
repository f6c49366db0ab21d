//! Releases that are the files of a project, with the images that its services are made of. The files take the way of a bundle
//! or of a commit; then each host pulls what it lacks, or is sent it, and resolves the project, before anything is stopped
//! anywhere.

use super::{Build, Words, git};
use crate::model::compose::Transfer;
use crate::model::desired::{ComposeFiles, Environment, FilesFrom, OnFailure};
use crate::model::ids::{HostName, Sha};
use crate::model::record::Release;
use crate::plan::Code;
use crate::plan::graph::Builder;
use crate::plan::step::Action;

/// What is said of the steps that bring the files.
pub fn words(files: &ComposeFiles, sha: &Sha) -> Words {
    match &files.from {
        FilesFrom::Directory { path, .. } => Words {
            needed: format!("the files of {path} are needed"),
            sent: "only what the accepted commit holds is sent",
            taken: "only what the accepted commit holds is sent",
        },
        FilesFrom::Commit(_) => git::words(sha),
    }
}

/// What is said of the files as a build.
pub fn build(files: &ComposeFiles, env: &Environment, sha: &Sha) -> Build {
    let directory = match &files.from {
        FilesFrom::Directory { path, .. } => path,
        FilesFrom::Commit(checkout) => return git::build(checkout, env, sha),
    };
    Build {
        code: Code::CommitMissing,
        missing: (
            format!("nobody knows what {directory} holds: the state file was read from a disk, and not from a commit"),
            "commit it, and plan the commit".to_owned(),
        ),
        unseen: format!("nobody could see what {directory} holds"),
        record: "a place that this kind does not have".to_owned(),
    }
}

/// Why a release of this commit is not what would be made of it now.
pub fn differs(files: &ComposeFiles, env: &Environment, sha: &Sha, release: &Release) -> Option<String> {
    let made_of = release.bundle?;
    let place = files.from.place();
    (made_of != files.digest(sha, &env.bundle_values())).then(|| {
        format!(
            "{place}, an image, a variable or another setting of the project changed at the same commit: the release is \
             made anew"
        )
    })
}

/// The step that pulls, and makes the release final.
pub fn resolve(
    files: &ComposeFiles,
    env: &Environment,
    sha: &Sha,
    steps: &mut Builder,
    host: &HostName,
    last: &[String],
) -> Vec<String> {
    let project = files.project_of(sha, &env.bundle_values());
    let images: Vec<&str> = project.images.values().map(String::as_str).collect();
    let way = match files.transfer {
        Transfer::Pull => "",
        Transfer::Push => "the controller sends what is missing here: ",
    };
    let why = match images.as_slice() {
        [] => format!("{way}images that are missing come here, each is pinned, and what runs is not touched"),
        images => format!("{way}{}; each is pinned by its digest, and what runs is not touched", images.join(", ")),
    };
    let why = match project.replace_volumes.as_slice() {
        [] => why,
        named => format!("{why}; {} may mount something else than before, as `replace_volumes` says", named.join(", ")),
    };
    vec![steps.push(Some(host), None, Action::Pull { project: Box::new(project) }, last, OnFailure::Abort, why)]
}

/// The services that a commit lets leave what they keep their data in (I5).
pub fn leaves_data(files: &ComposeFiles) -> Option<String> {
    let services = files.replace_volumes.join(", ");
    let whose = if files.replace_volumes.len() == 1 { "its" } else { "their" };
    (!services.is_empty()).then(|| {
        format!("{services} may leave {whose} data behind, as `replace_volumes` says: a rollback loses what is written from here on")
    })
}
