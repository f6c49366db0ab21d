//! What `--ref REV` means: which commit a person or a job of CI names. A branch is never mistaken for a tag of the same
//! name, and what is no commit is said to be none.

use git2::{ErrorCode, Repository};

use super::error::{RepoError, Result};
use super::location::{self, ref_text};
use super::repo::StateRepo;
use super::{CommitId, mirror::MirrorLock};
use crate::model::shown::shell_word;

const FETCH: &[&str] = &["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];

/// A revision, taken apart: `feature~2` is a name and a way from there.
struct Revision<'a> {
    name: &'a str,
    way: &'a str,
}

impl StateRepo {
    /// The commit that `--ref REV` means: a full or short id, a branch, a tag, a ref in full (`refs/pull/7/merge`), each with
    /// a way from there (`HEAD~2`). A branch goes before a tag, and what the mirror of a remote does not hold is fetched.
    ///
    /// # Errors
    /// [`RepoError::NoRevision`], with the next move where there is one.
    pub fn resolve(&self, rev: &str) -> Result<CommitId> {
        let plain = !rev.starts_with(['-', '.', '/'])
            && rev.chars().all(|c| c.is_alphanumeric() || "._/+@#=-^~{}".contains(c))
            && !rev.is_empty();
        if !plain {
            return Err(RepoError::Grammar(format!("`{rev}` is not a revision: an id, a branch or a tag is needed")));
        }
        let revision = Revision::of(rev);
        if let Some(mirror) = &self.mirror {
            let held = mirror.lock(&self.settings)?;
            self.bring_revision(&revision, &held)?;
        }
        let repo = self.repository()?;
        for name in revision.refs() {
            if repo.find_reference(&name).is_ok() {
                return self.commit_at(&repo, rev, &format!("{name}{}", revision.way));
            }
        }
        self.commit_at(&repo, rev, rev)
    }

    fn commit_at(&self, repo: &Repository, rev: &str, spec: &str) -> Result<CommitId> {
        let none = |detail: String| {
            Err(RepoError::NoRevision { place: self.location.to_string(), rev: rev.to_owned(), detail })
        };
        let object = match repo.revparse_single(spec) {
            Ok(object) => object,
            Err(error) if error.code() == ErrorCode::NotFound => return none(self.not_here(repo, &Revision::of(rev))),
            Err(error) => return none(error.message().to_owned()),
        };
        // A tag may be of a tag.
        let end = match object.kind() {
            Some(git2::ObjectType::Tag) => object.peel(git2::ObjectType::Any).unwrap_or(object),
            _ => object,
        };
        match end.kind() {
            Some(git2::ObjectType::Commit) => Ok(CommitId(end.id())),
            Some(kind) => none(format!("it is a {kind}; name a commit, or a tag or branch of one")),
            None => none("it is an unknown kind of object".to_owned()),
        }
    }

    /// Fetches into a mirror what is not an id that is there. A branch is asked for although a tag has its name: it is the
    /// branch that is meant. Nothing of that name at the remote is no error here.
    fn bring_revision(&self, revision: &Revision<'_>, _held: &MirrorLock) -> Result<()> {
        let repo = self.repository()?;
        let name = revision.name;
        let refspec = match name.parse::<CommitId>() {
            Ok(id) if repo.find_commit(id.0).is_ok() => return Ok(()),
            Ok(_) => name.to_owned(),
            // Brought by every refresh.
            Err(_) if matches!(name, "HEAD" | "@") || name == self.branch || name == self.refname => return Ok(()),
            Err(_) if name.starts_with("refs/tags/") => return Ok(()),
            Err(_) => match revision.asked_of_remote() {
                Some(refspec) => refspec,
                None => return Ok(()),
            },
        };
        let git = self.git(&self.git_dir);
        let output = git.run("fetch from", "fetch", FETCH, &["origin", &refspec])?;
        let unknown = ["couldn't find remote ref", "not our ref", "unadvertised object", "did not send", "no such ref"];
        match output.success || unknown.iter().any(|sign| output.stderr.contains(sign)) {
            true => Ok(()),
            // A short id or the name of a tag needs nothing of the remote.
            false if repo.revparse_single(name).is_ok() => Ok(()),
            false => Err(git.failure("fetch from", &output)),
        }
    }

    /// What to do about a name that is not here.
    fn not_here(&self, repo: &Repository, revision: &Revision<'_>) -> String {
        if self.mirror.is_some() || repo.find_remote("origin").is_err() {
            return "there is no such id, branch or tag".to_owned();
        }
        let asked = match revision.name.parse::<CommitId>() {
            Ok(id) => Some(id.to_string()),
            Err(_) => revision.asked_of_remote(),
        };
        match asked {
            Some(asked) => format!(
                "there is no such id, branch or tag; if its `origin` has it, `git -C {} fetch origin {asked}` brings it",
                shell_word(&self.location.to_string())
            ),
            None => "there is no such id, branch or tag".to_owned(),
        }
    }
}

impl<'a> Revision<'a> {
    fn of(rev: &'a str) -> Revision<'a> {
        let at = [rev.find(['~', '^']), rev.find("@{")].into_iter().flatten().min().unwrap_or(rev.len());
        let (name, way) = rev.split_at(at);
        Revision { name, way }
    }

    /// The refs that it may be, the first that is there counts. Ids, `HEAD` and whatever else Git knows are none of them.
    fn refs(&self) -> Vec<String> {
        let name = self.name;
        if name.parse::<CommitId>().is_ok() {
            return Vec::new();
        }
        match (name.strip_prefix("refs/heads/"), name.strip_prefix("refs/")) {
            (Some(branch), _) => vec![name.to_owned(), format!("refs/remotes/origin/{branch}")],
            // Where a checkout of CI keeps `refs/pull/7/merge`.
            (None, Some(rest)) => vec![name.to_owned(), format!("refs/remotes/{rest}")],
            (None, None) => {
                ["heads", "remotes/origin", "tags", "remotes"].map(|kind| format!("refs/{kind}/{name}")).to_vec()
            }
        }
    }

    /// The refspec that brings it: a ref in full as it is named, anything else as a branch.
    fn asked_of_remote(&self) -> Option<String> {
        let name = self.name;
        let (from, to) = match (name.strip_prefix("refs/heads/").unwrap_or(name), name.strip_prefix("refs/")) {
            (_, Some(rest)) if !rest.starts_with("heads/") => (name.to_owned(), format!("refs/remotes/{rest}")),
            (branch, _) => (location::branch_ref(branch).ok()?, format!("refs/remotes/origin/{branch}")),
        };
        let valid = |name: &str| ref_text(name) && git2::Reference::is_valid_name(name);
        (valid(&from) && valid(&to)).then(|| format!("+{from}:{to}"))
    }
}
