//! Releases that are the tree of a commit. The controller, or each host for itself, reads the tree into the same manifest and
//! contents as a bundle, so that it takes the same way from there.

use super::{Build, Words};
use crate::model::address::redacted;
use crate::model::desired::{Checkout, Environment};
use crate::model::ids::Sha;
use crate::model::record::Release;
use crate::plan::Code;

/// What is said of the steps that bring a commit.
pub fn words(sha: &Sha) -> Words {
    Words {
        needed: format!("the tree of {} is needed", sha.short()),
        sent: "only the tree of exactly this commit is sent",
        taken: "only the tree of exactly this commit is taken",
    }
}

/// What is said of a commit as a build.
pub fn build(checkout: &Checkout, env: &Environment, sha: &Sha) -> Build {
    let (short, place) = (sha.short(), redacted(&checkout.repository));
    let record = checkout.checks_of(sha, &env.bundle_values()).map(|place| redacted(&place));
    let record = record.or_else(|| Some(format!("the statuses of {}", checkout.checks_from.as_ref()?.place())));
    Build {
        code: Code::CommitMissing,
        missing: (
            format!("no branch or tag of {place} leads to a commit {short}"),
            format!("push it there, or release another one: soll release {} SHA", env.name),
        ),
        unseen: format!("nobody could see whether {place} has commit {short}"),
        record: record.unwrap_or_else(|| "a place that `checkout = { checks = \"…\" }` names".to_owned()),
    }
}

/// Why a release of this commit is not what would be made of it now.
pub fn differs(checkout: &Checkout, sha: &Sha, release: &Release) -> Option<String> {
    let made_of = release.bundle?;
    let of = if checkout.submodules { " with its submodules" } else { "" };
    let what = match checkout.directory.as_str() {
        "" => format!("the whole tree{of}"),
        directory => format!("the directory {directory}{of}"),
    };
    (made_of != checkout.digest(sha))
        .then(|| format!("the release was made otherwise at the same commit: {what} is deployed now"))
}
