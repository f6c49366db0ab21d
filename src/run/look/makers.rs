//! Who made it so that an environment desires what it desires: the authors of the commits that brought its release line to what
//! it says, so that somebody else can be asked to approve it (`approvers = { not_author = true }`).

use std::collections::BTreeSet;

use crate::model::approval::Maker;
use crate::model::desired::load::release_in;
use crate::model::desired::written::Written;
use crate::model::ids::EnvName;
use crate::run::controller::{Controller, ControllerError};
use crate::state_repo::CommitId;

/// So many commits are looked at, along first parents: what the branch was at earlier.
const FAR: usize = 2_000;

/// The authors of the newest change of the release that an environment desires, its own line or that of its template. A merge is
/// made by all whose commits come with it.
///
/// # Errors
/// The history cannot be read, or does not show the change: nobody knows whose it is.
pub(super) fn makers(
    controller: &Controller,
    commit: CommitId,
    written: &Written,
    env: &EnvName,
) -> Result<Vec<Maker>, ControllerError> {
    let own = written.file_of(env).unwrap_or(&controller.settings.file).to_owned();
    let template = written.template_of(env).map(|(name, own)| (name.to_owned(), own.file.clone()));
    let mut files = BTreeSet::from([own.clone()]);
    files.extend(template.iter().map(|(_, file)| file.clone()));
    let says = |at: &CommitId| -> Result<Option<String>, ControllerError> {
        let text = |file: &str| -> Result<String, ControllerError> {
            let bytes = controller.repo.read(at, file)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let of_env = release_in(&text(&own)?, "environments", env.as_str());
        match (of_env, &template) {
            (Some(release), _) => Ok(Some(release)),
            (None, Some((name, file))) => Ok(release_in(&text(file)?, "templates", name)),
            (None, None) => Ok(None),
        }
    };
    let (mut at, now) = (commit, says(&commit)?);
    let mut blobs = controller.repo.blobs(&at, &files)?;
    for _ in 0..FAR {
        let before = controller.repo.commit_info(&at)?.parents.first().copied();
        let Some(before) = before else { return of(controller, vec![controller.repo.commit_info(&at)?.id]) };
        let older = controller.repo.blobs(&before, &files)?;
        if older != blobs && says(&before)? != now {
            let all = controller.repo.committed_between(&before, &at)?;
            return of(controller, all.into_iter().map(|info| info.id).collect());
        }
        (at, blobs) = (before, older);
    }
    Err(ControllerError::Other(format!(
        "who committed the release of {env} is not among the newest {FAR} commits, so nobody can say whose approval counts"
    )))
}

fn of(controller: &Controller, commits: Vec<CommitId>) -> Result<Vec<Maker>, ControllerError> {
    let one = |commit: CommitId| {
        let signed = match &controller.signers {
            Some(signers) => controller.repo.verify_commit(&commit, signers)?.ok(),
            None => None,
        };
        let email = controller.repo.commit_info(&commit)?.author_email;
        Ok(Maker { email, fingerprint: signed.map(|signed| signed.fingerprint) })
    };
    commits.into_iter().map(one).collect()
}
