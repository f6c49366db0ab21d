//! Why an environment changes, or does not, in words: the first reason first, and the next move.

use super::parts::{count, current, grade};
use crate::model::shown::clean;
use crate::plan::{Blocker, EnvPlan, Health, Sync, Verdict};

/// The answer to `soll why ENV`: a few lines, ending with a line break.
pub fn why(env: &EnvPlan) -> String {
    let mut lines = match env.blocking().next() {
        Some(first) => blocked(env, first),
        None if env.has_changes() => going(env),
        None => still(env),
    };
    let notes = env.blockers.iter().filter(|b| !b.blocks());
    lines.extend(notes.map(|note| format!("Also: {}. {}.", sentence(&note.message), capital(&note.fix))));
    lines.join("\n") + "\n"
}

fn blocked(env: &EnvPlan, first: &Blocker) -> Vec<String> {
    let name = &env.name;
    let mut lines = vec![match (env.verdict, env.has_changes()) {
        (Verdict::Pending, _) => format!("{name} waits for a person's word."),
        (_, true) => format!("{name} does not change, although it is out of sync: it is blocked."),
        (_, false) if env.sync == Sync::OutOfSync => {
            format!("{name} is out of sync, and nothing is done about it by itself.")
        }
        (_, false) => format!("{name} cannot be judged."),
    }];
    lines.push(format!("{}: {}.", grade(first.grade), sentence(&first.message)));
    lines.push(format!("Next: {}.", sentence(&first.fix)));
    let others: Vec<_> = env.blocking().skip(1).collect();
    if !others.is_empty() {
        lines.push(format!("After that {} in the way:", if others.len() == 1 { "this is" } else { "these are" }));
        for other in others {
            lines.push(format!(
                "  {}: {}. Fix: {}.",
                grade(other.grade),
                sentence(&other.message),
                sentence(&other.fix)
            ));
        }
    }
    if env.has_changes() {
        lines.push("What it would change:".to_owned());
        lines.extend(hosts(env));
    }
    lines
}

fn going(env: &EnvPlan) -> Vec<String> {
    let mut lines = vec![format!("{} is out of sync, and nothing is in the way.", env.name)];
    lines.extend(hosts(env));
    let irreversible = env.steps.iter().filter(|s| s.irreversible).count();
    if irreversible > 0 {
        lines.push(format!("{} cannot be taken back by a rollback.", count(irreversible, "step")));
    }
    lines.push(format!("Next: soll apply {}, or leave it to the daemon.", env.name));
    lines
}

fn still(env: &EnvPlan) -> Vec<String> {
    let mut lines = vec![match env.sync {
        Sync::InSync => format!("{} is as desired: {} runs.", env.name, super::parts::soll(env)),
        _ => format!("{} changes nothing; not everything could be seen.", env.name),
    }];
    match env.health {
        Health::Degraded => {
            let name = &env.name;
            lines.push(format!(
                "But it is not healthy, and no desired change would cure that. Next: soll status {name}, \
                 then commit another release: soll rollback {name}."
            ));
        }
        Health::Missing => lines.push("But nothing runs there.".to_owned()),
        Health::Healthy | Health::Unknown | Health::Progressing => {}
    }
    if env.sync != Sync::InSync {
        lines.extend(hosts(env));
    }
    lines
}

/// What each host that is not as desired runs, and why it is in the plan.
fn hosts(env: &EnvPlan) -> Vec<String> {
    let changing = |name| env.steps.iter().any(|s| s.host.as_ref() == Some(name));
    let shown = env.hosts.iter().filter(|h| !h.reachable || changing(&h.name));
    shown.map(|h| format!("  {} runs {}: {}", h.name, current(h), clean(&h.reason))).collect()
}

/// Without a full stop of its own.
fn sentence(text: &str) -> String {
    clean(text).trim_end_matches('.').to_owned()
}

fn capital(text: &str) -> String {
    let text = sentence(text);
    // A command keeps its letters.
    if text.starts_with("soll ") {
        return format!("Next: {text}");
    }
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
