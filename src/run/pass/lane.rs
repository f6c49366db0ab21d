//! One environment between its passes: when it is looked at again, and what makes it wait. Looks at outcomes only; what a
//! pass does is not its business.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::journal::RunResult;
use crate::journal::notice::Notice;
use crate::model::desired::Environment;
use crate::model::ids::{Digest, EnvName};
use crate::plan::due::Ago;
use crate::run::controller::{Controller, now};
use crate::run::pass::outcome::Outcome;
use crate::run::step::stop_request::StopRequest;
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
    /// When health was sampled last, and when drift was scanned for.
    pub sampled: Option<Instant>,
    pub scanned: Option<Instant>,
    /// When a pass that came to something did these last; before the first one, since when they are wanted.
    done: (Instant, Instant),
    pub wish: Arc<StopRequest>,
    pub busy: bool,
    /// The desired state that the last pass was about.
    pub desired: Digest,
    pub wait: Option<Wait>,
}

/// A wait after an error, by the clock that nobody can set. The one in the store says whether it still holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    backoff: Backoff,
    /// `None`: until somebody says otherwise.
    until: Option<Instant>,
}

/// What comes after a pass.
#[derive(Debug)]
pub struct Pause {
    pub again: Duration,
    pub wait: Option<Wait>,
    /// What people are told about it.
    pub said: Option<Notice>,
}

impl Default for Lane {
    /// A lane that is due now.
    fn default() -> Self {
        let (wish, desired) = (Arc::default(), Digest::of(b"null"));
        let now = Instant::now();
        Lane { due: now, sampled: None, scanned: None, done: (now, now), wish, busy: false, desired, wait: None }
    }
}

impl Lane {
    /// How long ago its jobs were done.
    pub fn ago(&self) -> Ago {
        let ago = |at: Option<Instant>| at.map(|at| at.elapsed());
        Ago { sample: ago(self.sampled), drift: ago(self.scanned) }
    }

    /// A pass came to something: what it was asked for is done, and a run has looked at all of it (`ran`).
    pub fn has_done(&mut self, ran: bool) {
        let now = Instant::now();
        let done = |asked: Option<Instant>, last: Instant| if ran { now } else { asked.unwrap_or(last) };
        self.done = (done(self.sampled, self.done.0), done(self.scanned, self.done.1));
    }

    /// How long ago its jobs were done by a pass that came to something.
    pub fn done_ago(&self) -> Ago {
        Ago { sample: Some(self.done.0.elapsed()), drift: Some(self.done.1.elapsed()) }
    }
}

/// How often an environment is looked at while nothing happens. `every`: how often its health is wanted, because a soak counts
/// samples without gaps, and whoever wants them every second gets them every second (B2).
pub fn rhythm(controller: &Controller, every: Duration) -> Duration {
    CALM.min(controller.settings.poll).min(every.max(OFTEN))
}

/// When to look again: at once while something moves, later while nothing does, and with backoff after trouble. Blocks for
/// as long as the store's disk does.
pub fn pause(controller: &Controller, name: &EnvName, desired: Digest, every: Duration, outcome: &Outcome) -> Pause {
    let rhythm = rhythm(controller, every);
    let store = &controller.store;
    store.end_broken(now());
    let calm = |again| Pause { again, wait: None, said: None };
    let (backoff, said) = match outcome {
        // The lane knows it already.
        Outcome::Waiting { .. } => return calm(rhythm),
        Outcome::Ran { result: RunResult::Error | RunResult::Unreachable, reason, .. }
        | Outcome::Error { message: reason, .. } => {
            let previous = store.backoff(name).ok().flatten();
            // Milliseconds of the clock are as good as dice here.
            let jitter = f64::from(now().subsec_millisecond()) / 1000.0;
            let backoff = Backoff::after(previous.as_ref(), desired, now(), jitter, reason);
            let again_ms = u64::try_from(backoff.left(now()).as_millis()).unwrap_or(u64::MAX);
            let (failures, why) = (backoff.failures, reason.clone());
            (backoff, Notice::Retried { environment: name.clone(), again_ms, failures, why })
        }
        // What a person stopped does not start again behind their back.
        Outcome::Ran { result: RunResult::Cancelled, reason, .. } => {
            let said = Notice::LeftAlone { environment: name.clone(), why: reason.clone() };
            (Backoff::stopped(desired, reason), said)
        }
        other => {
            if store.backoff(name).ok().flatten().is_some()
                && let Err(error) = store.clear_backoff(name)
            {
                tracing::warn!(%error, "the backoff could not be cleared");
            }
            return calm(match other {
                Outcome::Ran { .. } => Duration::ZERO,
                Outcome::Locked { .. } => LOCKED,
                _ => rhythm,
            });
        }
    };
    let mut wait = Wait::begun(&backoff);
    if let Err(error) = store.set_backoff(name, &backoff) {
        tracing::warn!(%error, "the backoff could not be kept");
    }
    // As it is read back: what is compared later went through the store.
    if let Some(kept) = store.backoff(name).ok().flatten() {
        wait.backoff = kept;
    }
    // Never longer than the rhythm: a person may lift the wait meanwhile.
    Pause { again: backoff.left(now()).min(rhythm), wait: Some(wait), said: Some(said) }
}

impl Wait {
    fn begun(backoff: &Backoff) -> Wait {
        let left = backoff.left(now());
        let until = (left != Duration::MAX).then(|| Instant::now() + left);
        Wait { backoff: backoff.clone(), until }
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }
}

/// A wait, perhaps of an earlier life of this daemon, that still holds for the same desired state: its outcome, and what the
/// lane remembers of it. Blocks for as long as the store's disk does.
pub fn waits(controller: &Controller, env: &Environment, known: Option<Wait>) -> Option<(Outcome, Wait)> {
    let backoff = match controller.store.backoff(&env.name) {
        Ok(backoff) => backoff?,
        // What this process knows holds while the store cannot be read.
        Err(_) => known.as_ref()?.backoff.clone(),
    };
    if backoff.fingerprint != env.digest() {
        return None;
    }
    let wait = known.filter(|known| known.backoff == backoff).unwrap_or_else(|| Wait::begun(&backoff));
    let (until, reason) = (backoff.next_at, backoff.reason);
    (!wait.left().is_zero()).then_some((Outcome::Waiting { until, reason }, wait))
}
