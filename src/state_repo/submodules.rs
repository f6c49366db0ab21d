//! Submodules of a commit: which there are, and where their repositories are by its `.gitmodules`.

use std::collections::BTreeMap;

use super::command::Git;
use super::error::Result;
use crate::model::ids::Sha;

/// One submodule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gitlink {
    /// From the root of the repository.
    pub path: String,
    pub sha: Sha,
}

/// What `.gitmodules` of a commit says: addresses by path. None where there is no such file.
pub(super) fn addresses(git: &Git<'_>, sha: &Sha) -> Result<BTreeMap<String, String>> {
    let blob = format!("{sha}:.gitmodules");
    if !git.run("read", "cat-file", &["-e"], &[&blob])?.success {
        return Ok(BTreeMap::new());
    }
    let from = format!("--blob={blob}");
    // A file of a commit says nothing of other files of this machine.
    let listed = git.must("read .gitmodules of", "config", &["--null", "--no-includes", &from, "--list"], &[])?;
    Ok(by_path(&String::from_utf8_lossy(&listed)))
}

/// From `submodule.NAME.KEY\nVALUE\0` of each line.
fn by_path(listed: &str) -> BTreeMap<String, String> {
    let mut named: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
    for entry in listed.split('\0') {
        let Some((key, value)) = entry.split_once('\n') else { continue };
        let Some((name, key)) = key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.')) else { continue };
        let seen = named.entry(name).or_default();
        match key {
            "path" => seen.0 = Some(value),
            "url" => seen.1 = Some(value),
            _ => {}
        }
    }
    let both = named.into_values().filter_map(|(path, url)| Some((path?, url?)));
    both.map(|(path, url)| (path.trim_end_matches('/').to_owned(), url.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gitmodules_says_goes_by_path() {
        let listed = "submodule.a.b.path\nlib/a b\0submodule.a.b.url\n../a.git\0submodule.c.path\nc\0core.x\ny\0submodule.d.url\nx\0submodule.c.url\nfirst\0submodule.c.url\nlast\0";
        let found = by_path(listed);
        let found: Vec<_> = found.iter().map(|(path, url)| (path.as_str(), url.as_str())).collect();
        assert_eq!(found, [("c", "last"), ("lib/a b", "../a.git")]);
    }
}
