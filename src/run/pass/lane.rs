//! One environment between its passes: when it is looked at again, and what makes it wait. Looks at outcomes only; what a
//! pass does is not its business.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::journal::RunResult;
use crate::model::desired::Environment;
use crate::model::ids::{Digest, EnvName};
use crate::run::controller::{Controller, now};
use crate::run::pass::outcome::Outcome;
use crate::run::step::site::Wish;
use crate::store::Backoff;

/// A blocked, waiting or in-sync environment is looked at again after so long, or earlier where something tells.
pub const CALM: Duration = Duration::from_secs(10);
/// No environment is looked at more often than so, while nothing happens.
const OFTEN: Duration = Duration::from_millis(100);
/// How soon a root that someone else holds is asked for again.
const LOCKED: Duration = Duration::from_secs(2);

/// One environment of the loop.
pub struct Lane {
    pub due: Instant,
    /// When health was sampled last.
    pub sampled: Option<Instant>,
    pub wish: Arc<Wish>,
    pub busy: bool,
    /// The desired state that the last pass was about.
    pub desired: Digest,
}

impl Default for Lane {
    /// A lane that is due now.
    fn default() -> Self {
        let (wish, desired) = (Arc::default(), Digest::of(b"null"));
        Lane { due: Instant::now(), sampled: None, wish, busy: false, desired }
    }
}

impl Lane {
    /// Whether this pass asks for health.
    pub fn wants_sample(&self, env: &Environment) -> bool {
        self.sampled.is_none_or(|last| last.elapsed() >= env.health.every)
    }

    /// When to look again: at once while something moves, later while nothing does, and with backoff after trouble.
    /// Whatever is to be told about it goes to `say`.
    pub fn pause(
        &self,
        controller: &Controller,
        name: &EnvName,
        env: Option<&Environment>,
        outcome: &Outcome,
        say: impl FnOnce(&str),
    ) -> Duration {
        // A soak counts samples without gaps: whoever wants them every second gets them every second (B2).
        let every = env.map_or(CALM, |env| env.health.every.max(OFTEN));
        let rhythm = CALM.min(controller.settings.poll).min(every);
        let store = &controller.store;
        let previous = store.backoff(name).ok().flatten();
        let backoff = match outcome {
            Outcome::Waiting { until, .. } => {
                return Duration::try_from(until.duration_since(now())).unwrap_or_default().min(rhythm);
            }
            Outcome::Ran { result: RunResult::Error | RunResult::Unreachable, reason, .. }
            | Outcome::Error { message: reason, .. } => {
                // Milliseconds of the clock are as good as dice here.
                let jitter = f64::from(now().subsec_millisecond()) / 1000.0;
                let backoff = Backoff::after(previous.as_ref(), self.desired, now(), jitter, reason);
                let pause = Duration::try_from(backoff.next_at.duration_since(now())).unwrap_or_default();
                say(&format!("{name}: again in {pause:.0?} (error {} in a row: {reason})", backoff.failures));
                backoff
            }
            // What a person stopped does not start again behind their back.
            Outcome::Ran { result: RunResult::Cancelled, reason, .. } => {
                say(&format!("{name}: left alone until its desired state changes, or: soll retry {name} ({reason})"));
                let (failures, next_at, fingerprint) = (0, Timestamp::MAX, self.desired);
                Backoff { failures, next_at, fingerprint, reason: reason.clone() }
            }
            other => {
                if previous.is_some()
                    && let Err(error) = store.clear_backoff(name)
                {
                    tracing::warn!(%error, "the backoff could not be cleared");
                }
                return match other {
                    Outcome::Ran { .. } => Duration::ZERO,
                    Outcome::Locked { .. } => LOCKED,
                    _ => rhythm,
                };
            }
        };
        if let Err(error) = store.set_backoff(name, &backoff) {
            tracing::warn!(%error, "the backoff could not be kept");
        }
        // Never longer than the rhythm: a person may lift the wait meanwhile.
        Duration::try_from(backoff.next_at.duration_since(now())).unwrap_or_default().min(rhythm)
    }
}

/// A wait, perhaps of an earlier life of this daemon, that still holds for the same desired state.
pub fn waits(controller: &Controller, env: &Environment) -> Option<Outcome> {
    let backoff = controller.store.backoff(&env.name).ok().flatten()?;
    let holds = backoff.holds(&env.digest(), now());
    holds.then_some(Outcome::Waiting { until: backoff.next_at, reason: backoff.reason })
}
