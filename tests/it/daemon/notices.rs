//! What the loop tells is in its journal: once for each change of state, across its lives, and in one sequence with the
//! events of runs.

use serde_json::Value;

use super::state::Yard;

const QUICK: &[(&str, &str)] = &[("SOLL_POLL", "150ms")];

/// The kinds of the notices of one environment, or of all, the oldest first.
fn kinds(yard: &Yard, env: &[&str]) -> Vec<String> {
    let args = [&["history", "--notices", "--limit", "1000", "--output", "json"], env].concat();
    let json = yard.site.soll(&args).expect(0).json();
    json.as_array().unwrap().iter().rev().map(|notice| notice["notice"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn where_an_environment_stands_is_told_once_and_again_when_it_changed() {
    let mut yard = Yard::new().env("web", 1, "");
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("it is in sync", || kinds(&yard, &["web"]) == ["in-sync"]);
    yard.set("web", 2, "frozen = \"incident 4711\"");
    yard.commit();
    daemon.until("it is blocked", || kinds(&yard, &["web"]) == ["in-sync", "blocked"]);
    yard.set("web", 2, "approvals = 1");
    yard.commit();
    daemon.until("a word is wanted", || kinds(&yard, &["web"]).len() == 3);
    // Neither another commit nor another life is another state.
    yard.readme("words");
    daemon.until("the commit is heard", || daemon.count("commit ") >= 4);
    assert_eq!(daemon.stop().0, Some(0));
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.says("waits for a person's word");
    yard.site.soll(&["approve", "web"]).expect(0);
    daemon.until("it goes", || yard.runs("web", 2));
    daemon.until("it is in sync again", || kinds(&yard, &["web"]).len() == 4);
    assert_eq!(kinds(&yard, &["web"]), ["in-sync", "blocked", "approval-wanted", "in-sync"]);
    assert_eq!(daemon.stop().0, Some(0));
    assert_eq!(kinds(&yard, &[]).iter().filter(|kind| *kind == "accepted-commit").count(), 4);

    // One sequence: whoever asks for what came after a notice gets the run that followed it.
    let journal = yard.site.soll(&["history", "--after", "0", "--limit", "1000", "--output", "json"]).expect(0).json();
    let journal = journal.as_array().unwrap();
    let numbers: Vec<_> = journal.iter().map(|entry| entry["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let at = |wanted: &dyn Fn(&&Value) -> bool| journal.iter().rev().find(wanted).unwrap()["number"].as_u64().unwrap();
    let wanted = at(&|entry| entry["notice"] == "approval-wanted");
    let approved = at(&|entry| entry["event"]["action"] == "approve");
    let ran = at(&|entry| entry["event"]["event"] == "started");
    let settled = at(&|entry| entry["notice"] == "in-sync");
    assert!(wanted < approved && approved < ran && ran < settled, "{wanted} {approved} {ran} {settled}");
    let after = ["history", "--after", &wanted.to_string(), "--limit", "1", "--output", "json"];
    assert_eq!(yard.site.soll(&after).expect(0).json()[0]["number"], wanted + 1);
}

#[test]
fn a_refused_commit_and_its_cure_and_an_edit_by_hand_are_notices() {
    let yard = Yard::new().env("web", 1, "drift = \"report\"\ndrift_every = \"200ms\"");
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1));
    yard.site.commit("schema = 1\n[environments.web]\nrelease = 5\n");
    daemon.until("it is refused", || kinds(&yard, &[]).contains(&"refused-commit".to_owned()));
    yard.commit();
    daemon.until("its cure", || kinds(&yard, &[]).last().is_some_and(|kind| kind == "accepted-commit"));
    assert_eq!(kinds(&yard, &[]).iter().filter(|kind| *kind == "refused-commit").count(), 1);

    let index = yard.site.read("web/current/index.html");
    yard.site.write("web/current/added.php", "x");
    daemon.until("it is seen", || kinds(&yard, &["web"]).contains(&"drift".to_owned()));
    daemon.says("web: 1 path on local is not what was deployed: added.php; see them: soll diff web");
    std::fs::remove_file(yard.site.path("web/current/added.php")).unwrap();
    daemon.until("it is gone", || kinds(&yard, &["web"]).contains(&"drift-gone".to_owned()));
    assert_eq!(yard.site.read("web/current/index.html"), index);
    assert_eq!(daemon.stop().0, Some(0));
    assert_eq!(kinds(&yard, &["web"]), ["in-sync", "drift", "drift-gone"]);
}

#[test]
fn a_host_that_is_away_is_told_until_it_is_back() {
    let more = "unreachable = \"block\"";
    let yard = Yard::new().env("web", 1, more);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("it is in sync", || kinds(&yard, &["web"]) == ["in-sync"]);
    // Of a record that a newer program wrote nothing is known.
    let record = yard.site.read("web/.soll/record.json");
    yard.site.write("web/.soll/record.json", "{ \"format\": 99, \"by\": \"soll 7\" }");
    daemon.until("it is away", || kinds(&yard, &["web"]).contains(&"host-away".to_owned()));
    yard.site.write("web/.soll/record.json", &record);
    daemon.until("it is back", || kinds(&yard, &["web"]).contains(&"host-back".to_owned()));
    assert_eq!(daemon.stop().0, Some(0));
    let all = kinds(&yard, &["web"]);
    let count = |wanted: &str| all.iter().filter(|kind| *kind == wanted).count();
    assert_eq!((count("host-away"), count("host-back")), (1, 1), "{all:?}");
}

/// Nobody is told of one look that came late; of work that is not done at all somebody has to hear.
#[test]
fn a_health_check_that_cannot_be_made_is_told_as_overdue_until_it_is_made() {
    let often = "[environments.web.health]\nevery = \"200ms\"\nattempts = 1\ninterval = \"10ms\"\n";
    let yard = Yard::new().slow_hook("prepare").env("web", 1, often);
    yard.commit();
    let other = yard.site.at("other");
    let holder = yard.site.daemon(&[], QUICK);
    yard.begins("web", "prepare", 1);
    let daemon = yard.site.daemon(&[], &[("SOLL_POLL", "150ms"), ("SOLL_STATE_DIR", &other)]);
    daemon.says("the health check is overdue: it is wanted every 1s");
    yard.let_go();
    daemon.says("the health check is on time again");
    assert_eq!((holder.stop().0, daemon.stop().0), (Some(0), Some(0)));
    let of_other = [("SOLL_STATE_DIR", other.as_str())];
    let told = yard.site.with(&["history", "--notices", "--output", "json"], &of_other).expect(0).json();
    let all: Vec<_> = told.as_array().unwrap().iter().map(|notice| notice["notice"].as_str().unwrap()).collect();
    let count = |wanted: &str| all.iter().filter(|kind| **kind == wanted).count();
    assert_eq!((count("overdue"), count("on-time")), (1, 1), "{all:?}");
}
