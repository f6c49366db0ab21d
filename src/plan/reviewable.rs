//! What of a plan a person's word can be about: a change that is known in full. Pure.

use crate::model::approval::Reviewed;
use crate::plan::{Code, EnvPlan};

/// Why nobody can approve or reject what a plan says of an environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotReviewable {
    pub message: String,
    /// The next move.
    pub fix: String,
    /// Hosts are not seen: the same question may have an answer later.
    pub unseen: bool,
    /// There is nothing that would be done.
    pub idle: bool,
}

impl NotReviewable {
    fn new(message: String, fix: impl Into<String>) -> NotReviewable {
        NotReviewable { message, fix: fix.into(), unseen: false, idle: false }
    }
}

/// What a word about this plan is bound to.
///
/// # Errors
/// There is no change; or it cannot be told what the change is, because hosts are not seen, the bundle has no digest, or
/// the plan was made where shared files are not known.
pub fn reviewable(env: &EnvPlan) -> Result<&Reviewed, NotReviewable> {
    if !env.has_changes() {
        return Err(no_change(env));
    }
    let name = &env.name;
    if env.binding.is_none() {
        let message = format!(
            "the plan of {name} was made from what a daemon publishes, which does not tell what shared files hold: a word \
             on it would be bound to nothing"
        );
        return Err(NotReviewable::new(message, "make it where hosts are reached: soll plan --out FILE"));
    }
    let Some(reviewed) = &env.reviewed else {
        let message = format!("the plan of {name} was saved by an older soll, which bound less to a word");
        return Err(NotReviewable::new(message, "make the plan again: soll plan --out FILE"));
    };
    if reviewed.unnamed {
        let sha = env.desired_short().unwrap_or("the release");
        let why = env
            .blockers
            .iter()
            .find(|blocker| matches!(blocker.code, Code::BundleMissing | Code::CommitMissing | Code::Note));
        let why = why.map(|blocker| format!(": {}", blocker.message)).unwrap_or_default();
        let message =
            format!("the digest of the bundle of {sha} is not known, and what has no name cannot be approved{why}");
        let fix = "let the bundle and its SHA-256 be where the state file says, then say it again";
        return Err(NotReviewable::new(message, fix));
    }
    Ok(reviewed)
}

fn no_change(env: &EnvPlan) -> NotReviewable {
    let name = &env.name;
    let unseen: Vec<_> = env.hosts.iter().filter(|host| !host.reachable).collect();
    if let [first, ..] = &*unseen {
        let names: Vec<_> = unseen.iter().map(|host| host.name.as_str()).collect();
        let message = format!(
            "nobody can say what would be done in {name}: {} cannot be seen ({})",
            names.join(", "),
            first.reason
        );
        let seen_again = env.blockers.iter().find(|b| matches!(b.code, Code::Unreachable | Code::OtherMachine));
        let cure = seen_again.map_or("bring it back", |blocker| blocker.fix.as_str());
        let fix = format!(
            "{cure}; or speak about a plan that was made where it is seen: soll plan {name} --out FILE there, then \
             --plan FILE here"
        );
        return NotReviewable { unseen: true, ..NotReviewable::new(message, fix) };
    }
    if let (None, Some(blocker)) = (&env.desired, env.blocking().next()) {
        let message = format!("nobody can say what would be done in {name}: {}", blocker.message);
        return NotReviewable::new(message, blocker.fix.clone());
    }
    let message = format!("{name} has no change to speak about");
    NotReviewable { idle: true, ..NotReviewable::new(message, "a word is about a change; release something first") }
}
