//! What people want to know beside what runs say themselves: a change of state, told once. A notice is about something, and
//! a newer one about the same takes its place; whether it says anything new is decided here. Its text is made here, too.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::ids::{Digest, EnvName, HostName, Sha};
use crate::model::shown::{are, counted};
use crate::plan::Code;

/// So many paths are named where contents differ.
pub const PATHS: usize = 20;

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum Notice {
    /// A commit of the state repository is acted on from now on.
    AcceptedCommit {
        commit: String,
        /// The first line of its message.
        subject: String,
        /// How many it has.
        environments: usize,
    },
    /// The newest commit is not acted on: it is not signed, the branch was rewritten, its state file is wrong.
    RefusedCommit {
        why: String,
        /// Every mistake of the state file, with its place; empty: it is about something else.
        details: String,
    },
    /// The state repository cannot be read, so that nobody knows the newest commit.
    RepositoryAway {
        why: String,
    },
    /// Changes of the repository are not heard of, so that it is asked again and again.
    Polled {
        why: String,
    },
    /// A branch that is tracked has moved, and the environment with it.
    Followed {
        environment: EnvName,
        branch: String,
        to: Sha,
        commit: String,
    },
    CannotFollow {
        environment: EnvName,
        why: String,
    },
    /// The end of [`Notice::CannotFollow`].
    CanFollow {
        environment: EnvName,
    },
    /// As desired, and nothing is known against its health.
    InSync {
        environment: EnvName,
    },
    /// As desired, and a check says no.
    Unhealthy {
        environment: EnvName,
    },
    /// What would be done waits for nothing but a person's word (B3).
    ApprovalWanted {
        environment: EnvName,
        desired: Option<Sha>,
        /// What a word would be bound to.
        binding: Digest,
        /// What would be done, and the next move, for people.
        explanation: String,
    },
    /// What is desired may not be done: a policy, a freeze, a window, a quarantine, a host that cannot be seen.
    Blocked {
        environment: EnvName,
        desired: Option<Sha>,
        /// All that is in the way, the first reason first.
        codes: Vec<Code>,
        /// The same for people, with the next move.
        explanation: String,
    },
    /// Somebody else is at work there.
    Locked {
        environment: EnvName,
        host: HostName,
        root: String,
        holder: String,
        since: Timestamp,
        pid: u32,
    },
    /// The hosts have acted on a commit that the accepted one does not follow.
    NotFollowed {
        environment: EnvName,
        why: String,
    },
    /// A pass over the environment ended with an error before anything was done.
    Trouble {
        environment: EnvName,
        unreachable: bool,
        why: String,
    },
    /// A deployment ended with an error and is tried again by itself, after a wait that grows with each error.
    Retried {
        environment: EnvName,
        again_ms: u64,
        failures: u32,
        why: String,
    },
    /// A person stopped the deployment, so it is not tried again by itself.
    LeftAlone {
        environment: EnvName,
        why: String,
    },
    /// A host cannot be seen as this environment needs it.
    HostAway {
        environment: EnvName,
        host: HostName,
        why: String,
    },
    /// The end of [`Notice::HostAway`].
    HostBack {
        environment: EnvName,
        host: HostName,
    },
    /// The live release is not what was deployed (A7).
    Drift {
        environment: EnvName,
        host: HostName,
        /// How many paths differ.
        count: usize,
        /// The first of them.
        paths: Vec<String>,
    },
    /// What was healed is changed again, soon after (A7).
    HealDidNotLast {
        environment: EnvName,
        host: HostName,
        /// How many heals in a row did not last.
        times: u32,
        /// The first paths that differ.
        paths: Vec<String>,
    },
    /// The end of [`Notice::HealDidNotLast`].
    HealLasts {
        environment: EnvName,
        host: HostName,
    },
    /// The end of [`Notice::Drift`].
    DriftGone {
        environment: EnvName,
        host: HostName,
    },
    /// Work that comes again and again was not done for much longer than it should be (`plan::due`).
    Overdue {
        environment: EnvName,
        /// What it is, in words.
        job: String,
        /// How often it is wanted.
        every_ms: u64,
        /// How much later than its time it is.
        late_ms: u64,
    },
    /// The end of [`Notice::Overdue`].
    OnTime {
        environment: EnvName,
        job: String,
    },
    /// A backup by its schedule is good: written, read back, its manifest after it.
    BackupSucceeded {
        environment: EnvName,
        job: String,
        /// What it is called, how much it is, where it lies.
        told: String,
    },
    /// A backup by its schedule is whole, and so much smaller than the good one before it that it is held (I20).
    BackupShrunk {
        environment: EnvName,
        job: String,
        /// What it is called.
        name: String,
        /// What it has, and what the one before it had.
        why: String,
    },
    /// A backup by its schedule came to nothing, or a target did not take it.
    BackupFailed {
        environment: EnvName,
        job: String,
        why: String,
    },
    /// There should be a good backup, and is none, for long (F6).
    BackupOverdue {
        environment: EnvName,
        job: String,
        /// The last good one.
        last: Option<String>,
    },
    /// The end of [`Notice::BackupOverdue`].
    BackupInTime {
        environment: EnvName,
        job: String,
    },
    /// A backup was restored elsewhere, and is what it should be (F4).
    RestoreTestPassed {
        environment: EnvName,
        job: String,
        told: String,
    },
    /// A backup was restored elsewhere, and is not what it should be.
    RestoreTestFailed {
        environment: EnvName,
        job: String,
        why: String,
    },
    /// It could not be found out, again and again.
    RestoreTestInconclusive {
        environment: EnvName,
        job: String,
        why: String,
    },
    /// There should be a proven restore, and is none, for long (F6).
    RestoreTestOverdue {
        environment: EnvName,
        job: String,
        /// What was proven last.
        last: Option<String>,
    },
    /// The end of [`Notice::RestoreTestOverdue`].
    RestoreTestInTime {
        environment: EnvName,
        job: String,
    },
}

