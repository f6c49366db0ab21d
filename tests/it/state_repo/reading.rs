//! Opening, finding commits, reading blobs, law 10 without signatures.

use std::os::unix::fs::symlink;

use soll::state_repo::{NotAccepted, RepoError};

use super::*;

#[test]
fn work_tree_bare_and_subdirectory_read_the_same() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    write(&seed.join("environments/a.toml"), "");
    let tree = sandbox.open(seed.to_str().unwrap()).unwrap();
    let inside = sandbox.open(seed.join("environments").to_str().unwrap()).unwrap();
    let bare = sandbox.open(bare.to_str().unwrap()).unwrap();
    let remote = sandbox.open(&file_url(&sandbox.path("remote.git"))).unwrap();
    for repo in [&tree, &inside, &bare, &remote] {
        assert_eq!(repo.head().unwrap(), head(&seed));
        assert_eq!(text(repo, &head(&seed), FILE).unwrap(), "schema = 1\n");
    }
    assert_eq!(tree.work_tree().unwrap().canonicalize().unwrap(), seed.canonicalize().unwrap());
    assert_eq!((bare.work_tree(), remote.work_tree()), (None, None));
}

#[test]
fn what_is_not_committed_is_not_seen() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    write(&seed.join(FILE), "edited\n");
    git(&seed, &["add", FILE]);
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    assert_eq!(text(&repo, &repo.head().unwrap(), FILE).unwrap(), "schema = 1\n");
}

#[test]
fn missing_things_are_named() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    git(&seed, &["branch", "-m", "main", "mian"]);
    let error = sandbox.open(seed.to_str().unwrap()).unwrap().head().unwrap_err().to_string();
    assert!(error.contains("has no branch `main`: did you mean `mian`? It has `mian`; its `origin` has it"), "{error}");
    assert!(error.contains("branch main origin/main` makes it here"), "{error}");

    git(&bare, &["branch", "-m", "main", "trunk"]);
    let error = sandbox.open(&file_url(&bare)).unwrap_err().to_string();
    assert!(error.contains("has no branch `main`: it has `trunk`; `--branch trunk` or SOLL_BRANCH=trunk"), "{error}");

    let empty = sandbox.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let error = sandbox.open(empty.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, RepoError::NotARepository { .. }), "{error}");
    git(&empty, &["init", "-q", "-b", "main"]);
    let error = sandbox.open(empty.to_str().unwrap()).unwrap().head().unwrap_err();
    assert!(matches!(error, RepoError::Empty { .. }), "{error}");
    let error = sandbox.open(&file_url(&empty.join(".git"))).unwrap_err();
    assert!(matches!(error, RepoError::Empty { .. }), "{error}");
}

#[test]
fn revisions() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let first = head(&seed);
    git(&seed, &["tag", "-m", "x", "v1"]);
    git(&seed, &["checkout", "-q", "-b", "feature"]);
    let feature = {
        git(&seed, &["commit", "-q", "--allow-empty", "-m", "on a branch"]);
        git(&seed, &["rev-parse", "HEAD"])
    };
    git(&seed, &["push", "-q", "origin", "v1", "feature"]);
    let remote = sandbox.open(&file_url(&bare)).unwrap();
    for repo in [&remote, &sandbox.open(seed.to_str().unwrap()).unwrap()] {
        assert_eq!(repo.resolve("v1").unwrap(), first);
        assert_eq!(repo.resolve(&first.short()).unwrap(), first);
        assert_eq!(repo.resolve("feature").unwrap().to_string(), feature);
        assert_eq!(repo.resolve("feature~1").unwrap(), first);
        for bad in ["-x", "--upload-pack=x", "", "main:desired-state.toml", "../x", "a b"] {
            assert!(matches!(repo.resolve(bad), Err(RepoError::Grammar(_))), "{bad}");
        }
        assert!(matches!(repo.resolve("nothing"), Err(RepoError::NoRevision { .. })));
    }
}

