//! Signatures: our verdict against git's own (`git verify-commit`), and law 10 with signers.

use std::path::PathBuf;
use std::process::Command;

use jiff::Timestamp;
use soll::model::key_text::KeySource;
use soll::state_repo::{
    AllowedSigners, CommitId, NotAccepted, Publish, RepoError, StateRepo, Trust, sign_word, verify_word,
};

use super::state_repo::{FILE, Sandbox, author, commit_all, edits, git, git_command, head, write};

struct Lab {
    sandbox: Sandbox,
    seed: PathBuf,
    repo: StateRepo,
}

impl Lab {
    fn new() -> Lab {
        let sandbox = Sandbox::new();
        let seed = sandbox.work_tree("x");
        let repo = sandbox.open(seed.to_str().unwrap()).unwrap();
        Lab { sandbox, seed, repo }
    }

    /// The path of a private key, made on first use.
    fn key(&self, name: &str, kind: &[&str]) -> PathBuf {
        let path = self.sandbox.path(name);
        if !path.exists() {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-N", "", "-C", name, "-f"]).arg(&path).args(kind);
            assert!(keygen.status().unwrap().success());
        }
        path
    }

    fn public(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.key(name, &["-t", "ed25519"]).with_extension("pub")).unwrap();
        text.trim().to_owned()
    }

    fn signers(&self, text: &str) -> Result<AllowedSigners, RepoError> {
        let path = self.sandbox.path("signers");
        write(&path, text);
        AllowedSigners::load(&path)
    }

    /// A commit on `main`, signed by git with this key.
    fn signed(&self, key: &str, extra: &[&str]) -> CommitId {
        let key = self.key(key, &["-t", "ed25519"]);
        let key = format!("user.signingKey={}", key.display());
        let mut args = vec!["-c", "gpg.format=ssh", "-c", &key];
        args.extend(if extra.is_empty() { &["commit", "-q", "-S", "--allow-empty", "-m", "signed"] } else { extra });
        git(&self.seed, &args);
        head(&self.seed)
    }

    /// The commit as text, changed, stored as another one.
    fn forged(&self, commit: &CommitId, change: impl Fn(&str) -> String) -> CommitId {
        let raw = git(&self.seed, &["cat-file", "commit", &commit.to_string()]) + "\n";
        self.store(&change(&raw))
    }

    fn store(&self, raw: &str) -> CommitId {
        write(&self.sandbox.path("raw"), raw);
        let raw = self.sandbox.path("raw");
        git(&self.seed, &["hash-object", "-t", "commit", "-w", "--literally", raw.to_str().unwrap()]).parse().unwrap()
    }

    fn git_says(&self, object: &str, command: &str) -> bool {
        let signers = format!("gpg.ssh.allowedSignersFile={}", self.sandbox.path("signers").display());
        let args = ["-c", &signers, "-c", "gpg.program=/bin/false", command, object];
        git_command(&self.seed, &args).output().unwrap().status.success()
    }
}

/// A commit's text with this armor as its signature header.
fn with_signature(raw: &str, armor: &str) -> String {
    let (headers, message) = raw.split_once("\n\n").unwrap();
    let headers = headers.split("\ngpgsig ").next().unwrap();
    format!("{headers}\ngpgsig {}\n\n{message}", armor.trim_end().replace('\n', "\n "))
}

fn armor(lab: &Lab, payload: &str, namespace: &str) -> String {
    let path = lab.sandbox.path("payload");
    write(&path, payload);
    let key = lab.key("anna", &["-t", "ed25519"]);
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key).arg(&path);
    assert!(sign.status().unwrap().success());
    let signature = path.with_extension("sig");
    let text = std::fs::read_to_string(&signature).unwrap();
    std::fs::remove_file(signature).unwrap();
    text
}

