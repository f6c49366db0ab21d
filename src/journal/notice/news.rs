//! Which notices are about the same, and whether one says anything that the last one about it did not say.

use super::Notice;

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
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::Noted;
    use super::*;
    use crate::model::ids::{EnvName, HostName};
    use crate::plan::Code;

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
