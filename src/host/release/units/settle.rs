//! Whether a unit that was started anew has settled (I7): a fold over what systemd says of it, moment by moment. Pure: the
//! time is handed in.

use std::time::Duration;

use super::systemctl::Seen;
use crate::host::release::settled::Look;

/// One unit since it was told to start.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The invocation from before the restart: while systemd still names it, the restart has not happened.
    before: String,
    /// The unit was active already and is left running.
    kept: bool,
    /// How often systemd had restarted it by itself when it was seen first: from then on each time is held against it.
    floor: Option<u64>,
    /// Since when it has been the same process, and which.
    since: Option<(Duration, Same)>,
}

type Same = (String, u32, u64);

impl Watch {
    /// For one that is about to be started: what was seen of it just before.
    pub fn of_start(before: &Seen) -> Watch {
        Watch { before: before.invocation.clone(), kept: false, floor: None, since: None }
    }

    /// For one that runs and is left running.
    pub fn of_kept(seen: &Seen) -> Watch {
        Watch { kept: true, ..Watch::of_start(seen) }
    }

    /// The start before this one, where there was one and it is not the one that is watched.
    pub fn before(&self) -> Option<&str> {
        Some(self.before.as_str()).filter(|before| !self.kept && !before.is_empty())
    }

    /// Looks once more, at this time. `told`: whoever had it started has heard that this was done, one way or the other. Until
    /// then systemd may go on with what was there before, which may be a loop of crashes.
    pub fn look(&mut self, seen: &Seen, at: Duration, settle: Duration, told: bool) -> Look {
        let fresh = self.kept || (!seen.invocation.is_empty() && seen.invocation != self.before);
        if !told {
            return Look::Waits(format!("systemd has not started it: {}", state(seen)));
        }
        let floor = *self.floor.get_or_insert(seen.restarts);
        let rests = !seen.job;
        let ended_well = seen.kind == "oneshot" && seen.result == "success";
        if fresh && seen.restarts > floor {
            return Look::Failed(format!("it ends, and systemd starts it again and again: {}", state(seen)));
        }
        match seen.active.as_str() {
            "active" | "reloading" | "refreshing" if fresh => {
                let same: Same = (seen.invocation.clone(), seen.pid, seen.restarts);
                let since = match &self.since {
                    Some((since, before)) if *before == same => *since,
                    _ => {
                        self.since = Some((at, same));
                        at
                    }
                };
                if at.saturating_sub(since) >= settle {
                    return Look::Settled;
                }
                Look::Waits(format!("it was not the same process for {settle:?}: {}", state(seen)))
            }
            // The end of a process that was not asked to end.
            "activating" if fresh && seen.sub.starts_with("auto-restart") => {
                Look::Failed(format!("it ended, and systemd is about to start it again: {}", state(seen)))
            }
            "failed" if rests => Look::Failed(state(seen)),
            // It ended well, and systemd has forgotten all of it because nothing names it.
            "inactive" if rests && ended_well && seen.condition && (fresh || seen.invocation.is_empty()) => {
                Look::Settled
            }
            "inactive" if rests && !fresh => {
                let why = if seen.condition {
                    "what it depends on may have failed"
                } else {
                    "a condition of it does not hold"
                };
                Look::Failed(format!("systemd did not start it, {why}: {}", state(seen)))
            }
            "inactive" if rests => Look::Failed(format!("it ended by itself: {}", state(seen))),
            _ => Look::Waits(format!("it did not become active: {}", state(seen))),
        }
    }
}

