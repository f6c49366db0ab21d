//! What a plan has to know of the kinds of applications (design 3.5): which steps bring the directory of a release to a
//! host, and what is in the way of that before anything is begun. One file for each kind answers; everything after the
//! directory is complete (links, gates, hooks, the switch, the way back) is the same for all and stands in `forward`.

mod bundle;
mod compose;
mod git;

use std::collections::BTreeMap;

use super::graph::Builder;
use super::policy::{Case, blocker};
use super::step::{Action, ReleaseDir};
use super::{Blocker, Code};
use crate::model::desired::{Delivery, Environment, FetchFrom, Grade, OnFailure};
use crate::model::ids::{Digest, HostName, Sha};
use crate::model::observed::Fact;
use crate::model::record::Release;

/// What a kind says of the steps that bring its releases, for people.
struct Words {
    /// Why it is fetched.
    needed: String,
    /// What the controller vouches for before it sends anything.
    sent: &'static str,
    /// The same where each host fetches for itself.
    taken: &'static str,
}

/// The steps that are done once for all hosts, after `before`: it is fetched and checked by the controller, or only what it
/// goes by is settled, where each host fetches it. Gives the ids after which each host can be brought its own.
pub(super) fn bring_once(env: &Environment, sha: &Sha, steps: &mut Builder, before: &[String]) -> Vec<String> {
    let words = match &env.delivery {
        Delivery::Bundle(_) => bundle::words(sha),
        Delivery::Git(_) => git::words(sha),
        Delivery::Compose(of) => compose::words(of, sha),
    };
    let (sha, abort) = (sha.clone(), OnFailure::Abort);
    let last = match env.delivery.fetch_from() {
        FetchFrom::Controller => {
            let fetched = steps.push(None, None, Action::Fetch { sha: sha.clone() }, before, abort, words.needed);
            steps.push(None, None, Action::Verify { place: ReleaseDir::New { sha } }, &[fetched], abort, words.sent)
        }
        FetchFrom::Host => steps.push(None, None, Action::Checksum { sha }, before, abort, words.taken),
    };
    vec![last]
}

/// The steps after which a complete directory lies in `releases/` of this host: what the host does not have of it is sent, or
/// the host fetches it; the release is made of that. Gives the ids to go on from.
pub(super) fn bring(
    env: &Environment,
    sha: &Sha,
    steps: &mut Builder,
    host: &HostName,
    why: &str,
    before: &[String],
) -> Vec<String> {
    let brings = match env.delivery.fetch_from() {
        FetchFrom::Controller => Action::Upload,
        FetchFrom::Host => Action::Fetch { sha: sha.clone() },
    };
    let brought = steps.push(Some(host), None, brings, before, OnFailure::Abort, why);
    let why = "unpacked into a new release directory, beside what runs";
    vec![steps.push(Some(host), None, Action::Extract, &[brought], OnFailure::Abort, why)]
}

/// Why a release that is on a host is not what would be made of its commit now; `None`: it is.
pub(super) fn differs(env: &Environment, sha: &Sha, release: &Release) -> Option<String> {
    match &env.delivery {
        Delivery::Bundle(of) => bundle::differs(of, release),
        Delivery::Git(of) => git::differs(of, sha, release),
        Delivery::Compose(of) => compose::differs(of, env, sha, release),
    }
}

/// The steps after which all that a release on this host runs with lies there, made final: after its links and what prepare
/// hooks have made. Gives the ids to go on from.
pub(super) fn resolve(
    env: &Environment,
    sha: &Sha,
    steps: &mut Builder,
    host: &HostName,
    last: Vec<String>,
) -> Vec<String> {
    match &env.delivery {
        Delivery::Bundle(_) | Delivery::Git(_) => last,
        Delivery::Compose(of) => compose::resolve(of, env, sha, steps, host, &last),
    }
}

