//! A run as people follow it: one line per transition, from the journal's own events (law 8).

use super::screen::plain;
use crate::journal::event::Started;
use crate::journal::{Event, Operation, RunResult, StepEnd};

/// So many lines of what a failed command printed are shown while a run goes on: the last ones mostly say it.
const TAIL: usize = 10;

/// What an event says, if it says something. What commands printed is in it, without their control characters.
pub fn lines(event: &Event) -> Vec<String> {
    said(event, TAIL).iter().map(|line| plain(line)).collect()
}

/// The same with all that failed commands printed, as far as it is kept.
pub fn whole(event: &Event) -> Vec<String> {
    said(event, usize::MAX).iter().map(|line| plain(line)).collect()
}

fn said(event: &Event, most: usize) -> Vec<String> {
    match event {
        Event::Started(started) => vec![headline(started)],
        Event::Operation(operation) => vec![asked(operation)],
        Event::Ended { step, millis, end, .. } => ended(step, *millis, end, most),
        Event::TurnedBack { steps, .. } if steps.is_empty() => Vec::new(),
        Event::TurnedBack { failure, .. } => {
            vec![match failure {
                Some(failure) => format!("turning back: {}", failure.message),
                None => "turning back".to_owned(),
            }]
        }
        Event::SetAside { host, failure, .. } => {
            vec![format!("{host} goes back alone, the others go on: {}", failure.message)]
        }
        Event::Quarantined { reason, .. } => vec![format!("quarantined: {reason}")],
        Event::Finished { result, reason, .. } => {
            let word = match result {
                RunResult::RolledBack => "ROLLED BACK",
                RunResult::Succeeded => "succeeded",
                RunResult::Failed => "FAILED",
                other => other.as_str(),
            };
            vec![if reason.is_empty() { word.to_owned() } else { format!("{word}: {reason}") }]
        }
        Event::Acquired { .. } | Event::Intended { .. } | Event::Attempted { .. } => Vec::new(),
    }
}

fn headline(started: &Started) -> String {
    let from = started.from.as_ref().map_or("nothing", |release| release.as_str());
    format!("run {}: {from} -> {} ({})", started.run, started.goal(), started.reason)
}

fn asked(operation: &Operation) -> String {
    let Operation { run, action, environment, actor, reason, .. } = operation;
    let of = environment.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("run {run}: {action}{of}, by {actor}{why}")
}

fn ended(step: &str, millis: u64, end: &StepEnd, most: usize) -> Vec<String> {
    let line = |said: &str| format!("  {step:<34} {millis:>6} ms  {said}").trim_end().to_owned();
    let (word, failure) = match end {
        StepEnd::Done { note } => return vec![line(note.lines().next().unwrap_or_default())],
        StepEnd::Interrupted { note } => return vec![line(note)],
        StepEnd::Warned { failure } => ("WARNING", failure),
        StepEnd::Failed { failure } => ("FAILED", failure),
    };
    let output: Vec<&str> = failure.output.as_deref().unwrap_or_default().lines().collect();
    let tail = &output[output.len().saturating_sub(most)..];
    let mut lines = vec![line(&format!("{word} {}", failure.message))];
    lines.extend(tail.iter().map(|line| format!("    | {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Failure, FailureClass};
    use crate::model::desired::OnFailure;

    #[test]
    fn while_it_goes_on_the_end_of_an_output_is_shown_and_afterwards_all_of_it() {
        let output: String = (1..=30).map(|n| format!("line {n}\n")).collect();
        let failure = Failure {
            step: "hook:web1:build".to_owned(),
            host: None,
            class: FailureClass::Verdict,
            on_failure: OnFailure::Abort,
            message: "hook `build` says no".to_owned(),
            output: Some(output),
        };
        let at = "2026-11-30T12:00:00Z".parse().expect("a time");
        let step = failure.step.clone();
        let event = Event::Ended { step, at, millis: 7, end: StepEnd::Failed { failure } };
        let (short, long) = (lines(&event), whole(&event));
        assert!(short[0].contains("FAILED hook `build` says no"), "{short:?}");
        assert_eq!((short.len(), short[1].as_str(), short[10].as_str()), (11, "    | line 21", "    | line 30"));
        assert_eq!((long.len(), long[1].as_str()), (31, "    | line 1"));
    }
}
