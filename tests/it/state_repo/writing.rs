//! Commits: local with and without a work tree, remote, races, refusals.

use std::os::unix::fs::PermissionsExt as _;

use soll::state_repo::RepoError;

use super::*;

#[test]
fn the_clean_file_moves_along_and_other_work_stays() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    write(&seed.join("notes.md"), "old");
    write(&seed.join("staged.md"), "old");
    write(&seed.join("gone.toml"), "x");
    let parent = commit_all(&seed, "files");
    write(&seed.join("notes.md"), "mine, not committed");
    write(&seed.join("staged.md"), "mine, staged");
    git(&seed, &["add", "staged.md"]);
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    let mut edits = edits(FILE, "schema = 1\r\n# new\r\n");
    edits.files.push(("environments/new.toml".to_owned(), Some(b"new".to_vec())));
    edits.files.push(("gone.toml".to_owned(), None));
    let commit = repo.commit(&edits, &author(), None, &parent).unwrap();
    assert_eq!(head(&seed), commit);
    assert_eq!(std::fs::read(seed.join(FILE)).unwrap(), b"schema = 1\r\n# new\r\n");
    assert_eq!(git(&seed, &["status", "--porcelain"]), " M notes.md\nM  staged.md");
    assert_eq!(
        git(&seed, &["log", "-1", "--format=%an <%ae> %cn %s"]),
        "Bob <bob@example.com> Bob change desired-state.toml"
    );
    assert_eq!(
        git(&seed, &["log", "-1", "--name-status", "--format="]),
        "M\tdesired-state.toml\nA\tenvironments/new.toml\nD\tgone.toml"
    );
    assert!(git(&seed, &["reflog", "-1", "main"]).contains("commit (soll): change"));
    git(&seed, &["fsck", "--strict"]);
}

#[test]
fn a_dirty_file_is_refused_and_nothing_changes() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    let parent = head(&seed);
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    let refused = |path: &str| {
        let status = git(&seed, &["status", "--porcelain"]);
        let error = repo.commit(&edits(path, "new"), &author(), None, &parent).unwrap_err();
        assert!(matches!(&error, RepoError::Dirty { paths, .. } if paths == &[path]), "{error}");
        assert!(error.to_string().contains("commit or stash"), "{error}");
        assert_eq!((head(&seed), git(&seed, &["status", "--porcelain"])), (parent, status));
    };
    write(&seed.join(FILE), "mine");
    refused(FILE);
    git(&seed, &["add", FILE]);
    refused(FILE);
    git(&seed, &["reset", "-q", "--hard"]);
    std::fs::remove_file(seed.join(FILE)).unwrap();
    refused(FILE);
    git(&seed, &["reset", "-q", "--hard"]);
    // A new file that someone has there already, even where it is ignored.
    write(&seed.join("new.toml"), "mine");
    refused("new.toml");
    write(&seed.join(".git/info/exclude"), "new.toml\n");
    refused("new.toml");
}

#[test]
fn a_branch_that_cannot_move_takes_the_work_tree_back() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    let parent = head(&seed);
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    write(&seed.join(".git/refs/heads/main.lock"), "");
    let mut edits = edits(FILE, "new");
    edits.files.push(("new/new.toml".to_owned(), Some(b"new".to_vec())));
    let error = repo.commit(&edits, &author(), None, &parent).unwrap_err();
    assert!(matches!(error, RepoError::Moved { .. }), "{error}");
    assert_eq!((head(&seed), git(&seed, &["status", "--porcelain"])), (parent, String::new()));
    std::fs::remove_file(seed.join(".git/refs/heads/main.lock")).unwrap();
    // An index that another git works on: the same.
    write(&seed.join(".git/index.lock"), "");
    repo.commit(&edits, &author(), None, &parent).unwrap_err();
    std::fs::remove_file(seed.join(".git/index.lock")).unwrap();
    assert_eq!((head(&seed), git(&seed, &["status", "--porcelain"])), (parent, String::new()));
    repo.commit(&edits, &author(), None, &parent).unwrap();
    assert_eq!(git(&seed, &["status", "--porcelain"]), "");
}

