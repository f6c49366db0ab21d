//! The watch after a switch (C8): figures are sampled until the time is over or one of them is broken.

use crate::health::watch::{WatchState, WatchVerdict};
use crate::host::wire::{HostError, Op, Reply};
use crate::journal::FailureClass;
use crate::model::desired::{From, Metric, MetricSource, Target, Watch};
use crate::model::observed::{Attempt, Verdict};
use crate::run::fill::fill_source;
use crate::run::step::executor::{Executor, StepResult, StepTrouble};
use crate::run::step::task::Located;
use crate::run::step::world::World;

/// Watches one host.
pub async fn watch<W: World>(
    executor: &Executor<W>,
    step: &str,
    target: &Target,
    located: &Located,
    watch: &Watch,
) -> StepResult {
    let ends = executor.world.now() + jiff::SignedDuration::try_from(watch.duration).unwrap_or_default();
    let mut state = WatchState::default();
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
        // A newer commit does not wait for the rest: what was seen so far was good.
        if executor.world.interruption().is_some() {
            return Ok("ended early, something newer waits".to_owned());
        }
        if executor.world.now() >= ends {
            warned.extend(heed(state.end(&watch.metrics), target)?);
            return Ok(warned.join("; "));
        }
        executor.world.sleep(watch.every).await;
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
