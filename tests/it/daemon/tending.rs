//! What is looked after whatever the plan says: samples, drift scans, the restart ladder (C6), and a watch that was
//! interrupted (C8).

use std::path::PathBuf;

use super::state::Yard;
use crate::support::site::{Daemon, sha};

const QUICK: &[(&str, &str)] = &[("SOLL_POLL", "200ms")];
const OFTEN: &str = "[environments.web.health]\nevery = \"200ms\"\nattempts = 1\ninterval = \"10ms\"\n";

/// A service that is ill while `ill` is there, with a restart hook that cures it; each restart is a line of `restarted`.
fn ladder(yard: &Yard, cures: bool) -> String {
    let dir = yard.site.at("");
    let cure = if cures { format!("rm -f {dir}ill; ") } else { String::new() };
    format!(
        "{OFTEN}failures = 2\n[[environments.web.hooks]]\nphase = \"restart\"\nrun = \"{cure}echo x >> {dir}restarted\"\n\
         [[environments.web.health.checks]]\nname = \"alive\"\nrun = \"test ! -e {dir}ill\"\n"
    )
}

fn restarts(yard: &Yard) -> usize {
    yard.site.read("restarted").lines().count()
}

/// Every way to be blocked: the key of the environment, and what the plan says.
const BLOCKS: &[(&str, &str)] = &[
    ("frozen = \"incident 4711\"", "frozen: incident 4711"),
    ("approvals = 1", "0 of 1 approvals"),
    ("WINDOW", "closed for tea"),
];

/// Commit 1 runs; then commit 2 is desired and may not be deployed.
fn blocked(key: &str) -> (Yard, Daemon) {
    let yard = Yard::new();
    let ladder = ladder(&yard, true);
    let mut yard = yard.env("web", 1, &ladder);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    let more = match key {
        "WINDOW" => format!(
            "{ladder}\n[[environments.web.windows]]\nkind = \"deny\"\nfrom = \"00:00\"\nto = \"00:00\"\nzone = \"UTC\"\nreason = \"closed for tea\"\n"
        ),
        key => format!("{key}\n{ladder}"),
    };
    yard.set("web", 2, &more);
    yard.commit();
    (yard, daemon)
}

#[test]
fn what_may_not_be_changed_is_sampled_scanned_and_restarted() {
    for (key, says) in BLOCKS {
        let (yard, daemon) = blocked(key);
        daemon.says(says);
        let seen = || yard.site.record("web").green.map(|green| green.last);
        let before = seen();
        daemon.until("samples go on", || seen() > before);
        yard.site.write("ill", "");
        daemon.until("it is restarted", || restarts(&yard) == 1);
        daemon.until("it is well again", || {
            let record = yard.site.record("web");
            record.ailing.is_none() && record.green.is_some()
        });
        // What may not be changed was not changed, and what it was made with is not forgotten.
        assert_eq!(yard.site.live("web"), sha(1), "{key}: {}", daemon.text());
        daemon.until("the restart is over", || yard.results("web") == ["succeeded"; 2]);
        assert_eq!(daemon.stop().0, Some(0));
    }
}