/// A notice in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    pub at: Timestamp,
    #[serde(flatten)]
    pub notice: Notice,
}

impl Notice {
    /// What it is about. Of all notices about the same only the newest says how things are.
    pub fn about(&self) -> String {
        match self {
            Notice::AcceptedCommit { .. } | Notice::RefusedCommit { .. } | Notice::RepositoryAway { .. } => {
                "commit".to_owned()
            }
            Notice::Polled { .. } => "watch".to_owned(),
            Notice::Followed { environment, .. }
            | Notice::CannotFollow { environment, .. }
            | Notice::CanFollow { environment } => format!("branch:{environment}"),
            Notice::InSync { environment }
            | Notice::Unhealthy { environment }
            | Notice::ApprovalWanted { environment, .. }
            | Notice::Blocked { environment, .. }
            | Notice::Locked { environment, .. }
            | Notice::NotFollowed { environment, .. }
            | Notice::Trouble { environment, .. } => format!("environment:{environment}"),
            Notice::Retried { environment, .. } | Notice::LeftAlone { environment, .. } => {
                format!("retry:{environment}")
            }
            Notice::HostAway { environment, host, .. } | Notice::HostBack { environment, host } => {
                format!("host:{environment}/{host}")
            }
            Notice::Drift { environment, host, .. } | Notice::DriftGone { environment, host } => {
                format!("drift:{environment}/{host}")
            }
            Notice::BackupSucceeded { environment, job, .. }
            | Notice::BackupShrunk { environment, job, .. }
            | Notice::BackupFailed { environment, job, .. } => {
                format!("backup:{environment}/{job}")
            }
            Notice::BackupOverdue { environment, job, .. } | Notice::BackupInTime { environment, job } => {
                format!("overdue:{environment}/{job}")
            }
            Notice::RestoreTestPassed { environment, job, .. }
            | Notice::RestoreTestFailed { environment, job, .. }
            | Notice::RestoreTestInconclusive { environment, job, .. } => format!("restore-test:{environment}/{job}"),
            Notice::RestoreTestOverdue { environment, job, .. } | Notice::RestoreTestInTime { environment, job } => {
                format!("restore-test-overdue:{environment}/{job}")
            }
            Notice::HealDidNotLast { environment, host, .. } | Notice::HealLasts { environment, host } => {
                format!("heal:{environment}/{host}")
            }
            Notice::Overdue { environment, job, .. } | Notice::OnTime { environment, job } => {
                format!("job:{environment}/{job}")
            }
        }
    }

    /// Whether it says that all is as it should be, which is news only after something else was said.
    pub fn is_well(&self) -> bool {
        matches!(
            self,
            Notice::CanFollow { .. }
                | Notice::HostBack { .. }
                | Notice::DriftGone { .. }
                | Notice::HealLasts { .. }
                | Notice::OnTime { .. }
                | Notice::BackupInTime { .. }
                | Notice::RestoreTestInTime { .. }
        )
    }

