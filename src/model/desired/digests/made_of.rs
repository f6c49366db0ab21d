//! What stands in the digests of that which a release is made of and runs with, version 1: where it comes from, what is shared
//! with it, what restarts it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::asked::in_seconds;
use super::environment::all;
use crate::model::activation::Unit;
use crate::model::compose::Transfer;
use crate::model::desired::compose::{self, ComposeFiles, FilesFrom, Registry};
use crate::model::desired::forge::{ChecksFrom, Forge};
use crate::model::desired::{Bundle, Checkout, Environment, FetchFrom, File, Shared};

#[derive(Serialize)]
pub struct BundleV1<'a> {
    url: &'a str,
    sha256: &'a str,
    checks: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch_from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strip: Option<u32>,
}

impl<'a> From<&'a Bundle> for BundleV1<'a> {
    fn from(live: &'a Bundle) -> Self {
        let Bundle { url, sha256, checks, fetch_from, strip } = live;
        let fetch_from = match fetch_from {
            FetchFrom::Controller => None,
            FetchFrom::Host => Some("host"),
        };
        BundleV1 { url, sha256, checks, fetch_from, strip: (*strip > 0).then_some(*strip) }
    }
}

#[derive(Serialize)]
pub struct CheckoutV1<'a> {
    directory: &'a str,
    checks: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch_from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submodules: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks_from: Option<ChecksFromV1<'a>>,
}

impl<'a> From<&'a Checkout> for CheckoutV1<'a> {
    fn from(live: &'a Checkout) -> Self {
        // The repository stands beside it.
        let Checkout { repository: _, directory, submodules, fetch_from, checks, checks_from } = live;
        let fetch_from = match fetch_from {
            FetchFrom::Controller => None,
            FetchFrom::Host => Some("host"),
        };
        let checks_from = checks_from.as_ref().map(ChecksFromV1::from);
        CheckoutV1 { directory, checks, fetch_from, submodules: submodules.then_some(true), checks_from }
    }
}

/// [`ChecksFrom`]: whose word counts.
#[derive(Serialize)]
struct ChecksFromV1<'a> {
    forge: &'static str,
    api: &'a str,
    project: &'a str,
}

impl<'a> From<&'a ChecksFrom> for ChecksFromV1<'a> {
    fn from(live: &'a ChecksFrom) -> Self {
        // With which token it is asked changes no answer.
        let ChecksFrom { forge, api, project, token: _ } = live;
        let forge = match forge {
            Forge::Github => "github",
            Forge::Gitlab => "gitlab",
            Forge::Gitea => "gitea",
        };
        ChecksFromV1 { forge, api, project }
    }
}

/// [`ComposeFiles`].
#[derive(Serialize)]
pub struct ComposeV1<'a> {
    directory: &'a str,
    tree: &'a str,
    /// In place of those two.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkout: Option<CheckoutV1<'a>>,
    files: &'a [String],
    project: &'a str,
    env_file: Option<&'a str>,
    profiles: &'a [String],
    images: &'a BTreeMap<String, String>,
    /// Where a secret goes, and whose it is.
    registries: BTreeMap<&'a str, (&'a str, &'a str)>,
    scale: &'a BTreeMap<String, u32>,
    once: &'a [String],
    update: BTreeMap<&'a str, &'static str>,
    settle: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    replace_volumes: &'a [String],
}

impl<'a> ComposeV1<'a> {
    /// `None`: it is of another kind.
    pub fn of(live: &'a Environment) -> Option<Self> {
        let ComposeFiles {
            from,
            files,
            project,
            env_file,
            profiles,
            images,
            registries,
            scale,
            once,
            update,
            transfer,
            replace_volumes,
        } = live.delivery.compose()?;
        let (directory, tree, checkout) = match from {
            FilesFrom::Directory { path, tree } => (path.as_str(), tree.as_str(), None),
            FilesFrom::Commit(checkout) => ("", "", Some(checkout.into())),
        };
        let login = |(host, registry): (&'a String, &'a Registry)| {
            let Registry { user, password } = registry;
            (host.as_str(), (user.as_str(), password.as_str()))
        };
        Some(ComposeV1 {
            directory,
            tree,
            checkout,
            files,
            project,
            env_file: env_file.as_deref(),
            profiles,
            images,
            registries: registries.iter().map(login).collect(),
            scale,
            once,
            update: update.iter().map(|(service, way)| (service.as_str(), compose::word(*way))).collect(),
            settle: in_seconds(live.settle),
            transfer: match transfer {
                Transfer::Pull => None,
                Transfer::Push => Some("push"),
            },
            replace_volumes,
        })
    }
}

/// [`Shared`].
#[derive(Serialize)]
pub struct SharedV1<'a> {
    path: &'a str,
    from: &'a str,
    directory: bool,
}

impl<'a> From<&'a Shared> for SharedV1<'a> {
    fn from(live: &'a Shared) -> Self {
        let Shared { path, from, directory } = live;
        SharedV1 { path, from, directory: *directory }
    }
}

/// [`File`]. Where its template is decides nothing.
#[derive(Serialize)]
pub struct FileV1<'a> {
    path: &'a str,
    from: &'a str,
    text: &'a str,
    mode: u32,
    owner: Option<&'a str>,
}

impl<'a> From<&'a File> for FileV1<'a> {
    fn from(live: &'a File) -> Self {
        let File { path, from, template: _, text, mode, owner } = live;
        FileV1 { path, from, text, mode: *mode, owner: owner.as_deref() }
    }
}

/// The units of an environment, with the time in which they settle.
#[derive(Serialize)]
pub struct UnitsV1<'a> {
    units: Vec<UnitV1<'a>>,
    settle: f64,
}

impl<'a> UnitsV1<'a> {
    /// `None`: it has none, and its digests are those that it had before there were units.
    pub fn of(live: &'a Environment) -> Option<Self> {
        let Environment { units, settle, .. } = live;
        (!units.is_empty()).then(|| UnitsV1 { units: all(units), settle: in_seconds(*settle) })
    }
}

/// [`Unit`].
#[derive(Serialize)]
pub struct UnitV1<'a> {
    name: &'a str,
    user: bool,
}

impl<'a> From<&'a Unit> for UnitV1<'a> {
    fn from(live: &'a Unit) -> Self {
        let Unit { name, user } = live;
        UnitV1 { name, user: *user }
    }
}
