//! Recipes: presets for kinds of applications, written as the same TOML that an application is written in, so that
//! `soll recipe NAME` prints exactly what is set and everything can be replaced by name.

/// The recipe of an application that names none. It sets nothing.
pub const GENERIC: &str = "generic";

const ALL: [(&str, &str); 4] = [
    (GENERIC, include_str!("recipe/generic.toml")),
    ("laravel", include_str!("recipe/laravel.toml")),
    ("python", include_str!("recipe/python.toml")),
    ("static", include_str!("recipe/static.toml")),
];

/// The text of a recipe.
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of all recipes.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    ALL.iter().map(|(name, _)| *name)
}
