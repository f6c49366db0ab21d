//! Where commits of the state repository may act on the controller's own machine: `local_roots` of the settings. An
//! environment without `hosts` runs its commands here, as the controller's user.

use std::io;
use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use serde::{Deserialize, Deserializer};

use crate::artifact::files::resolve;
use crate::model::desired::bounds::Unmet;
use crate::model::desired::{Address, Desired, Target};

/// A glob over whole paths: `/var/www/*` means what lies directly in /var/www, `**` any depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootGlob(String);

impl RootGlob {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<RootGlob, String> {
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(format!("`{text}` is not absolute: write it as in \"/var/www/*\""));
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(format!("`{text}` has `..` in it: what it leads to depends on links"));
        }
        match GlobBuilder::new(text).literal_separator(true).build() {
            Ok(_) => Ok(RootGlob(text.to_owned())),
            Err(error) => Err(format!("`{text}` is neither a path nor a glob: {}", error.kind())),
        }
    }

    /// Whether a path without links is meant. What stands before the first glob, its last part aside, may lead through
    /// links: it is whoever wrote the settings who chose it.
    fn matches(&self, resolved: &Path) -> io::Result<bool> {
        let parts: Vec<_> = Path::new(&self.0).components().collect();
        let is_glob = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
        let fixed = parts.iter().position(is_glob).unwrap_or(parts.len()).min(parts.len().saturating_sub(1));
        let prefix: PathBuf = parts[..fixed].iter().collect();
        let rest: PathBuf = parts[fixed..].iter().collect();
        let prefix = resolve(&prefix)?;
        let Ok(below) = resolved.strip_prefix(&prefix) else { return Ok(false) };
        // `*` would match nothing at all, too: the directory above is not one of those in it.
        if below.as_os_str().is_empty() {
            return Ok(false);
        }
        // It was good when it was read.
        let glob = GlobBuilder::new(&rest.to_string_lossy()).literal_separator(true).build();
        Ok(glob.is_ok_and(|glob| glob.compile_matcher().is_match(below)))
    }
}

impl<'de> Deserialize<'de> for RootGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RootGlob::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The rule of one controller.
#[derive(Debug, Clone, Default)]
pub enum LocalRoots {
    /// Who may write to the repository may write to this machine anyway; or this machine is the host itself (pull mode).
    #[default]
    Any,
    /// The repository is elsewhere, and the settings name no place.
    Nowhere,
    Only(Vec<RootGlob>),
}

impl LocalRoots {
    /// What holds: `named` in the settings, else by where the repository is. `pulls`: pull mode.
    pub fn of(named: Option<Vec<RootGlob>>, repository_is_here: bool, pulls: bool) -> LocalRoots {
        match named {
            _ if pulls => LocalRoots::Any,
            Some(roots) => LocalRoots::Only(roots),
            None if repository_is_here => LocalRoots::Any,
            None => LocalRoots::Nowhere,
        }
    }

    /// Whether this controller may act on that host.
    ///
    /// # Errors
    /// It is this machine, and the root is none of those that may be acted on.
    pub fn permit(&self, target: &Target) -> Result<(), Unmet> {
        if target.address != Address::Local {
            return Ok(());
        }
        let root = &target.root;
        let refuse = |why: String| {
            let fix = "if it should, name the place in the controller's settings: local_roots = [\"/var/www/*\"]";
            Err(Unmet { message: format!("{root} is on the controller's own machine, and {why}"), fix: fix.to_owned() })
        };
        match self {
            LocalRoots::Any => Ok(()),
            LocalRoots::Nowhere => refuse(
                "a state repository that is elsewhere may act nowhere on it: the settings name no `local_roots`"
                    .to_owned(),
            ),
            LocalRoots::Only(roots) => match resolve(Path::new(root)) {
                Err(error) => refuse(format!("where it leads cannot be seen: {error}")),
                Ok(resolved) if roots.iter().any(|glob| glob.matches(&resolved).unwrap_or(false)) => Ok(()),
                Ok(resolved) if resolved == Path::new(root) => {
                    refuse("the settings' `local_roots` do not name it".to_owned())
                }
                Ok(resolved) => {
                    refuse(format!("leads to {}, which the settings' `local_roots` do not name", resolved.display()))
                }
            },
        }
    }

    /// Notes the hosts that may not be acted on, for whoever plans.
    pub fn bar(&self, desired: &mut Desired) {
        for env in desired.environments.values_mut() {
            for target in &env.targets {
                if let Err(unmet) = self.permit(target) {
                    env.bounds.barred.insert(target.name.clone(), unmet);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn target(root: &Path) -> Target {
        let (name, root) = ("local".parse().unwrap(), root.display().to_string());
        Target { name, address: Address::Local, user: None, port: None, agent_dir: None, root }
    }

    fn permits(glob: &Path, root: &Path) -> bool {
        LocalRoots::Only(vec![RootGlob::new(glob.to_str().unwrap()).unwrap()]).permit(&target(root)).is_ok()
    }

    #[test]
    fn globs_go_component_by_component_and_through_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for made in ["www/shop/deep", "elsewhere"] {
            std::fs::create_dir_all(at(made)).unwrap();
        }
        for (link, to) in [("www/out", at("elsewhere")), ("www/etc", "/etc".into()), ("www/none", "/nowhere".into())] {
            symlink(to, at(link)).unwrap();
        }
        symlink(at("www"), at("alias")).unwrap();
        for good in ["www/shop", "www/new", "alias/shop", "alias/new"] {
            assert!(permits(&at("www/*"), &at(good)), "{good}");
            assert!(permits(&at("alias/*"), &at(good)), "{good} by the other name");
        }
        for bad in [
            "www",
            "www/shop/deep",
            "www/new/deep",
            "elsewhere",
            "www/out",
            "www/etc",
            "www/out/x",
            "www/none",
            "alias/etc/x",
            "www/../elsewhere",
            "www/shop/../../elsewhere",
        ] {
            assert!(!permits(&at("www/*"), &at(bad)), "{bad}");
            assert!(!permits(&at("alias/*"), &at(bad)), "{bad} by the other name");
        }
        assert!(permits(&at("www/**"), &at("www/new/deep")) && !permits(&at("www/**"), &at("www/out/x")));
        assert!(permits(&at("www/shop"), &at("www/shop")) && !permits(&at("www/shop"), &at("www/shop2")));
        assert!(!permits(&at("www/out"), &at("www/out")), "a link that is named itself leads elsewhere");
        assert!(permits(&at("www/{shop,new}"), &at("www/new")) && !permits(&at("www/{shop,new}"), &at("www/other")));
    }

    #[test]
    fn what_holds_without_a_setting_depends_on_where_the_repository_is() {
        let here = target(Path::new("/var/www/shop"));
        let far = Target { address: Address::Remote("web1".to_owned()), ..here.clone() };
        assert!(LocalRoots::of(None, true, false).permit(&here).is_ok());
        assert!(LocalRoots::of(None, false, false).permit(&here).unwrap_err().fix.contains("local_roots"));
        assert!(LocalRoots::of(None, false, false).permit(&far).is_ok());
        assert!(LocalRoots::of(Some(Vec::new()), true, false).permit(&here).is_err());
        assert!(LocalRoots::of(None, false, true).permit(&here).is_ok(), "pull mode is this machine by design");
    }

    #[test]
    fn a_glob_that_could_mean_anything_is_refused() {
        for bad in ["var/www/*", "/var/../www", "/var/[", "*", ""] {
            assert!(RootGlob::new(bad).is_err(), "{bad}");
        }
    }
}
