//! Where bundles may come from, and what stands beside them: `bundle_origins` of the settings for every commit, and, for a
//! commit that is not accepted, no machine and no file that the accepted one does not name (law 11).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::{Deserialize, Deserializer};

use super::files;
use super::public::is_public;
use super::source::Location;
use crate::model::origin::Origin;

/// One entry of `bundle_origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleOrigin {
    /// `https://artifacts.example.com`.
    Web(Origin),
    /// `file:///srv/bundles`: what lies below that directory.
    Below(PathBuf),
    /// `.`: the work tree of the state repository.
    WorkTree,
}

impl BundleOrigin {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<BundleOrigin, String> {
        if text == "." {
            return Ok(BundleOrigin::WorkTree);
        }
        if text.starts_with('/') || text.starts_with("file:") {
            return match text.parse::<Location>() {
                Ok(Location::File(path)) if !path.components().any(|part| part == Component::ParentDir) => {
                    Ok(BundleOrigin::Below(path))
                }
                Ok(_) => Err(format!("`{text}` is no directory: leave out `..`, and write file:///srv/bundles")),
                Err(error) => Err(error.to_string()),
            };
        }
        Origin::parse(text).map(BundleOrigin::Web).map_err(|why| {
            format!("{why}; file:///srv/bundles allows a directory, \".\" the work tree of the state repository")
        })
    }
}

impl<'de> Deserialize<'de> for BundleOrigin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BundleOrigin::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What may be asked.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `None`: anything.
    pub named: Option<Vec<BundleOrigin>>,
    /// The work tree of the state repository, where it has one.
    pub work_tree: Option<PathBuf>,
    /// For a commit that is not accepted: the origins that the accepted one names.
    pub known: Option<BTreeSet<Origin>>,
}

/// How a server may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Wherever its name leads.
    Any,
    /// Only at an address of the public Internet.
    Public,
}

impl Rules {
    /// The way to one server: the first one, or one that another leads to.
    ///
    /// # Errors
    /// It may not be asked, in words.
    pub fn way(&self, url: &Url) -> Result<Way, String> {
        let Some(origin) = Origin::of_url(url) else { return Err("only http:// and https:// are followed".to_owned()) };
        if let Some(named) = &self.named
            && !named.iter().any(|named| matches!(named, BundleOrigin::Web(named) if *named == origin))
        {
            return Err(format!("the settings' `bundle_origins` do not name {origin}"));
        }
        match &self.known {
            None => Ok(Way::Any),
            Some(known) if known.contains(&origin) => Ok(Way::Any),
            Some(_) => {
                // Whatever form an address was written in, it was read, and stands here in the usual one.
                let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
                match host.parse::<IpAddr>() {
                    Ok(address) if !is_public(address) => Err(private(&origin)),
                    _ => Ok(Way::Public),
                }
            }
        }
    }

    /// The file to open for this one: without links, where it matters where it lies.
    ///
    /// # Errors
    /// It may not be read, in words.
    pub fn file(&self, path: &Path) -> Result<PathBuf, String> {
        // An accepted commit may name any file here, as long as the settings do not say otherwise.
        if self.named.is_none() && self.known.is_none() {
            return Ok(path.to_owned());
        }
        let resolved = files::resolve(path).map_err(|error| format!("where it lies cannot be seen: {error}"))?;
        let below = |dir: &Path| files::resolve(dir).is_ok_and(|dir| resolved.starts_with(dir));
        if let Some(named) = &self.named {
            let allows = |named: &BundleOrigin| match named {
                BundleOrigin::Web(_) => false,
                BundleOrigin::Below(dir) => below(dir),
                BundleOrigin::WorkTree => self.work_tree.as_deref().is_some_and(below),
            };
            if !named.iter().any(allows) {
                return Err("the settings' `bundle_origins` do not name its directory".to_owned());
            }
        }
        // A commit can put links into its work tree, and git keeps logins in `.git`.
        if let (Some(_), Some(tree)) = (&self.known, &self.work_tree)
            && path.starts_with(tree)
        {
            let inside = files::resolve(tree).is_ok_and(|tree| {
                resolved.strip_prefix(tree).is_ok_and(|rest| rest.components().all(|part| part.as_os_str() != ".git"))
            });
            if !inside {
                return Err("it leads out of the state repository, and its commit is not accepted".to_owned());
            }
        }
        Ok(resolved)
    }
}

