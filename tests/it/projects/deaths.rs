//! `kill -9` of the controller, of its agent, of both, where only a project is at work: images come, services come up,
//! forward and on the way back (law 5). After each death the commands tell the truth, what the release does not change runs
//! on untouched, and the next `apply` gets to the end, with no container left over.

use super::platform::Platform;
use crate::crash::chain::Dies;
use crate::support::engines::{NEXT, OLD, Pair};
use crate::support::site::{kill_agents, until};

/// Where a commit leads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Plot {
    /// To a release that is confirmed.
    Good,
    /// To one whose service does not stay up, and back.
    Bad,
}

struct Chain {
    p: Platform<'static>,
    /// The letter of the commit that runs, and of the one that is desired.
    runs: char,
    wants: char,
    /// What is mounted into `web` by what runs.
    mounted: String,
    turn: u32,
    db: String,
}

impl Chain {
    fn new(on: &'static Pair, project: &str) -> Chain {
        let p = Platform::new(on, project, "");
        p.w.soll("apply").exits(0);
        let db = p.id("db");
        Chain { p, runs: 'a', wants: 'a', mounted: "one".to_owned(), turn: 0, db }
    }

    /// This commit becomes the desired one, with a file that no release had: each case has a release of its own.
    fn want(&mut self, letter: char) {
        self.turn += 1;
        self.p.files(&self.turn.to_string());
        self.p.w.edit(&format!("<{}>", self.wants), &format!("<{letter}>"));
        self.wants = letter;
    }

    /// One death and what follows.
    fn case(&mut self, plot: Plot, dies: Dies, fault: &str) {
        let what = format!("{plot:?}, {dies:?} dies at {fault}");
        self.want(match (plot, self.runs) {
            (Plot::Bad, _) => 'c',
            (Plot::Good, 'a') => 'b',
            (Plot::Good, _) => 'a',
        });
        self.p.w.soll("retry staging");
        let first = self.p.w.soll_with("apply", &[("SOLL_FAULT", fault)]);
        let died = first.exit == -1;
        let lost = [&first.stdout, &first.stderr].iter().any(|text| text.contains("happened is unknown"));
        assert!(died || (dies == Dies::Agent && lost), "{what}: the place was not passed: {first:?}");
        if dies == Dies::Both {
            kill_agents(&self.p.w.path(""));
        }
        self.truthful(&what);
        self.converge(plot, &what);
        self.settled(plot, &what);
    }

    /// The commands work, `current` leads to a release that says what it runs, and the database is the one that it was.
    fn truthful(&self, what: &str) {
        assert!(self.p.w.path("staging/current/compose.soll.json").exists(), "{what}: `current` is not complete");
        let status = self.p.w.soll("status --output json").exits(0).json();
        assert_ne!(status["environments"][0]["operation"], "running", "{what}: {status:#}");
        self.p.w.soll("plan").exits(0);
        self.p.w.soll("why staging").exits(0);
        assert_eq!(self.p.id("db"), self.db, "{what}: the database has another container");
    }

    fn converge(&self, plot: Plot, what: &str) {
        let mut said = Vec::new();
        for _ in 0..6 {
            let done = self.p.w.soll("apply");
            let quiet = self.p.w.record("staging")["probation"].is_null();
            match done.exit {
                0 if quiet => return,
                7 if quiet && plot == Plot::Bad => return,
                _ => said.push(format!("{} {}{}", done.exit, done.stdout, done.stderr)),
            }
        }
        panic!("{what}: it does not converge:\n{}", said.join("\n"));
    }

    fn settled(&mut self, plot: Plot, what: &str) {
        match plot {
            Plot::Good => (self.runs, self.mounted) = (self.wants, self.turn.to_string()),
            Plot::Bad => assert!(self.p.w.quarantined("staging").contains(&"c".to_owned()), "{what}"),
        }
        let version = if self.runs == 'a' { "one" } else { "two" };
        let runs = (self.p.exec("api", "/version"), self.p.exec("web", "/etc/site.conf"));
        assert_eq!(runs, (version.to_owned(), self.mounted.clone()), "{what}");
        assert!(self.p.status().iter().all(|(_, well)| *well), "{what}: {:?}", self.p.status());
        assert_eq!(self.p.id("db"), self.db, "{what}: the database has another container");
        let project = &self.p.project;
        let names: Vec<String> = self.p.docker.containers(project).into_iter().map(|(name, _)| name).collect();
        let wanted = ["api", "db", "web"].map(|service| self.p.name(service));
        assert_eq!(names, wanted, "{what}: nothing is left over");
    }
}

/// The places around a step of this kind, at this passage; the ways of dying take turns.
fn around(kind: &str, passage: u32) -> Vec<(Dies, String)> {
    let dies = [Dies::Both, Dies::Controller].into_iter().cycle();
    dies.zip(soll::fault::STEP.iter().map(|place| format!("{place}@{kind}@{passage}"))).collect()
}

fn agent(places: &[&str]) -> Vec<(Dies, String)> {
    places.iter().map(|place| (Dies::Agent, (*place).to_owned())).collect()
}

/// The ordinary run plays one of three, another one for each plot, and the long one all.
fn play(on: &'static Pair, project: &str, plot: Plot, cases: &[(Dies, String)]) {
    let every = if std::env::var_os("SOLL_LONG").is_some() { 1 } else { 3 };
    let mut chain = Chain::new(on, project);
    for (dies, fault) in cases.iter().step_by(every) {
        chain.case(plot, *dies, fault);
    }
}

#[test]
fn around_images_and_services_that_come() {
    let mut cases = around("pull", 1);
    cases.extend(around("activate", 1));
    cases.extend(agent(&[
        "host.compose.after-pull",
        "host.compose.after-resolved",
        "host.compose.before-up",
        "host.activate.after-units",
        "host.compose.after-up",
    ]));
    play(&OLD, "soll-deaths", Plot::Good, &cases);
}

#[test]
fn around_a_way_back() {
    let mut cases = around("rollback", 1);
    cases.extend(around("activate", 2));
    cases.extend(agent(&["host.compose.before-up@2", "host.return.after-link", "host.activate.before-record"]));
    play(&NEXT, "soll-returns", Plot::Bad, &cases);
}

/// Nobody takes over: the agent goes back alone, services and all, and needs no registry for it.
#[test]
fn a_host_alone_brings_up_what_it_goes_back_to() {
    let mut p = Platform::new(&NEXT, "soll-alone", "deadline = \"2s\"");
    p.w.soll("apply").exits(0);
    let db = p.id("db");
    p.w.edit("<a>", "<b>");
    let first = p.w.soll_with("apply", &[("SOLL_FAULT", "run.after-result@activate")]);
    assert_eq!(first.exit, -1, "{first:?}");
    p.registry.stop();
    until("the host goes back", || p.w.record("staging")["probation"].is_null());
    assert_eq!((p.exec("api", "/version").as_str(), p.id("db") == db), ("one", true));
    assert!(p.status().iter().all(|(_, well)| *well), "{:?}", p.status());
}
