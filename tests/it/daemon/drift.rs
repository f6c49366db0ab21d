//! It stays converged: without any commit, links and contents are put right, health is sampled, windows open.

use std::os::unix::fs::symlink;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::state::Yard;
use crate::support::site::{sha, there};

const QUICK: &[(&str, &str)] = &[("SOLL_POLL", "200ms")];

#[test]
fn a_link_and_a_file_changed_by_hand_are_put_right() {
    let (heal, report) = ("drift = \"heal\"\ndrift_every = \"300ms\"", "drift = \"report\"\ndrift_every = \"300ms\"");
    let mut yard = Yard::new().env("web", 1, heal).env("api", 1, report);
    yard.commit();
    let daemon = yard.site.daemon(&[], QUICK);
    daemon.until("the first commit", || yard.runs("web", 1) && yard.runs("api", 1));
    let old = std::fs::read_link(yard.site.path("web/current")).unwrap();
    yard.release("web", 2);
    daemon.until("the second commit", || yard.runs("web", 2));

    std::fs::remove_file(yard.site.path("web/current")).unwrap();
    symlink(old, yard.site.path("web/current")).unwrap();
    daemon.until("the link", || yard.runs("web", 2));

    yard.site.write("api/current/index.html", "edited\n");
    yard.site.write("web/current/index.html", "edited\n");
    daemon.until("the contents", || yard.runs("web", 2));
    assert_eq!(yard.site.live("api"), "edited", "report is not heal");
    assert_eq!(yard.results("api"), ["succeeded"]);
    let diff = yard.site.soll(&["diff", "api"]).expect(0);
    assert!(diff.out.contains("index.html"), "{}", diff.out);
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn samples_of_the_loop_let_a_soak_end() {
    let often = "[environments.staging.health]\nevery = \"500ms\"\nattempts = 1";
    let promote = "promote = { from = \"staging\", soak = \"2s\" }";
    let yard = Yard::new().env("staging", 1, often).env("production", 1, promote);
    yard.commit();
    // Nothing but the samples moves it on: the repository is not polled.
    let daemon = yard.site.daemon(&[], &[("SOLL_POLL", "1h")]);
    daemon.until("staging", || yard.runs("staging", 1));
    daemon.until("production after the soak", || yard.runs("production", 1));
    let green = yard.site.record("staging").green.unwrap();
    let soaked = yard.site.record("production").confirmed.unwrap().at.duration_since(green.since);
    assert!(soaked >= SignedDuration::from_secs(2), "{soaked:?}");
    assert!(green.samples >= 3, "{green:?}");
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_window_opens_by_itself() {
    // Closed until the next minute begins.
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let opens = now.checked_add(SignedDuration::from_mins(1)).unwrap();
    let from = now.checked_sub(SignedDuration::from_mins(1)).unwrap();
    let clock = |at: &jiff::Zoned| at.strftime("%H:%M").to_string();
    let (from, to) = (clock(&from), clock(&opens));
    let window = format!(
        "[[environments.web.windows]]\nkind = \"deny\"\nfrom = \"{from}\"\nto = \"{to}\"\nzone = \"UTC\"\nreason = \"tea\""
    );
    let yard = Yard::new().env("web", 1, &window);
    yard.commit();
    let daemon = yard.site.daemon(&[], &[("SOLL_POLL", "1h")]);
    daemon.says("tea");
    assert!(!there(&yard.site.path("web/current")));
    let opens = opens.timestamp();
    let limit = opens + SignedDuration::from_secs(60);
    while !yard.runs("web", 1) {
        assert!(Timestamp::now() < limit, "{}", daemon.text());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let minute = opens.as_second() / 60 * 60;
    assert!(yard.site.record("web").confirmed.unwrap().at.as_second() >= minute, "not before it opened");
    assert_eq!(yard.site.live("web"), sha(1));
    assert_eq!(daemon.stop().0, Some(0));
}
