//! What is to be thought of the services that were seen on a host: which are not as their release says, and what is told of it.
//! Pure.

use super::{Blocker, Code};
use crate::model::compose::ServiceSeen;
use crate::model::desired::{DriftPolicy, Environment, Grade};
use crate::model::ids::HostName;
use crate::model::observed::HostState;
use crate::model::shown::{are, counted};

/// So many are named.
const NAMED: usize = 3;

/// The services of the live release that do not run as it says. What runs beside them under the name of the project is none of
/// the release, and is only shown.
pub fn ill(state: &HostState) -> Vec<&ServiceSeen> {
    state.services.iter().filter(|service| service.wanted > 0 && !service.is_well()).collect()
}

/// `worker (1 of 3 running), db (exited (1))`: the first of many.
pub fn told(services: &[&ServiceSeen]) -> String {
    let one = |service: &&ServiceSeen| format!("{} ({})", service.service, how(service));
    let first: Vec<String> = services.iter().take(NAMED).map(one).collect();
    match services.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// What is wrong with a service, in a few words; where nothing is, how it is.
pub fn how(service: &ServiceSeen) -> String {
    let ServiceSeen { wanted, running, digest_ok, state, .. } = service;
    match state.as_str() {
        "running" if running != wanted => format!("{running} of {wanted} running"),
        "running" if !digest_ok => "made of something else".to_owned(),
        state => state.to_owned(),
    }
}

/// What people should know of the services of a host.
pub(super) fn notes(env: &Environment, host: &HostName, state: &HostState) -> Vec<Blocker> {
    let mut found = Vec::new();
    if let Some(why) = &state.services_unseen {
        let message = format!("the services on {host} cannot be seen: {why}");
        let fix = format!("look at what runs them there: soll doctor {}", env.name);
        found.push(Blocker { grade: Grade::P2, code: Code::Note, message, fix });
    }
    let differ: Vec<&ServiceSeen> = match env.drift {
        DriftPolicy::Ignore => Vec::new(),
        DriftPolicy::Report => state.services.iter().filter(|service| !service.is_well()).collect(),
        // The others are brought up.
        DriftPolicy::Heal => {
            state.services.iter().filter(|service| service.wanted == 0 && !service.is_well()).collect()
        }
    };
    if !differ.is_empty() {
        let (services, are) = (counted(differ.len() as u64, "service", "services"), are(differ.len() as u64));
        let message = format!("{services} on {host} {are} not as released: {}", told(&differ));
        let fix =
            format!("see them: soll status {}; those of the release are put right with `drift = \"heal\"`", env.name);
        found.push(Blocker { grade: Grade::P2, code: Code::Drift, message, fix });
    }
    found
}
