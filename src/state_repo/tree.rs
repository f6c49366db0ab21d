//! The tree of one commit of an application's repository, as archives: what a release of kind `git` is made of (contract
//! 1.5). The mirror of a repository has every commit that was asked for lately, without its history, under a ref of its own,
//! so that a later one costs what has changed since.
//!
//! A commit is taken only where a branch or a tag of the repository leads to it (`led`): forges give out by its id whatever a
//! fork or a pull request of strangers has. What is not checked is who pushed that branch, or that the commit is signed: that
//! is for the forge's own rules. What came once stays good: a branch that is deleted later takes nothing back.

use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository, RepositoryInitOptions, TreeWalkMode, TreeWalkResult};

use super::application::AppRepo;
use super::command::{Git, GitSettings};
use super::error::{RepoError, Result};
use super::mirror::Mirror;
use super::submodules::{self, Gitlink};
use super::tidy;
use crate::model::ids::Sha;

/// Below the cache directory.
const KIND: &str = "trees";
/// So many times longer than another command a fetch of a whole tree may take.
const PATIENCE: u32 = 10;
/// So many submodules are named.
const NAMED: usize = 5;
/// Submodules within submodules, and no deeper: a repository may name itself.
const DEEPEST: usize = 8;
/// More submodules than this nobody has; a repository that names itself twice would have.
const MOST: usize = 200;

/// What of a commit is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    pub sha: &'a Sha,
    /// The directory, relative, without `/` at its end; empty: all of the tree.
    pub directory: &'a str,
    /// Whether what the repositories of its submodules have belongs to it.
    pub submodules: bool,
}

/// The archives that were made so far, in order.
struct Made<'a> {
    caches: &'a Path,
    dir: &'a Path,
    files: Vec<PathBuf>,
}

impl AppRepo {
    /// Whether a branch or a tag of the repository leads to this commit, or it came into the mirror below `cache_dir` while one
    /// did. Its tree is not fetched for that.
    ///
    /// # Errors
    /// The repository could not be asked.
    pub fn has_commit(&self, sha: &Sha, cache_dir: &Path) -> Result<bool> {
        let mirror = Mirror::at(cache_dir, KIND, self.location())?;
        let git = Git::new(self.settings(), self.location()).within(&mirror.dir, &mirror.dir);
        // Without its lock: whoever looks does not wait for whoever fetches.
        if mirror.dir.join("HEAD").is_file() && has(&git, &name(sha))? {
            tidy::asked(&mirror.dir, sha);
            return Ok(true);
        }
        self.is_led_to(sha, cache_dir)
    }

    /// Writes what `git archive` makes of a part of a commit into `dir`, as one archive or, with submodules, several that
    /// belong over one another: files by their whole paths, as the attributes of the repository want them (`export-ignore`,
    /// `export-subst`, `eol`), with the time of the commit. The settings of this machine change nothing in it, so that it is
    /// the same wherever it is made.
    ///
    /// # Errors
    /// The repository does not have the commit or the directory, or something in it would come out empty (a submodule that
    /// is not wanted).
    pub fn archive(&self, part: Part<'_>, cache_dir: &Path, dir: &Path) -> Result<Vec<PathBuf>> {
        let mut made = Made { caches: cache_dir, dir, files: Vec::new() };
        self.patient().gather(part, "", 0, &mut made)?;
        Ok(made.files)
    }

