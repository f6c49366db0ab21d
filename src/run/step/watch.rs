//! The watch after a switch (C8): figures are sampled until the time is over or one of them is broken.

use std::time::Duration;

use crate::health::watch::{WatchState, WatchVerdict};
use crate::host::wire::{HostError, Op, Reply};
use crate::journal::FailureClass;
use crate::model::desired::{From, Metric, MetricSource, Target, Watch};
use crate::model::observed::{Attempt, Verdict};
use crate::model::record::Watched;
use crate::run::fill::fill_source;
use crate::run::step::executor::{Executor, StepResult, StepTrouble};
use crate::run::step::task::Located;
use crate::run::step::world::World;

/// How far it is, is noted on the host as often.
const NOTE: Duration = Duration::from_secs(1);

/// Watches one host. `before`: what an earlier run has seen of this watch.
pub async fn watch<W: World>(
    executor: &Executor<W>,
    step: &str,
    target: &Target,
    located: &Located,
    watch: &Watch,
    before: Watched,
) -> StepResult {
    let began = executor.world.now();
    let time = || before.time + Duration::try_from(executor.world.now().duration_since(began)).unwrap_or_default();
    let mut state = WatchState::resumed(&before.broken);
    let mut noted = before.time;
    let mut warned = Vec::new();
    loop {
        for metric in &watch.metrics {
            let figure = measure(executor, target, located, metric).await?;
            let verdict = state.sample(metric, &figure);
            let evidence = match &figure {
                Ok(value) => format!("{} = {value}", metric.name),
                Err(why) => format!("{}: {why}", metric.name),
            };
            let seen = match (&verdict, &figure) {
                (WatchVerdict::Continue, Ok(_)) => Verdict::Pass,
                (WatchVerdict::Broken { .. } | WatchVerdict::Warn { .. }, _) => Verdict::Fail,
                _ => Verdict::Inconclusive,
            };
            let attempt = Attempt { at: executor.world.now(), verdict: seen, evidence, millis: 0 };
            let _ = executor.evidence.send((step.to_owned(), attempt));
            warned.extend(heed(verdict, target)?);
        }
        let seen = time();
        if seen >= watch.duration {
            warned.extend(heed(state.end(&watch.metrics), target)?);
            return Ok(warned.join("; "));
        }
        // Who comes next goes on from here, whether or not this controller can still say so by then.
        let interrupted = executor.world.interruption().is_some();
        if interrupted || seen - noted >= NOTE {
            let watched = Watched { time: seen, broken: state.broken() };
            executor.world.call(target, Op::Watched { epoch: executor.task.epoch, watched }).await?;
            noted = seen;
        }
        // What was seen so far is no verdict.
        if interrupted {
            let (seen, of) = (whole(seen), whole(watch.duration));
            let message = format!("interrupted after {seen} of {of}: the watch goes on with whoever comes next");
            return Err(StepTrouble { class: FailureClass::Interrupted, message, output: None });
        }
        doze(executor, watch.every).await;
    }
}

/// For people: hundredths are noise in an hour.
fn whole(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}

/// Until the next sample, or until somebody wants the run to stop.
async fn doze<W: World>(executor: &Executor<W>, every: Duration) {
    let mut left = every;
    while !left.is_zero() && executor.world.interruption().is_none() {
        let nap = left.min(NOTE);
        executor.world.sleep(nap).await;
        left -= nap;
    }
}

/// A warning goes into the note, anything worse ends the watch.
fn heed(verdict: WatchVerdict, target: &Target) -> Result<Option<String>, StepTrouble> {
    let (class, message) = match verdict {
        WatchVerdict::Continue => return Ok(None),
        WatchVerdict::Warn { reason } => return Ok(Some(reason)),
        WatchVerdict::Broken { reason } => (FailureClass::Verdict, format!("watch on {}: {reason}", target.name)),
        WatchVerdict::Inconclusive { reason } => {
            (FailureClass::Error, format!("watch on {} has no evidence: {reason}", target.name))
        }
    };
    Err(StepTrouble { class, message, output: None })
}

async fn measure<W: World>(
    executor: &Executor<W>,
    target: &Target,
    located: &Located,
    metric: &Metric,
) -> Result<Result<f64, String>, HostError> {
    let (task, timeout) = (&executor.task, executor.task.env.health.timeout);
    let values = task.values(target, located.release.as_ref(), located.sha.as_ref());
    let source = fill_source(&metric.source, &values);
    let secret = match source.bearer() {
        None => None,
        Some((name, url)) => match executor.world.secret(&task.env, name, url) {
            Ok(secret) => Some(secret),
            Err(refused) => return Ok(Err(refused.instead(name))),
        },
    };
    if metric.from == From::Controller && !matches!(source, MetricSource::Run { .. }) {
        return Ok(executor.world.measure(&source, secret, timeout).await);
    }
    let command = match &metric.source {
        MetricSource::Run { command } => Some(task.command(target, located, &metric.name, command, timeout)),
        _ => None,
    };
    let cwd = crate::host::wire::Cwd::Current;
    match executor.world.call(target, Op::Measure { cwd, source, command, secret, timeout }).await? {
        Reply::Figure(figure) => Ok(figure),
        other => Err(HostError::Io(format!("{} answered a measurement with {other:?}", target.name))),
    }
}