fn private(origin: &Origin) -> String {
    format!("{origin} is no address of the public Internet, and the accepted commit does not name it")
}

/// Looks names up, and gives addresses of the public Internet alone: what is connected to is what was checked.
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (public, own): (Vec<_>, Vec<_>) = found.partition(|address| is_public(address.ip()));
            // One name with both is how somebody makes a second question have another answer.
            if !own.is_empty() {
                let why = "its name leads to an address that is not of the public Internet, and the accepted commit does not name it";
                return Err(why.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

impl PublicOnly {
    pub(super) fn shared() -> Arc<PublicOnly> {
        Arc::new(PublicOnly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(known: &[&str]) -> Rules {
        let known = known.iter().map(|text| Origin::parse(text).unwrap()).collect();
        Rules { known: Some(known), ..Rules::default() }
    }

    #[test]
    fn a_commit_that_is_not_accepted_leads_to_no_machine_of_ours() {
        let rules = guest(&["http://127.0.0.1:9000", "https://artifacts.example.com"]);
        let way = |text: &str| rules.way(&Url::parse(text).unwrap());
        assert_eq!(way("http://127.0.0.1:9000/x"), Ok(Way::Any));
        assert_eq!(way("https://artifacts.example.com/x"), Ok(Way::Any));
        assert_eq!(way("https://elsewhere.example.com/x"), Ok(Way::Public));
        assert_eq!(way("http://1.1.1.1/x"), Ok(Way::Public));
        for bad in [
            "http://127.0.0.1:9001/",
            "https://127.0.0.1:9000/",
            "http://169.254.169.254/latest/meta-data/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://127.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[fe80::1]/",
            "http://10.0.0.1/",
            "http://１２７.0.0.1/",
        ] {
            assert!(way(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_not_followed() {
        let name = "localhost".parse().unwrap();
        let said = PublicOnly.resolve(name).await.err().unwrap().to_string();
        assert!(said.contains("public Internet"), "{said}");
    }

    #[test]
    fn the_settings_narrow_every_commit() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for made in ["bundles", "tree/bundles", "tree/.git", "secret"] {
            std::fs::create_dir_all(at(made)).unwrap();
        }
        std::os::unix::fs::symlink(at("secret"), at("bundles/out")).unwrap();
        std::os::unix::fs::symlink(at("secret"), at("tree/bundles/out")).unwrap();
        let text = format!("file://{}", at("bundles").display());
        let named = ["https://a.example", &text, "."].map(|text| BundleOrigin::parse(text).unwrap());
        let rules = Rules { named: Some(named.to_vec()), work_tree: Some(at("tree")), known: None };
        assert_eq!(rules.way(&Url::parse("https://a.example:443/x").unwrap()), Ok(Way::Any));
        for bad in
            ["http://a.example/x", "https://b.example/x", "https://a.example.b.example/", "https://a.example:444/"]
        {
            assert!(rules.way(&Url::parse(bad).unwrap()).is_err(), "{bad}");
        }
        for good in ["bundles/x", "bundles/new/x", "tree/bundles/x"] {
            assert!(rules.file(&at(good)).is_ok(), "{good}");
        }
        for bad in ["secret/x", "bundles/out/x", "tree/bundles/out/x", "bundles/../secret/x", "bundlesx"] {
            assert!(rules.file(&at(bad)).is_err(), "{bad}");
        }
        let rules = Rules { work_tree: Some(at("tree")), ..guest(&[]) };
        assert!(rules.file(&at("tree/bundles/x")).is_ok());
        for bad in ["tree/bundles/out/x", "tree/.git/config", "tree/../secret/x"] {
            assert!(rules.file(&at(bad)).is_err(), "{bad}");
        }
        for bad in
            ["", "a.example", "https://a.example/path", "https://*.example", "file://host/x", "/a/../b", "bundles"]
        {
            assert!(BundleOrigin::parse(bad).is_err(), "{bad}");
        }
    }
}
