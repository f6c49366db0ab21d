//! Pull mode: what this host cannot see for itself, the others publish.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::model::desired::{Environment, Phase};
use crate::model::ids::EnvName;
use crate::model::observed::Observed;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::look::grounds::Grounds;
use crate::run::look::observe::{live_trees, resolve, trees};
use crate::run::look::published::Heard;

/// Completes what was seen of these environments. What cannot be read was not looked at.
pub(super) async fn hear(
    controller: &Arc<Controller>,
    snapshot: &AcceptedSnapshot,
    names: &[EnvName],
    observed: &mut Observed,
) {
    let sources = &controller.settings.observation;
    let waits =
        |env: &&Environment| env.promote.is_some() || (!env.leads() && env.hooks_of(Phase::Migrate).next().is_some());
    let mut asking = names.iter().filter_map(|name| snapshot.desired.environments.get(name)).filter(waits);
    if sources.is_empty() || asking.next().is_none() {
        return;
    }
    let mut heard = Heard::default();
    for read in join_all(sources.iter().map(|source| Heard::read(source, &controller.settings.secrets))).await {
        match read {
            Ok(more) => heard.add(more),
            Err(error) => tracing::warn!(%error, "nothing is known of those who publish there"),
        }
    }
    let wanted = trees(snapshot, names);
    for (name, mut theirs) in heard.observed().environments {
        // What runs on their hosts others may say; what the state file means, and what Git holds, is asked of Git.
        theirs.live_trees.clear();
        if let Some(env) = snapshot.desired.source(&name) {
            theirs.resolved = resolve(controller, Grounds::Accepted(snapshot), env).await;
            if wanted.contains(&&name) {
                live_trees(controller, Grounds::Accepted(snapshot), env, &mut theirs).await;
            }
        }
        match observed.environments.get_mut(&name) {
            Some(seen) => {
                let others = theirs.hosts.into_iter().filter(|(host, _)| !seen.hosts.contains_key(host));
                seen.elsewhere = others.collect();
                seen.live_trees.extend(theirs.live_trees);
            }
            None => drop(observed.environments.insert(name, theirs)),
        }
    }
}