#[test]
fn the_verdict_is_that_of_git() {
    let lab = Lab::new();
    let good = lab.signed("anna", &[]);
    let eve = lab.signed("eve", &[]);
    lab.key("rsa", &["-t", "rsa", "-b", "2048"]);
    lab.key("p256", &["-t", "ecdsa", "-b", "256"]);
    lab.key("p384", &["-t", "ecdsa", "-b", "384"]);
    let rsa = lab.signed("rsa", &[]);
    let p256 = lab.signed("p256", &[]);
    let p384 = lab.signed("p384", &[]);
    let unsigned = commit_all(&lab.seed, "unsigned");
    let plain = git(&lab.seed, &["cat-file", "commit", &unsigned.to_string()]) + "\n";
    git(&lab.seed, &["checkout", "-q", "-b", "side", "main~1"]);
    commit_all(&lab.seed, "side");
    git(&lab.seed, &["checkout", "-q", "main"]);
    let merge = lab.signed("anna", &["merge", "-q", "-S", "--no-ff", "-m", "merge", "side"]);
    let resigned = |namespace: &str| lab.store(&with_signature(&plain, &armor(&lab, &plain, namespace)));
    let old = plain.lines().map(|line| match line.split_once("> ") {
        Some((who, _)) => format!("{who}> 1500000000 +0000\n"),
        None => format!("{line}\n"),
    });
    let old: String = old.collect();
    let backdated = lab.store(&with_signature(&old, &armor(&lab, &old, "git")));
    let pgp = "-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQ\n-----END PGP SIGNATURE-----";
    let [a, e] = ["anna", "eve"].map(|name| lab.public(name));
    let anna = |options: &str| format!("anna@example.com {options} {a}\n");

    let table: Vec<(&str, CommitId, String, bool)> = vec![
        ("good", good, anna(""), true),
        ("unsigned", unsigned, anna(""), false),
        ("a key that is not listed", eve, anna(""), false),
        ("one of several lines", eve, format!("# us\n{}\neve@example.com {e} comment\n", anna("")), true),
        ("two keys of one person", good, format!("anna@example.com {e}\n{}", anna("")), true),
        ("namespace git", good, anna("namespaces=\"git\""), true),
        ("namespaces with git", good, anna("namespaces=\"file,g*\""), true),
        ("another namespace allowed", good, anna("namespaces=\"file\""), false),
        ("namespace excluded", good, anna("namespaces=\"*,!git\""), false),
        ("signed for another namespace", resigned("file"), anna(""), false),
        ("signed by hand", resigned("git"), anna(""), true),
        ("expired", good, anna("valid-before=\"20200101Z\""), false),
        ("not yet valid", good, anna("valid-after=\"29990101Z\""), false),
        ("within its time", good, anna("valid-after=\"20200101Z\",valid-before=\"29990101Z\""), true),
        ("expired since the commit", backdated, anna("valid-before=\"20200101Z\""), true),
        ("committed before the key was valid", backdated, anna("valid-after=\"20200101Z\""), false),
        ("expired in one line, valid in another", good, anna("valid-before=\"20200101Z\"") + &anna(""), true),
        ("tampered message", lab.forged(&good, |raw| raw.replace("signed", "singed")), anna(""), false),
        ("tampered author", lab.forged(&good, |raw| raw.replacen("Anna", "Eve", 1)), anna(""), false),
        ("a header added", lab.forged(&good, |raw| raw.replacen("\ngpgsig", "\nx-more y\ngpgsig", 1)), anna(""), false),
        ("signature of another commit", lab.forged(&good, |raw| with_signature(&plain, &sig(raw))), anna(""), false),
        ("cut signature", lab.forged(&good, |raw| raw.replacen("U1NIU0lH", "", 1)), anna(""), false),
        (
            "no end of the armor",
            lab.forged(&good, |raw| raw.replacen(" -----END SSH SIGNATURE-----\n", "", 1)),
            anna(""),
            false,
        ),
        ("PGP garbage", lab.store(&with_signature(&plain, pgp)), anna(""), false),
        ("empty signature", lab.store(&with_signature(&plain, "")), anna(""), false),
        ("another name than the author's", good, format!("someone@else.org {a}\n"), true),
        ("a pattern", good, format!("*@example.com {a}\n"), true),
        ("quoted names", good, format!("\"x@example.com,anna@example.com\" {a}\n"), true),
        ("a merge", merge, anna(""), true),
        ("RSA", rsa, format!("anna@example.com {}\n", lab.public("rsa")), true),
        ("ECDSA P-256", p256, format!("anna@example.com {}\n", lab.public("p256")), true),
        ("ECDSA P-384", p384, format!("anna@example.com {}\n", lab.public("p384")), true),
    ];
    for (case, commit, signers, expected) in table {
        let signers = lab.signers(&signers).unwrap();
        let ours = lab.repo.verify_commit(&commit, &signers).unwrap();
        assert_eq!(ours.is_ok(), expected, "{case}: {ours:?}");
        assert_eq!(lab.git_says(&commit.to_string(), "verify-commit"), expected, "{case}: git");
    }
}