    /// The archive of one repository below `prefix`, and those of its submodules. Everything here may take as long as a whole
    /// tree takes.
    fn gather(&self, part: Part<'_>, prefix: &str, level: usize, made: &mut Made<'_>) -> Result<()> {
        let (place, sha) = (self.location().to_string(), part.sha);
        let missing = || RepoError::NoCommit { place: place.clone(), sha: sha.clone() };
        if !self.has_commit(sha, made.caches)? {
            return Err(missing());
        }
        let to = made.dir.join(format!("{}.tar", made.files.len()));
        let mirror = Mirror::at(made.caches, KIND, self.location())?;
        let (links, addresses) = self.in_mirror(KIND, made.caches, |git| {
            if !has(git, &name(sha))? {
                if !fetch(git, sha)? {
                    return Err(missing());
                }
                tidy::asked(&mirror.dir, sha);
                tidy::tidy(git, &mirror.dir);
            }
            let links = gitlinks(&mirror.dir, &place, part)?;
            if !links.is_empty() && !part.submodules {
                let (named, more) = (links.iter().take(NAMED), links.len().saturating_sub(NAMED));
                let paths = named.map(|link| link.path.clone()).collect();
                return Err(RepoError::Submodules { place: place.clone(), sha: sha.clone(), paths, more });
            }
            self.pack(&mirror.dir, part, prefix, &to)?;
            let addresses = if links.is_empty() { Default::default() } else { submodules::addresses(git, sha)? };
            Ok((links, addresses))
        })?;
        made.files.push(to);
        for link in links {
            let failed = |why: String| RepoError::Submodule {
                place: place.clone(),
                sha: sha.clone(),
                path: link.path.clone(),
                why,
            };
            if level + 1 > DEEPEST || made.files.len() >= MOST {
                return Err(failed(format!(
                    "is one too many: {DEEPEST} levels and {MOST} repositories are the limit, which no repository reaches \
                     that does not name itself"
                )));
            }
            let Some(url) = addresses.get(&link.path) else {
                return Err(failed("has no `url` in .gitmodules: add it there, or remove the submodule".to_owned()));
            };
            let beside = self.location().beside(url).map_err(|error| failed(error.to_string()))?;
            let inner = Part { sha: &link.sha, directory: "", submodules: true };
            let below = format!("{prefix}{}/", link.path);
            self.at(beside).gather(inner, &below, level + 1, made).map_err(|error| match error {
                RepoError::NoCommit { .. } => failed(format!("cannot be had: {error}")),
                error => error,
            })?;
        }
        Ok(())
    }

    /// Packs a part of a commit that the mirror has.
    fn pack(&self, mirror: &Path, Part { sha, directory, .. }: Part<'_>, prefix: &str, to: &Path) -> Result<()> {
        // `export-subst` can name refs: in a repository without any there is nothing that another mirror would not say as well.
        let view = view(mirror, to)?;
        let (output, prefix) = (format!("--output={}", to.display()), format!("--prefix={prefix}"));
        let mut options = vec!["--format=tar", output.as_str()];
        if prefix != "--prefix=" {
            options.push(&prefix);
        }
        let mut operands = vec![sha.as_str()];
        operands.extend(Some(directory).filter(|directory| !directory.is_empty()));
        let git = Git::new(self.settings(), self.location()).within(&view, &view).alone();
        git.must("read a commit of", "archive", &options, &operands).map(drop)
    }

    /// The same repository, whose answers may take as long as a whole tree takes.
    fn patient(&self) -> AppRepo {
        let settings = self.settings();
        self.with(GitSettings { timeout: settings.timeout * PATIENCE, ..settings.clone() })
    }
}

/// A repository without refs and settings beside the file `to`, that has the contents of `mirror`.
fn view(mirror: &Path, to: &Path) -> Result<PathBuf> {
    let dir = to.with_extension("view");
    let storage = |what, path: &Path| {
        let path = path.to_owned();
        move |source| RepoError::Storage { what, path, source }
    };
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(storage("remove", &dir))?;
    }
    let made = Repository::init_opts(&dir, RepositoryInitOptions::new().bare(true).external_template(false));
    made.map_err(|error| RepoError::Objects {
        what: "make a view of a mirror".to_owned(),
        place: dir.display().to_string(),
        detail: error.message().to_owned(),
        missing: Vec::new(),
    })?;
    let objects = mirror.join("objects");
    let objects = std::fs::canonicalize(&objects).map_err(storage("find", &objects))?;
    let alternates = dir.join("objects/info/alternates");
    let info = dir.join("objects/info");
    std::fs::create_dir_all(&info).map_err(storage("make", &info))?;
    std::fs::write(&alternates, format!("{}\n", objects.display())).map_err(storage("write", &alternates))?;
    Ok(dir)
}

