//! How the directory of a release comes to be (contract 1.5), and who brings it: what differs from kind to kind of
//! application before a release is complete on its host. From there on all kinds are the same.

use serde::{Deserialize, Serialize};

use super::{Bundle, Checkout, ComposeFiles, FilesFrom};

/// Where a release comes from. In JSON a table named after the kind: `{"bundle": {…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// An archive that a build has made, with its SHA-256 beside it.
    Bundle(Bundle),
    /// The tree of a commit of the application's repository.
    Git(Checkout),
    /// The files of a project of containers, and images.
    Compose(Box<ComposeFiles>),
}

/// Who fetches what a release is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FetchFrom {
    /// Once, for all hosts: each is sent what it does not have.
    #[default]
    Controller,
    /// Each host for itself.
    Host,
}

impl FetchFrom {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub(super) fn is_default(&self) -> bool {
        *self == FetchFrom::default()
    }
}

impl Delivery {
    /// Who fetches it.
    pub fn fetch_from(&self) -> FetchFrom {
        match self {
            Delivery::Bundle(bundle) => bundle.fetch_from,
            Delivery::Git(checkout) => checkout.fetch_from,
            // The state repository is the controller's.
            Delivery::Compose(_) => self.checkout().map_or(FetchFrom::Controller, |checkout| checkout.fetch_from),
        }
    }

    /// The commit of the application's repository that its releases are the tree of, whatever runs them.
    pub fn checkout(&self) -> Option<&Checkout> {
        match self {
            Delivery::Git(checkout) => Some(checkout),
            Delivery::Compose(files) => match &files.from {
                FilesFrom::Commit(checkout) => Some(checkout),
                FilesFrom::Directory { .. } => None,
            },
            Delivery::Bundle(_) => None,
        }
    }

    /// The project of services that runs its releases.
    pub fn compose(&self) -> Option<&ComposeFiles> {
        match self {
            Delivery::Compose(files) => Some(files),
            Delivery::Bundle(_) | Delivery::Git(_) => None,
        }
    }

    /// So many directories enclose the release in what is brought.
    pub fn strip(&self) -> u32 {
        match self {
            Delivery::Bundle(bundle) => bundle.strip,
            Delivery::Git(_) | Delivery::Compose(_) => self.checkout().map_or(0, Checkout::depth),
        }
    }
}
