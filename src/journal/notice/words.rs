//! The text of a notice.

use std::time::Duration;

use super::{Notice, PATHS};
use crate::model::shown::{are, counted};

impl Notice {
    /// What people read.
    pub fn text(&self) -> String {
        match self {
            Notice::AcceptedCommit { commit, subject, environments } => {
                let short = commit.get(..8).unwrap_or(commit);
                format!("commit {short}: {subject} ({})", counted(*environments as u64, "environment", "environments"))
            }
            Notice::RefusedCommit { why, details } if details.is_empty() => format!("not acted on: {why}"),
            Notice::RefusedCommit { why, details } => format!("not acted on: {why}\n{details}"),
            Notice::RepositoryAway { why } => format!("not acted on: {why}"),
            Notice::Polled { why } => format!("{why}; the repository is polled instead"),
            Notice::Followed { environment, branch, to, commit } => {
                let commit = commit.get(..8).unwrap_or(commit);
                format!("{environment} follows {branch} to {} (commit {commit})", to.short())
            }
            Notice::CannotFollow { why, .. } => format!("cannot follow: {why}"),
            Notice::CanFollow { environment } => format!("{environment}: its branch can be followed again"),
            Notice::InSync { environment } => format!("{environment}: in sync"),
            Notice::Unhealthy { environment } => format!("{environment}: in sync, but not healthy"),
            Notice::ApprovalWanted { environment, explanation, .. }
            | Notice::Blocked { environment, explanation, .. } => format!("{environment}: {explanation}"),
            Notice::Locked { environment, host, root, holder, since, pid } => format!(
                "{environment}: locked: {root} on {host} is held by {holder} since {since}\n  wait for it, or stop it there: \
                 kill {pid}"
            ),
            Notice::NotFollowed { environment, why } | Notice::Trouble { environment, why, .. } => {
                format!("{environment}: {why}")
            }
            Notice::Retried { environment, again_ms, failures, why } => {
                let again = Duration::from_millis(*again_ms);
                format!("{environment}: again in {again:.0?} (error {failures} in a row: {why})")
            }
            Notice::LeftAlone { environment, why } => format!(
                "{environment}: left alone until its desired state changes, or: soll retry {environment} ({why})"
            ),
            Notice::HostAway { environment, host, why } => format!("{environment}: {host} cannot be seen: {why}"),
            Notice::HostBack { environment, host } => format!("{environment}: {host} is seen again"),
            Notice::Drift { environment, host, count, paths } => {
                let paths = paths.join(", ");
                let more = if *count > PATHS { ", …" } else { "" };
                let differ = counted(*count as u64, "path", "paths");
                let be = are(*count as u64);
                format!(
                    "{environment}: {differ} on {host} {be} not what was deployed: {paths}{more}; see them: soll diff \
                     {environment}"
                )
            }
            Notice::HealDidNotLast { environment, host, times, paths } => {
                let heals = if *times == 1 { "1 heal".to_owned() } else { format!("{times} heals in a row") };
                format!(
                    "{environment}: {heals} did not last on {host}; changed again: {}; each further heal waits longer, up to 5 \
                     min; see who writes there and what to do: soll why {environment}",
                    paths.join(", ")
                )
            }
            Notice::HealLasts { environment, host } => {
                format!("{environment}: what was healed on {host} stays as it was deployed")
            }
            Notice::Overdue { environment, job, every_ms, late_ms } => {
                let (every, late) = (whole(*every_ms), whole(*late_ms));
                format!(
                    "{environment}: the {job} is overdue: it is wanted every {every}, and is {late} late; see what stands in \
                     its way: soll why {environment}"
                )
            }
            Notice::OnTime { environment, job } => format!("{environment}: the {job} is on time again"),
            Notice::DriftGone { environment, host } => {
                format!("{environment}: what is live on {host} is what was deployed again")
            }
            Notice::BackupSucceeded { environment, job, told } => format!("{environment}: backup {job}: {told}"),
            Notice::BackupShrunk { environment, job, name, why } => {
                format!("{environment}: backup {job} has shrunk: {name} is held, and fills no slot: {why}")
            }
            Notice::BackupFailed { environment, job, why } => {
                format!("{environment}: backup {job} failed: {why}; it is tried again; now: soll backup now {job}")
            }
            Notice::BackupOverdue { environment, job, last } => {
                let last =
                    last.as_ref().map_or("there is none yet".to_owned(), |last| format!("the last one is {last}"));
                format!("{environment}: a good backup of {job} is overdue; {last}; see why: soll backup next {job}")
            }
            Notice::BackupInTime { environment, job } => format!("{environment}: backup {job} is in time again"),
            Notice::RestoreTestPassed { environment, job, told } => {
                format!("{environment}: restore test {job}: {told}")
            }
            Notice::RestoreTestFailed { environment, job, why } => format!(
                "{environment}: the restore test of {job} failed: {why}; the backups of {job} may be worth nothing: see it again \
                 with soll restore-test {job}"
            ),
            Notice::RestoreTestInconclusive { environment, job, why } => format!(
                "{environment}: the restore test of {job} cannot be done: {why}; try it: soll restore-test {job}"
            ),
            Notice::RestoreTestOverdue { environment, job, last } => {
                let last = last
                    .as_ref()
                    .map_or("nothing was ever proven".to_owned(), |last| format!("the last one proven is {last}"));
                format!(
                    "{environment}: a restore test of {job} that passes is overdue; {last}; try it: soll restore-test {job}"
                )
            }
            Notice::RestoreTestInTime { environment, job } => {
                format!("{environment}: restore test {job} is in time again")
            }
        }
    }
}

/// A time without what is below a second.
fn whole(millis: u64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(millis.div_ceil(1000)))
}
