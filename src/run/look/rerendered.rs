//! What would be rendered for a host and how that differs from what is there, before anything is changed: names of variables,
//! never a value (law 9), and only of an accepted commit (law 11).

use crate::host::wire::render::Compared;
use crate::host::wire::{Op, Reply};
use crate::model::desired::{Environment, Target};
use crate::model::ids::Sha;
use crate::model::observed::HostState;
use crate::model::record::Release;
use crate::plan::intent::links_digest;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::look::reach::ask;
use crate::run::rendered::render;

/// Asks a host how what is desired differs from what its live release reads, where it does. Reads only; the contents are
/// compared there. A host that does not say leaves the plan without names.
pub async fn compare(
    controller: &Controller,
    word: &AcceptedSnapshot,
    env: &Environment,
    target: &Target,
    sha: &Sha,
    state: &HostState,
) -> Vec<String> {
    let live = state.current.release().and_then(|live| state.record.releases.get(live));
    let is_other = |release: &Release| release.links != Some(links_digest(env, state));
    if env.files.is_empty() || !live.is_some_and(is_other) {
        return Vec::new();
    }
    let Ok(files) = render(word.secrets(), env, target, sha) else { return Vec::new() };
    match ask(controller, word, target, Op::Compare { files }).await {
        Ok(Reply::Rendered(compared)) => compared.iter().filter(|file| !file.same).map(Compared::told).collect(),
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::warn!(host = %target.name, %error, "the host did not say how its rendered files differ");
            Vec::new()
        }
    }
}