#[test]
fn bytes_come_back_as_they_were_committed() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    let bytes = b"\xef\xbb\xbfa = 1\r\n# \xff\r\n\r\nb = 2";
    std::fs::write(seed.join("crlf.toml"), bytes).unwrap();
    let commit = commit_all(&seed, "x");
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    assert_eq!(repo.read(&commit, "crlf.toml").unwrap().unwrap(), bytes);
    assert_eq!(repo.read(&commit, "nothing.toml").unwrap(), None);
    assert_eq!(repo.read(&commit, "crlf.toml/x").unwrap(), None);
}

#[test]
fn links_and_submodules_are_never_followed() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    symlink("/etc/passwd", seed.join("passwd.toml")).unwrap();
    symlink("/etc", seed.join("etc")).unwrap();
    commit_all(&seed, "links");
    git(&seed, &["update-index", "--add", "--cacheinfo", &format!("160000,{},sub", head(&seed))]);
    git(&seed, &["commit", "-q", "-m", "a submodule"]);
    let commit = head(&seed);
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    for (path, what) in [
        ("passwd.toml", "symbolic link"),
        ("etc/passwd", "symbolic link"),
        ("etc", "symbolic link"),
        ("sub/x", "submodule"),
    ] {
        let error = repo.read(&commit, path).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    // One of many is refused when it is read, and takes no other away.
    let links: Vec<_> = repo.list(&commit, "*.toml").unwrap();
    assert!(links.iter().any(|path| repo.read(&commit, path).is_err_and(|e| e.to_string().contains("symbolic link"))));
    for path in ["../x", "/etc/passwd", "a//b", "./a", "a/../b", ".git/config", ".GIT/config", "", "a\\b"] {
        assert!(matches!(repo.read(&commit, path), Err(RepoError::Grammar(_))), "{path}");
    }
}

#[test]
fn a_forged_tree_is_refused() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    let raw = git2::Repository::open(&seed).unwrap();
    let blob = raw.blob(b"x").unwrap();
    let mut tree = b"100644 ..\0".to_vec();
    tree.extend_from_slice(blob.as_bytes());
    let tree = raw.odb().unwrap().write(git2::ObjectType::Tree, &tree).unwrap().to_string();
    let commit = git(&seed, &["commit-tree", "-m", "forged", &tree]).parse().unwrap();
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    let error = repo.list(&commit, "*").unwrap_err().to_string();
    assert!(error.contains("forged"), "{error}");
}

#[test]
fn a_huge_file_is_refused() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    std::fs::write(seed.join("limit"), vec![b'x'; 4 << 20]).unwrap();
    std::fs::write(seed.join("huge"), vec![b'x'; (4 << 20) + 1]).unwrap();
    let commit = commit_all(&seed, "x");
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    assert_eq!(repo.read(&commit, "limit").unwrap().unwrap().len(), 4 << 20);
    assert!(matches!(repo.read(&commit, "huge"), Err(RepoError::TooLarge { size: 4_194_305, .. })));
}

#[test]
fn include_patterns() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    for path in ["environments/b.toml", "environments/a.toml", "environments/deep/c.toml", "environments/x.md"] {
        write(&seed.join(path), "x");
    }
    let commit = commit_all(&seed, "x");
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    let list = |glob: &str| repo.list(&commit, glob).unwrap();
    assert_eq!(list("environments/*.toml"), ["environments/a.toml", "environments/b.toml"]);
    assert_eq!(list("environments/**/*.toml").len(), 3);
    assert_eq!(list("environments/{a,b}.toml").len(), 2);
    assert_eq!(list("nothing/*"), Vec::<String>::new());
    for bad in ["/etc/*", "../*", "a/../*", "a["] {
        assert!(matches!(repo.list(&commit, bad), Err(RepoError::Grammar(_))), "{bad}");
    }
}

#[test]
fn more_matches_than_the_limit_are_an_error() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    let raw = git2::Repository::open(&seed).unwrap();
    let blob = raw.blob(b"x").unwrap();
    let mut builder = raw.treebuilder(None).unwrap();
    for n in 0..10_001 {
        builder.insert(format!("{n}.toml"), blob, 0o100_644).unwrap();
    }
    let tree = builder.write().unwrap().to_string();
    let commit = git(&seed, &["commit-tree", "-m", "many", &tree]).parse().unwrap();
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    assert!(matches!(repo.list(&commit, "*.toml"), Err(RepoError::TooMany { .. })));
    assert_eq!(repo.list(&commit, "1?.toml").unwrap().len(), 10);
}

