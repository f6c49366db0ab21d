//! Services as they are, and what a plan makes of them: one line for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::compose::{Project, ServiceSeen};
use crate::model::shown::{clean, counted};
use crate::plan::{Action, EnvPlan, HostView, services};

/// SOLL against IST of one host, a line for each service: `api  2 of 2  running, healthy  r/api:1 -> r/api:2`.
pub fn of(env: &EnvPlan, host: &HostView) -> Vec<String> {
    let mut pulled = env.steps.iter().filter(|step| step.host.as_ref() == Some(&host.name));
    let project = pulled.find_map(|step| match &step.action {
        Action::Pull { project } => Some(&**project),
        _ => None,
    });
    let nothing = BTreeMap::new();
    let images = project.map_or(&nothing, |project| &project.images);
    let seen: BTreeMap<&str, &ServiceSeen> =
        host.services.iter().map(|service| (service.service.as_str(), service)).collect();
    let names: BTreeSet<&str> = seen.keys().copied().chain(images.keys().map(String::as_str)).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let line = |name: &&str| {
        let (now, soll) = (seen.get(name), images.get(*name));
        let state = now.map_or_else(|| "not here yet".to_owned(), |service| standing(service));
        let scale = project.and_then(|project| scaled(project, name, now.copied()));
        let image = match (now.map(|service| service.image.as_str()), soll) {
            (Some(ist), Some(soll)) if is_of(ist, soll) => soll.clone(),
            (Some(ist), Some(soll)) => format!("{ist} -> {soll}"),
            (Some(ist), None) => ist.to_owned(),
            (None, Some(soll)) => format!("-> {soll}"),
            (None, None) => String::new(),
        };
        clean(&format!("{name:width$}  {state}{}  {image}", scale.unwrap_or_default())).trim_end().to_owned()
    };
    names.iter().map(line).collect()
}

/// `2 of 2 running, healthy`, `1 of 3 running`, `exited (1)`, `made of something else`.
fn standing(service: &ServiceSeen) -> String {
    let ServiceSeen { wanted, running, state, health, restarts, .. } = service;
    let mut said = match wanted {
        0 => state.clone(),
        _ if state == "running" => format!("{running} of {wanted} running"),
        _ => format!("{running} of {wanted} running, {state}"),
    };
    if let Some(health) = health {
        said.push_str(&format!(", {health}"));
    }
    if *restarts > 0 {
        said.push_str(&format!(", restarted {}", counted(u64::from(*restarts), "time", "times")));
    }
    if !service.digest_ok && *wanted > 0 {
        said.push_str(", not as released");
    }
    said
}

/// ` (3 are wanted)`, where the number changes with the plan.
fn scaled(project: &Project, name: &str, now: Option<&ServiceSeen>) -> Option<String> {
    let wanted = project.scale.get(name)?;
    now.is_none_or(|now| now.wanted != *wanted).then(|| format!(" ({wanted} are wanted)"))
}

/// Whether what runs was made of a reference: pinned by its digest it is the same one.
fn is_of(ist: &str, soll: &str) -> bool {
    let named = ist.split_once("@sha256:").map_or(ist, |(named, _)| named);
    ist == soll || named == soll
}

/// `5 services as released`, or those that are not.
pub fn summary(seen: &[ServiceSeen]) -> String {
    let ill: Vec<&ServiceSeen> = seen.iter().filter(|service| !service.is_well()).collect();
    match (seen.len(), ill.len()) {
        (1, 0) => "1 service as released".to_owned(),
        (all, 0) => format!("{all} services as released"),
        (all, n) => clean(&format!("{n} of {all} services not as released: {}", services::told(&ill))).into_owned(),
    }
}
