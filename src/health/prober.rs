//! The health room as a host sees it: blocking, with the directory of the release at hand.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::{Context, metric, probe};
use crate::host::serve::ops::Prober;
use crate::host::wire::Secret;
use crate::model::desired::{MetricSource, Probe};
use crate::model::observed::Attempt;

/// Makes the checks of this machine.
pub struct HealthProber;

impl Prober for HealthProber {
    fn probe(&self, probe: &Probe, dir: &Path, secret: Option<&Secret>, timeout: Duration) -> Attempt {
        probe::attempt_blocking(probe, &Context { secret, dir: Some(dir), timeout, now: Timestamp::now })
    }

    fn measure(
        &self,
        source: &MetricSource,
        dir: &Path,
        secret: Option<&Secret>,
        timeout: Duration,
    ) -> Result<f64, String> {
        metric::sample_blocking(source, &Context { secret, dir: Some(dir), timeout, now: Timestamp::now })
    }
}
