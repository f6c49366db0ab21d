//! What attempts and figures mean. Pure: no clock, no network; the same functions judge real hosts and simulated ones.

use crate::model::desired::Limit;
use crate::model::observed::{Attempt, Verdict};

/// The verdict of a check, as soon as there is one (C2): one good attempt settles it, otherwise all `allowed` attempts
/// are made. Bad evidence outweighs none; no evidence at all is `Inconclusive`, on which no controller rolls back
/// (law 4). `allowed` 0 counts as 1.
pub fn judge(attempts: &[Attempt], allowed: u32) -> Option<Verdict> {
    let any = |verdict| attempts.iter().any(|attempt| attempt.verdict == verdict);
    if any(Verdict::Pass) {
        return Some(Verdict::Pass);
    }
    if attempts.len() < allowed.max(1) as usize {
        return None;
    }
    Some(if any(Verdict::Fail) { Verdict::Fail } else { Verdict::Inconclusive })
}

/// The worst of many: a failure is known to be bad, an inconclusive check is only not known to be good. Of none: `Pass`,
/// since nothing was asked.
pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let grave = |verdict: &Verdict| match verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => 1,
        Verdict::Fail => 2,
    };
    verdicts.into_iter().max_by_key(grave).unwrap_or(Verdict::Pass)
}

/// Whether a figure is beyond its limit. A figure that equals the limit is good; `NaN` is no figure and breaks nothing.
pub fn limit_broken(limit: Limit, value: f64) -> bool {
    match limit {
        Limit::Above(bound) => value > bound,
        Limit::Below(bound) => value < bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Fail, Inconclusive, Pass};

    fn after(verdicts: &[Verdict], allowed: u32) -> Option<Verdict> {
        let attempt = |verdict: &Verdict| Attempt {
            at: jiff::Timestamp::UNIX_EPOCH,
            verdict: *verdict,
            evidence: String::new(),
            millis: 0,
        };
        judge(&verdicts.iter().map(attempt).collect::<Vec<_>>(), allowed)
    }

    #[test]
    fn one_good_attempt_is_enough_and_a_failure_needs_them_all() {
        for (verdicts, allowed, want) in [
            (&[][..], 6, None),
            (&[Fail; 5], 6, None),
            (&[Fail; 6], 6, Some(Fail)),
            (&[Fail, Inconclusive, Pass], 6, Some(Pass)),
            (&[Inconclusive; 6], 6, Some(Inconclusive)),
            (&[Inconclusive, Inconclusive, Fail], 3, Some(Fail)),
            (&[Fail, Inconclusive, Inconclusive], 3, Some(Fail)),
            (&[], 0, None),
            (&[Fail], 0, Some(Fail)),
        ] {
            assert_eq!(after(verdicts, allowed), want, "{verdicts:?} of {allowed}");
        }
    }

    #[test]
    fn a_failure_outweighs_what_is_unknown() {
        assert_eq!(worst([]), Pass);
        assert_eq!(worst([Pass, Inconclusive, Pass]), Inconclusive);
        assert_eq!(worst([Pass, Fail, Inconclusive]), Fail);
    }

    #[test]
    fn a_limit_itself_is_good() {
        let (above, below) = (Limit::Above(5.0), Limit::Below(99.5));
        assert_eq!([4.9, 5.0, 5.1, f64::INFINITY].map(|v| limit_broken(above, v)), [false, false, true, true]);
        assert_eq!([99.4, 99.5, 100.0].map(|v| limit_broken(below, v)), [true, false, false]);
        assert!(!limit_broken(above, f64::NAN) && !limit_broken(below, f64::NAN));
    }
}
