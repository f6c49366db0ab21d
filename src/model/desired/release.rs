//! What may stand in `release = "…"`: a full commit id, a tag, or a directory that is on the hosts. Everything that only looks
//! like one of them is refused with the reason (B1, B4, B8), because this is the line that decides what runs.

use super::ReleaseRef;
use super::formats::Fault;
use crate::model::ids::{ReleaseName, Sha};

/// Names that move by habit: allowed where tags are, and remarked upon (B4).
pub const MOVING: [&str; 9] =
    ["latest", "stage", "staging", "stable", "nightly", "edge", "current", "production", "prod"];

/// Names that are branches by habit: a branch is followed by `track`, never by `release` (B1).
const BRANCHES: [&str; 6] = ["HEAD", "main", "master", "develop", "dev", "trunk"];

/// What a directory of `releases/` is written with: no tag can begin so.
const DIRECTORY: &str = "./releases/";

/// How a release is written of which nobody knows the commit.
pub fn directory(name: &ReleaseName) -> String {
    format!("{DIRECTORY}{name}")
}

/// The typed form of a text that passed [`check`].
pub fn parse(text: &str) -> ReleaseRef {
    if let Some(Ok(name)) = text.strip_prefix(DIRECTORY).map(str::parse) {
        return ReleaseRef::Directory(name);
    }
    text.parse().map_or_else(|_| ReleaseRef::Tag(text.to_owned()), ReleaseRef::Sha)
}

/// Whether the text may stand in `release = "…"`.
pub fn check(text: &str) -> Result<(), Fault> {
    if text.parse::<Sha>().is_ok() {
        return Ok(());
    }
    if let Some(name) = text.strip_prefix(DIRECTORY) {
        let named = name.parse::<ReleaseName>().map(drop);
        return named
            .map_err(|error| Fault::new(error.to_string()).help("`ls ROOT/releases` on a host says their names"));
    }
    if text.trim().is_empty() {
        return Err(Fault::new("no release is named").help("a full commit id of 40 digits, or a tag"));
    }
    if ["null", "none", "nil", "undefined", "unknown"].contains(&text.to_ascii_lowercase().as_str()) {
        return Err(Fault::new(format!("`{text}` is what a script writes when it found nothing, not a release"))
            .help("look at the job that wrote this line; name a full commit id or a tag"));
    }
    if text.len() >= 6 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(hexadecimal(text));
    }
    if BRANCHES.contains(&text) || ["refs/heads/", "origin/", "refs/remotes/"].iter().any(|p| text.starts_with(p)) {
        let branch = ["refs/heads/", "refs/remotes/origin/", "origin/"].iter().find_map(|p| text.strip_prefix(p));
        return Err(Fault::new(format!("`{text}` is a branch: it would change without a commit here")).help(format!(
            "name a full commit id; to follow the branch: track = {{ branch = \"{}\" }}",
            branch.unwrap_or(if text == "HEAD" { "main" } else { text })
        )));
    }
    if let Some(tag) = text.strip_prefix("refs/tags/") {
        return Err(Fault::new("a tag is written without `refs/tags/`").help(format!("release = \"{tag}\"")));
    }
    reference(text, "release")
}

/// A text of hexadecimal digits that is no full id.
fn hexadecimal(text: &str) -> Fault {
    match text.len() {
        40 => Fault::new("a commit id is written in lower case").help(format!("\"{}\"", text.to_ascii_lowercase())),
        length @ 0..=39 => Fault::new(format!("`{text}` is a shortened commit id ({length} digits of 40)"))
            .help("it could come to mean another commit: `git rev-parse` gives the full one"),
        length => Fault::new(format!("this has {length} hexadecimal digits; a commit id has 40")),
    }
}

/// A full commit id.
pub fn sha(text: &str) -> Result<Sha, Fault> {
    text.parse().map_err(|_| {
        if text.len() >= 6 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return hexadecimal(text);
        }
        Fault::new(format!("`{text}` is not a full commit id")).help("40 lower-case hexadecimal digits")
    })
}

/// The name of a branch.
pub fn branch(text: &str) -> Result<(), Fault> {
    for prefix in ["refs/heads/", "origin/"] {
        if let Some(branch) = text.strip_prefix(prefix) {
            return Err(Fault::new(format!("a branch is written without `{prefix}`")).help(format!("\"{branch}\"")));
        }
    }
    reference(text, "branch")
}

/// Git's grammar of reference names, and none that could be an option.
fn reference(text: &str, what: &str) -> Result<(), Fault> {
    let bad = |why: &str| Err(Fault::new(format!("`{text}` cannot be a {what}: {why}")));
    if text.is_empty() {
        return bad("it is empty");
    }
    if text.starts_with('-') {
        return bad("it starts with `-` and could be taken for an option");
    }
    if text.contains("..") {
        return bad("`..` means a range of commits");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return bad("it contains white space");
    }
    if let Some(at) = text.find(['~', '^', ':', '?', '*', '[', '\\', '{']) {
        return bad(&format!("Git allows no `{}` in a name", text[at..].chars().next().unwrap_or_default()));
    }
    let part_is_bad = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if text.ends_with('.') || text == "@" || text.len() > 200 || text.split('/').any(part_is_bad) {
        return bad("Git does not allow such a name");
    }
    Ok(())
}
