//! What all renderers say in the same words, and the cleaning of what comes from outside.

use std::borrow::Cow;

use crate::model::shown::clean;
use std::collections::BTreeSet;

use crate::model::desired::{Grade, Phase};
use crate::model::observed::DriftKind;
use crate::plan::{Action, Blocker, EnvPlan, Health, HostView, Step, Sync};

/// Drifted paths that are named one by one.
pub const DRIFT_LINES: usize = 20;

/// `in sync`.
pub fn sync(sync: Sync) -> &'static str {
    match sync {
        Sync::InSync => "in sync",
        Sync::OutOfSync => "out of sync",
        Sync::Unknown => "sync unknown",
    }
}

/// `healthy`.
pub fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unknown => "health unknown",
        Health::Progressing => "progressing",
        Health::Missing => "missing",
        Health::Degraded => "degraded",
    }
}

/// `P0`.
pub fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::P0 => "P0",
        Grade::P1 => "P1",
        Grade::P2 => "P2",
    }
}

/// The name that the contract's JSON gives to a unit variant.
pub fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A blocker's message beside its code, which some messages begin with for those who see no code.
pub fn message(blocker: &Blocker) -> Cow<'_, str> {
    let code = word(&blocker.code);
    let rest = blocker.message.strip_prefix(&code).and_then(|rest| rest.strip_prefix(": "));
    clean(rest.unwrap_or(&blocker.message))
}

/// What is desired: `f0959baf`, `v1.1.0 (f0959baf)`.
pub fn soll(env: &EnvPlan) -> String {
    match &env.desired {
        Some(sha) if env.release == sha.as_str() => sha.short().to_owned(),
        // A directory of which nobody knows the commit.
        Some(sha) if sha.is_unknown() => clean(&env.release).into_owned(),
        Some(sha) => format!("{} ({})", clean(&env.release), sha.short()),
        None => format!("{} (unresolved)", clean(&env.release)),
    }
}

/// What runs, over all hosts: one name, or how many.
pub fn ist(env: &EnvPlan) -> String {
    let seen: BTreeSet<_> = env.hosts.iter().filter(|h| h.reachable).map(current).collect();
    let unseen = env.hosts.iter().filter(|h| !h.reachable).count();
    let mut text = match seen.len() {
        0 => "unknown".to_owned(),
        1 => seen.into_iter().next().unwrap_or_default(),
        n => format!("{n} different states"),
    };
    if unseen > 0 && text != "unknown" {
        text.push_str(&format!(", {unseen} of {} hosts unknown", env.hosts.len()));
    }
    text
}

/// What one host runs.
pub fn current(host: &HostView) -> String {
    match &host.current {
        _ if !host.reachable => "unknown".to_owned(),
        Some(current) => clean(current).into_owned(),
        None => "nothing".to_owned(),
    }
}

/// What happened to a drifted path.
pub fn drift(kind: DriftKind) -> &'static str {
    match kind {
        DriftKind::Changed => "changed",
        DriftKind::Missing => "missing",
        DriftKind::Added => "added",
        DriftKind::Mode => "mode",
        DriftKind::Unreadable => "unreadable",
        DriftKind::Link => "link",
    }
}

/// The part of a plan that a step belongs to, for headings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Look,
    Stage,
    Ready,
    Switch,
    Settle,
    Back,
}

impl Part {
    /// The part of a step.
    pub fn of(step: &Step) -> Part {
        match &step.action {
            Action::HealthBefore { .. } => Part::Look,
            // With checks it is the way back, made before anything is touched; without, it is the end.
            Action::Adopt { checks, .. } if !checks.is_empty() => Part::Look,
            Action::Checksum { .. }
            | Action::Fetch { .. }
            | Action::Verify { .. }
            | Action::Upload
            | Action::Extract
            | Action::Render => Part::Stage,
            Action::Link | Action::Pull { .. } | Action::Gate { .. } => Part::Stage,
            Action::Backup { .. } | Action::Drain { .. } | Action::Migrate { .. } | Action::Seal { .. } => Part::Ready,
            Action::Hook { hook, .. } | Action::Maintenance { hook, .. } | Action::Reload { hook, .. } => {
                match hook.phase {
                    Phase::Prepare => Part::Stage,
                    Phase::MaintenanceOn | Phase::Migrate | Phase::PreSwitch => Part::Ready,
                    Phase::After => Part::Settle,
                    _ => Part::Switch,
                }
            }
            Action::Switch { .. } | Action::Activate { .. } | Action::Grace { .. } | Action::Health { .. } => {
                Part::Switch
            }
            Action::Assets { .. } | Action::Watch { .. } => Part::Switch,
            Action::Adopt { .. } | Action::Confirm { .. } | Action::Prune { .. } => Part::Settle,
            Action::Rollback { .. } | Action::Hold { .. } | Action::RevertCommit { .. } => Part::Back,
        }
    }

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Part::Look => "look at the target",
            Part::Stage => "stage; `current` is untouched",
            Part::Ready => "the last before the switch",
            Part::Switch => "switch and judge",
            Part::Settle => "settle",
            Part::Back => "way back",
        }
    }
}

/// The steps in runs of one part, in their order.
pub fn parts(steps: &[Step]) -> Vec<(Part, &[Step])> {
    steps.chunk_by(|a, b| Part::of(a) == Part::of(b)).map(|steps| (Part::of(&steps[0]), steps)).collect()
}

/// `gate autoload`: the kind, and the name of what is run where there is one.
pub fn what(step: &Step) -> String {
    let name = match &step.action {
        Action::HealthBefore { check, .. } | Action::Health { check, .. } | Action::Assets { check, .. } => &check.name,
        Action::Gate { gate, .. } => &gate.name,
        Action::Hook { hook, .. }
        | Action::Migrate { hook, .. }
        | Action::Maintenance { hook, .. }
        | Action::Reload { hook, .. } => &hook.name,
        Action::Backup { backup } => &backup.name,
        Action::Activate { activation } => return format!("activate {}", clean(&activation.told())),
        Action::Drain { activation } => return format!("drain {}", clean(&activation.told())),
        Action::Grace { seconds } => return format!("grace {seconds} s"),
        action => return action.kind().to_owned(),
    };
    format!("{} {}", step.action.kind(), clean(name))
}

/// `850 ms`, `4.2 s`, `3 min 5 s`.
pub fn time(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
    }
}

/// `42 s`, `7 min`, `5 h`, `3 days`: how old something is.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `, compared 7 min ago`, where the contents of a host were not compared for this question.
pub fn compared(host: &HostView) -> String {
    match host.drift_age_s {
        0 => String::new(),
        seconds => format!(", compared {} ago", age(seconds)),
    }
}

/// `1 host`, `3 hosts`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// How many environments change, are blocked, and are as desired.
pub fn tally(environments: &[EnvPlan]) -> String {
    let blocked = environments.iter().filter(|e| e.blocking().next().is_some()).count();
    let changes = environments.iter().filter(|e| e.has_changes() && e.blocking().next().is_none()).count();
    let still = environments.len() - blocked - changes;
    let mut said: Vec<String> = Vec::new();
    for (n, one, many) in [
        (changes, "changes", "change"),
        (blocked, "is blocked", "are blocked"),
        (still, "stays as it is", "stay as they are"),
    ] {
        let verb = if n == 1 { one } else { many };
        match n {
            0 => {}
            _ if said.is_empty() => said.push(format!("{} {verb}", count(n, "environment"))),
            _ => said.push(format!("{n} {verb}")),
        }
    }
    if said.is_empty() { "no environment was asked for".to_owned() } else { said.join(", ") }
}
