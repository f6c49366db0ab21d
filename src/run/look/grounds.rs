//! On whose word bundles and repositories of applications are asked (law 11). An accepted commit may name any; of another
//! one only what the accepted commit names as well is asked, so that nobody makes this controller read a file of its own,
//! or talk to an address, by proposing a commit. Pure: what is allowed, not how it is asked.

use crate::artifact::fetch::{FetchError, Fetcher};
use crate::artifact::origins::Rules;
use crate::artifact::source::{Location, Source};
use crate::model::desired::Environment;
use crate::model::origin::Origin;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, Snapshot};
use crate::run::look::observe::source;

/// The commit that asks, and what vouches for it.
#[derive(Clone, Copy)]
pub enum Grounds<'a> {
    Accepted(&'a AcceptedSnapshot),
    /// A commit that is not accepted, beside the one that is, where there is one.
    Proposed {
        proposal: &'a Snapshot,
        accepted: Option<&'a AcceptedSnapshot>,
    },
}

impl<'a> Grounds<'a> {
    /// The commit that asks.
    pub fn snapshot(self) -> &'a Snapshot {
        match self {
            Grounds::Accepted(snapshot) => snapshot,
            Grounds::Proposed { proposal, .. } => proposal,
        }
    }

    /// Whether the commit is accepted.
    pub fn is_accepted(self) -> bool {
        matches!(self, Grounds::Accepted(_))
    }

    /// Whether this repository of an application may be asked.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn may_ask_repository(self, repository: &str) -> Result<(), String> {
        let Grounds::Proposed { accepted, .. } = self else { return Ok(()) };
        let mut known = environments(accepted).filter_map(|env| env.repository.as_deref());
        if known.any(|known| known == repository) {
            return Ok(());
        }
        Err("this commit is not accepted, and the accepted one does not name its repository, so it was not asked"
            .to_owned())
    }

    /// Whether the places of a bundle may be asked: at the origins that the accepted commit names, or, on this machine,
    /// exactly where it names them.
    ///
    /// # Errors
    /// Why not, in words. No place is quoted.
    pub fn may_ask_bundle(self, env: &Environment, source: &Source) -> Result<(), String> {
        let Grounds::Proposed { proposal, accepted } = self else { return Ok(()) };
        let files = || same_files(proposal, accepted, env);
        let known = |place: &Location| match place {
            Location::Http(url) => {
                Origin::of_url(url).is_some_and(|origin| origins(accepted).any(|known| known == origin))
            }
            Location::File(_) => files(),
        };
        if [&source.url, &source.sha256, &source.checks].into_iter().all(known) {
            return Ok(());
        }
        Err("this commit is not accepted, and the accepted one names no bundle at that place, so it was not looked at"
            .to_owned())
    }

    /// What asks for bundles on these grounds: for a commit that is not accepted it follows no redirect to a machine of ours
    /// (A4), and no link out of the work tree.
    ///
    /// # Errors
    /// Those of [`Fetcher::under`].
    pub fn fetcher(self, controller: &Controller) -> Result<Fetcher, FetchError> {
        let fetcher = controller.artifacts.fetcher();
        let Grounds::Proposed { accepted, .. } = self else { return Ok(fetcher.clone()) };
        let known = origins(accepted).collect();
        fetcher.under(Rules { known: Some(known), ..fetcher.rules().clone() })
    }
}

fn environments(accepted: Option<&AcceptedSnapshot>) -> impl Iterator<Item = &Environment> {
    accepted.into_iter().flat_map(|snapshot| snapshot.desired.environments.values())
}

/// Where the accepted commit has its bundles. The commit of the release makes no difference for an origin.
fn origins(accepted: Option<&AcceptedSnapshot>) -> impl Iterator<Item = Origin> {
    let any = "0".repeat(40).parse();
    let base = accepted.and_then(|snapshot| snapshot.base.as_deref());
    environments(accepted)
        .filter_map(move |env| source(env, any.as_ref().ok()?, base).ok())
        .flat_map(|source| [source.url, source.sha256, source.checks])
        .filter_map(|place| match place {
            Location::Http(url) => Origin::of_url(&url),
            Location::File(_) => None,
        })
}

/// Files of this machine are read only by the templates, and with the variables, of an accepted environment: they differ in
/// the release at most, which is hexadecimal.
fn same_files(proposal: &Snapshot, accepted: Option<&AcceptedSnapshot>, env: &Environment) -> bool {
    proposal.base == accepted.and_then(|snapshot| snapshot.base.clone())
        && environments(accepted).any(|known| {
            let places =
                |env: &Environment| [&env.bundle.url, &env.bundle.sha256, &env.bundle.checks].map(String::clone);
            let named = places(env).iter().any(|place| place.contains("{env}"));
            places(known) == places(env) && known.variables == env.variables && (known.name == env.name || !named)
        })
}
