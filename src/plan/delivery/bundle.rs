//! Releases that come as an archive which a build has made.

use super::{Build, Words};
use crate::model::address::redacted;
use crate::model::desired::{Bundle, Environment};
use crate::model::ids::Sha;
use crate::model::record::Release;
use crate::plan::Code;

/// What is said of the steps that bring a bundle.
pub fn words(sha: &Sha) -> Words {
    let vouched = "only what its SHA-256 vouches for is unpacked";
    Words { needed: format!("the bundle of {} is needed", sha.short()), sent: vouched, taken: vouched }
}

/// What is said of the bundle of a commit.
pub fn build(bundle: &Bundle, env: &Environment, sha: &Sha) -> Build {
    let (places, short) = (bundle.places(sha, &env.bundle_values()), sha.short());
    let message = format!("there is no bundle of {short}: nothing is at {}", redacted(&places.sha256));
    Build {
        code: Code::BundleMissing,
        missing: (message, "let CI build it, or make one: soll bundle DIR --sha SHA".to_owned()),
        unseen: format!("nobody could see whether there is a bundle of {short}"),
        record: redacted(&places.checks),
    }
}

/// Why a release is not what would be made of its archive now.
pub fn differs(bundle: &Bundle, release: &Release) -> Option<String> {
    let strip = bundle.strip;
    (release.strip != strip)
        .then(|| format!("strip = {strip} at the same commit: the release is made anew from its archive"))
}