#[test]
fn what_is_frozen_as_it_runs_is_restarted_once_and_then_left_to_people() {
    let yard = Yard::new();
    let ladder = ladder(&yard, false);
    let yard = yard.env("web", 1, &ladder);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    let mut yard = yard;
    yard.set("web", 1, &format!("frozen = \"incident\"\n{ladder}"));
    yard.commit();
    yard.site.write("ill", "");
    daemon.until("it is restarted", || restarts(&yard) == 1);
    daemon.says("FAILED");
    let ailing = || yard.site.record("web").ailing.map_or(0, |ailing| ailing.samples);
    let before = ailing();
    daemon.until("more bad samples", || ailing() > before + 4);
    assert_eq!(restarts(&yard), 1, "{}", daemon.text());
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_wait_after_an_error_samples_and_scans_what_runs() {
    let yard = Yard::new();
    let often = format!("drift_every = \"200ms\"\n{OFTEN}");
    let mut yard = yard.env("web", 1, &often);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    // A bundle whose server does not answer is an error: it is tried again later and later.
    let dead = "bundle = { url = \"http://127.0.0.1:1/{sha}.tar.gz\" }\n";
    yard.set("web", 9, &format!("{dead}{often}"));
    yard.commit();
    daemon.says("error 3 in a row");
    let seen = || yard.site.record("web").green.map(|green| green.last);
    let (before, said) = (seen(), daemon.count("again in"));
    yard.site.write("web/current/edited", "x");
    let drift = || yard.site.read("web/.soll/drift.json").contains("edited");
    daemon.until("samples and a scan", || seen() > before && drift());
    assert_eq!(daemon.count("again in"), said, "all of it in one wait: {}", daemon.text());
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn what_is_stopped_is_not_judged() {
    let yard = Yard::new();
    let ladder = ladder(&yard, true);
    let yard = yard.env("web", 1, &ladder);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    yard.site.soll(&["stop", "web"]).expect(0);
    yard.site.write("ill", "");
    let samples = || yard.site.record("web").green.map_or(0, |green| green.samples);
    let before = samples();
    // Two passes of the loop at least: a commit that is heard, and another one.
    for words in ["one", "two", "three"] {
        let commits = daemon.count("commit ");
        yard.readme(words);
        daemon.until("the commit is heard", || daemon.count("commit ") > commits);
    }
    let record = yard.site.record("web");
    assert_eq!((record.ailing, samples(), restarts(&yard)), (None, before, 0), "{}", daemon.text());
    assert_eq!(daemon.stop().0, Some(0));
}

/// Commit 1 runs, and commit 2 is in its watch: one figure is noted as a line of `figures` each time it is asked for.
fn watching(length: &str, more: &str) -> (Yard, Daemon) {
    let yard = Yard::new();
    let mut yard = yard.env("web", 1, more);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    let watch = watch(&yard, length, more);
    yard.set("web", 2, &watch);
    yard.commit();
    daemon.until("the watch", || figures(&yard) >= 2);
    (yard, daemon)
}

fn watch(yard: &Yard, length: &str, more: &str) -> String {
    let figure = format!("date +%s.%N >> {0}figures; cat {0}figure 2>/dev/null || echo 0", yard.site.at(""));
    format!(
        "{more}\n[environments.web.watch]\nfor = \"{length}\"\nevery = \"100ms\"\n[[environments.web.watch.metrics]]\n\
         name = \"errors\"\nrun = \"{figure}\"\nabove = 5\n"
    )
}

fn figures(yard: &Yard) -> usize {
    yard.site.read("figures").lines().count()
}

/// For how long figures were asked for, pauses of more than two seconds left out.
fn watched(yard: &Yard) -> f64 {
    let times: Vec<f64> = yard.site.read("figures").lines().map(|line| line.parse().unwrap()).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap < 2.0).sum()
}

fn on_probation(yard: &Yard) -> bool {
    yard.site.record("web").probation.is_some_and(|probation| probation.sha.as_str() == sha(2))
}

#[test]
fn a_watch_that_is_interrupted_is_not_judged_and_goes_on_with_the_next_controller() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let (yard, mut daemon) = watching("5s", "");
        daemon.until("something of it is noted", || {
            yard.site.record("web").probation.is_some_and(|p| p.watched.is_some())
        });
        daemon.signal(signal);
        daemon.end();
        assert!(on_probation(&yard), "{signal:?} judged it: {}", daemon.text());
        assert_eq!(yard.site.live("web"), sha(2), "{signal:?}");
        let daemon = yard.site.daemon(&[], QUICK);
        daemon.until("the watch goes on and ends", || yard.runs("web", 2));
        // All of it was watched, and not all of it twice.
        let watched = watched(&yard);
        assert!((3.5..9.0).contains(&watched), "{signal:?}: {watched} s of 5 were watched");
        daemon.until("its last line", || yard.results("web").last().is_some_and(|last| last == "succeeded"));
        assert!(yard.site.record("web").quarantined.is_empty());
        assert_eq!(daemon.stop().0, Some(0));
    }
}

