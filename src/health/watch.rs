//! The watch after a deployment (C8) as a fold over samples. Pure: when to sample, and what to do with the answer, is
//! the run's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::verdict::limit_broken;
use crate::model::desired::{Limit, Metric, OnFailure};

/// So many errors in a row, and nothing is known of a figure any more.
pub const CONSECUTIVE_ERRORS: u32 = 4;

/// What a watch has seen so far, by the name of the metric.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WatchState {
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    figures: u32,
    /// Samples beyond the limit, in a row or not.
    broken: u32,
    /// Errors since the last figure.
    errors: u32,
    last_error: Option<String>,
    /// A metric that only warns does so once.
    warned: bool,
}

/// What a sample means for the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchVerdict {
    Continue,
    /// More samples than `failure_limit` were beyond the limit of a metric that rolls back.
    Broken {
        reason: String,
    },
    /// The same for a metric that warns, or a figure of it that cannot be had. Said once per metric.
    Warn {
        reason: String,
    },
    /// Nothing is known of the figure: neither confirm nor roll back on this (law 4).
    Inconclusive {
        reason: String,
    },
}

impl WatchState {
    /// Goes on with what an earlier watch forgave.
    pub fn resumed(broken: &BTreeMap<String, u32>) -> Self {
        let seen = |(name, broken): (&String, &u32)| (name.clone(), Seen { broken: *broken, ..Seen::default() });
        WatchState { seen: broken.iter().map(seen).collect() }
    }

    /// Samples beyond their limit, by the name of the metric; those without any left out.
    pub fn broken(&self) -> BTreeMap<String, u32> {
        let broken = self.seen.iter().filter(|(_, seen)| seen.broken > 0);
        broken.map(|(name, seen)| (name.clone(), seen.broken)).collect()
    }

    /// Takes in one sample.
    pub fn sample(&mut self, metric: &Metric, sample: &Result<f64, String>) -> WatchVerdict {
        let seen = self.seen.entry(metric.name.clone()).or_default();
        match sample {
            Ok(value) if !value.is_nan() => {
                seen.figures += 1;
                seen.errors = 0;
                seen.last_error = None;
                if !limit_broken(metric.limit, *value) {
                    return WatchVerdict::Continue;
                }
                seen.broken += 1;
                match seen.broken > metric.failure_limit {
                    true => seen.act(metric, beyond(metric, *value, seen.broken)),
                    false => WatchVerdict::Continue,
                }
            }
            other => {
                seen.errors += 1;
                seen.last_error = Some(other.clone().err().unwrap_or_else(|| "the figure is NaN".to_owned()));
                match seen.errors >= CONSECUTIVE_ERRORS {
                    true => seen.unknown(metric),
                    false => WatchVerdict::Continue,
                }
            }
        }
    }

    /// The last word of a watch whose time is over: a metric of which no figure was ever had is no evidence for the
    /// release, however short the watch was. `Inconclusive` wins over `Warn`.
    pub fn end(&mut self, metrics: &[Metric]) -> WatchVerdict {
        let mut last = WatchVerdict::Continue;
        for metric in metrics {
            let seen = self.seen.entry(metric.name.clone()).or_default();
            if seen.figures > 0 {
                continue;
            }
            match seen.unknown(metric) {
                WatchVerdict::Continue => {}
                warn @ WatchVerdict::Warn { .. } => last = warn,
                verdict => return verdict,
            }
        }
        last
    }
}

impl Seen {
    fn act(&mut self, metric: &Metric, reason: String) -> WatchVerdict {
        match metric.on_failure {
            OnFailure::Rollback | OnFailure::Abort => WatchVerdict::Broken { reason },
            OnFailure::Warn if self.warned => WatchVerdict::Continue,
            OnFailure::Warn => {
                self.warned = true;
                WatchVerdict::Warn { reason }
            }
        }
    }