/// The armor in a commit's text.
fn sig(raw: &str) -> String {
    let from = raw.find("gpgsig ").unwrap() + "gpgsig ".len();
    let end = raw.find("-----END SSH SIGNATURE-----").unwrap() + "-----END SSH SIGNATURE-----".len();
    raw[from..end].replace("\n ", "\n")
}

#[test]
fn reasons_and_principals() {
    let lab = Lab::new();
    let good = lab.signed("anna", &[]);
    let a = lab.public("anna");
    let principal = |signers: String| lab.repo.verify_commit(&good, &lab.signers(&signers).unwrap()).unwrap();
    assert_eq!(principal(format!("x@y,anna@example.com {a}")).unwrap().principal, "anna@example.com");
    assert_eq!(principal(format!("*@example.com {a}")).unwrap().principal, "anna@example.com");
    assert_eq!(principal(format!("!anna@example.com,ops {a}")).unwrap().principal, "ops");
    let fingerprint = principal(format!("ops {a}")).unwrap().fingerprint;
    let keygen = Command::new("ssh-keygen").arg("-lf").arg(lab.key("anna", &[])).output().unwrap();
    assert!(String::from_utf8(keygen.stdout).unwrap().contains(&fingerprint));
    let why = principal(format!("ops valid-before=\"20200101Z\" {a}")).unwrap_err().to_string();
    assert!(why.contains("was valid until 2020-01-01"), "{why}");
    // Two signatures: git takes the first and is content, we ask which one was meant.
    let twice = lab.forged(&good, |raw| {
        raw.replacen("\ngpgsig ", &format!("\ngpgsig {}\ngpgsig ", sig(raw).replace('\n', "\n ")), 1)
    });
    let why = lab.repo.verify_commit(&twice, &lab.signers(&format!("ops {a}")).unwrap()).unwrap().unwrap_err();
    assert_eq!(why.to_string(), "it carries two signatures");
}

#[test]
fn tags() {
    let lab = Lab::new();
    let key = format!("user.signingKey={}", lab.key("anna", &["-t", "ed25519"]).display());
    git(&lab.seed, &["-c", "gpg.format=ssh", "-c", &key, "tag", "-s", "-m", "release", "v1"]);
    git(&lab.seed, &["tag", "-m", "release", "v2"]);
    git(&lab.seed, &["tag", "light"]);
    let raw = git(&lab.seed, &["cat-file", "tag", "v1"]).replace("release", "forgery") + "\n";
    write(&lab.sandbox.path("raw"), &raw);
    let forged = git(&lab.seed, &["hash-object", "-t", "tag", "-w", lab.sandbox.path("raw").to_str().unwrap()]);
    git(&lab.seed, &["update-ref", "refs/tags/v3", &forged]);
    let signers = lab.signers(&format!("anna@example.com {}", lab.public("anna"))).unwrap();
    for (tag, expected) in [("v1", true), ("v2", false), ("v3", false), ("light", false)] {
        let ours = lab.repo.verify_tag(tag, &signers).unwrap();
        assert_eq!(ours.is_ok(), expected, "{tag}: {ours:?}");
        assert_eq!(lab.git_says(tag, "verify-tag"), expected, "{tag}: git");
    }
}

#[test]
fn what_we_sign_git_accepts() {
    let lab = Lab::new();
    for (name, kind) in [("anna", ["-t", "ed25519"]), ("p256", ["-t", "ecdsa"]), ("rsa", ["-t", "rsa"])] {
        let key = lab.key(name, &kind);
        let signers = lab.signers(&format!("bob@example.com {}", lab.public(name))).unwrap();
        let publish = Publish { author: author(), signing_key: Some(key.into()), push: false };
        let commit = lab.repo.edit_and_push::<RepoError>(&publish, |_| Ok(edits(FILE, name))).unwrap();
        assert!(lab.git_says(&commit.to_string(), "verify-commit"), "{name}");
        assert_eq!(lab.repo.verify_commit(&commit, &signers).unwrap().unwrap().principal, "bob@example.com");
    }
    git(&lab.seed, &["fsck", "--strict"]);
    let before = head(&lab.seed);
    let locked = lab.sandbox.path("locked");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&locked).status().unwrap();
    assert!(made.success());
    for (key, why) in [
        (locked, "passphrase"),
        (lab.key("anna", &[]).with_extension("pub"), "name the private one"),
        (lab.sandbox.path("nothing"), "No such file"),
    ] {
        let key = key.into();
        let error = lab.repo.commit(&edits(FILE, "x"), &author(), Some(&key), &before).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(head(&lab.seed), before);
}

