//! The first digits of a commit, as plans, pages and the history show them, in place of all of them. What is written into the
//! state file is the whole id: a shortened one could come to mean another commit.

use std::collections::BTreeSet;

use super::{CliError, Result};
use crate::model::desired::ReleaseRef;
use crate::run::controller::Controller;
use crate::store::Details;

/// So many runs are searched, the newest.
const RUNS: usize = 1_000;

/// The whole id where `text` is the beginning of a commit that some environment wants or that this controller has deployed;
/// everything else stays as it is, and is judged by whoever takes it. Blocks.
///
/// # Errors
/// Several such commits begin so: with all of them.
pub fn whole(text: &str, controller: &Controller) -> Result<String> {
    let is_short = (6..40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_short {
        return Ok(text.to_owned());
    }
    let mut found = matching(&text.to_ascii_lowercase(), known(controller));
    match found.len() {
        0 => Ok(text.to_owned()),
        1 => Ok(found.pop_first().unwrap_or_default()),
        _ => {
            let all: Vec<_> = found.into_iter().collect();
            Err(CliError::usage(format!("several commits begin with {text}: {}", all.join(", ")))
                .hint("name more digits of the one that is meant"))
        }
    }
}

fn matching(begun: &str, known: impl Iterator<Item = String>) -> BTreeSet<String> {
    known.filter(|sha| sha.len() == 40 && sha.starts_with(begun)).collect()
}

fn known(controller: &Controller) -> impl Iterator<Item = String> + use<> {
    let newest = controller.repo.head().ok().and_then(|head| controller.snapshot(head).ok());
    let environments = newest.map(|snapshot| snapshot.desired.environments).unwrap_or_default();
    let desired = environments.into_values().filter_map(|env| match env.release {
        ReleaseRef::Sha(sha) => Some(sha.to_string()),
        _ => None,
    });
    let runs = controller.store.runs(None, None, RUNS).unwrap_or_default();
    let deployed = runs.into_iter().filter_map(|row| match row.details {
        Details::Deployment(moved) => Some(moved.to),
        Details::Operation { .. } => None,
    });
    desired.chain(deployed)
}
