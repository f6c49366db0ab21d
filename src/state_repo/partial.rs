//! Partial clones (`git clone --filter`): what they have left at their remote is fetched when it is read, as Git does it. It
//! is the clone of whoever starts the program, and the remote is the one that it was made from.

use git2::{ErrorClass, ErrorCode, ObjectType, Oid, Repository, Tree};

use super::command::Git;
use super::error::{RepoError, Result};
use super::repo::StateRepo;

/// So many objects are asked for at once.
const AT_ONCE: usize = 1000;

/// What libgit2 missed, by its words: the only place where it names the object.
pub(super) fn missing(error: &git2::Error) -> Vec<Oid> {
    if error.code() != ErrorCode::NotFound || error.class() != ErrorClass::Odb {
        return Vec::new();
    }
    let id = error.message().rsplit_once('(').and_then(|(_, rest)| rest.split(')').next());
    id.filter(|id| id.len() == 40).and_then(|id| Oid::from_str(id).ok()).into_iter().collect()
}

/// The files of a directory that are not here and end as `name` does: where one is read, the others will be.
pub(super) fn siblings(repo: &Repository, directory: &Tree<'_>, name: &str) -> Vec<Oid> {
    let Ok(odb) = repo.odb() else { return Vec::new() };
    let end = name.rsplit_once('.').map_or(name, |(_, end)| end);
    let alike = directory
        .iter()
        .filter(|entry| entry.kind() == Some(ObjectType::Blob) && entry.name().is_ok_and(|name| name.ends_with(end)));
    alike.map(|entry| entry.id()).filter(|id| !odb.exists(*id)).take(AT_ONCE).collect()
}

impl StateRepo {
    /// Reads again what `first` could not, with the objects that it missed; as often as another one is missing.
    pub(super) fn with_what_is_missing<T>(
        &self,
        first: Result<T>,
        read: impl Fn(&Repository) -> Result<T>,
    ) -> Result<T> {
        let Some(remote) = self.promisor() else { return first };
        let (mut result, mut asked) = (first, Vec::new());
        loop {
            let Err(RepoError::Objects { missing, .. }) = &result else { return result };
            if missing.iter().all(|id| asked.contains(id)) {
                return result;
            }
            self.bring(&remote, missing)?;
            asked.extend(missing);
            result = read(&self.repository()?);
        }
    }

    /// The remote that has promised the rest.
    fn promisor(&self) -> Option<String> {
        let config = self.repository().ok()?.config().ok()?;
        if let Ok(name) = config.get_string("extensions.partialclone") {
            return Some(name);
        }
        let mut entries = config.entries(Some(r"^remote\..*\.promisor$")).ok()?;
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.name().ok().and_then(|name| name.strip_prefix("remote.")?.strip_suffix(".promisor"));
            if let Some(name) = name.filter(|_| entry.value().is_ok_and(|value| value == "true")) {
                return Some(name.to_owned());
            }
        }
        None
    }

    fn bring(&self, remote: &str, ids: &[Oid]) -> Result<()> {
        let cwd = self.work_tree().unwrap_or_else(|| self.git_dir.clone());
        let git = Git::new(&self.settings, &self.location).within(&self.git_dir, &cwd);
        let options = [
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--filter=blob:none",
            "--no-auto-maintenance",
        ];
        let mut operands = vec![remote.to_owned()];
        operands.extend(ids.iter().map(Oid::to_string));
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let what = "fetch what its partial clone has left out to";
        git.must(what, "fetch", &options, &operands).map(drop)
    }
}