#[test]
fn every_commit_must_be_signed_that_was_not_accepted_before() {
    let lab = Lab::new();
    let signers = lab.signers(&format!("anna@example.com {}", lab.public("anna"))).unwrap();
    let trust = |since: Option<CommitId>| Trust { signers: &signers, since, verified: None, at: Timestamp::now() };
    let check = |old: Option<&CommitId>, new: &CommitId| lab.repo.check_advance(old, new, Some(&trust(None)));
    let unsigned = head(&lab.seed);
    assert!(matches!(check(None, &unsigned), Err(NotAccepted::Unsigned { commit, .. }) if commit == unsigned));
    // One signature vouches for nothing below it, at first contact either.
    let first = lab.signed("anna", &[]);
    let error = check(None, &first).unwrap_err();
    assert!(matches!(&error, NotAccepted::Unsigned { commit, before: None, .. } if *commit == unsigned), "{error}");
    assert!(error.to_string().contains("SOLL_TRUST_SINCE"), "{error}");
    // What came before the branch was signed is taken as it is where the settings name its last commit.
    let since = |since: CommitId, new: &CommitId| lab.repo.check_advance(None, new, Some(&trust(Some(since))));
    assert_eq!(since(unsigned, &first).unwrap().verified, 1);
    assert_eq!(since(first, &first).unwrap().verified, 0);
    let second = lab.signed("anna", &[]);
    assert_eq!(check(Some(&first), &second).unwrap().verified, 1);
    assert!(matches!(since(second, &first), Err(NotAccepted::Repo(RepoError::TrustSince { .. }))));
    let elsewhere = "1234567890123456789012345678901234567890".parse().unwrap();
    assert!(since(elsewhere, &second).unwrap_err().to_string().contains("git log --format=%H main"));
    // What was verified once by the same signers is not verified again.
    let verified = Trust { verified: Some(first), ..trust(None) };
    assert_eq!(lab.repo.check_advance(None, &second, Some(&verified)).unwrap().verified, 1);

    // A signed merge that brings in a commit that nobody signed.
    git(&lab.seed, &["checkout", "-q", "-b", "side"]);
    git(&lab.seed, &["commit", "-q", "--allow-empty", "-m", "smuggled"]);
    git(&lab.seed, &["checkout", "-q", "main"]);
    let merge = lab.signed("anna", &["merge", "-q", "-S", "--no-ff", "-m", "merge", "side"]);
    let error = check(Some(&second), &merge).unwrap_err();
    assert!(
        matches!(&error, NotAccepted::Unsigned { subject, before, .. }
            if subject == "smuggled" && before.is_some_and(|before| before.id() == second)),
        "{error}"
    );
    assert!(error.to_string().contains("by Anna <anna@example.com>) is not accepted: it is not signed"), "{error}");
    // A signed commit on top of it heals nothing, and the newest good one is the one before the merge.
    let top = lab.signed("anna", &[]);
    for last in [None, Some(first)] {
        let known = Trust { verified: Some(first), ..trust(None) };
        let error = lab.repo.check_advance(last.as_ref(), &top, Some(&known)).unwrap_err();
        let NotAccepted::Unsigned { before, .. } = &error else { panic!("{error}") };
        assert_eq!(before.map(|before| before.id()), Some(second));
    }
    assert!(lab.repo.check_advance(Some(&second), &merge, None).is_ok());
}

#[test]
fn a_key_that_has_expired_signs_no_new_commit_whatever_its_date() {
    let lab = Lab::new();
    let [a, b] = ["anna", "bob"].map(|name| lab.public(name));
    let signers = lab.signers(&format!("anna@x valid-before=\"20200101Z\" {a}\nbob@x {b}\n")).unwrap();
    let first = head(&lab.seed);
    let key = format!("user.signingKey={}", lab.key("anna", &["-t", "ed25519"]).display());
    let mut backdated = git_command(
        &lab.seed,
        &["-c", "gpg.format=ssh", "-c", &key, "commit", "-q", "-S", "--allow-empty", "-m", "old"],
    );
    let dated = ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"];
    assert!(backdated.envs(dated.map(|name| (name, "2019-06-01T12:00:00Z"))).status().unwrap().success());
    let old = head(&lab.seed);
    assert!(lab.repo.verify_commit(&old, &signers).unwrap().is_ok(), "its own date is within the key's time");
    let check = |last: Option<CommitId>, at: &str| {
        let trust = Trust { signers: &signers, since: Some(first), verified: None, at: at.parse().unwrap() };
        lab.repo.check_advance(last.as_ref(), &head(&lab.seed), Some(&trust))
    };
    check(None, "2019-07-01T00:00:00Z").unwrap();
    for last in [None, Some(first)] {
        let error = check(last, "2026-01-01T00:00:00Z").unwrap_err().to_string();
        assert!(error.contains("was valid until 2020-01-01"), "{error}");
    }
    // What was accepted in time stays accepted, also below what others sign later.
    check(Some(old), "2026-01-01T00:00:00Z").unwrap();
    lab.signed("bob", &[]);
    check(Some(old), "2026-01-01T00:00:00Z").unwrap();
    check(None, "2026-01-01T00:00:00Z").unwrap_err();
}

