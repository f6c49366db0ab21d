//! Approvals and rejections under their ref.

use soll::model::approval::{Change, Read};
use soll::model::ids::{Digest, EnvName};
use soll::state_repo::{CommitId, RepoError, Saying, StateRepo};

use super::*;

fn env() -> EnvName {
    "production".parse().unwrap()
}

/// Says something that is no word of a person, but lies where words lie.
fn add(repo: &StateRepo, id: &str, email: &str, push: bool) -> Result<CommitId, RepoError> {
    let author = Author { name: "X".to_owned(), email: email.to_owned() };
    let (environment, binding) = (env(), Digest::of(b"plan"));
    let bytes = format!("{{\"approve\":true,\"note\":\"{id}\"}}");
    let word = Saying { environment: &environment, binding: &binding, id, bytes: bytes.as_bytes(), over: &[] };
    repo.add_word(&word, &author, push)
}

/// Who said something, in the order in which it was said.
fn said(changes: &[Change]) -> Vec<&str> {
    changes.iter().filter(|change| change.said.is_some()).map(|change| change.email.as_str()).collect()
}

fn odd(changes: &[Change]) -> Vec<&str> {
    changes.iter().filter_map(|change| change.odd.as_deref()).collect()
}

#[test]
fn words_are_heard_in_order_with_who_committed_them() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    assert_eq!(repo.words(None).unwrap().changes, []);
    for (id, who) in [("1", "bob@example.com"), ("2", "anna@example.com"), ("3", "bob@example.com")] {
        add(&repo, id, who, false).unwrap();
    }
    let heard = repo.words(None).unwrap();
    assert_eq!(said(&heard.changes), ["bob@example.com", "anna@example.com", "bob@example.com"]);
    assert!(heard.changes.iter().all(|change| change.said.as_ref().unwrap().read == Read::Old));
    let binding = Digest::of(b"plan");
    let names = git(&seed, &["ls-tree", "-r", "--name-only", "refs/soll/approvals", &format!("production/{binding}/")]);
    assert!(names.contains("bob-example-com-1.json") && names.contains("bob-example-com-3.json"), "{names}");
    // The branch and the work tree know nothing of it.
    assert_eq!(
        (git(&seed, &["status", "--porcelain"]), git(&seed, &["rev-list", "--count", "main"])),
        (String::new(), "1".to_owned())
    );
    // What was heard is not read again, and what was said since is heard behind it.
    assert!(std::sync::Arc::ptr_eq(&repo.words(Some(&heard)).unwrap(), &heard));
    add(&repo, "4", "carl@example.com", false).unwrap();
    let more = repo.words(Some(&heard)).unwrap();
    assert_eq!((&more.changes[..3], said(&more.changes)[3]), (&heard.changes[..], "carl@example.com"));
    assert_eq!(more.changes, repo.words(None).unwrap().changes);
}

#[test]
fn two_people_at_once_are_both_heard_and_the_remote_has_both() {
    let sandbox = Sandbox::new();
    let (bare, _) = sandbox.remote();
    let repos: Vec<_> =
        ["one", "two", "three"].iter().map(|cache| sandbox.open_with_cache(&file_url(&bare), cache).unwrap()).collect();
    std::thread::scope(|scope| {
        for (n, repo) in repos.iter().enumerate() {
            scope.spawn(move || add(repo, &n.to_string(), &format!("{n}@example.com"), false).unwrap());
        }
    });
    let fresh = sandbox.open_with_cache(&file_url(&bare), "fresh").unwrap();
    assert_eq!(said(&fresh.words(None).unwrap().changes).len(), 3);
    repos[0].refresh().unwrap();
    assert_eq!(said(&repos[0].words(None).unwrap().changes).len(), 3);
}

#[test]
fn a_local_repository_shares_words_with_its_origin_where_asked() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let local = sandbox.open(seed.to_str().unwrap()).unwrap();
    let remote = sandbox.open(&file_url(&bare)).unwrap();
    add(&remote, "remote", "anna@example.com", false).unwrap();
    add(&local, "local", "anna@example.com", true).unwrap();
    remote.refresh().unwrap();
    for repo in [&local, &remote] {
        assert_eq!(said(&repo.words(None).unwrap().changes).len(), 2);
    }
    // Both name the state repository alike, however they reach it.
    assert_eq!(local.first_commit().unwrap(), remote.first_commit().unwrap());
    let other = sandbox.work_tree("alone");
    let alone = sandbox.open(other.to_str().unwrap()).unwrap();
    assert!(matches!(add(&alone, "x", "anna@example.com", true), Err(RepoError::Grammar(_))));
}

