//! On whose word bundles and repositories of applications are asked (law 11). An accepted commit may name any; of another
//! one only what the accepted commit names as well is asked, so that nobody makes this controller read a file of its own,
//! or talk to an address, by proposing a commit. Pure: what is allowed, not how it is asked.

use crate::artifact::fetch::Fetcher;
use crate::artifact::origins::Rules;
use crate::artifact::source::{Location, Source};
use crate::host::wire::Secret;
use crate::model::desired::{Delivery, Environment};
use crate::model::origin::Origin;
use crate::plan::policy::Refused;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, Snapshot};
use crate::run::look::build::Build;
use crate::run::look::build::git::Commit;
use crate::run::secrets::{Purpose, Use};

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

    /// Whether the place of a build may be asked.
    ///
    /// # Errors
    /// Why not, in words. No place is quoted.
    pub fn may_ask(self, env: &Environment, build: &Build) -> Result<(), String> {
        match build {
            Build::Bundle(source) => self.may_ask_bundle(env, source),
            Build::Git(commit) => self.may_ask_commit(env, commit),
            // It lies in the state repository, which was read for its proposal.
            Build::Directory(_) => Ok(()),
        }
    }

    /// A repository is asked where the accepted commit names it, and so is the place of the record of its checks.
    fn may_ask_commit(self, env: &Environment, commit: &Commit) -> Result<(), String> {
        self.may_ask_repository(&commit.checkout.repository)?;
        let Grounds::Proposed { proposal, accepted } = self else { return Ok(()) };
        let known = match &commit.checks {
            None if commit.checks_from.is_some() => self.same_forge(env, commit),
            None => true,
            Some(Location::Http(url)) => {
                Origin::of_url(url).is_some_and(|origin| origins(accepted).any(|known| known == origin))
            }
            Some(Location::File(_)) => same_files(proposal, accepted, env),
        };
        if known {
            return Ok(());
        }
        Err("this commit is not accepted, and the accepted one names no record of checks at that place, so it was not looked \
             at"
        .to_owned())
    }

    /// A forge is asked as the accepted commit asks it for this environment: at the same place, with the same token.
    fn same_forge(self, env: &Environment, commit: &Commit) -> bool {
        let Grounds::Proposed { accepted, .. } = self else { return true };
        environments(accepted)
            .filter(|known| known.name == env.name)
            .any(|known| known.delivery.checkout().is_some_and(|of| of.checks_from == commit.checks_from))
    }

    /// What a forge is asked with, on the word of the accepted commit.
    ///
    /// # Errors
    /// There is no such secret, or not for that.
    pub fn token(self, env: &Environment, name: &str, url: &str) -> Result<Secret, Refused> {
        let word = match self {
            Grounds::Accepted(word) => Some(word),
            Grounds::Proposed { accepted, .. } => accepted,
        };
        let purpose = Purpose { wanted: Use::Fetch, environment: Some(&env.name), url: Some(url) };
        let nobody = || Refused {
            why: "which is sent on the word of an accepted commit alone".to_owned(),
            fix: "let the commit be accepted first".to_owned(),
        };
        word.ok_or_else(nobody)?.secrets().get(name, &purpose)
    }

    /// The places of a bundle are asked at the origins that the accepted commit names, or, on this machine, exactly where it
    /// names them.
    fn may_ask_bundle(self, env: &Environment, source: &Source) -> Result<(), String> {
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
    pub fn fetcher(self, controller: &Controller) -> Fetcher {
        let fetcher = controller.artifacts.fetcher();
        let Grounds::Proposed { accepted, .. } = self else { return fetcher.clone() };
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
        .filter_map(move |env| Build::of(env, any.as_ref().ok()?, base).ok())
        .flat_map(|build| match build {
            Build::Bundle(source) => vec![source.url, source.sha256, source.checks],
            Build::Git(commit) => {
                let forge = commit.checks_from.and_then(|from| from.api.parse().ok());
                commit.checks.into_iter().chain(forge).collect()
            }
            Build::Directory(_) => Vec::new(),
        })
        .filter_map(|place| match place {
            Location::Http(url) => Origin::of_url(&url),
            Location::File(_) => None,
        })
}

/// The templates of all places that an environment has beside its repository.
fn places(env: &Environment) -> Vec<&str> {
    match &env.delivery {
        Delivery::Bundle(of) => vec![&of.url, &of.sha256, &of.checks],
        Delivery::Git(_) | Delivery::Compose(_) => env.delivery.checkout().into_iter().map(|of| &*of.checks).collect(),
    }
}

/// Files of this machine are read only by the templates, and with the variables, of an accepted environment: they differ in
/// the release at most, which is hexadecimal.
fn same_files(proposal: &Snapshot, accepted: Option<&AcceptedSnapshot>, env: &Environment) -> bool {
    proposal.base == accepted.and_then(|snapshot| snapshot.base.clone())
        && environments(accepted).any(|known| {
            let named = places(env).iter().any(|place| place.contains("{env}"));
            places(known) == places(env) && known.variables == env.variables && (known.name == env.name || !named)
        })
}