#[test]
fn another_branch_or_no_work_tree_only_moves_the_ref() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    git(&seed, &["checkout", "-q", "-b", "feature"]);
    write(&seed.join(FILE), "mine");
    for dir in [&seed, &bare] {
        let repo = sandbox.open(dir.to_str().unwrap()).unwrap();
        let commit = repo.commit(&edits(FILE, "new"), &author(), None, &repo.head().unwrap()).unwrap();
        assert_eq!(head(dir), commit);
    }
    assert_eq!(std::fs::read_to_string(seed.join(FILE)).unwrap(), "mine");
    // A linked work tree that has the branch is found.
    git(&seed, &["worktree", "add", "-q", "../linked", "main"]);
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    repo.commit(&edits(FILE, "newer"), &author(), None, &repo.head().unwrap()).unwrap();
    let linked = sandbox.path("linked");
    assert_eq!(git(&linked, &["status", "--porcelain"]), "");
    assert_eq!(std::fs::read_to_string(linked.join(FILE)).unwrap(), "newer");
    let inside = sandbox.open(linked.to_str().unwrap()).unwrap();
    inside.commit(&edits(FILE, "newest"), &author(), None, &inside.head().unwrap()).unwrap();
    assert_eq!(git(&linked, &["status", "--porcelain"]), "");
}

#[test]
fn line_ends_of_the_work_tree_are_its_own_and_modes_are_kept() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    write(&seed.join(".gitattributes"), "*.toml text eol=crlf\n");
    write(&seed.join("run.sh"), "x");
    std::fs::set_permissions(seed.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    commit_all(&seed, "x");
    git(&seed, &["rm", "-q", "--cached", FILE]);
    git(&seed, &["checkout", "-q", "-f", "main"]);
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    let mut edits = edits(FILE, "schema = 1\nx = 2\n");
    edits.files.push(("run.sh".to_owned(), Some(b"y".to_vec())));
    let commit = repo.commit(&edits, &author(), None, &repo.head().unwrap()).unwrap();
    assert_eq!(text(&repo, &commit, FILE).unwrap(), "schema = 1\nx = 2\n");
    assert_eq!(std::fs::read(seed.join(FILE)).unwrap(), b"schema = 1\r\nx = 2\r\n");
    assert!(git(&seed, &["ls-tree", "main", "run.sh"]).starts_with("100755"));
    assert_eq!(git(&seed, &["status", "--porcelain"]), "");
}

#[test]
fn only_plain_files_are_written_and_only_on_the_expected_parent() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    std::os::unix::fs::symlink("/etc/passwd", seed.join("link")).unwrap();
    let parent = commit_all(&seed, "x");
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    for path in ["../x", "/x", ".git/hooks/pre-commit", "a/.git/config", "link", "link/x", "desired-state.toml/x"] {
        repo.commit(&edits(path, "x"), &author(), None, &parent).unwrap_err();
    }
    for name in ["", "A\nB", "<x>"] {
        let who = Author { name: name.to_owned(), ..author() };
        assert!(matches!(repo.commit(&edits(FILE, "x"), &who, None, &parent), Err(RepoError::Grammar(_))), "{name}");
    }
    assert_eq!(head(&seed), parent);
    // No change, no commit.
    assert_eq!(repo.commit(&edits(FILE, "schema = 1\n"), &author(), None, &parent).unwrap(), parent);
    commit_all(&seed, "someone else");
    assert!(matches!(repo.commit(&edits(FILE, "x"), &author(), None, &parent), Err(RepoError::Moved { .. })));
}

