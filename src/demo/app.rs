//! A small shop with a history of three commits, and the bundle of each, made as CI would make it. Two are good; the
//! third says of itself that it is not: what its `/health` answers stands in its own files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::git;
use crate::artifact::bundle::{self, Making};
use crate::model::ids::Sha;

/// One commit of the shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `v1`
    pub name: String,
    pub sha: Sha,
}

/// What stands in a version.
struct Content {
    name: &'static str,
    subject: &'static str,
    line: &'static str,
    colour: &'static str,
    health: &'static str,
}

const CONTENTS: [Content; 3] = [
    Content { name: "v1", subject: "The shop opens", line: "We are open.", colour: "#dfe8f2", health: "200 ok" },
    Content { name: "v2", subject: "Summer sale", line: "Summer sale!", colour: "#f7ecd0", health: "200 ok" },
    Content {
        name: "v3",
        subject: "A new catalogue",
        line: "Our new catalogue.",
        colour: "#f6dcdc",
        health: "503 the catalogue cannot be loaded",
    },
];

/// Commits the versions to a repository in `app` and makes their bundles in `bundles`. The commits have the same ids on
/// every machine.
pub fn build(app: &Path, bundles: &Path) -> Result<Vec<Version>, String> {
    std::fs::create_dir_all(app.join("public")).map_err(|error| format!("cannot make {}: {error}", app.display()))?;
    git::init(app, "Shop developer", "developer@shop.example")?;
    CONTENTS.iter().enumerate().map(|(n, content)| version(app, bundles, n, content)).collect()
}

fn version(app: &Path, bundles: &Path, n: usize, content: &Content) -> Result<Version, String> {
    let Content { name, subject, line, colour, health } = content;
    let page = format!(
        "<!doctype html>\n<title>Shop {name}</title>\n<link rel=\"stylesheet\" href=\"style.css\">\n\
         <h1>Shop {name}</h1>\n<p>{line}</p>\n"
    );
    write(app, "public/index.html", &page)?;
    write(
        app,
        "public/style.css",
        &format!("body {{ background: {colour}; font: 1.5rem sans-serif; margin: 4rem }}\n"),
    )?;
    write(app, "health.txt", &format!("{health}\n"))?;
    git::git(app, &["add", "-A"])?;
    let date = format!("2026-01-0{}T12:00:00Z", n + 1);
    git::dated(app, &["commit", "-q", "-m", subject], Some(&date))?;
    let sha: Sha = git::git(app, &["rev-parse", "HEAD"])?.parse().map_err(|error| format!("git: {error}"))?;
    let checks = BTreeMap::from([("run-tests".to_owned(), "success".to_owned())]);
    bundle::create(app, &sha, bundles, &Making { checks, ..Making::default() }).map_err(|error| error.to_string())?;
    Ok(Version { name: (*name).to_owned(), sha })
}

fn write(dir: &Path, path: &str, text: &str) -> Result<(), String> {
    let path = dir.join(path);
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
