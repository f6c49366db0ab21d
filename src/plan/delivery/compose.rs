//! Releases that are a directory of the state repository, with the images that their services are made of. The files take the
//! way of a bundle; then each host pulls what it lacks, or is sent it, and resolves the project, before anything is stopped anywhere.

use super::{Build, Words};
use crate::model::compose::Transfer;
use crate::model::desired::{ComposeFiles, Environment, OnFailure};
use crate::model::ids::{HostName, Sha};
use crate::model::record::Release;
use crate::plan::Code;
use crate::plan::graph::Builder;
use crate::plan::step::Action;

/// What is said of the steps that bring the files.
pub fn words(files: &ComposeFiles) -> Words {
    Words {
        needed: format!("the files of {} are needed", files.directory),
        sent: "only what the accepted commit holds is sent",
        taken: "only what the accepted commit holds is sent",
    }
}

/// What is said of the files as a build.
pub fn build(files: &ComposeFiles) -> Build {
    let directory = &files.directory;
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
    let directory = &files.directory;
    (made_of != files.digest(sha, &env.bundle_values())).then(|| {
        format!(
            "{directory}, an image, a variable or another setting of the project changed at the same commit: the release is \
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