    fn unknown(&mut self, metric: &Metric) -> WatchVerdict {
        let why = self.last_error.clone().unwrap_or_else(|| "it was never sampled".to_owned());
        let reason = match self.errors {
            0 => format!("{} could not be had: {why}", metric.name),
            n => format!("{} could not be had {n} times in a row: {why}", metric.name),
        };
        match metric.on_failure {
            OnFailure::Warn => self.act(metric, reason),
            OnFailure::Rollback | OnFailure::Abort => WatchVerdict::Inconclusive { reason },
        }
    }
}

fn beyond(metric: &Metric, value: f64, broken: u32) -> String {
    let (side, bound) = match metric.limit {
        Limit::Above(bound) => ("above", bound),
        Limit::Below(bound) => ("below", bound),
    };
    let times = if broken > 1 { format!(", {broken} times") } else { String::new() };
    format!("{} is {value}, {side} the limit of {bound}{times} ({:?})", metric.name, metric.grade)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::desired::{From, Grade, MetricSource};

    fn metric(on_failure: OnFailure, failure_limit: u32) -> Metric {
        Metric {
            name: "error-rate".to_owned(),
            source: MetricSource::Run { command: "true".to_owned() },
            limit: Limit::Above(5.0),
            grade: Grade::P1,
            on_failure,
            from: From::Host,
            failure_limit,
        }
    }

    fn play(metric: &Metric, samples: &[Result<f64, String>]) -> Vec<WatchVerdict> {
        let mut state = WatchState::default();
        samples.iter().map(|sample| state.sample(metric, sample)).collect()
    }

    fn error() -> Result<f64, String> {
        Err("no connection".to_owned())
    }

    #[test]
    fn forgiven_samples_are_counted_over_the_whole_watch() {
        let said = play(&metric(OnFailure::Rollback, 1), &[Ok(9.0), Ok(1.0), Ok(5.0), Ok(7.5)]);
        assert_eq!(said[..3], [WatchVerdict::Continue, WatchVerdict::Continue, WatchVerdict::Continue]);
        let reason = "error-rate is 7.5, above the limit of 5, 2 times (P1)".to_owned();
        assert_eq!(said[3], WatchVerdict::Broken { reason });
        let reason = "error-rate is 6, above the limit of 5 (P1)".to_owned();
        assert_eq!(play(&metric(OnFailure::Rollback, 0), &[Ok(6.0)]), [WatchVerdict::Broken { reason }]);
    }

    #[test]
    fn a_metric_that_warns_does_so_once_and_never_stops_a_run() {
        let said = play(&metric(OnFailure::Warn, 0), &[Ok(6.0), Ok(6.0), error(), error(), error(), error()]);
        assert!(matches!(said[0], WatchVerdict::Warn { .. }));
        assert!(said[1..].iter().all(|verdict| *verdict == WatchVerdict::Continue), "{said:?}");
    }

    #[test]
    fn four_errors_in_a_row_are_inconclusive_and_a_figure_restarts_the_count() {
        let metric = metric(OnFailure::Rollback, 0);
        let said = play(&metric, &[error(), error(), error(), Ok(1.0), error(), error(), Ok(f64::NAN), error()]);
        assert!(said[..7].iter().all(|verdict| *verdict == WatchVerdict::Continue), "{said:?}");
        let reason = "error-rate could not be had 4 times in a row: no connection".to_owned();
        assert_eq!(said[7], WatchVerdict::Inconclusive { reason });
    }

    #[test]
    fn a_watch_that_measured_nothing_is_no_evidence() {
        let (hard, soft) = (metric(OnFailure::Rollback, 0), metric(OnFailure::Warn, 0));
        assert!(matches!(WatchState::default().end(std::slice::from_ref(&hard)), WatchVerdict::Inconclusive { .. }));
        assert!(matches!(WatchState::default().end(std::slice::from_ref(&soft)), WatchVerdict::Warn { .. }));
        let mut state = WatchState::default();
        state.sample(&hard, &Ok(1.0));
        state.sample(&hard, &error());
        assert_eq!(state.end(&[hard]), WatchVerdict::Continue);
        assert_eq!(state.end(&[]), WatchVerdict::Continue);
    }
}
