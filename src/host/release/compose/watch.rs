//! Whether a container has settled (I3): a fold over what the engine says of it, moment by moment. Pure: times are handed in. The
//! exit code of the program that started it is no part of this.

use std::time::Duration;

use super::container::{Inspected, State};
use crate::host::release::settled::Look;

/// One container since it was told to run.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// How often the engine had restarted it by itself when it was there before: from then on each time is held against it.
    floor: Option<u32>,
}

impl Watch {
    /// For one that is new: it has never been restarted.
    pub fn of_new() -> Watch {
        Watch { floor: Some(0) }
    }

    /// For one that runs and is left running.
    pub fn of_kept() -> Watch {
        Watch::default()
    }

    /// Looks once more. `runs`: for how long it has been the same process.
    pub fn look(&mut self, seen: &Inspected, runs: Duration, settle: Duration) -> Look {
        let floor = *self.floor.get_or_insert(seen.restart_count);
        let told = state(&seen.state, seen.restart_count);
        if seen.state.status == "restarting" || seen.restart_count > floor {
            return Look::Failed(format!("it ends, and the engine starts it again and again: {told}"));
        }
        match (seen.state.status.as_str(), seen.state.health.status.as_str()) {
            ("running", "healthy") => Look::Settled,
            ("running", "unhealthy") => Look::Failed(match seen.state.health.log.last() {
                Some(last) => {
                    format!("its healthcheck says no (exit code {}): {}", last.exit_code, short(&last.output))
                }
                None => "its healthcheck says no".to_owned(),
            }),
            ("running", "" | "none") if runs >= settle => Look::Settled,
            ("running", "" | "none") => {
                Look::Waits(format!("it was not the same process for {}: {told}", humantime::format_duration(settle)))
            }
            ("running", _) => Look::Waits("its healthcheck has not said yes yet".to_owned()),
            ("exited" | "dead", _) => Look::Failed(format!("it ended by itself: {told}")),
            ("paused", _) => Look::Failed("somebody has paused it (docker unpause)".to_owned()),
            _ => Look::Waits(format!("it did not start: {told}")),
        }
    }
}

/// `exited, exit code 3, restarted twice by the engine`.
fn state(state: &State, restarts: u32) -> String {
    let mut told = state.status.clone();
    if state.status != "running" || state.exit_code != 0 {
        told.push_str(&format!(", exit code {}", state.exit_code));
    }
    if state.out_of_memory {
        told.push_str(", killed because it wanted more memory than it may have");
    }
    if !state.error.is_empty() {
        told.push_str(&format!(", {}", short(&state.error)));
    }
    match restarts {
        0 => {}
        1 => told.push_str(", restarted once by the engine"),
        n => told.push_str(&format!(", restarted {n} times by the engine")),
    }
    told
}

/// The last line, of a bounded length.
fn short(text: &str) -> String {
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    last.trim().chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::super::container::{Health, Probed};
    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);

    fn seen(status: &str, health: &str, restarts: u32) -> Inspected {
        let health = Health { status: health.to_owned(), log: Vec::new() };
        let state = State { status: status.to_owned(), health, ..State::default() };
        Inspected { state, restart_count: restarts, ..Inspected::default() }
    }

    fn look(watch: &mut Watch, seen: &Inspected, seconds: u64) -> Look {
        watch.look(seen, Duration::from_secs(seconds), SETTLE)
    }

    fn failed(look: Look) -> String {
        let Look::Failed(why) = look else { panic!("{look:?}") };
        why
    }

    #[test]
    fn one_without_a_healthcheck_must_stay_up() {
        let mut watch = Watch::of_new();
        assert!(matches!(look(&mut watch, &seen("created", "", 0), 0), Look::Waits(_)));
        assert!(matches!(look(&mut watch, &seen("running", "", 0), 9), Look::Waits(_)));
        assert_eq!(look(&mut watch, &seen("running", "", 0), 10), Look::Settled);
    }

    #[test]
    fn one_with_a_healthcheck_is_as_well_as_that_says() {
        let mut watch = Watch::of_new();
        // However long it runs.
        assert!(matches!(look(&mut watch, &seen("running", "starting", 0), 60), Look::Waits(_)));
        assert_eq!(look(&mut watch, &seen("running", "healthy", 0), 1), Look::Settled);
        let mut unwell = seen("running", "unhealthy", 0);
        unwell.state.health.log = vec![Probed { exit_code: 7, output: "first\nno database\n".to_owned() }];
        assert_eq!(failed(look(&mut watch, &unwell, 60)), "its healthcheck says no (exit code 7): no database");
    }

    #[test]
    fn a_crash_loop_is_recognised_before_the_time_is_over() {
        let mut restarting = seen("restarting", "", 1);
        restarting.state.exit_code = 3;
        let why = failed(look(&mut Watch::of_new(), &restarting, 0));
        assert!(why.contains("exit code 3") && why.contains("restarted once"), "{why}");
        // Seen only when it had come back.
        failed(look(&mut Watch::of_new(), &seen("running", "", 1), 0));
        // What was there before may have been restarted long ago.
        let mut kept = Watch::of_kept();
        assert_eq!(look(&mut kept, &seen("running", "", 5), 3600), Look::Settled);
        failed(look(&mut kept, &seen("running", "", 6), 3600));
        failed(look(&mut Watch::of_kept(), &seen("restarting", "", 5), 0));
    }

    #[test]
    fn what_ends_has_failed_whatever_its_exit_code() {
        for code in [0, 1, 137] {
            let mut ended = seen("exited", "", 0);
            ended.state.exit_code = code;
            let why = failed(look(&mut Watch::of_new(), &ended, 0));
            assert!(why.contains(&format!("exit code {code}")), "{why}");
        }
        let mut killed = seen("exited", "", 0);
        killed.state.out_of_memory = true;
        assert!(failed(look(&mut Watch::of_new(), &killed, 0)).contains("more memory"));
        failed(look(&mut Watch::of_new(), &seen("paused", "", 0), 60));
    }
}