#[test]
fn hooks_of_the_repository_do_not_run() {
    let sandbox = Sandbox::new();
    let (_, seed) = sandbox.remote();
    for hook in ["pre-commit", "commit-msg", "post-commit", "pre-push", "reference-transaction", "post-checkout"] {
        let path = seed.join(".git/hooks").join(hook);
        write(&path, "#!/bin/sh\ntouch \"$(git rev-parse --show-toplevel)/../ran\"\nexit 1\n");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    repo.edit_and_push::<RepoError>(&publish(true), |_| Ok(edits(FILE, "new"))).unwrap();
    assert!(!sandbox.path("ran").exists());
}

#[test]
fn a_race_of_two_clones_keeps_both_edits() {
    let sandbox = Sandbox::new();
    let (bare, _) = sandbox.remote();
    let one = sandbox.open_with_cache(&file_url(&bare), "one").unwrap();
    let two = sandbox.open_with_cache(&file_url(&bare), "two").unwrap();
    let mut calls = 0;
    let commit = one
        .edit_and_push::<RepoError>(&publish(false), |parent| {
            calls += 1;
            if calls == 1 {
                two.edit_and_push::<RepoError>(&publish(false), |_| Ok(edits("two.toml", "two")))?;
            }
            let before = text(&one, parent, FILE).unwrap();
            Ok(edits(FILE, &format!("{before}# one\n")))
        })
        .unwrap();
    assert_eq!(calls, 2);
    assert_eq!((head(&bare), one.head().unwrap()), (commit, commit));
    assert_eq!(text(&one, &commit, FILE).unwrap(), "schema = 1\n# one\n");
    assert_eq!(text(&one, &commit, "two.toml").unwrap(), "two");
}

#[test]
fn who_always_loses_gives_up() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let repo = sandbox.open(&file_url(&bare)).unwrap();
    let mut calls = 0;
    let lost = repo.edit_and_push::<RepoError>(&publish(false), |_| {
        calls += 1;
        commit_all(&seed, "faster");
        git(&seed, &["push", "-q", "origin", "main"]);
        Ok(edits(FILE, "mine"))
    });
    assert!(matches!(lost, Err(RepoError::Moved { .. })), "{lost:?}");
    assert_eq!((calls, head(&bare)), (5, head(&seed)));
}

#[test]
fn a_refused_push_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let before = head(&bare);
    let hook = bare.join("hooks/pre-receive");
    write(&hook, "#!/bin/sh\necho 'main is protected' >&2\nexit 1\n");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    for address in [file_url(&bare), seed.to_str().unwrap().to_owned()] {
        let repo = sandbox.open(&address).unwrap();
        let error = repo.edit_and_push::<RepoError>(&publish(true), |_| Ok(edits(FILE, "new"))).unwrap_err();
        assert!(
            matches!(&error, RepoError::Rejected { reason, .. } if reason.contains("main is protected")),
            "{error}"
        );
        assert_eq!((repo.head().unwrap(), head(&bare)), (before, before));
        let error = repo.commit(&edits(FILE, "x"), &author(), None, &commit_all(&seed, "x")).err();
        assert_eq!(error.is_some(), address.starts_with("file:"), "a mirror is only written with a push");
        git(&seed, &["reset", "-q", "--hard", &before.to_string()]);
    }
    assert_eq!(git(&seed, &["status", "--porcelain"]), "");
}

#[test]
fn a_local_repository_pushes_to_its_upstream_or_not_at_all() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    let commit = repo.edit_and_push::<RepoError>(&publish(true), |_| Ok(edits(FILE, "pushed"))).unwrap();
    assert_eq!((head(&seed), head(&bare)), (commit, commit));
    assert_eq!(git(&seed, &["status", "--porcelain"]), "");
    let local = repo.edit_and_push::<RepoError>(&publish(false), |_| Ok(edits(FILE, "local"))).unwrap();
    assert_eq!((head(&seed), head(&bare)), (local, commit));
    git(&seed, &["reset", "-q", "--hard", &commit.to_string()]);

    let other = sandbox.open(&file_url(&bare)).unwrap();
    other.edit_and_push::<RepoError>(&publish(true), |_| Ok(edits("other", "x"))).unwrap();
    let error = repo.edit_and_push::<RepoError>(&publish(true), |_| Ok(edits(FILE, "late"))).unwrap_err();
    assert!(error.to_string().contains("git pull"), "{error}");
    assert_eq!((head(&seed), git(&seed, &["status", "--porcelain"])), (commit, String::new()));

    git(&seed, &["remote", "remove", "origin"]);
    let error = repo.edit_and_push::<RepoError>(&publish(true), |_| Ok(edits(FILE, "late"))).unwrap_err();
    assert!(error.to_string().contains("no remote `origin`"), "{error}");
}
