//! Promotion (B2): what may come here because another environment runs it, and for how long it has to have run there. Pure.

use jiff::{SignedDuration, Timestamp};

use super::policy::{self, Case};
use super::{Blocker, Code};
use crate::model::desired::{Grade, Match, Promote};
use crate::model::observed::{EnvObserved, Fact, HostObserved, Resolved};

/// Production takes only what the source runs, well, and has run well for long enough (B2).
pub(super) fn blocker(case: &Case<'_>, promote: &Promote) -> Option<Blocker> {
    if case.env.skips(case.sha, "promotion").is_some() && !case.env.bounds.promoted {
        return None;
    }
    let from = &promote.from;
    let not_green = |message: String| {
        let fix = match &case.env.pull {
            Some(_) => format!("name where {from} publishes what it sees: --observation FILE|URL"),
            None => format!("see what {from} needs: soll why {from}"),
        };
        Some(policy::blocker(Grade::P0, Code::NotGreen, message, fix))
    };
    // What was not seen is not green: a plan without a look at the source would let everything pass.
    let Some((source, seen)) = case.source else { return not_green(format!("{from} was not looked at")) };
    let mut since: Option<Timestamp> = None;
    for target in &source.targets {
        let state = match seen.hosts.get(&target.name).or_else(|| seen.elsewhere.get(&target.name)) {
            Some(HostObserved::Reached(state)) => state,
            Some(HostObserved::Unreachable(why)) => {
                return not_green(format!("{from} cannot be seen on {}: {why}", target.name));
            }
            None => return not_green(format!("{from} was not looked at on {}", target.name)),
        };
        let Some(confirmed) = state.record.confirmed.as_ref().filter(|_| state.record.probation.is_none()) else {
            return not_green(format!("nothing is confirmed in {from}"));
        };
        if state.current.release() != Some(&confirmed.release) {
            return not_green(format!("{from} does not run its confirmed release {}", confirmed.release));
        }
        if let Resolved::Sha(wanted) = &seen.resolved
            && confirmed.sha.as_ref() != Some(wanted)
        {
            return not_green(format!(
                "{from} wants {} and runs {}: what it wants did not succeed",
                wanted.short(),
                confirmed.sha.as_ref().map_or("something older", |s| s.short())
            ));
        }
        if !matches(case, promote.by, confirmed, seen) {
            if confirmed.sha.as_ref() == Some(case.sha)
                && let (Match::Sha, Some(theirs)) = (promote.by, confirmed.bundle)
            {
                let short = case.env.release.short(case.sha);
                let message = format!(
                    "{from} confirmed {short} from another bundle (sha256 {}) than the one that is there now: it was built again",
                    theirs.short()
                );
                let fix =
                    format!("put the bundle back that {from} confirmed, or release another commit through {from}");
                return Some(policy::blocker(Grade::P0, Code::NotPromoted, message, fix));
            }
            let message = format!("{from} runs {}, not {}", confirmed.release, case.env.release.short(case.sha));
            let fix = format!("release it there first: soll release {from} {}", case.sha);
            return Some(policy::blocker(Grade::P0, Code::NotPromoted, message, fix));
        }
        let green = state.record.green.as_ref().filter(|green| green.release == confirmed.release);
        let Some(green) = green.filter(|green| !green.stale(source.health.every, case.now)) else {
            return not_green(format!("{from} has no recent green health sample of {}", confirmed.release));
        };
        since = since.max(Some(green.since));
    }
    let soak = SignedDuration::try_from(promote.soak).unwrap_or(SignedDuration::MAX);
    // A host may say anything of when it began.
    let ends = since?.checked_add(soak).unwrap_or(Timestamp::MAX);
    if case.now >= ends || case.env.skips(case.sha, "soak").is_some() {
        return None;
    }
    let message = format!("{} soaks in {from} until {ends}", case.env.release.short(case.sha));
    Some(policy::blocker(Grade::P1, Code::Soak, message, "it goes on by itself then, if it stays green"))
}

fn matches(case: &Case<'_>, by: Match, confirmed: &crate::model::record::Confirmed, seen: &EnvObserved) -> bool {
    match by {
        // The same commit built twice is not the same release: where both know what they have, it must be the same.
        Match::Sha => {
            let ours = case.observed.artifact.as_ref().map(|artifact| &artifact.sha256);
            let other = matches!((ours, confirmed.bundle), (Some(Fact::Known(ours)), Some(theirs)) if *ours != theirs);
            confirmed.sha.as_ref() == Some(case.sha) && !other
        }
        Match::Bundle => {
            let ours = case.observed.artifact.as_ref().map(|a| &a.sha256);
            matches!((ours, confirmed.bundle), (Some(Fact::Known(ours)), Some(theirs)) if *ours == theirs)
        }
        Match::Tree => {
            let theirs = confirmed.sha.as_ref().and_then(|sha| seen.live_trees.get(sha));
            case.observed.tree.is_some() && case.observed.tree.as_ref() == theirs
        }
    }
}
