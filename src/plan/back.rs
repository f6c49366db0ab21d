//! The graph of the way back: the planner aimed at the confirmed release. It needs no bundle and no build (A6).

use super::forward::push_hooks;
use super::graph::Builder;
use super::step::{Action, Judged, ReleaseDir, Step};
use crate::model::activation::Activation;
use crate::model::desired::{EnvFailure, Environment, OnFailure, Phase, Probe};
use crate::model::ids::{HostName, ReleaseName, Sha};

/// One host after a failure, as its run knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: HostName,
    /// Its switch was begun: whether it happened is the host's to say.
    pub switched: bool,
    /// The confirmed release, where it is not the one that failed.
    pub confirmed: Option<(ReleaseName, Option<Sha>)>,
    /// The units that run that release, and those that only the one that failed had.
    pub activation: Activation,
    /// Maintenance hooks ran and were not taken back, or units were stopped before the migration.
    pub closed: bool,
    /// These units.
    pub drained: Activation,
}

/// Why the way back is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `rollback`: rollback hooks run even where nothing was switched.
    pub on_failure: OnFailure,
    pub reason: String,
    /// What every host that was switched records as it goes back.
    pub verdict: Option<Judged>,
    /// The failed commit and the one to write into the state repository.
    pub revert: Option<(Sha, Sha)>,
}

/// The commit that every host which goes back runs afterwards, where it is one.
pub fn common(hosts: &[Host]) -> Option<Sha> {
    let mut back = hosts.iter().filter(|h| h.switched).map(|h| h.confirmed.as_ref().and_then(|(_, sha)| sha.clone()));
    let first = back.next()??;
    back.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// Builds the graph. Empty: nothing was touched and nothing is closed.
pub fn back(env: &Environment, hosts: &[Host], cause: &Cause) -> Vec<Step> {
    let mut steps = Builder::default();
    let mut all = Vec::new();
    let switched = hosts.iter().any(|host| host.switched);
    for host in hosts {
        let returns = host.switched && env.on_failure == EnvFailure::Rollback;
        let last = match &host.confirmed {
            Some((release, sha)) if returns => {
                let place = ReleaseDir::Existing { release: release.clone(), sha: sha.clone() };
                let action = Action::Rollback { verdict: cause.verdict.clone() };
                let why = format!("back to {release}: {}", cause.reason);
                let last = steps.push(Some(&host.name), None, action, &[], OnFailure::Abort, why);
                let last = activate(&mut steps, host, vec![last]);
                let last = push_hooks(&mut steps, env, &host.name, Phase::Rollback, &place, last);
                let last = reopen(&mut steps, env, host, last);
                judge(&mut steps, env, &host.name, &place, last)
            }
            _ if host.switched => {
                let why = match env.on_failure {
                    EnvFailure::Hold => "`on_failure = \"hold\"`: it stays for people to look at",
                    EnvFailure::Rollback => "there is no confirmed release to go back to",
                };
                let action = Action::Hold { verdict: cause.verdict.clone() };
                let last = vec![steps.push(Some(&host.name), None, action, &[], OnFailure::Abort, why)];
                let last = start(&mut steps, host, last);
                reopen(&mut steps, env, host, last)
            }
            live => {
                let sha = live.as_ref().and_then(|(_, sha)| sha.clone());
                let last = match cause.on_failure {
                    // Once somebody was switched, only those who were go back: the others have nothing to take back.
                    OnFailure::Rollback if !switched => {
                        push_hooks(&mut steps, env, &host.name, Phase::Rollback, &ReleaseDir::Live { sha }, Vec::new())
                    }
                    _ => Vec::new(),
                };
                let last = start(&mut steps, host, last);
                reopen(&mut steps, env, host, last)
            }
        };
        all.extend(last);
    }
    if let Some((from, to)) = &cause.revert {
        let action = Action::RevertCommit { from: from.clone(), to: to.clone() };
        // It becomes the message of the commit: whoever reads the history wants to know what failed (H2).
        steps.push(None, None, action, &all, OnFailure::Warn, cause.reason.as_str());
    }
    steps.finish()
}

/// What runs the release that a host is back at. Until it has settled the probation lasts: a host whose controller is lost
/// before does it by itself.
fn activate(steps: &mut Builder, host: &Host, last: Vec<String>) -> Vec<String> {
    if host.activation.is_empty() {
        return last;
    }
    let does = if host.activation.project.is_some() { "brought up" } else { "restarted" };
    let why = format!("{}: {does} with what it is back at", host.activation.told());
    let action = Action::Activate { activation: host.activation.clone() };
    vec![steps.push(Some(&host.name), None, action, &last, OnFailure::Abort, why)]
}

/// What was stopped before the migration runs again, with what did not move.
fn start(steps: &mut Builder, host: &Host, last: Vec<String>) -> Vec<String> {
    if host.drained.is_empty() {
        return last;
    }
    let why = format!("{}: started again, with what runs here", host.drained.told());
    let action = Action::Activate { activation: host.drained.clone() };
    vec![steps.push(Some(&host.name), Some("drained"), action, &last, OnFailure::Warn, why)]
}

fn reopen(steps: &mut Builder, env: &Environment, host: &Host, last: Vec<String>) -> Vec<String> {
    if !host.closed {
        return last;
    }
    let sha = host.confirmed.as_ref().and_then(|(_, sha)| sha.clone());
    push_hooks(steps, env, &host.name, Phase::MaintenanceOff, &ReleaseDir::Live { sha }, last)
}

/// The release that is returned to must be healthy before anybody calls it a rollback.
fn judge(
    steps: &mut Builder,
    env: &Environment,
    host: &HostName,
    place: &ReleaseDir,
    mut last: Vec<String>,
) -> Vec<String> {
    let checks: Vec<_> = env.health.checks.iter().filter(|c| !matches!(c.probe, Probe::Assets { .. })).collect();
    if !env.health.grace.is_zero() && !checks.is_empty() {
        let action = Action::Grace { seconds: env.health.grace.as_secs_f64() };
        last =
            vec![steps.push(Some(host), None, action, &last, OnFailure::Warn, "time to start before the first check")];
    }
    let mut checked = Vec::new();
    for check in checks {
        let action = Action::Health { check: check.clone(), place: place.clone() };
        let on_failure = if check.on_failure == OnFailure::Warn { OnFailure::Warn } else { OnFailure::Abort };
        let why = "what is returned to must be healthy";
        checked.push(steps.push(Some(host), Some(&check.name), action, &last, on_failure, why));
    }
    if checked.is_empty() { last } else { checked }
}