#[test]
fn a_remote_is_followed_and_a_force_push_is_noticed() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let repo = sandbox.open(&file_url(&bare)).unwrap();
    let first = repo.head().unwrap();
    assert_eq!(repo.check_advance(None, &first, None).unwrap().accepted().id(), first);
    let second = commit_all(&seed, "second");
    git(&seed, &["push", "-q", "origin", "main"]);
    assert_eq!(repo.head().unwrap(), first);
    repo.refresh().unwrap();
    assert_eq!(repo.head().unwrap(), second);
    for last in [first, second] {
        assert_eq!(repo.check_advance(Some(&last), &second, None).unwrap().accepted().id(), second);
    }
    let commits = repo.committed_between(&first, &second).unwrap();
    assert_eq!(commits, [repo.commit_info(&second).unwrap()]);
    assert_eq!((commits[0].subject.as_str(), commits[0].author_email.as_str()), ("second", "anna@example.com"));

    git(&seed, &["reset", "-q", "--hard", &first.to_string()]);
    let other = commit_all(&seed, "other");
    git(&seed, &["push", "-q", "--force", "origin", "main"]);
    repo.refresh().unwrap();
    assert_eq!(repo.head().unwrap(), other);
    let error = repo.check_advance(Some(&second), &other, None).unwrap_err();
    let NotAccepted::Rewritten { merge_base, lost, .. } = &error else { panic!("{error}") };
    assert_eq!((merge_base, lost), (&Some(first), &commits));
    assert!(error.to_string().contains(&format!("lost: {} second (Anna)", second.short())), "{error}");
    // Going back to an older commit loses one, too.
    assert!(matches!(repo.check_advance(Some(&second), &first, None), Err(NotAccepted::Rewritten { .. })));
    // A new mirror does not even have the lost commit.
    let fresh = sandbox.open_with_cache(&file_url(&bare), "cache2").unwrap();
    let error = fresh.check_advance(Some(&second), &other, None).unwrap_err();
    assert!(error.to_string().contains("not in the repository any more"), "{error}");
}

#[test]
fn a_shallow_clone_cannot_prove_anything() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let first = head(&seed);
    let second = commit_all(&seed, "second");
    git(&seed, &["push", "-q", "origin", "main"]);
    git(&seed, &["clone", "-q", "--depth=1", &file_url(&bare), sandbox.path("shallow").to_str().unwrap()]);
    let repo = sandbox.open(sandbox.path("shallow").to_str().unwrap()).unwrap();
    let error = repo.check_advance(Some(&first), &second, None).unwrap_err().to_string();
    assert!(error.contains("git fetch --unshallow"), "{error}");
}

#[test]
fn a_broken_mirror_is_made_anew() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let repo = sandbox.open(&file_url(&bare)).unwrap();
    let broken = |damage: &dyn Fn()| {
        damage();
        let again = sandbox.open(&file_url(&bare)).unwrap();
        assert_eq!(text(&again, &head(&seed), FILE).unwrap(), "schema = 1\n");
    };
    let objects = repo.git_dir().join("objects");
    broken(&|| std::fs::remove_dir_all(&objects).unwrap());
    broken(&|| write(&repo.git_dir().join("HEAD"), ""));
    broken(&|| write(&repo.git_dir().join("refs/heads/main"), "garbage"));
    broken(&|| std::fs::remove_dir_all(repo.git_dir()).unwrap());
    // Found out only when a file is read.
    let blob = git(&seed, &["rev-parse", &format!("main:{FILE}")]);
    std::fs::remove_file(objects.join(&blob[..2]).join(&blob[2..])).unwrap();
    assert_eq!(text(&repo, &head(&seed), FILE).unwrap(), "schema = 1\n");
    repo.refresh().unwrap();
    // Nothing but the mirror and its lock is left.
    let left = std::fs::read_dir(sandbox.path("cache/repos")).unwrap().count();
    assert_eq!(left, 2);
}
