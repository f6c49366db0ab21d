//! Repositories of applications.

use soll::model::ids::Sha;
use soll::state_repo::{AppRepo, RepoError};

use super::*;

struct App {
    sandbox: Sandbox,
    seed: PathBuf,
    addresses: [String; 2],
}

fn app() -> App {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    git(&bare, &["config", "uploadpack.allowFilter", "true"]);
    let addresses = [file_url(&bare), bare.to_str().unwrap().to_owned()];
    App { sandbox, seed, addresses }
}

#[test]
fn tags_are_peeled_and_nothing_else_passes_for_one() {
    let app = app();
    let sha = head(&app.seed).to_string();
    git(&app.seed, &["tag", "light"]);
    git(&app.seed, &["tag", "-m", "x", "v1.1.0"]);
    git(&app.seed, &["update-ref", "refs/x/refs/tags/fake", "HEAD"]);
    git(&app.seed, &["push", "-q", "origin", "light", "v1.1.0", "refs/x/refs/tags/fake", "main:refs/heads/stage"]);
    for address in &app.addresses {
        let repo = AppRepo::new(address, settings()).unwrap();
        assert_eq!(repo.resolve_tag("light").unwrap().as_str(), sha);
        assert_eq!(repo.resolve_tag("v1.1.0").unwrap().as_str(), sha);
        let error = repo.resolve_tag("v1.1.1").unwrap_err().to_string();
        assert!(error.contains("has no tag `v1.1.1`: did you mean `v1.1.0`?"), "{error}");
        assert!(matches!(repo.resolve_tag("fake"), Err(RepoError::NoTag { .. })));
        let error = repo.resolve_tag("stage").unwrap_err();
        assert!(matches!(&error, RepoError::BranchAsTag { .. }) && error.to_string().contains("`track`"), "{error}");
        assert!(matches!(repo.resolve_tag("-x"), Err(RepoError::Grammar(_))));
        let names: Vec<_> = repo.ls_remote(&["refs/tags/*"]).unwrap().into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["refs/tags/light", "refs/tags/v1.1.0"]);
    }
}

#[test]
fn a_branch_is_followed_along_first_parents() {
    let app = app();
    git(&app.seed, &["checkout", "-q", "-b", "side"]);
    git(&app.seed, &["commit", "-q", "--allow-empty", "-m", "on the side"]);
    git(&app.seed, &["checkout", "-q", "main"]);
    for n in 0..3 {
        commit_all(&app.seed, &format!("commit {n}"));
    }
    git(&app.seed, &["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    git(&app.seed, &["push", "-q", "origin", "main"]);
    for (n, address) in app.addresses.iter().enumerate() {
        let cache = app.sandbox.path(&format!("cache{n}"));
        let repo = AppRepo::new(address, settings()).unwrap();
        let commits = repo.branch_commits("main", &cache, 3).unwrap();
        let subjects: Vec<_> = commits.iter().map(|c| c.subject.as_str()).collect();
        assert_eq!(subjects, ["merge", "commit 2", "commit 1"]);
        assert_eq!(commits[0].sha.as_str(), head(&app.seed).to_string());
        // Deeper than before, and after a force-push.
        assert_eq!(repo.branch_commits("main", &cache, 100).unwrap().len(), 5);
        let error = repo.branch_commits("mian", &cache, 3).unwrap_err().to_string();
        assert!(error.contains("did you mean `main`?"), "{error}");
    }
    git(&app.seed, &["reset", "-q", "--hard", "main~1"]);
    git(&app.seed, &["push", "-q", "--force", "origin", "main"]);
    let repo = AppRepo::new(&app.addresses[0], settings()).unwrap();
    assert_eq!(repo.branch_commits("main", &app.sandbox.path("cache0"), 1).unwrap()[0].subject, "commit 2");
}

#[test]
fn the_tree_of_a_commit() {
    let app = app();
    let sha: Sha = head(&app.seed).to_string().parse().unwrap();
    let tree = git(&app.seed, &["rev-parse", "HEAD^{tree}"]);
    commit_all(&app.seed, "newer");
    git(&app.seed, &["push", "-q", "origin", "main"]);
    for (n, address) in app.addresses.iter().enumerate() {
        let cache = app.sandbox.path(&format!("cache{n}"));
        let repo = AppRepo::new(address, settings()).unwrap();
        for _ in 0..2 {
            assert_eq!(repo.tree_of(&sha, &cache).unwrap().as_deref(), Some(tree.as_str()));
        }
        let unknown = "f0959bafdeadbeeff0959bafdeadbeeff0959baf".parse().unwrap();
        assert_eq!(repo.tree_of(&unknown, &cache).unwrap(), None);
        // The history is not cut where one commit was fetched alone.
        assert_eq!(repo.branch_commits("main", &cache, 10).unwrap().len(), 2);
    }
}

#[test]
fn a_broken_copy_is_made_anew() {
    let app = app();
    let cache = app.sandbox.path("cache");
    let repo = AppRepo::new(&app.addresses[0], settings()).unwrap();
    repo.branch_commits("main", &cache, 10).unwrap();
    let copy = std::fs::read_dir(cache.join("apps")).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    for entry in walk(&copy.join("objects")) {
        std::fs::remove_file(entry).unwrap();
    }
    assert_eq!(repo.branch_commits("main", &cache, 10).unwrap().len(), 1);
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn what_lies_between_two_commits_is_told_both_ways() {
    let app = app();
    let of = |at: &str| git(&app.seed, &["rev-parse", at]).parse::<Sha>().unwrap();
    let first = of("HEAD");
    commit_all(&app.seed, "add the search");
    commit_all(&app.seed, "mend the search \u{1b}[2J");
    let second = of("HEAD");
    git(&app.seed, &["checkout", "-q", "-b", "other", first.as_str()]);
    commit_all(&app.seed, "something else");
    let other = of("HEAD");
    git(&app.seed, &["push", "-q", "origin", "main", "other"]);
    let unknown: Sha = "1".repeat(40).parse().unwrap();
    for (n, address) in app.addresses.iter().enumerate() {
        let cache = app.sandbox.path(&format!("cache{n}"));
        let repo = AppRepo::new(address, settings()).unwrap();
        let told = |from: &Sha, to: &Sha, limit| {
            let between = repo.between(from, to, &cache, limit).unwrap()?;
            let subjects = |all: Vec<soll::state_repo::between::Authored>| {
                all.into_iter().map(|commit| commit.subject).collect::<Vec<_>>().join(", ")
            };
            Some((subjects(between.come), subjects(between.gone)))
        };
        let both = |come: &str, gone: &str| Some((come.to_owned(), gone.to_owned()));
        assert_eq!(told(&first, &second, 9), both("mend the search  [2J, add the search", ""));
        assert_eq!(told(&second, &first, 9), both("", "mend the search  [2J, add the search"));
        assert_eq!(told(&first, &second, 1), both("mend the search  [2J", ""));
        assert_eq!(told(&other, &second, 9), both("mend the search  [2J, add the search", "something else"));
        assert_eq!(told(&first, &unknown, 9), None);
    }
}
