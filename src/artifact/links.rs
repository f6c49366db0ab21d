//! Where the links of a release lead: to a path inside it, or out of it to a place on the host. Pure: texts are compared,
//! and no link is followed on any disk.

use std::collections::HashMap;

use crate::model::place::{Place, Places};

use super::manifest::{Entry, Manifest, Node};
use super::tree::shown;

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;
/// Parts of paths that are looked at for all links together: a thousand links with a thousand parts each must not cost
/// minutes.
const MAX_STEPS: u64 = 20_000_000;

/// The links of one release.
pub struct Links<'a> {
    targets: HashMap<&'a str, &'a str>,
    left: u64,
}

/// Where a path comes out after all links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Inside(String),
    Outside(Place),
}

impl<'a> Links<'a> {
    /// Those of a manifest.
    pub fn of(manifest: &'a Manifest) -> Links<'a> {
        let link = |entry: Entry<&'a str>| match entry.node {
            Node::Link { target } => Some((entry.path, target)),
            _ => None,
        };
        Links { targets: manifest.entries().filter_map(link).collect(), left: MAX_STEPS }
    }

    /// Follows a path as the kernel would, through the links of this release alone: what does not exist is taken as it is
    /// written, and so is all that comes after the way has left the release.
    ///
    /// # Errors
    /// The rest of a sentence about a link that leads nowhere.
    pub fn follow(&mut self, path: &str) -> Result<End, String> {
        let mut parts: Vec<&str> = path.rsplit('/').collect();
        let mut at = String::new();
        let mut outside: Option<Place> = None;
        let mut links = 0;
        while let Some(part) = parts.pop() {
            self.left = self.left.checked_sub(1).ok_or("makes the links of this release too many to follow")?;
            if let Some(place) = &mut outside {
                place.enter(part);
                continue;
            }
            match part {
                "" | "." => continue,
                ".." if at.is_empty() => {
                    outside = Some(Place::said(".."));
                    continue;
                }
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let parent = at.len();
            if parent > 0 {
                at.push('/');
            }
            at.push_str(part);
            if let Some(target) = self.targets.get(at.as_str()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err("goes round in circles or through too many links".to_owned());
                }
                at.truncate(parent);
                parts.extend(target.rsplit('/'));
                if target.starts_with('/') {
                    outside = Some(Place::said("/"));
                }
            }
        }
        Ok(outside.map_or(End::Inside(at), End::Outside))
    }
}

/// The places that links may lead out to: what `links_out` of an application says.
#[derive(Debug, Default)]
pub struct Allowed(Vec<Places>);

impl Allowed {
    /// Takes globs: `/usr/bin/python3*`, `../../shared/**`.
    ///
    /// # Errors
    /// One that is none, and why: the rest of a sentence that begins with it.
    pub fn new(globs: &[String]) -> Result<Allowed, String> {
        let pattern = |glob: &String| Places::new(glob).map_err(|why| format!("`{}` {why}", shown(glob)));
        globs.iter().map(pattern).collect::<Result<_, _>>().map(Allowed)
    }

    /// The first link of a release that leads out of it to a place that is not one of these: its path, and what to say.
    ///
    /// A place counts as it is seen from the top of the release, and as the link says it, where the link itself leads there.
    pub fn refuses(&self, manifest: &Manifest) -> Option<(String, String)> {
        let mut links = Links::of(manifest);
        for entry in manifest.entries() {
            let Node::Link { target } = entry.node else { continue };
            // That each of them ends somewhere was seen when the tree was put together.
            let Ok(End::Outside(place)) = links.follow(entry.path) else { continue };
            let said = Place::said(target);
            let says_so = from(entry.path, target) == place;
            let fits = |places: &Places| places.hold(&place) || (says_so && places.hold(&said));
            if !self.0.iter().any(fits) {
                return Some((entry.path.to_owned(), out(target, &place)));
            }
        }
        None
    }
}

/// What a link at `path` says, seen from the top of the release.
fn from(path: &str, target: &str) -> Place {
    if target.starts_with('/') {
        return Place::said(target);
    }
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    Place::said(&format!("{parent}/{target}")[usize::from(parent.is_empty())..])
}

fn out(target: &str, place: &Place) -> String {
    let place = place.to_string();
    let seen = if target == place { String::new() } else { format!(" (`{}`, seen from its top)", shown(&place)) };
    let (target, place) = (shown(target), shown(&globset::escape(&place)));
    format!(
        "its target `{target}` leads out of the release{seen}, to what is there on the host. Where that is meant, say \
         links_out = [\"{place}\"] in the application of the state file. Else keep it inside: a virtual environment made with \
         `python3 -m venv --copies`, a link made relative with `ln -sr` (`php artisan storage:link --relative`); or let a hook \
         of phase `prepare` make it on the host"
    )
}
