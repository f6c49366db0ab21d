//! A run as people follow it: one line per transition, from the journal's own events (law 8).

use super::screen::plain;
use crate::journal::event::Started;
use crate::journal::{Event, Operation, RunResult, StepEnd};

/// What an event says, if it says something. What commands printed is in it, without their control characters.
pub fn lines(event: &Event) -> Vec<String> {
    said(event).iter().map(|line| plain(line)).collect()
}

fn said(event: &Event) -> Vec<String> {
    match event {
        Event::Started(started) => vec![headline(started)],
        Event::Operation(operation) => vec![asked(operation)],
        Event::Ended { step, millis, end, .. } => ended(step, *millis, end),
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

fn ended(step: &str, millis: u64, end: &StepEnd) -> Vec<String> {
    match end {
        StepEnd::Done { note } => {
            let first = note.lines().next().unwrap_or_default();
            vec![format!("  {step:<34} {millis:>6} ms  {first}").trim_end().to_owned()]
        }
        StepEnd::Interrupted { note } => vec![format!("  {step:<34} {millis:>6} ms  {note}")],
        StepEnd::Warned { failure } => vec![format!("  {step:<34} {millis:>6} ms  WARNING {}", failure.message)],
        StepEnd::Failed { failure } => {
            let mut lines = vec![format!("  {step:<34} {millis:>6} ms  FAILED {}", failure.message)];
            let output = failure.output.as_deref().unwrap_or_default();
            let tail: Vec<_> = output.lines().rev().take(10).collect();
            lines.extend(tail.into_iter().rev().map(|line| format!("    | {line}")));
            lines
        }
    }
}
