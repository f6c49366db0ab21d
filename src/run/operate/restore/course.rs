//! How what is wanted stands to a restore that broke off. Pure.

use crate::model::backup::name::{BackupName, Content};
use crate::model::ids::EnvName;
use crate::model::record::backup::Restoring;

/// What is asked for.
pub(super) struct Asked<'a> {
    pub env: &'a EnvName,
    pub job: &'a str,
    pub backup: BackupName,
    /// Only databases, or only files; `None`: both.
    pub only: Option<Content>,
}

/// Whether it may be begun beside one that broke off: it goes on with that, or puts back at least as much as that has touched.
///
/// # Errors
/// It would leave data that are neither the old nor the new ones, and not say so: with the command that ends the other one.
pub(super) fn must_fit(broken: Option<&Restoring>, asked: &Asked<'_>) -> Result<(), String> {
    let Some(broken) = broken else { return Ok(()) };
    let of = |only: Option<Content>| match only {
        Some(Content::Database) => "of its databases alone",
        Some(Content::Files) => "of its files alone",
        None => "of all of it",
    };
    let is_same = broken.backup == asked.backup;
    let why = match (broken.job == asked.job, broken.only == asked.only) {
        (true, true) => return Ok(()),
        // Another backup may be put in its place, as a whole.
        (true, false) if !is_same && asked.only.is_none() => return Ok(()),
        (true, false) => format!("it was {}, and now one {} is asked for", of(broken.only), of(asked.only)),
        (false, _) => format!("it was one of the job {}, and now one of {} is asked for", broken.job, asked.job),
    };
    let back = broken
        .way_back(asked.env)
        .map_or_else(String::new, |back| format!("; or back to what was there before: {back}"));
    Err(format!(
        "the restore of {} did not come to its end, and nothing else is restored before that: {why}; go on: {}{back}",
        broken.backup,
        broken.way_on(asked.env)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(only: Option<Content>) -> Restoring {
        Restoring {
            job: "nightly".to_owned(),
            backup: "daily/20261130_010000".parse().unwrap(),
            since: "2026-11-30T09:00:00Z".parse().unwrap(),
            safety: Some("manual/20261130_090000".parse().unwrap()),
            only,
            loaded: false,
            halted: None,
        }
    }

    #[test]
    fn one_that_broke_off_is_gone_on_with_as_it_was_asked_for() {
        let env: EnvName = "production".parse().unwrap();
        let of = |broken: &Restoring, job: &str, backup: &str, only| {
            let asked = Asked { env: &env, job, backup: backup.parse().unwrap(), only };
            must_fit(Some(broken), &asked)
        };
        let (same, safety, other) = ("daily/20261130_010000", "manual/20261130_090000", "daily/20261129_010000");
        let (all, databases) = (broken(None), broken(Some(Content::Database)));
        for backup in [same, safety, other] {
            assert_eq!(of(&all, "nightly", backup, None), Ok(()));
            assert_eq!(of(&databases, "nightly", backup, Some(Content::Database)), Ok(()));
            // Files that are not put back would be neither the old nor the new ones.
            assert!(of(&all, "nightly", backup, Some(Content::Database)).is_err());
            assert!(of(&databases, "nightly", backup, Some(Content::Files)).is_err());
            let told = of(&all, "weekly", backup, None).unwrap_err();
            assert!(told.contains("it was one of the job nightly, and now one of weekly is asked for"), "{told}");
        }
        assert_eq!(of(&databases, "nightly", other, None), Ok(()));
        let told = of(&databases, "nightly", same, None).unwrap_err();
        assert!(
            told.ends_with(
                "it was of its databases alone, and now one of all of it is asked for; go on: soll restore production --at \
                 daily/20261130_010000 --backup nightly --database-only; or back to what was there before: \
                 soll restore production --at manual/20261130_090000 --backup nightly --database-only"
            ),
            "{told}"
        );
    }
}
