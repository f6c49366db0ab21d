//! One health check on one host: attempts until one passes or all are used up, each of them recorded (C2).

use std::time::Duration;

use crate::health::verdict;
use crate::host::wire::{HostError, Op, Reply};
use crate::journal::FailureClass;
use crate::model::desired::{Check, From, Probe, Target};
use crate::model::observed::{Attempt, Verdict};
use crate::run::fill::fill_probe;
use crate::run::step::executor::{Executor, StepResult, StepTrouble};
use crate::run::step::task::Located;
use crate::run::step::world::World;

/// Runs `check` with up to `attempts` attempts. `yields`: the rest of them is not made once the run goes back.
pub async fn check<W: World>(
    executor: &Executor<W>,
    (step, yields): (&str, bool),
    target: &Target,
    located: &Located,
    check: &Check,
    attempts: u32,
) -> StepResult {
    let health = &executor.task.env.health;
    let mut made: Vec<Attempt> = Vec::new();
    let verdict = loop {
        let attempt = attempt(executor, target, located, check, health.timeout).await?;
        // The dispatcher outlives its steps: a closed channel means that nobody reads evidence any more.
        let _ = executor.evidence.send((step.to_owned(), attempt.clone()));
        made.push(attempt);
        match verdict::judge(&made, attempts) {
            Some(verdict) => break verdict,
            None if executor.doze(health.interval, yields).await => {}
            // What was seen so far is no verdict.
            None => {
                let message = format!("check `{}` on {}: interrupted, the run goes back", check.name, target.name);
                return Err(StepTrouble { class: FailureClass::Interrupted, message, output: None });
            }
        }
    };
    // The last attempt that says what the verdict says is what people want to read.
    let speaker = made.iter().rfind(|a| a.verdict == verdict).map_or("", |a| a.evidence.as_str());
    let (class, evidence) = match verdict {
        Verdict::Pass if made.len() > 1 => return Ok(format!("{speaker} at attempt {}", made.len())),
        Verdict::Pass => return Ok(speaker.to_owned()),
        Verdict::Fail => (FailureClass::Verdict, speaker.to_owned()),
        Verdict::Inconclusive => (FailureClass::Error, format!("no verdict: {speaker}")),
    };
    let tries = if made.len() == 1 { "1 attempt".to_owned() } else { format!("{} attempts", made.len()) };
    let message = format!("check `{}` on {}: {evidence} ({tries})", check.name, target.name);
    Err(StepTrouble { class, message, output: None })
}

async fn attempt<W: World>(
    executor: &Executor<W>,
    target: &Target,
    located: &Located,
    check: &Check,
    timeout: Duration,
) -> Result<Attempt, HostError> {
    let task = &executor.task;
    let values = task.values(target, located.release.as_ref(), located.sha.as_ref());
    let probe = fill_probe(&check.probe, &values);
    let secret = match probe.bearer() {
        None => None,
        Some((name, url)) => match executor.world.secret(&task.env, name, url) {
            Ok(secret) => Some(secret),
            Err(refused) => {
                let (at, evidence) = (executor.world.now(), refused.instead(name));
                return Ok(Attempt { at, verdict: Verdict::Inconclusive, evidence, millis: 0 });
            }
        },
    };
    if check.from == From::Controller && !matches!(probe, Probe::Run { .. } | Probe::Systemd { .. }) {
        return Ok(executor.world.probe(&probe, secret, timeout).await);
    }
    let command = match &check.probe {
        Probe::Run { command } => Some(task.command(target, located, &check.name, command, timeout)),
        _ => None,
    };
    let op = Op::Probe { cwd: located.cwd.clone(), probe, command, secret, timeout };
    match executor.world.call(target, op).await? {
        Reply::Attempt(attempt) => Ok(attempt),
        other => Err(HostError::Io(format!("{} answered a probe with {other:?}", target.name))),
    }
}
