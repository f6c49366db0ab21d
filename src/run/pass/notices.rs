//! What a pass has to tell: where its environment stands, whether its jobs are done in time, and what was seen of its hosts.
//! Pure.

use std::time::Duration;

use crate::journal::notice::{Notice, PATHS};
use crate::model::desired::{DriftPolicy, Environment};
use crate::model::ids::EnvName;
use crate::plan::due::{self, Ago, Due, Job};
use crate::plan::render::why;
use crate::plan::{Code, EnvPlan, HostView, Verdict};
use crate::run::pass::outcome::Outcome;

/// Where the environment stands. A run has told its own story, and a wait was told when it began.
pub fn standing(name: &EnvName, outcome: &Outcome) -> Option<Notice> {
    let environment = name.clone();
    Some(match outcome {
        Outcome::Converged { healthy: Some(false) } => Notice::Unhealthy { environment },
        Outcome::Converged { .. } => Notice::InSync { environment },
        // A notice about the host says it, once, however often it is healed meanwhile.
        Outcome::Blocked(plan) if plan.blocking().all(|blocker| blocker.code == Code::HealDidNotLast) => return None,
        Outcome::Blocked(plan) => blocked(environment, plan),
        Outcome::Locked { root, host, holder } => Notice::Locked {
            environment,
            host: host.clone(),
            root: root.clone(),
            holder: holder.who.clone(),
            since: holder.since,
            pid: holder.pid,
        },
        Outcome::Error { unreachable, message } => {
            Notice::Trouble { environment, unreachable: *unreachable, why: message.clone() }
        }
        Outcome::Refused { message } => Notice::NotFollowed { environment, why: message.clone() },
        Outcome::Ran { .. } | Outcome::Waiting { .. } | Outcome::Stale(_) => return None,
    })
}

fn blocked(environment: EnvName, plan: &EnvPlan) -> Notice {
    let (desired, explanation) = (plan.desired.clone(), why::why(plan).trim_end().to_owned());
    // What the loop itself plans is always bound.
    match (plan.verdict, plan.binding) {
        (Verdict::Pending, Some(binding)) => Notice::ApprovalWanted { environment, desired, binding, explanation },
        (Verdict::Pending | Verdict::Go | Verdict::NoGo, _) => {
            let codes = plan.blocking().map(|blocker| blocker.code).collect();
            Notice::Blocked { environment, desired, codes, explanation }
        }
    }
}

/// What only waited for its turn is not later than this, however often it is wanted.
const SLACK: Duration = Duration::from_secs(15);

/// Whether its jobs are done in time; what should have been done twice by now is not, and somebody has to look why. `ago`: how
/// long ago each was done last.
pub fn jobs(env: &Environment, ago: &Ago) -> Vec<Notice> {
    let is_over = |due: &Due| due.job.every(env).is_some_and(|every| due.late >= every.max(SLACK));
    let overdue: Vec<Due> = due::due(env, ago).into_iter().filter(is_over).collect();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let one = |job: Job| {
        let every = job.every(env)?;
        let (environment, name) = (env.name.clone(), told(job).to_owned());
        Some(match overdue.iter().find(|due| due.job == job) {
            Some(due) => Notice::Overdue { environment, job: name, every_ms: millis(every), late_ms: millis(due.late) },
            None => Notice::OnTime { environment, job: name },
        })
    };
    Job::ALL.into_iter().filter_map(one).collect()
}

fn told(job: Job) -> &'static str {
    match job {
        Job::Sample => "health check",
        Job::Drift => "drift scan",
    }
}

/// What was seen of its hosts. `drift`: what is done where contents differ; nobody asked where that is ignored.
pub fn hosts(name: &EnvName, drift: DriftPolicy, hosts: &[HostView]) -> Vec<Notice> {
    let mut notices = Vec::new();
    for view in hosts.iter().filter(|view| !view.unasked) {
        let (environment, host) = (name.clone(), view.name.clone());
        if !view.reachable {
            notices.push(Notice::HostAway { environment, host, why: view.reason.clone() });
            continue;
        }
        notices.push(Notice::HostBack { environment: environment.clone(), host: host.clone() });
        if drift == DriftPolicy::Ignore {
            continue;
        }
        let healed = view.healed.as_ref().filter(|_| drift == DriftPolicy::Heal);
        match healed {
            // Whether it lasts is still to be seen.
            Some(_) if view.drift.is_empty() => {}
            Some(healed) => {
                let paths = view.drift.iter().take(PATHS).map(|drift| drift.path.clone()).collect();
                let (times, host) = (healed.times, host.clone());
                notices.push(Notice::HealDidNotLast { environment: name.clone(), host, times, paths });
                // The same difference is not told as drift once more.
                continue;
            }
            None => notices.push(Notice::HealLasts { environment: name.clone(), host: host.clone() }),
        }
        notices.push(if view.drift.is_empty() {
            Notice::DriftGone { environment, host }
        } else {
            let paths = view.drift.iter().take(PATHS).map(|drift| drift.path.clone()).collect();
            Notice::Drift { environment, host, count: view.drifted(), paths }
        });
    }
    notices
}