    /// Whether it tells of a moment and not of a state: said again, it has happened again.
    pub fn is_moment(&self) -> bool {
        matches!(
            self,
            Notice::AcceptedCommit { .. }
                | Notice::Followed { .. }
                | Notice::Retried { .. }
                | Notice::LeftAlone { .. }
                | Notice::BackupSucceeded { .. }
                | Notice::RestoreTestPassed { .. }
        )
    }

    /// Whether it says something that the last notice about the same did not say. Words that change while the state stays
    /// (a time, a count of attempts) are no news.
    pub fn is_news_after(&self, last: Option<&Notice>) -> bool {
        let Some(last) = last else { return !self.is_well() };
        match (self, last) {
            (
                Notice::ApprovalWanted { desired, binding, .. },
                Notice::ApprovalWanted { desired: before, binding: bound, .. },
            ) => (desired, binding) != (before, bound),
            (Notice::Blocked { desired, codes, .. }, Notice::Blocked { desired: before, codes: known, .. }) => {
                (desired, codes) != (before, known)
            }
            // The first error in a row is a new row of them.
            (Notice::Retried { why, failures, .. }, Notice::Retried { why: before, failures: counted, .. }) => {
                why != before || failures <= counted
            }
            (Notice::HostAway { .. }, Notice::HostAway { .. })
            | (Notice::HealDidNotLast { .. }, Notice::HealDidNotLast { .. })
            | (Notice::Overdue { .. }, Notice::Overdue { .. }) => false,
            (Notice::LeftAlone { .. }, Notice::LeftAlone { .. }) => true,
            (now, before) => now != before,
        }
    }

    /// What people read.
    pub fn text(&self) -> String {
        match self {
            Notice::AcceptedCommit { commit, subject, environments } => {
                let short = commit.get(..8).unwrap_or(commit);
                format!("commit {short}: {subject} ({environments} environments)")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> EnvName {
        "web".parse().unwrap()
    }

    fn blocked(codes: &[Code], explanation: &str) -> Notice {
        let (codes, explanation) = (codes.to_vec(), explanation.to_owned());
        Notice::Blocked { environment: env(), desired: None, codes, explanation }
    }

    #[test]
    fn a_state_is_told_once_whatever_its_words_and_again_after_another_one() {
        let soaks = blocked(&[Code::Soak], "until 12:00");
        assert!(soaks.is_news_after(None));
        assert!(!blocked(&[Code::Soak], "until 12:05").is_news_after(Some(&soaks)));
        assert!(blocked(&[Code::Frozen, Code::Soak], "until 12:00").is_news_after(Some(&soaks)));
        let in_sync = Notice::InSync { environment: env() };
        assert!(in_sync.is_news_after(Some(&soaks)) && soaks.is_news_after(Some(&in_sync)));
        assert!(!in_sync.is_news_after(Some(&in_sync.clone())));
        let retried = |failures, why: &str| Notice::Retried {
            environment: env(),
            again_ms: 2_000,
            failures,
            why: why.to_owned(),
        };
        assert!(!retried(2, "no route").is_news_after(Some(&retried(1, "no route"))));
        assert!(retried(3, "refused").is_news_after(Some(&retried(2, "no route"))));
        assert!(retried(1, "no route").is_news_after(Some(&retried(2, "no route"))), "it was well in between");
        assert_eq!(retried(2, "no route").text(), "web: again in 2s (error 2 in a row: no route)");
    }

    #[test]
    fn what_is_well_is_news_after_trouble_alone() {
        let host: HostName = "web1".parse().unwrap();
        let back = Notice::HostBack { environment: env(), host: host.clone() };
        let away = Notice::HostAway { environment: env(), host, why: "no route".to_owned() };
        assert_eq!(away.about(), back.about());
        assert!(!back.is_news_after(None) && away.is_news_after(None));
        assert!(back.is_news_after(Some(&away)) && !back.is_news_after(Some(&back.clone())));
    }

    #[test]
    fn it_is_kept_in_a_form_that_says_its_kind_first() {
        let noted = Noted { at: Timestamp::UNIX_EPOCH, notice: blocked(&[Code::Frozen], "tea") };
        let text = serde_json::to_string(&noted).unwrap();
        let wanted = "{\"at\":\"1970-01-01T00:00:00Z\",\"notice\":\"blocked\",\"environment\":\"web\",\"desired\":null,\
                      \"codes\":[\"frozen\"],\"explanation\":\"tea\"}";
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<Noted>(&text).unwrap(), noted);
    }
}
