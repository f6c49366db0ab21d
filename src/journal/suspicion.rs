//! Whether it was the release. Where the one before it fails in the same way after the way back, and was well before, it was
//! something else: somebody killed a service, a disk is full, a database is gone. Then no release is condemned (law 4).

use super::event::{Failure, FailureClass, StepEnd};
use super::state::{RunState, StepState};
use crate::model::ids::HostName;
use crate::plan::{Action, Step};

/// The host that failed both times, and what it failed with the second time. `was_well`: what is known of the time before
/// the run, where no step of it asked.
pub fn suspect(
    state: &RunState,
    failure: &Failure,
    was_well: impl Fn(&HostName) -> bool,
) -> Option<(HostName, String)> {
    let forward = state.started.as_ref().map_or(&[][..], |started| &started.steps);
    let back = |host: &HostName| state.aside.get(host).map(|aside| &aside.steps).or(state.back.as_ref());
    let aside = state.aside.iter().map(|(host, aside)| (host, &aside.failure));
    let failed = failure.host.iter().map(|host| (host, failure)).chain(aside);
    let failed = failed.filter(|(_, failure)| failure.class == FailureClass::Verdict);
    // Checks are asked side by side: which of those that failed was the first, and is the reason, says nothing.
    let is_no = |step: &&Step| match state.steps.get(&step.id) {
        Some(StepState::Ended(StepEnd::Failed { failure })) => failure.class == FailureClass::Verdict,
        _ => false,
    };
    let questions = failed.flat_map(|(host, failure)| {
        let of_host = move |step: &&Step| step.host.as_ref() == Some(host);
        let said_no = forward.iter().filter(of_host).filter(is_no);
        let first = forward.iter().filter(move |step| step.id == failure.step);
        first.chain(said_no).filter_map(move |step| Some((host, question(Some(step))?)))
    });
    for (host, asked) in questions {
        let same = |step: &&Step| step.host.as_ref() == Some(host) && question(Some(step)) == Some(asked);
        let Some(again) = back(host).and_then(|steps| steps.iter().find(same)) else { continue };
        let Some(StepState::Ended(StepEnd::Failed { failure: second })) = state.steps.get(&again.id) else { continue };
        let before = forward.iter().find(|step| {
            let asks =
                matches!(&step.action, Action::HealthBefore { check, .. } if asked == Question::Check(&check.name));
            asks && step.host.as_ref() == Some(host)
        });
        let well = match before {
            Some(step) => matches!(state.steps.get(&step.id), Some(StepState::Ended(StepEnd::Done { .. }))),
            None => was_well(host),
        };
        if well && second.class == FailureClass::Verdict {
            return Some((host.clone(), second.message.clone()));
        }
    }
    None
}

/// What a step asks of what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question<'a> {
    /// By its name.
    Check(&'a str),
    /// Whether its units stay up. Before a run nobody asks that; that it was well then is known of its samples alone.
    Units,
}

fn question(step: Option<&Step>) -> Option<Question<'_>> {
    match &step?.action {
        Action::Health { check, .. } => Some(Question::Check(&check.name)),
        Action::Activate { .. } => Some(Question::Units),
        _ => None,
    }
}
