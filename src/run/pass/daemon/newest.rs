//! The newest commit, as the loop hears of it: what is acted on from now on, and what is not, and why.

use std::sync::Arc;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::{Daemon, Report};
use crate::journal::notice::Notice;
use crate::model::desired::Environment;
use crate::run::accepted::{AcceptedSnapshot, Newest};
use crate::run::controller::{Controller, ControllerError};
use crate::run::step::world::Interruption;
use crate::state_repo::{CommitId, NotAccepted};

impl<R: Report> Daemon<R> {
    /// Reads the newest commit, if it may be acted on (law 10).
    pub(super) fn start_reading(&mut self) {
        if !self.read || !self.reading.is_empty() {
            return;
        }
        self.read = false;
        let (controller, have) = (self.controller.clone(), self.snapshot.as_ref().map(|s| s.commit));
        self.reading.spawn_blocking(move || newest(&controller, have));
    }

    pub(super) fn heard(&mut self, read: Result<Result<Newest, ControllerError>, JoinError>) {
        match read.unwrap_or_else(|error| Err(ControllerError::Other(error.to_string()))) {
            // Nothing is changed on the word of a commit that is not accepted, nor on that of the one before it.
            Ok(Newest { snapshot, refused: Some(error), looks_only: true }) => {
                if let Some(snapshot) = snapshot {
                    self.keep(snapshot);
                }
                self.looks_only = true;
                self.refuse(&error);
            }
            Ok(Newest { snapshot: None, .. }) => {
                // The trouble is over, and what was acted on before is acted on still.
                if std::mem::take(&mut self.looks_only) {
                    self.lanes.values_mut().for_each(|lane| lane.due = Instant::now());
                }
                if self.refused.take().is_some()
                    && let Some(snapshot) = &self.snapshot
                {
                    self.teller.tell(accepted(snapshot));
                }
            }
            Ok(Newest { snapshot: Some(snapshot), refused, .. }) => {
                self.take(snapshot);
                if let Some(error) = refused {
                    self.refuse(&error);
                }
            }
            Err(error) => {
                self.refuse(&error);
                if matches!(error, ControllerError::NotAccepted(_)) {
                    self.looks_only = true;
                }
            }
        }
    }

    fn refuse(&mut self, error: &ControllerError) {
        let notice = refused(error);
        if self.refused.as_ref() != Some(&notice) {
            self.teller.tell(notice.clone());
            self.refused = Some(notice);
        }
    }

    /// Acts on this commit from now on.
    fn take(&mut self, snapshot: AcceptedSnapshot) {
        (self.refused, self.looks_only) = (None, false);
        self.follow = true;
        self.report.accepted(&snapshot);
        self.teller.anew();
        self.teller.tell(accepted(&snapshot));
        let wrong = snapshot.held.as_ref().map(|held| held.found.to_string());
        if let (Some(held), Some(details)) = (&snapshot.held, wrong.clone().filter(|_| self.wrong != wrong)) {
            self.teller.tell(Notice::RefusedCommit { why: held.told(&snapshot.commit), details });
        }
        self.wrong = wrong;
        self.keep(snapshot);
    }

    /// What passes are about from now on. Those that are due by an earlier one, and would do something else, are told.
    fn keep(&mut self, snapshot: AcceptedSnapshot) {
        let commit = snapshot.commit.short();
        let environments = &snapshot.desired.environments;
        for name in environments.keys() {
            self.lanes.entry(name.clone()).or_default().due = Instant::now();
        }
        for (name, lane) in self.lanes.iter().filter(|(_, lane)| lane.busy) {
            if environments.get(name).map(Environment::digest) != Some(lane.desired) {
                lane.wish.say(Interruption::Superseded(commit.clone()));
            }
        }
        self.lanes.retain(|name, lane| lane.busy || environments.contains_key(name));
        let snapshot = Arc::new(snapshot);
        self.controller.board.accepted(&snapshot);
        self.snapshot = Some(snapshot);
    }
}

fn accepted(snapshot: &AcceptedSnapshot) -> Notice {
    let (commit, subject) = (snapshot.commit.to_string(), snapshot.info.subject.clone());
    Notice::AcceptedCommit { commit, subject, environments: snapshot.desired.environments.len() }
}

/// Why the newest commit is not acted on.
fn refused(error: &ControllerError) -> Notice {
    let why = error.to_string();
    match error {
        // What is wrong with a file is not in the first line of it.
        ControllerError::Invalid(found) => Notice::RefusedCommit { why, details: found.to_string() },
        ControllerError::NotAccepted(NotAccepted::Unsigned { .. } | NotAccepted::Rewritten { .. })
        | ControllerError::Unread(_)
        | ControllerError::Other(_)
        | ControllerError::NoHost { .. } => Notice::RefusedCommit { why, details: String::new() },
        _ => Notice::RepositoryAway { why },
    }
}

fn newest(controller: &Controller, have: Option<CommitId>) -> Result<Newest, ControllerError> {
    let newest = controller.newest_after(have)?;
    let acted_on = newest.snapshot.as_ref().filter(|_| !newest.looks_only);
    acted_on.map_or(Ok(()), |snapshot| controller.accept(snapshot))?;
    Ok(newest)
}