/// `failed (failed), result exit-code, exit status 3, restarted twice by systemd`.
pub fn state(seen: &Seen) -> String {
    let mut told = format!("{} ({})", seen.active, seen.sub);
    if !seen.result.is_empty() && seen.result != "success" {
        told.push_str(&format!(", result {}", seen.result));
    }
    if !seen.end.is_empty() {
        told.push_str(&format!(", {}", seen.end));
    }
    if seen.restarts > 0 {
        told.push_str(&format!(
            ", restarted {} by systemd",
            match seen.restarts {
                1 => "once".to_owned(),
                n => format!("{n} times"),
            }
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);

    fn seen(active: &str, sub: &str, invocation: &str, pid: u32, restarts: u64) -> Seen {
        let text = |text: &str| text.to_owned();
        let (active, sub, invocation) = (text(active), text(sub), text(invocation));
        Seen { active, sub, invocation, pid, restarts, result: text("success"), condition: true, ..Seen::default() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn watch() -> Watch {
        Watch::of_start(&seen("active", "running", "old", 1, 0))
    }

    fn failed(look: &Look) -> bool {
        matches!(look, Look::Failed(_))
    }

    #[test]
    fn a_process_that_stays_the_same_has_settled() {
        let (mut watch, running) = (watch(), seen("active", "running", "new", 2, 0));
        assert!(matches!(watch.look(&running, at(0), SETTLE, true), Look::Waits(_)));
        assert!(matches!(watch.look(&running, at(9), SETTLE, true), Look::Waits(_)));
        assert_eq!(watch.look(&running, at(10), SETTLE, true), Look::Settled);
        assert_eq!(watch.before(), Some("old"));
    }

    #[test]
    fn the_old_start_is_not_meant() {
        let mut watch = watch();
        for old in [seen("active", "running", "old", 1, 0), seen("deactivating", "stop-sigterm", "old", 1, 0)] {
            for time in [0, 60] {
                assert!(matches!(watch.look(&old, at(time), SETTLE, false), Look::Waits(_)));
            }
        }
        // Its end may look like a failure before the new one is there.
        let ended = Seen { job: true, ..seen("failed", "failed", "old", 0, 0) };
        assert!(matches!(watch.look(&ended, at(61), SETTLE, false), Look::Waits(_)));
        let loops = seen("activating", "auto-restart", "old", 0, 7);
        assert!(matches!(watch.look(&loops, at(62), SETTLE, false), Look::Waits(_)));
        // The release that is left crashes on until its unit is stopped: that is not held against the one that comes.
        let again = seen("active", "running", "old too", 9, 1);
        assert!(matches!(watch.look(&again, at(63), SETTLE, false), Look::Waits(_)));
        let new = seen("active", "running", "new", 10, 0);
        watch.look(&new, at(64), SETTLE, true);
        assert_eq!(watch.look(&new, at(74), SETTLE, true), Look::Settled);
    }

    #[test]
    fn another_process_begins_the_time_anew() {
        let mut watch = watch();
        watch.look(&seen("active", "running", "new", 2, 0), at(0), SETTLE, true);
        let other = seen("active", "running", "new", 3, 0);
        assert!(matches!(watch.look(&other, at(10), SETTLE, true), Look::Waits(_)));
        assert_eq!(watch.look(&other, at(20), SETTLE, true), Look::Settled);
        let again = seen("active", "running", "newer", 4, 0);
        assert!(matches!(watch.look(&again, at(21), SETTLE, true), Look::Waits(_)));
    }

    #[test]
    fn a_crash_loop_is_recognised_before_the_time_is_over() {
        let mut crashes = watch();
        let waits = Seen {
            result: "exit-code".to_owned(),
            end: "exit status 3".to_owned(),
            ..seen("activating", "auto-restart", "new", 0, 0)
        };
        let Look::Failed(why) = crashes.look(&waits, at(0), SETTLE, true) else { panic!("{waits:?}") };
        assert!(why.contains("result exit-code, exit status 3"), "{why}");
        // Seen only when it had come back.
        let mut back = watch();
        back.look(&seen("active", "running", "new", 4, 0), at(0), SETTLE, true);
        assert!(failed(&back.look(&seen("active", "running", "newer", 5, 1), at(1), SETTLE, true)));
        // systemd may count on: what came before is no fault of this release.
        let mut counted = Watch::of_start(&seen("active", "running", "old", 1, 4));
        assert!(!failed(&counted.look(&seen("active", "running", "new", 2, 4), at(0), SETTLE, true)));
        assert!(failed(&counted.look(&seen("active", "running", "new", 2, 5), at(1), SETTLE, true)));
        let limit = Seen { result: "start-limit-hit".to_owned(), ..seen("failed", "failed", "old", 0, 0) };
        assert!(failed(&watch().look(&limit, at(0), SETTLE, true)));
    }

    #[test]
    fn what_ends_by_itself_is_well_only_where_it_is_meant_to_end() {
        let ended = |kind: &str, result: &str| Seen {
            kind: kind.to_owned(),
            result: result.to_owned(),
            ..seen("inactive", "dead", "new", 0, 0)
        };
        assert!(failed(&watch().look(&ended("simple", "success"), at(0), SETTLE, true)));
        assert_eq!(watch().look(&ended("oneshot", "success"), at(0), SETTLE, true), Look::Settled);
        assert!(failed(&watch().look(&ended("oneshot", "exit-code"), at(0), SETTLE, true)));
        // systemd keeps nothing of one that has ended and that nothing names; one whose condition failed was never there.
        let forgotten = Seen { invocation: String::new(), ..ended("oneshot", "success") };
        assert_eq!(watch().look(&forgotten, at(0), SETTLE, true), Look::Settled);
        assert!(matches!(watch().look(&forgotten, at(0), SETTLE, false), Look::Waits(_)));
        assert!(failed(&watch().look(&Seen { condition: false, ..forgotten }, at(0), SETTLE, true)));
        // One that remains after its end is active without a process.
        let mut remains = watch();
        let exited = seen("active", "exited", "new", 0, 0);
        remains.look(&exited, at(0), SETTLE, true);
        assert_eq!(remains.look(&exited, at(10), SETTLE, true), Look::Settled);
        // Nobody started it.
        let never = Seen { condition: false, ..seen("inactive", "dead", "old", 0, 0) };
        let Look::Failed(why) = watch().look(&never, at(0), SETTLE, true) else { panic!("{never:?}") };
        assert!(why.contains("condition"), "{why}");
    }

    #[test]
    fn what_is_kept_is_not_started_anew() {
        let listening = seen("active", "listening", "old", 0, 0);
        let mut kept = Watch::of_kept(&listening);
        assert_eq!(kept.before(), None);
        kept.look(&listening, at(0), SETTLE, true);
        assert_eq!(kept.look(&listening, at(10), SETTLE, true), Look::Settled);
        assert!(failed(&kept.look(&seen("failed", "failed", "old", 0, 0), at(11), SETTLE, true)));
    }
}
