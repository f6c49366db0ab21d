//! Approvals and rejections under their ref.

use soll::model::ids::{Digest, EnvName};
use soll::state_repo::RepoError;

use super::*;

fn env() -> EnvName {
    "production".parse().unwrap()
}

#[test]
fn words_are_heard_in_order_with_who_committed_them() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
    let binding = Digest::of(b"plan");
    assert_eq!(repo.words(&env(), &binding, None).unwrap(), Default::default());
    for (who, payload) in
        [("bob@example.com", "{\"who\":\"eve\"}"), ("anna@example.com", "{}"), ("bob@example.com", "{\"no\":1}")]
    {
        let author = Author { name: "X".to_owned(), email: who.to_owned() };
        repo.add_word(&env(), &binding, payload.as_bytes(), &author, None, false).unwrap();
    }
    repo.add_word(&env(), &Digest::of(b"other"), b"other", &author(), None, false).unwrap();
    let heard = repo.words(&env(), &binding, None).unwrap();
    let said: Vec<_> = heard.words.iter().map(|w| (w.email.as_str(), w.payload.as_slice())).collect();
    assert_eq!(
        said,
        [
            ("bob@example.com", &b"{\"who\":\"eve\"}"[..]),
            ("anna@example.com", b"{}"),
            ("bob@example.com", b"{\"no\":1}")
        ]
    );
    assert!(heard.tampered.is_empty() && heard.words.iter().all(|w| w.signature.is_none()));
    let names = git(&seed, &["ls-tree", "-r", "--name-only", "refs/soll/approvals", &format!("production/{binding}/")]);
    assert!(names.contains("bob-example-com-1.json") && names.contains("bob-example-com-2.json"), "{names}");
    // The branch and the work tree know nothing of it.
    assert_eq!(
        (git(&seed, &["status", "--porcelain"]), git(&seed, &["rev-list", "--count", "main"])),
        (String::new(), "1".to_owned())
    );
}

#[test]
fn two_people_at_once_are_both_heard_and_the_remote_has_both() {
    let sandbox = Sandbox::new();
    let (bare, _) = sandbox.remote();
    let binding = Digest::of(b"plan");
    let repos: Vec<_> =
        ["one", "two", "three"].iter().map(|cache| sandbox.open_with_cache(&file_url(&bare), cache).unwrap()).collect();
    std::thread::scope(|scope| {
        for (n, repo) in repos.iter().enumerate() {
            let author = Author { name: "X".to_owned(), email: format!("{n}@example.com") };
            scope.spawn(move || repo.add_word(&env(), &binding, b"{}", &author, None, false).unwrap());
        }
    });
    let fresh = sandbox.open_with_cache(&file_url(&bare), "fresh").unwrap();
    assert_eq!(fresh.words(&env(), &binding, None).unwrap().words.len(), 3);
    repos[0].refresh().unwrap();
    assert_eq!(repos[0].words(&env(), &binding, None).unwrap().words.len(), 3);
}

#[test]
fn a_local_repository_shares_words_with_its_origin_where_asked() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let binding = Digest::of(b"plan");
    let local = sandbox.open(seed.to_str().unwrap()).unwrap();
    let remote = sandbox.open(&file_url(&bare)).unwrap();
    remote.add_word(&env(), &binding, b"remote", &author(), None, false).unwrap();
    local.add_word(&env(), &binding, b"local", &author(), None, true).unwrap();
    remote.refresh().unwrap();
    for repo in [&local, &remote] {
        assert_eq!(repo.words(&env(), &binding, None).unwrap().words.len(), 2);
    }
    let other = sandbox.work_tree("alone");
    let alone = sandbox.open(other.to_str().unwrap()).unwrap();
    assert!(matches!(alone.add_word(&env(), &binding, b"x", &author(), None, true), Err(RepoError::Grammar(_))));
}

#[test]
fn a_word_cannot_be_changed_or_taken_back_by_a_later_commit() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let binding = Digest::of(b"plan");
    let repo = sandbox.open(&file_url(&bare)).unwrap();
    repo.add_word(&env(), &binding, b"rejected", &author(), None, false).unwrap();
    repo.add_word(&env(), &binding, b"also rejected", &author(), None, false).unwrap();
    git(&seed, &["fetch", "-q", "origin", "refs/soll/approvals"]);
    git(&seed, &["checkout", "-q", "FETCH_HEAD"]);
    let dir = seed.join(format!("production/{binding}"));
    write(&dir.join("bob-example-com-1.json"), "approved");
    git(&seed, &["commit", "-q", "-am", "harmless"]);
    std::fs::remove_file(dir.join("bob-example-com-2.json")).unwrap();
    git(&seed, &["commit", "-q", "-am", "harmless"]);
    git(&seed, &["push", "-q", "origin", "HEAD:refs/soll/approvals"]);
    repo.refresh().unwrap();
    let heard = repo.words(&env(), &binding, None).unwrap();
    let said: Vec<_> = heard.words.iter().map(|w| (w.name.as_str(), w.payload.as_slice())).collect();
    assert_eq!(said, [("Bob", &b"rejected"[..]), ("Bob", b"also rejected")]);
    let tampered: Vec<_> =
        heard.tampered.iter().map(|t| (t.name.as_str(), t.path.rsplit('/').next().unwrap())).collect();
    assert_eq!(tampered, [("Anna", "bob-example-com-1.json"), ("Anna", "bob-example-com-2.json")]);
}

#[test]
fn rewritten_approvals_are_noticed_and_what_was_heard_counts() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let binding = Digest::of(b"plan");
    let repo = sandbox.open(&file_url(&bare)).unwrap();
    repo.add_word(&env(), &binding, b"rejected", &author(), None, false).unwrap();
    assert!(!repo.words(&env(), &binding, None).unwrap().rewritten);
    let unrelated = git(&seed, &["commit-tree", "-m", "x", "HEAD^{tree}"]);
    for rewrite in [format!("+{unrelated}:refs/soll/approvals"), ":refs/soll/approvals".to_owned()] {
        git(&seed, &["push", "-q", "origin", &rewrite]);
        repo.refresh().unwrap();
        let heard = repo.words(&env(), &binding, None).unwrap();
        assert!(heard.rewritten && heard.words.len() == 1, "{heard:?}");
    }
    repo.accept_words().unwrap();
    assert_eq!(repo.words(&env(), &binding, None).unwrap(), Default::default());
    repo.add_word(&env(), &binding, b"approved", &author(), None, false).unwrap();
    let heard = repo.words(&env(), &binding, None).unwrap();
    assert!(!heard.rewritten && heard.words.len() == 1, "{heard:?}");
}