/// A merge whose first parent was a line without the rejection made it disappear.
#[test]
fn whatever_a_commit_does_beside_adding_a_word_is_told_and_takes_nothing_back() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let repo = sandbox.open(&file_url(&bare)).unwrap();
    add(&repo, "1", "bob@example.com", false).unwrap();
    add(&repo, "2", "bob@example.com", false).unwrap();
    git(&seed, &["fetch", "-q", "origin", "refs/soll/approvals"]);
    git(&seed, &["checkout", "-q", "FETCH_HEAD"]);
    let binding = Digest::of(b"plan");
    let dir = format!("production/{binding}");
    let commit = |message: &str| git(&seed, &["commit", "-q", "-m", message]);
    write(&seed.join(&dir).join("bob-example-com-1.json"), "approved");
    git(&seed, &["add", "-A"]);
    commit("changes");
    git(&seed, &["rm", "-q", &format!("{dir}/bob-example-com-2.json")]);
    commit("removes");
    git(&seed, &["mv", &format!("{dir}/bob-example-com-1.json"), &format!("{dir}/x.json")]);
    commit("renames");
    for (n, path) in
        ["x.json", "production/x.json", &format!("production/{binding}/deep/x.json"), "a/b/c.json"].iter().enumerate()
    {
        std::fs::create_dir_all(seed.join(path).parent().unwrap()).unwrap();
        write(&seed.join(path), &format!("{{\"{n}\":1}}"));
        git(&seed, &["add", "-A"]);
        commit("elsewhere");
    }
    for name in ["p.json", "q.json"] {
        write(&seed.join(&dir).join(name), name);
    }
    git(&seed, &["add", "-A"]);
    commit("two at once");
    git(&seed, &["commit", "-q", "--allow-empty", "-m", "nothing"]);
    // A line without any of it, joined so that it comes first.
    let tip = git(&seed, &["rev-parse", "HEAD"]);
    let empty = git(&seed, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let side = git(&seed, &["commit-tree", "-m", "side", &empty]);
    let joined = git(&seed, &["commit-tree", "-m", "merge", "-p", &side, "-p", &tip, &empty]);
    git(&seed, &["push", "-q", "origin", &format!("{joined}:refs/soll/approvals")]);
    repo.refresh().unwrap();
    let heard = repo.words(None).unwrap();
    assert!(!heard.rewritten);
    assert_eq!(said(&heard.changes).iter().filter(|who| **who == "bob@example.com").count(), 2, "{:#?}", heard.changes);
    let told = odd(&heard.changes);
    for wanted in [
        &format!("changes {dir}/bob-example-com-1.json"),
        "adds x.json, which is no place of a word",
        "adds production/x.json, which is no place of a word",
        &format!("adds {dir}/deep/x.json, which is no place of a word"),
        "adds a/b/c.json, which is no place of a word",
        "adds more than a word",
        "adds no word",
        "joins 2 histories",
    ] {
        assert!(told.contains(&wanted), "{wanted}: {told:#?}");
    }
    let removed: Vec<_> = heard.changes.iter().flat_map(|change| &change.removed).collect();
    assert_eq!(removed, [&format!("{dir}/bob-example-com-2.json"), &format!("{dir}/bob-example-com-1.json")]);
    // And who speaks after it is heard.
    add(&repo, "9", "anna@example.com", false).unwrap();
    assert_eq!(said(&repo.words(Some(&heard)).unwrap().changes).last(), Some(&"anna@example.com"));
}

#[test]
fn rewritten_approvals_are_noticed_and_what_was_heard_counts() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let repo = sandbox.open(&file_url(&bare)).unwrap();
    add(&repo, "1", "bob@example.com", false).unwrap();
    assert!(!repo.words(None).unwrap().rewritten);
    let unrelated = git(&seed, &["commit-tree", "-m", "x", "HEAD^{tree}"]);
    for rewrite in [format!("+{unrelated}:refs/soll/approvals"), ":refs/soll/approvals".to_owned()] {
        git(&seed, &["push", "-q", "origin", &rewrite]);
        repo.refresh().unwrap();
        let heard = repo.words(None).unwrap();
        assert!(heard.rewritten && said(&heard.changes).len() == 1, "{heard:?}");
    }
    repo.accept_words().unwrap();
    assert_eq!(repo.words(None).unwrap().changes, []);
    add(&repo, "2", "bob@example.com", false).unwrap();
    let heard = repo.words(None).unwrap();
    assert!(!heard.rewritten && said(&heard.changes).len() == 1, "{heard:?}");
}

#[test]
fn words_that_are_over_are_cleared_away_and_stay_in_the_history() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    add(&repo, "1", "bob@example.com", false).unwrap();
    add(&repo, "2", "bob@example.com", false).unwrap();
    let heard = repo.words(None).unwrap();
    let over: Vec<String> = heard.changes.iter().map(|change| change.said.as_ref().unwrap().path.clone()).collect();
    let (environment, binding) = (env(), Digest::of(b"other"));
    let word = Saying { environment: &environment, binding: &binding, id: "3", bytes: b"{}", over: &over };
    repo.add_word(&word, &author(), false).unwrap();
    let names = git(&seed, &["ls-tree", "-r", "--name-only", "refs/soll/approvals"]);
    assert_eq!(names.lines().count(), 1, "{names}");
    let heard = repo.words(None).unwrap();
    assert_eq!((said(&heard.changes).len(), &heard.changes[2].removed), (3, &over));
}