#[test]
fn a_figure_that_goes_wrong_after_an_interruption_still_sends_it_back() {
    let (yard, daemon) = watching("1h", "");
    assert_eq!(daemon.stop().0, Some(0));
    assert!(on_probation(&yard));
    yard.site.write("figure", "9\n");
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.says("ROLLED BACK");
    assert!(yard.runs("web", 1));
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn an_apply_that_is_told_to_end_in_its_watch_leaves_the_verdict_to_the_next_one() {
    let yard = Yard::new();
    let first = yard.env("web", 1, "");
    first.commit();
    first.site.soll(&["apply"]).expect(0);
    let mut yard = first;
    let text = watch(&yard, "3s", "");
    yard.set("web", 2, &text);
    yard.commit();
    let mut apply = yard.site.command(&["apply"]).spawn().unwrap();
    crate::support::site::until("the watch", || figures(&yard) >= 2);
    let pid = rustix::process::Pid::from_child(&apply);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(apply.wait().unwrap().code(), Some(1));
    assert!(on_probation(&yard));
    yard.site.soll(&["apply"]).expect(0);
    assert!(yard.runs("web", 2) && watched(&yard) > 2.0, "{}", watched(&yard));
}

#[test]
fn nobody_comes_back_to_a_watch_and_the_host_goes_back() {
    let (yard, daemon) = watching("1h", "deadline = \"1s\"");
    assert_eq!(daemon.stop().0, Some(0));
    crate::support::site::until("the host goes back", || yard.runs("web", 1));
    assert!(yard.site.record("web").returned.is_some());
}

#[test]
fn a_newer_commit_takes_the_place_of_one_that_is_watched() {
    let (mut yard, daemon) = watching("1h", "");
    let short = watch(&yard, "300ms", "");
    yard.set("web", 3, &short);
    yard.commit();
    daemon.until("the newer commit", || yard.runs("web", 3));
    let record = yard.site.record("web");
    let second = record.releases.values().find(|r| r.sha.as_ref().is_some_and(|s| s.as_str() == sha(2)));
    assert!(second.is_none_or(|release| release.confirmed_at.is_none()), "it was confirmed unwatched: {second:?}");
    assert_eq!(daemon.stop().0, Some(0));
}

/// A freeze, and a newer commit that waits for a word, keep what is on probation from nothing: it is judged to its end.
#[test]
fn what_is_watched_is_judged_to_its_end_whatever_may_not_be_changed_now() {
    for (n, more) in [(2, "frozen = \"incident\""), (3, "approvals = 1")] {
        let (mut yard, daemon) = watching("4s", "");
        let text = watch(&yard, "4s", more);
        yard.set("web", n, &text);
        yard.commit();
        daemon.until("its verdict", || yard.runs("web", 2));
        assert!(yard.site.record("web").returned.is_none(), "{more}: {}", daemon.text());
        assert!(watched(&yard) > 3.0, "{more}: {} s of 4 were watched", watched(&yard));
        assert_eq!(daemon.stop().0, Some(0));
    }
}

/// A disk of a few pages: the journal of a run cannot be written to its end.
#[test]
fn a_run_whose_journal_broke_off_is_over() {
    let mut yard = Yard::new().slow_hook("prepare").env("web", 1, "");
    yard.let_go();
    yard.commit();
    let disk = crate::support::disk::Disk::on(yard.site.path("ctl"), "8m");
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    std::fs::remove_file(yard.site.path("go")).unwrap();
    yard.release("web", 2);
    yard.begins("web", "prepare", 2);
    let ballast: PathBuf = disk.path().join("ballast");
    // `write` ends with the disk.
    let _ = std::fs::write(&ballast, vec![0u8; 16 << 20]);
    yard.let_go();
    daemon.says("the journal cannot be written");
    std::fs::remove_file(&ballast).unwrap();
    daemon.until("its end is written, and it is tried again", || {
        yard.runs("web", 2) && yard.results("web").last().is_some_and(|last| last == "succeeded")
    });
    let results = yard.results("web");
    assert!(!results.iter().any(|result| result == "-"), "a run goes on for ever: {results:?}\n{}", daemon.text());
    // Whoever could write first has written it: this loop, or the look at the history.
    assert!(results[1] == "error" || results[1] == "interrupted", "{results:?}");
    assert_eq!(daemon.stop().0, Some(0));
}

/// What nobody may act on stops deployments, not the look at what runs.
#[test]
fn while_the_newest_commit_is_refused_what_runs_is_sampled_and_nothing_else() {
    let yard = Yard::new();
    let ladder = ladder(&yard, true);
    let mut yard = yard.env("web", 1, &ladder);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    yard.release("web", 2);
    daemon.until("the second commit", || yard.runs("web", 2));
    yard.site.git(&["reset", "-q", "--hard", "HEAD~1"]);
    yard.release("web", 3);
    daemon.says("the branch was rewritten");
    let seen = || yard.site.record("web").green.map(|green| green.last);
    let goes_on = |daemon: &Daemon| {
        let before = seen();
        daemon.until("samples go on", || seen() > before);
    };
    goes_on(&daemon);
    assert_eq!(daemon.stop().0, Some(0));
    // A loop that begins then has the last commit that was acted on.
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.says("the branch was rewritten");
    goes_on(&daemon);
    yard.site.write("ill", "");
    daemon.until("it is seen to be ill", || yard.site.record("web").ailing.is_some());
    assert_eq!((restarts(&yard), yard.site.live("web")), (0, sha(2)), "{}", daemon.text());
    std::fs::remove_file(yard.site.path("ill")).unwrap();
    yard.site.soll(&["acknowledge"]).expect(0);
    daemon.until("it acts again", || yard.runs("web", 3));
    assert_eq!(daemon.stop().0, Some(0));
}
