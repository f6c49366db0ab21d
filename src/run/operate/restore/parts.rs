//! Where the parts of a backup go back to: what cannot be put back is found before anything is stopped.

use std::path::{Component, Path};

use super::Plan;
use crate::host::wire::backup::{self as wire, Part, PutBack};
use crate::model::backup::manifest::{Engine, PartEntry};
use crate::model::backup::name::{Compression, Content};
use crate::model::desired::backup::{Access, Database, FileSet};
use crate::model::desired::{Backup, Environment};
use crate::run::pass::backup::prove::Bench;
use crate::run::pass::journaled::OperateError;
use crate::run::pass::roots::Roots;
use crate::run::secrets::Purpose;
use crate::run::step::backup::source_of;

/// What the state file says of a part.
#[derive(Debug)]
enum Home<'a> {
    Database(&'a Database),
    Files(&'a FileSet),
}

/// Where a part came from, as the state file says it now.
fn home<'a>(backup: &'a Backup, root: &str, entry: &PartEntry) -> Result<Home<'a>, String> {
    let database = backup.databases.iter().find(|database| database.part == entry.name).map(Home::Database);
    let files = backup.files.iter().find(|files| files.part == entry.name).map(Home::Files);
    let home = match entry.content {
        Content::Database => database,
        Content::Files => files,
    };
    let home = home.ok_or_else(|| {
        let (file, name) = (&entry.file, &backup.name);
        format!(
            "the state file does not say any more where {file} of {name} came from: declare it again, or take it \
             from `--to-scratch`"
        )
    })?;
    match &home {
        Home::Files(files) if !is_below(root, &files.path) => Err(format!(
            "{} does not lie below {root}, and belongs to others as well: take what is needed from `--to-scratch`, or \
             restore the databases alone (`--database-only`)",
            files.path
        )),
        _ => Ok(home),
    }
}

/// Whether a path of the state file leads to somewhere below ROOT, and not to ROOT itself.
fn is_below(root: &str, path: &str) -> bool {
    let whole = Path::new(root).join(path);
    let plain = whole.components().all(|part| part != Component::ParentDir);
    plain && whole.strip_prefix(root).is_ok_and(|rest| rest.components().next().is_some())
}

/// What of a backup soll cannot put back, in words.
fn by_hand(backup: &Backup, part: &PartEntry) -> Option<String> {
    let facts = part.database.as_ref()?;
    let service = backup.databases.iter().find(|one| one.part == part.name).and_then(|one| one.service.as_ref());
    match (facts.engine, service) {
        (_, Some(service)) => Some(format!("the database {} runs inside the service {service}", facts.database)),
        (Engine::Postgres, None) => Some(format!("{} is a database of PostgreSQL", facts.database)),
        (Engine::Mysql | Engine::Sqlite, None) => None,
    }
}

/// Databases in files among those that are put back, whichever job saves them, relative to the directory: they are restored as
/// databases, or not at all.
fn databases_below(env: &Environment, root: &str, dir: &str) -> Vec<String> {
    let all = env.backups.iter().flat_map(|backup| &backup.databases);
    let paths = all.filter_map(|database| match &database.access {
        Access::Path(path) => Some(path.as_str()),
        _ => None,
    });
    below(root, dir, paths)
}

/// Those of these paths that lie below a directory, relative to it. All of them are absolute, or relative to ROOT.
fn below<'a>(root: &str, dir: &str, paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let dir = Path::new(root).join(dir);
    let rest = |path: &str| {
        let whole = Path::new(root).join(path);
        whole.strip_prefix(&dir).ok().map(|rest| rest.to_string_lossy().into_owned())
    };
    paths.filter_map(rest).collect()
}

impl Plan<'_> {
    /// What stands in the way of one of its parts, as far as that can be seen without a host; `None`: nothing.
    pub(super) fn impossible(&self) -> Option<String> {
        let (backup, root) = (self.bench.backup, &self.bench.target.root);
        let of = |part: &PartEntry| {
            let by_hand = by_hand(backup, part).map(|why| {
                format!(
                    "{why}, which this version does not restore: RESTORE.txt on {} says how it is done by hand; `--files-only` \
                     restores the files alone",
                    self.place.name
                )
            });
            by_hand.or_else(|| home(backup, root, part).err())
        };
        self.parts().into_iter().find_map(of)
    }

    /// What a host is asked to put back, part by part, in their order.
    ///
    /// # Errors
    /// A part is not declared any more, lies outside of ROOT, or needs a secret that is not given.
    pub(super) fn wanted(&self, roots: &Roots<'_>) -> Result<Vec<PutBack>, OperateError> {
        self.parts().into_iter().map(|entry| self.asked(roots, entry)).collect()
    }

    fn asked(&self, roots: &Roots<'_>, entry: &PartEntry) -> Result<PutBack, OperateError> {
        let Bench { snapshot, env, backup, .. } = &self.bench;
        let refused = |why: String| OperateError::Refused(format!("nothing was changed: {why}"));
        let source = match home(backup, &self.bench.target.root, entry).map_err(refused)? {
            Home::Database(database) => {
                source_of(roots.site(), env, database).map_err(|trouble| refused(trouble.message))?
            }
            Home::Files(files) => wire::Source::Files { path: files.path.clone(), exclude: Vec::new() },
        };
        let spare = match &source {
            wire::Source::Files { path, .. } => databases_below(env, &self.bench.target.root, path),
            _ => Vec::new(),
        };
        let identity = backup.identity.as_ref().filter(|_| entry.file.ends_with(".age"));
        let identities =
            identity.map(|name| snapshot.secrets().get(name, &Purpose::backup(&env.name, None))).transpose();
        let identities = identities
            .map_err(|secret| refused(format!("encrypted files cannot be opened: {}: {}", secret.why, secret.fix)))?;
        let part = Part {
            name: self.manifest.name,
            part: entry.name.clone(),
            content: entry.content,
            file: entry.file.clone(),
            source,
            compress: Compression::None,
            encrypt: Vec::new(),
            targets: vec![self.place.clone()],
            limit: None,
        };
        Ok(PutBack { part, entry: entry.clone(), identities, spare })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_among_files_are_known_however_they_are_written() {
        let paths = ["shared/app.sqlite", "/srv/app/shared/db/other.sqlite", "data/third.sqlite", "/srv/app/shared2/x"];
        let found = |dir: &str| below("/srv/app", dir, paths.into_iter());
        assert_eq!(found("shared"), ["app.sqlite", "db/other.sqlite"]);
        assert_eq!(found("/srv/app/shared/db"), ["other.sqlite"]);
    }

    #[test]
    fn only_what_lies_below_the_root_is_put_back() {
        for path in ["shared", "shared/uploads", "/srv/app/shared"] {
            assert!(is_below("/srv/app", path), "{path}");
        }
        for path in ["", "/srv/app", "/etc/nginx", "../other", "/srv/app/../other", "/srv/application", "shared/../.."]
        {
            assert!(!is_below("/srv/app", path), "{path}");
        }
    }
}
