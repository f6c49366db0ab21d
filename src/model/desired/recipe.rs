//! Recipes: presets for kinds of applications, written as the same TOML that an application is written in, so that
//! `soll recipe NAME` prints exactly what is set and everything can be replaced by name.

use super::formats::BUILT_IN;
use super::raw::Kind;
use crate::model::template::names as names_in;

/// The recipe of an application that names none. It sets nothing.
pub const GENERIC: &str = "generic";

const ALL: [(&str, &str); 6] = [
    (GENERIC, include_str!("recipe/generic.toml")),
    ("laravel", include_str!("recipe/laravel.toml")),
    ("node", include_str!("recipe/node.toml")),
    ("php", include_str!("recipe/php.toml")),
    ("python", include_str!("recipe/python.toml")),
    ("static", include_str!("recipe/static.toml")),
];
/// What recipes are for applications that no build has made ready.
const GIT: [(&str, &str); 3] = [
    ("node", include_str!("recipe/node-git.toml")),
    ("php", include_str!("recipe/php-git.toml")),
    ("python", include_str!("recipe/python-git.toml")),
];

/// What recipes are for projects of services.
const COMPOSE: [(&str, &str); 1] = [("compose", include_str!("recipe/compose.toml"))];

/// The text of a recipe for applications of a kind.
pub fn text(name: &str, kind: Kind) -> Option<&'static str> {
    let (own, all): (&[_], &[_]) = match kind {
        Kind::Bundle => (&[], &ALL),
        Kind::Git => (&GIT, &ALL),
        // The others build and restart what containers bring along.
        Kind::Compose => (&COMPOSE, &ALL[..1]),
    };
    own.iter().chain(all).find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The kind of applications that a recipe is for alone; `None`: it is for several, or is none.
pub fn only_for(name: &str) -> Option<Kind> {
    COMPOSE.iter().any(|(known, _)| *known == name).then_some(Kind::Compose)
}

/// The variables that a recipe uses and does not set: whoever takes it has to.
pub fn wants(text: &str) -> Vec<&str> {
    let set: toml::Table = text.parse().unwrap_or_default();
    let set = set.get("variables").and_then(toml::Value::as_table);
    let is_known = |name: &str| {
        BUILT_IN.contains(&name) || name == "cache" || set.is_some_and(|variables| variables.contains_key(name))
    };
    let mut wanted: Vec<&str> = names_in(text).into_iter().filter(|name| !is_known(name)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// The names of all recipes.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    ALL.iter().chain(&COMPOSE).map(|(name, _)| *name)
}
