//! A root that somebody else made, taken over by a program that dies.

use soll::fault;

use super::chain::{Chain, Dies, Plot};

#[test]
fn a_foreign_root_is_taken_over_after_any_death() {
    let agent =
        fault::HOST.iter().filter(|place| place.starts_with("host.adopt.")).map(|p| (Dies::Agent, (*p).to_owned()));
    let steps = fault::STEP.iter().enumerate().map(|(i, place)| {
        let dies = if i % 2 == 0 { Dies::Controller } else { Dies::Both };
        (dies, format!("{place}@adopt"))
    });
    for (dies, fault) in agent.chain(steps) {
        let mut chain = Chain::bare();
        let old = "web/releases/20200101_000000-abcdef01";
        chain.site.write(&format!("{old}/index.html"), "old\n");
        chain.site.write(&format!("{old}/manifest.json"), "{}");
        std::os::unix::fs::symlink("releases/20200101_000000-abcdef01", chain.site.path("web/current")).unwrap();
        chain.case(Plot::Good, dies, &fault);
    }
}