/// Why a deployment of such a release cannot be taken back by a rollback, where its declaration says so (I5).
pub(super) fn leaves_data(env: &Environment) -> Option<String> {
    match &env.delivery {
        Delivery::Bundle(_) | Delivery::Git(_) => None,
        Delivery::Compose(of) => compose::leaves_data(of),
    }
}

/// What a release of this commit goes by, where that is known without looking at anything. One commit has as many as there
/// are ways of making it.
pub(super) fn goes_by(env: &Environment, sha: &Sha) -> Option<Digest> {
    match &env.delivery {
        Delivery::Bundle(_) | Delivery::Git(_) => None,
        Delivery::Compose(of) => Some(of.digest(sha, &env.bundle_values())),
    }
}

/// Whether what shared files hold becomes a part of the release when it is made, so that a change of them is another release.
pub(super) fn holds_shared_files(env: &Environment) -> bool {
    match &env.delivery {
        Delivery::Bundle(_) | Delivery::Git(_) => false,
        Delivery::Compose(_) => true,
    }
}

/// What a kind says about the build of a commit, for people.
struct Build {
    code: Code,
    /// There is none: the message and the next move.
    missing: (String, String),
    /// The first half of what is said where nobody could see whether there is one.
    unseen: String,
    /// Where the record of its checks should be.
    record: String,
}

/// What is in the way of a deployment: is there a build of this commit, and did its checks pass (B8)?
pub(super) fn blockers(case: &Case<'_>) -> Vec<Blocker> {
    let build = match &case.env.delivery {
        Delivery::Bundle(of) => bundle::build(of, case.env, case.sha),
        Delivery::Git(of) => git::build(of, case.env, case.sha),
        Delivery::Compose(of) => compose::build(of, case.env, case.sha),
    };
    let facts = case.observed.artifact.as_ref();
    let mut found = Vec::new();
    match facts.map(|f| &f.sha256) {
        Some(Fact::Missing) => {
            let (message, fix) = &build.missing;
            found.push(blocker(Grade::P1, build.code, message.as_str(), fix.as_str()));
        }
        Some(Fact::Unknown(why)) => {
            let message = format!("{}: {why}", build.unseen);
            let fix = "the run will try to fetch it, and stop before anything is touched where it cannot";
            found.push(blocker(Grade::P2, Code::Note, message, fix));
        }
        Some(Fact::Known(_) | Fact::NotAsked) | None => {}
    }
    if !case.env.checks.is_empty() && case.env.skips(case.sha, "checks").is_none() {
        found.extend(unchecked(case, &build));
    }
    found
}

/// Required checks that are not recorded as successful.
fn unchecked(case: &Case<'_>, build: &Build) -> Option<Blocker> {
    let record = match case.observed.artifact.as_ref().map_or(&Fact::NotAsked, |facts| &facts.checks) {
        Fact::Known(checks) => Ok(checks.clone()),
        Fact::Missing => Ok(BTreeMap::new()),
        Fact::Unknown(why) => Err(format!("the record of the build cannot be read: {why}")),
        // A build counts only where its record was seen: not asked is not passed.
        Fact::NotAsked => Err("the record of the build was not looked at".to_owned()),
    };
    let record = match record {
        Ok(record) => record,
        Err(message) => {
            return Some(blocker(Grade::P0, Code::Checks, message, format!("it should be at {}", build.record)));
        }
    };
    let success = |name: &str| record.get(name).is_some_and(|c| c == "success");
    let wanted = case.env.checks.iter().map(String::as_str).filter(|name| !success(name));
    let broken = record.get("build").filter(|c| *c != "success").map(|_| "build");
    let bad: Vec<String> = wanted
        .chain(broken)
        .map(|name| format!("{name} ({})", record.get(name).map_or("missing", |c| c.as_str())))
        .collect();
    let message =
        format!("required checks of {} are not successful: {}", case.env.release.short(case.sha), bad.join(", "));
    let fix = "let CI finish this commit, or release another one";
    (!bad.is_empty()).then(|| blocker(Grade::P0, Code::Checks, message, fix))
}
