//! What lies on the targets of a job, asked beside deployments.

use std::sync::Arc;

use crate::model::desired::{Backup, Environment, Target};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::look::reach::ask;
pub use crate::run::step::shelf::{Grounds, OnShelf, Row, decide, paths};
use crate::run::step::shelf::{question, row};

/// Every target of a job, asked one after the other.
pub async fn all(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    backup: &Backup,
    target: &Target,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for place in backup.places(&target.root) {
        let answer = ask(controller, snapshot, target, question(&place)).await;
        rows.push(row(place, answer, backup, env));
    }
    rows
}