#[test]
fn a_shallow_clone_proves_no_signature_below_its_edge() {
    let lab = Lab::new();
    let root = head(&lab.seed);
    let commits = [lab.signed("anna", &[]), lab.signed("anna", &[]), lab.signed("anna", &[])];
    let shallow = lab.sandbox.path("shallow");
    let url = format!("file://{}", lab.seed.display());
    git(&lab.seed, &["clone", "-q", "--depth=2", &url, shallow.to_str().unwrap()]);
    let repo = lab.sandbox.open(shallow.to_str().unwrap()).unwrap();
    let signers = lab.signers(&format!("anna@example.com {}", lab.public("anna"))).unwrap();
    let check = |since: Option<CommitId>| {
        let trust = Trust { signers: &signers, since, verified: None, at: Timestamp::now() };
        repo.check_advance(None, &commits[2], Some(&trust))
    };
    for since in [None, Some(root), Some(commits[0])] {
        let error = check(since).unwrap_err().to_string();
        assert!(error.contains("git fetch --unshallow"), "{since:?}: {error}");
    }
    assert_eq!(check(Some(commits[1])).unwrap().verified, 1);
}

#[test]
fn the_person_of_a_word_is_who_signed_it_as_a_word() {
    let lab = Lab::new();
    let [anna, bob] = ["anna", "bob"].map(|name| KeySource::from(lab.key(name, &["-t", "ed25519"])));
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let signers = |options: &str| lab.signers(&format!("bob@example.com {options} {}", lab.public("bob"))).unwrap();
    let verified =
        |word: &str, armor: &str, options: &str| verify_word(word, armor, "bob@example.com", now, &signers(options));
    let signed = sign_word(&bob, "yes").unwrap();
    assert_eq!(verified("yes", &signed, "").unwrap().principal, "bob@example.com");
    assert!(verified("yes", &signed, "namespaces=\"git,soll-approval\"").is_ok());
    let refused = |word: &str, armor: &str, options: &str| verified(word, armor, options).unwrap_err().to_string();
    assert!(refused("no", &signed, "").contains("something was changed"));
    assert!(refused("yes", &sign_word(&anna, "yes").unwrap(), "").contains("not among the allowed signers"));
    assert!(refused("yes", &signed, "namespaces=\"git\"").contains("allowed for git only, not for soll-approval"));
    // At the moment of reading, whatever the word claims.
    assert!(refused("yes", &signed, "valid-before=\"20251231\"").contains("was valid until"));
    // The signature of a commit, by an allowed key, is none of a word; and that of a word none of a commit.
    let commit = lab.signed("bob", &[]);
    let raw = git(&lab.seed, &["cat-file", "commit", &commit.to_string()]);
    let (head, rest) = raw.split_once("gpgsig ").unwrap();
    let (armor, message) = rest.split_once("-----END SSH SIGNATURE-----").unwrap();
    let armor = format!("{armor}-----END SSH SIGNATURE-----").replace("\n ", "\n");
    let payload = format!("{head}{}\n", message.trim_start_matches('\n'));
    assert!(refused(&payload, &armor, "").contains("made for `git`, not for `soll-approval`"));
    // As people check it by hand.
    let (signature, word) = (lab.sandbox.path("word.sig"), lab.sandbox.path("word"));
    write(&signature, &format!("{signed}\n"));
    write(&word, "yes");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-Y", "check-novalidate", "-n", "soll-approval", "-s"]).arg(&signature);
    let checked = keygen.stdin(std::fs::File::open(&word).unwrap()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
