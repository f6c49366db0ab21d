//! The hint that a local repository changed.

use std::time::Instant;

use soll::model::ids::Digest;
use soll::state_repo::{Saying, Watcher};

use super::*;

/// Waits for hints, reading the branch again after each, and polls as the daemon does.
async fn until(watcher: &mut Watcher, mut seen: impl FnMut() -> bool) -> usize {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut hints = 0;
    while !seen() {
        assert!(Instant::now() < deadline, "never seen, after {hints} hints");
        tokio::select! {
            () = watcher.changed() => hints += 1,
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
    hints
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_pushes_and_gc_end_with_the_last_commit() {
    let sandbox = Sandbox::new();
    let (bare, seed) = sandbox.remote();
    let repo = sandbox.open(bare.to_str().unwrap()).unwrap();
    let mut watcher = Watcher::new(&repo).unwrap().unwrap();
    let mut parent = head(&seed).to_string();
    let tree = git(&seed, &["rev-parse", "HEAD^{tree}"]);
    let commits: Vec<String> = (0..100)
        .map(|n| {
            parent = git(&seed, &["commit-tree", "-m", &n.to_string(), "-p", &parent, &tree]);
            parent.clone()
        })
        .collect();
    let pusher = std::thread::spawn(move || {
        for (n, commit) in commits.iter().enumerate() {
            git(&seed, &["push", "-q", "origin", &format!("{commit}:refs/heads/main")]);
            if n % 40 == 39 {
                git(&bare, &["gc", "-q"]);
            }
        }
    });
    let last: CommitId = parent.parse().unwrap();
    let hints = until(&mut watcher, || repo.head().unwrap() == last).await;
    assert!(hints > 0, "only polling saw it");
    pusher.join().unwrap();
    assert_eq!(repo.head().unwrap(), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_move_a_ref_gives_a_hint() {
    let sandbox = Sandbox::new();
    let seed = sandbox.work_tree("x");
    git(&seed, &["branch", "team/state"]);
    git(&seed, &["pack-refs", "--all"]);
    let repo =
        StateRepo::open(Location::Local(seed.clone()), "team/state", &sandbox.path("cache"), settings()).unwrap();
    let mut watcher = Watcher::new(&repo).unwrap().unwrap();
    let hint = async |watcher: &mut Watcher, act: &dyn Fn()| {
        act();
        tokio::time::timeout(Duration::from_secs(60), watcher.changed()).await.expect("no hint");
    };
    hint(&mut watcher, &|| drop(git(&seed, &["update-ref", "refs/heads/team/state", "main"]))).await;
    let moved = || {
        let commit = commit_all(&seed, "x").to_string();
        git(&seed, &["push", "-q", ".", &format!("{commit}:refs/heads/team/state")]);
    };
    hint(&mut watcher, &moved).await;
    hint(&mut watcher, &|| drop(git(&seed, &["pack-refs", "--all", "--prune"]))).await;
    hint(&mut watcher, &|| drop(git(&seed, &["checkout", "-q", "team/state"]))).await;
    let word = || {
        let env = "production".parse().unwrap();
        let binding = Digest::of(b"x");
        let word = Saying { environment: &env, binding: &binding, id: "1", bytes: b"{}", over: &[] };
        repo.add_word(&word, &author(), false).unwrap();
    };
    hint(&mut watcher, &word).await;
    assert_eq!(repo.head().unwrap().to_string(), git(&seed, &["rev-parse", "main"]));
}

#[test]
fn a_remote_is_polled() {
    let sandbox = Sandbox::new();
    let (bare, _) = sandbox.remote();
    let repo = sandbox.open(&file_url(&bare)).unwrap();
    assert!(Watcher::new(&repo).unwrap().is_none());
}
