//! The places of a bundle: from the templates of the state file to what can be asked.

use std::path::Path;

use super::absolute;
use crate::artifact::source::Source;
use crate::model::desired::{Bundle, Environment, Places};
use crate::model::ids::Sha;

/// The places of a commit's bundle, templates filled, relative paths joined with `base`.
///
/// # Errors
/// A place that is none, in words.
pub fn source(bundle: &Bundle, env: &Environment, sha: &Sha, base: Option<&Path>) -> Result<Source, String> {
    let absolute = |text| absolute(text, "bundle", base);
    let Places { url, sha256, checks } = bundle.places(sha, &env.bundle_values());
    let (url, sha256, checks) = (absolute(url)?, absolute(sha256)?, absolute(checks)?);
    Source::parse(&url, &sha256, &checks).map_err(|error| error.to_string())
}
