//! The planner, script by script: a few words of desired and observed, and the plan that comes of it in a compact form.
//! What holds for every plan is in `planner/laws.rs`.

use soll::plan::{EnvPlan, Step};

mod back;
mod commits;
mod deploy;
mod files;
mod hosts;
mod laws;
mod policy;
pub mod published;
mod services;
mod units;

/// Verdict, blockers, hosts, then one line per step: id, irreversible, failure, what comes first.
fn compact(env: &EnvPlan) -> String {
    let mut out = format!("{} {} {}\n", env.verdict.as_str(), word(&env.sync), word(&env.health));
    for b in &env.blockers {
        out += &format!("! {:?} {}: {} | {}\n", b.grade, word(&b.code), b.message, b.fix);
    }
    for host in &env.hosts {
        out += &format!("@ {} {}: {}\n", host.name, host.current.as_deref().unwrap_or("-"), host.reason);
    }
    out + &steps(&env.steps)
}

/// Steps with what comes first.
fn steps(steps: &[Step]) -> String {
    let line = |step: &Step| {
        let irreversible = if step.irreversible { " irreversible" } else { "" };
        format!("{}{irreversible} {:?} <- {}\n", step.id, step.on_failure, step.after.join(" "))
    };
    steps.iter().map(line).collect()
}

/// A unit variant as the contract's JSON has it.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}
