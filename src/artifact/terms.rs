//! What an application says of its bundles. A bundle is unpacked once for whoever wants it, and each takes it on its own
//! terms: what one application allows says nothing for another one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::desired::{Environment, GateTest};

use super::links::Allowed;
use super::manifest::{Entry, Manifest, Node};
use super::pack::Unpacked;
use super::tree::{Found, RESERVED, Reason, resolve, shown};
use super::unpack::UnpackError;

/// On what terms a bundle is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Globs of places outside the release that its links may lead to.
    #[serde(default)]
    pub links_out: Vec<String>,
    /// So many directories enclose the release in the archive.
    #[serde(default)]
    pub strip: u32,
    /// The directory of a commit that becomes the release, where it is made of one (empty: all of it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Paths that gates ask for.
    #[serde(default)]
    pub gates: Vec<String>,
    /// Paths that live under `ROOT/shared/`.
    #[serde(default)]
    pub shared: Vec<String>,
}

/// A release as it is on some terms.
pub struct Shaped {
    /// `None`: as it was.
    pub manifest: Option<Manifest>,
    /// What people should know of it.
    pub notes: Vec<String>,
}

/// Why a release is not taken: the entry that is at fault, where it is a single one, and what to do.
pub type NotTaken = (Option<String>, String);

impl Terms {
    /// Those of an environment.
    pub fn of(env: &Environment) -> Terms {
        let gates = env.gates.iter().filter_map(|gate| match &gate.test {
            GateTest::File(path) | GateTest::Dir(path) => Some(path.clone()),
            GateTest::Run(_) => None,
        });
        Terms {
            links_out: env.links_out.clone(),
            strip: env.delivery.strip(),
            directory: env.delivery.checkout().map(|checkout| checkout.directory.clone()),
            gates: gates.collect(),
            shared: env.shared.iter().map(|shared| shared.path.clone()).collect(),
        }
    }

    /// The bundle that came from `place`, as it is taken on these terms.
    ///
    /// # Errors
    /// It is not: what of it, and what to do.
    pub fn take(&self, mut unpacked: Unpacked, place: &str) -> Result<Unpacked, UnpackError> {
        let shaped = self.shape(&unpacked.manifest).map_err(|(entry, text)| UnpackError::Refused {
            place: place.to_owned(),
            entry: entry.as_deref().map(shown),
            reason: Reason::Contents(text),
        })?;
        if let Some(manifest) = shaped.manifest {
            // What encloses the others comes before them.
            unpacked = unpacked.from(self.strip as usize, manifest);
        }
        unpacked.notes.extend(shaped.notes);
        Ok(unpacked)
    }

    /// The same of what is in it alone.
    ///
    /// # Errors
    /// Likewise.
    pub fn shape(&self, manifest: &Manifest) -> Result<Shaped, NotTaken> {
        let mut stripped = None;
        for _ in 0..self.strip {
            stripped = Some(self.strip_one(stripped.as_ref().unwrap_or(manifest))?);
        }
        let now = stripped.as_ref().unwrap_or(manifest);
        if now.get(RESERVED).is_some() {
            let text = format!("`{RESERVED}` is reserved for the records of soll itself; leave it out");
            return Err((Some(RESERVED.to_owned()), text));
        }
        let allowed = Allowed::new(&self.links_out).map_err(|why| (None, format!("of `links_out`, {why}")))?;
        let notes = self.enclosed(now)?.into_iter().collect();
        match allowed.refuses(now) {
            Some((path, why)) => Err((Some(path), why)),
            None => Ok(Shaped { manifest: stripped, notes }),
        }
    }

    fn strip_one(&self, manifest: &Manifest) -> Result<Manifest, NotTaken> {
        let Some(outer) = enclosing(manifest) else {
            if let Some(directory) = &self.directory {
                let text = format!(
                    "nothing of the directory `{directory}` is in the archive of the commit: does .gitattributes leave out all of \
                     it (`export-ignore`)?"
                );
                return Err((None, text));
            }
            let mut tops = tops(manifest).into_iter().map(|top| format!("`{}`", shown(top)));
            let first: Vec<String> = tops.by_ref().take(3).collect();
            let more = match tops.count() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let (strip, is) = (self.strip, if first.len() == 1 { "is" } else { "are" });
            let text = format!(
                "strip = {strip} in `bundle` of the state file takes away what encloses the release, one directory alone, and \
                 there {is} {}{more}; leave strip out, or correct it",
                first.join(", ")
            );
            return Err((None, text));
        };
        let inner = manifest.entries().filter_map(|entry| {
            let path = entry.path.strip_prefix(outer)?.strip_prefix('/')?;
            Some(Entry { path, ..entry })
        });
        let mut inner = Manifest::of(inner).map_err(|error| (None, error.to_string()))?;
        inner.set_times(manifest.times());
        Ok(inner)
    }

    /// What to say of a release that lies in one directory as a whole, where nobody seems to mean that.
    fn enclosed(&self, manifest: &Manifest) -> Result<Option<String>, NotTaken> {
        let Some(outer) = enclosing(manifest) else { return Ok(None) };
        let is_there = |path: &str| !matches!(resolve(manifest, path), Found::Nothing);
        let is_inside = |path: &str| manifest.get(&format!("{outer}/{path}")).is_some();
        let missed = |path: &&String| !is_there(path) && is_inside(path);
        let cure = match &self.directory {
            None => format!("strip = {} in `bundle`", self.strip + 1),
            Some(directory) => {
                let inner = [directory.as_str(), outer].into_iter().filter(|part| !part.is_empty());
                format!("directory = \"{}\" in `checkout`", shown(&inner.collect::<Vec<_>>().join("/")))
            }
        };
        let or = if self.directory.is_none() { ", or pack from inside the directory" } else { "" };
        let outer = shown(outer);
        if let Some(path) = self.gates.iter().find(missed) {
            let text = format!(
                "all of it lies in the directory `{outer}`, and a gate asks for `{path}`, which is `{outer}/{path}` there; say \
                 {cure} of the state file{or}"
            );
            return Err((None, text));
        }
        let is_meant = self.gates.iter().any(|path| is_there(path));
        let hint = self.shared.iter().find(missed).map(|path| format!(", and `{path}` is `{outer}/{path}` there"));
        let note = format!(
            "all of it lies in the directory `{outer}`{}; where that is not meant, say {cure}",
            hint.as_deref().unwrap_or_default()
        );
        Ok((!is_meant || hint.is_some()).then_some(note))
    }
}

fn tops(manifest: &Manifest) -> BTreeSet<&str> {
    manifest.entries().filter_map(|entry| entry.path.split('/').next()).collect()
}

/// The one directory that everything lies in.
fn enclosing(manifest: &Manifest) -> Option<&str> {
    let tops = tops(manifest);
    let outer = tops.first().copied().filter(|_| tops.len() == 1)?;
    let is_dir = manifest.get(outer).is_some_and(|entry| entry.node == Node::Dir);
    (is_dir && manifest.len() > 1).then_some(outer)
}