/// The ref that holds a commit in the mirror. Only a ref says that everything which belongs to the commit came with it.
fn name(sha: &Sha) -> String {
    format!("{}{sha}", tidy::COMMITS)
}

fn has(git: &Git<'_>, name: &str) -> Result<bool> {
    let operand = format!("{name}^{{commit}}");
    Ok(git.run("read", "rev-parse", &["--verify", "--quiet"], &[&operand])?.success)
}

/// Brings a commit into the mirror; whether the repository has it.
fn fetch(git: &Git<'_>, sha: &Sha) -> Result<bool> {
    let name = name(sha);
    let options = ["--quiet", "--no-tags", "--no-recurse-submodules", "--force"];
    let alone: Vec<&str> = options.into_iter().chain(["--depth=1"]).collect();
    let output = git.run("fetch from", "fetch", &alone, &["origin", &format!("+{sha}:{name}")])?;
    let says = |signs: &[&str]| signs.iter().any(|sign| output.stderr.contains(sign));
    if output.success {
        return Ok(true);
    }
    if says(&["not our ref", "couldn't find remote ref", "did not send"]) {
        return Ok(false);
    }
    if !says(&["unadvertised object"]) {
        return Err(git.failure("fetch from", &output));
    }
    // This server gives out what a branch or tag leads to, and nothing by its id alone. What came without its history gets
    // it, because the commit may lie beyond.
    let whole: Vec<&str> = options.into_iter().chain(["--prune", "--depth=2147483647"]).collect();
    let all = ["origin", "+refs/heads/*:refs/soll/heads/*", "+refs/tags/*:refs/soll/tags/*"];
    git.must("fetch from", "fetch", &whole, &all)?;
    if !has(git, sha.as_str())? {
        return Ok(false);
    }
    git.must("note a commit of", "update-ref", &[], &[&name, sha.as_str()])?;
    Ok(true)
}

/// The submodules in this part of the tree, whose contents its archive does not have.
fn gitlinks(mirror: &Path, place: &str, Part { sha, directory, .. }: Part<'_>) -> Result<Vec<Gitlink>> {
    let read = |error: git2::Error| RepoError::Objects {
        what: format!("read the tree of {}", sha.short()),
        place: place.to_owned(),
        detail: error.message().to_owned(),
        missing: Vec::new(),
    };
    let repo = Repository::open_bare(mirror).map_err(read)?;
    let commit = Oid::from_str(sha.as_str()).and_then(|id| repo.find_commit(id)).map_err(read)?;
    let mut tree = commit.tree().map_err(read)?;
    let mut prefix = String::new();
    if !directory.is_empty() {
        let missing =
            || RepoError::NoDirectory { place: place.to_owned(), sha: sha.clone(), directory: directory.to_owned() };
        let entry = match tree.get_path(Path::new(directory)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Tree) => entry,
            Ok(_) => return Err(missing()),
            Err(error) if error.code() == git2::ErrorCode::NotFound => return Err(missing()),
            Err(error) => return Err(read(error)),
        };
        tree = repo.find_tree(entry.id()).map_err(read)?;
        prefix = format!("{directory}/");
    }
    let mut found = Vec::new();
    let walked = tree.walk(TreeWalkMode::PreOrder, |below, entry| {
        if entry.kind() == Some(ObjectType::Commit)
            && let Ok(sha) = entry.id().to_string().parse()
        {
            found
                .push(Gitlink { path: format!("{prefix}{below}{}", String::from_utf8_lossy(entry.name_bytes())), sha });
        }
        TreeWalkResult::Ok
    });
    walked.map_err(read)?;
    Ok(found)
}
