//! One environment through many deaths: every case deploys a commit of its own on top of what the one before left, so
//! that leftovers of one case would be found in the next.

use std::collections::BTreeMap;
use std::fs;

use soll::model::ids::ReleaseName;
use soll::model::record::{Migration, Record, Release};

use crate::support::answers::Web;
use crate::support::site::{Done, Site, sha, there};

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dies {
    /// The controller; its agent lives on.
    Controller,
    /// The controller, and its agent right after it.
    Both,
    /// The agent; the controller sees the end of its connection.
    Agent,
}

/// What the commit of a case leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    /// A good release.
    Good,
    /// One that is switched, found bad, and taken back.
    Bad,
    /// The same, and the state repository gets the revert.
    Reverted,
    /// The same, held for people.
    Held,
    /// One whose migration says no: nothing is switched, what was closed is opened.
    Unmigrated,
    /// The commit that ran before: its release is there.
    Back,
}

pub struct Chain {
    pub site: Site,
    pub web: Web,
    n: u32,
    /// What the state file says beside the release.
    pub more: String,
    /// The commits that ran well, newest last.
    good: Vec<String>,
}

pub const ROOT: &str = "web";

impl Chain {
    /// A place where the first commit runs.
    pub fn new() -> Chain {
        Chain::bare().begun()
    }

    /// With the first commit on it.
    pub fn begun(mut self) -> Chain {
        self.good();
        self.settled(Plot::Good, "the first deployment");
        self
    }

    /// A place where nothing runs yet.
    pub fn bare() -> Chain {
        let (site, web) = (Site::new(), Web::start());
        site.write("web/shared/.env", "A=1\n");
        Chain { site, web, n: 0, more: String::new(), good: Vec::new() }
    }

    fn state(&self, release: &str, plot: Plot) -> String {
        let (bundles, dir, web) = (self.site.bundles(), self.site.at(""), self.web.url());
        let hook = |phase: &str, more: &str, run: &str| {
            format!("[[apps.web.hooks]]\nphase = \"{phase}\"\nname = \"{phase}\"\nrun = \"\"\"{run}\"\"\"\n{more}\n")
        };
        let hooks = [
            hook("prepare", "", "true"),
            hook("maintenance-on", "", &format!("echo on >> {dir}/maintenance")),
            hook("maintenance-off", "", &format!("echo off >> {dir}/maintenance")),
            hook("migrate", "", &format!("echo $SOLL_SHA >> {dir}/migrated; ! grep -q unmigrated index.html")),
            hook("pre-switch", "", "echo made > cache"),
            hook("post-switch", "reload = true", "true"),
            hook("verify", "", "true"),
            hook("after", "", "true"),
            hook("rollback", "", &format!("echo $SOLL_SHA >> {dir}/back")),
        ];
        let on_failure = if plot == Plot::Held { "hold" } else { "rollback" };
        let revert = plot == Plot::Reverted;
        format!(
            r#"
schema = 1
[apps.web]
bundle = {{ url = "{bundles}" }}
shared_files = [".env"]
shared_dirs = ["logs"]
keep_releases = 2
[[apps.web.gates]]
file = "index.html"
[[apps.web.gates]]
name = "asked"
run = "test -f data/one"
{hooks}
[environments.web]
release = "{release}"
root = "{dir}web"
on_failure = "{on_failure}"
revert_commit = {revert}
{more}
[environments.web.health]
grace = "1ms"
attempts = 1
interval = "10ms"
[[environments.web.health.checks]]
name = "good"
run = "! grep -q bad index.html"
[[environments.web.health.checks]]
name = "answers"
http = "{web}/"
[[environments.web.health.checks]]
name = "pages"
assets = {{ manifest = "manifest.json", base_url = "{web}/" }}
[environments.web.watch]
for = "10ms"
every = "5ms"
[[environments.web.watch.metrics]]
name = "errors"
run = "echo 0"
above = 1
"#,
            hooks = hooks.concat(),
            more = self.more,
        )
    }

    /// Makes a commit of this kind the desired one.
    pub fn next(&mut self, plot: Plot) -> String {
        self.n += 1;
        let new = sha(self.n);
        if plot == Plot::Back {
            let old = self.good[self.good.len() - 2].clone();
            self.site.commit(&self.state(&old, plot));
            return old;
        }
        let index = match plot {
            Plot::Bad | Plot::Reverted | Plot::Held => format!("{new}\nbad\n"),
            Plot::Unmigrated => format!("{new}\nunmigrated\n"),
            _ => format!("{new}\n"),
        };
        let manifest = r#"{"a.js": {"file": "a.js"}}"#;
        let (one, two) = (format!("one {new}"), format!("two {new}"));
        let files = [("index.html", &*index), ("data/one", &one), ("data/two", &two), ("manifest.json", manifest)];
        self.site.bundle(&new, &files);
        self.site.commit(&self.state(&new, plot));
        new
    }

    /// The same release under what the rest of the state file says now.
    pub fn again(&self, wanted: &str) {
        self.site.commit(&self.state(wanted, Plot::Good));
    }

    /// A good release without any death.
    pub fn good(&mut self) {
        let wanted = self.next(Plot::Good);
        self.site.soll(&["apply"]).expect(0);
        self.good.push(wanted);
    }

    /// This commit runs now.
    pub fn ran(&mut self, wanted: &str) {
        self.good.push(wanted.to_owned());
    }

    /// One death and what follows. `fault`: the place.
    pub fn case(&mut self, plot: Plot, dies: Dies, fault: &str) {
        let what = format!("{plot:?}, {dies:?} dies at {fault}");
        let wanted = self.next(plot);
        let before = self.record().confirmed;
        let first = self.site.with(&["apply"], &[("SOLL_FAULT", fault)]);
        match dies {
            Dies::Controller => assert_eq!(first.signal, Some(9), "{what}: the place was not passed: {first:?}"),
            Dies::Both => {
                assert_eq!(first.signal, Some(9), "{what}: the place was not passed: {first:?}");
                self.site.kill_agents();
            }
            Dies::Agent => {
                // A run tells it in its own line, an operation at once.
                let told = [&first.out, &first.err].iter().any(|text| text.contains("happened is unknown"));
                let lost = told || first.signal == Some(9);
                assert!(lost, "{what}: the place was not passed: {first:?}");
            }
        }
        self.laws(&what);
        if before.is_some() {
            assert!(self.record().confirmed.is_some(), "{what}: the way back is gone");
        }
        self.truthful(plot, &what, &wanted);
        self.laws(&what);
        self.converge(plot, &what);
        self.settled(plot, &what);
        if matches!(plot, Plot::Good | Plot::Back) {
            self.good.push(wanted);
        }
    }

    pub fn record(&self) -> Record {
        self.site.record(ROOT)
    }

    /// The release that `current` names.
    pub fn current(&self) -> Option<ReleaseName> {
        let link = fs::read_link(self.site.path("web/current")).ok()?;
        link.strip_prefix("releases").ok()?.to_str()?.parse().ok()
    }

    /// Laws 1, 2, 5 and 6, as they can be seen on the host.
    #[track_caller]
    pub fn laws(&self, what: &str) {
        let record = self.record();
        let current = self.current();
        assert!(current.is_some() || self.good.is_empty(), "{what}: `current` is gone");
        // What somebody else made is nobody's to vouch for until it has been taken over.
        let foreign = |name: &&ReleaseName| {
            let unfinished = |release: &Release| release.adopted && !release.sealed;
            record.confirmed.is_none() && record.releases.get(name).is_none_or(unfinished)
        };
        if let Some(current) = current.as_ref().filter(foreign) {
            assert!(there(&self.site.path(&format!("web/releases/{current}/index.html"))), "{what}: {current} is gone");
        } else if let Some(current) = &current {
            self.complete(what, &record, current);
            let confirmed = record.confirmed.as_ref().map(|c| &c.release);
            let probation = record.probation.as_ref().map(|p| &p.release);
            let known = &record.releases[current];
            let stayed = record.returned.as_ref().is_some_and(|r| r.from == *current && r.to.is_none());
            let held = known.failed || (confirmed.is_none() && record.probation.is_none());
            let fine = confirmed == Some(current) || probation == Some(current) || held || stayed;
            assert!(fine, "{what}: {current} is neither confirmed nor on probation: {record:#?}");
        }
        if let Some(confirmed) = &record.confirmed {
            self.complete(what, &record, &confirmed.release);
        }
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for line in self.site.read("migrated").lines() {
            *times.entry(line.to_owned()).or_default() += 1;
        }
        assert!(times.values().all(|n| *n == 1), "{what}: a migration ran twice: {times:?}");
    }

    /// Law 1: a sealed release with everything in it.
    #[track_caller]
    fn complete(&self, what: &str, record: &Record, name: &ReleaseName) {
        let known = record.releases.get(name).unwrap_or_else(|| panic!("{what}: {name} is not recorded"));
        assert!(known.sealed, "{what}: {name} is not sealed");
        let dir = format!("web/releases/{name}");
        let Some(sha) = known.sha.as_ref().filter(|_| !known.adopted) else {
            assert!(there(&self.site.path(&dir).join("index.html")), "{what}: {name} is gone");
            return;
        };
        let read = |file: &str| self.site.read(&format!("{dir}/{file}"));
        assert_eq!(read("index.html").lines().next(), Some(sha.as_str()), "{what}: {name}");
        assert_eq!(read("data/one"), format!("one {sha}"), "{what}: {name}");
        assert_eq!(read("data/two"), format!("two {sha}"), "{what}: {name}");
        assert_eq!(read("cache"), "made\n", "{what}: {name}");
        assert_eq!(read(".env"), self.site.read("web/shared/.env"), "{what}: {name}");
    }

    /// `status`, `plan` and `history` work, and say what is.
    #[track_caller]
    pub fn truthful(&self, plot: Plot, what: &str, wanted: &str) {
        let status = self.site.soll(&["status", "--output", "json"]).expect(0).json();
        let row = &status["environments"][0];
        let current = self.current();
        let shown = row["hosts"][0]["current"].as_str().map(str::to_owned);
        // An agent that lives may go back between two looks: both are read again until they agree.
        let same = shown.as_deref() == current.as_ref().map(ReleaseName::as_str) || self.current() != current;
        assert!(same, "{what}: {status:#}");
        let reverted = plot == Plot::Reverted && self.good.last().is_some_and(|good| row["desired"] == **good);
        assert!(row["desired"] == wanted || reverted, "{what}: {row:#}");
        assert_ne!(row["operation"], "running", "{what}: {row:#}");
        let plan = self.site.soll(&["plan", "--output", "json"]).expect(0).json();
        let record = self.record();
        if plan["verdict"] == "none" {
            let confirmed = record.confirmed.as_ref().and_then(|c| c.sha.as_ref()).map(|sha| sha.as_str());
            assert!(confirmed == Some(wanted) || reverted, "{what}: {plan:#}");
            assert_eq!(Some(&*self.site.live(ROOT)), confirmed, "{what}: {plan:#}");
        }
        self.site.soll(&["why", "web"]).expect(0);
        self.history(what);
    }

    /// No run is left open.
    #[track_caller]
    fn history(&self, what: &str) {
        let history = self.site.soll(&["history", "--output", "json"]).expect(0).json();
        for run in history.as_array().unwrap() {
            assert!(run["result"].is_string() && run["finished"].is_string(), "{what}: {run:#}");
        }
    }

    /// Applies until nothing more is to be expected; answers what only a person can answer.
    #[track_caller]
    pub fn converge(&self, plot: Plot, what: &str) {
        let mut said = Vec::new();
        for _ in 0..6 {
            let Done { code, out, err, .. } = self.site.soll(&["apply"]);
            self.laws(what);
            let record = self.record();
            let quiet = record.probation.is_none();
            said.push(format!("{code:?} {out}{err}"));
            match code {
                Some(0) if quiet => return,
                Some(7) if quiet && !matches!(plot, Plot::Good | Plot::Back) => return,
                Some(4) if record.migrations.values().any(|m| *m == Migration::Begun) => {
                    if out.contains("under way") {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        continue;
                    }
                    // A person looks at the database.
                    let begun = record.migrations.iter().find(|(_, m)| **m == Migration::Begun).unwrap().0;
                    let ran = self.site.read("migrated").contains(&begun[..40]);
                    let word = if ran { "done" } else { "again" };
                    self.site.soll(&["retry", "web", "--migration", word]).expect(0);
                }
                _ => {}
            }
        }
        panic!("{what}: it does not converge:\n{}\n{:#?}", said.join("\n"), self.record());
    }

    /// What must be so in the end.
    #[track_caller]
    pub fn settled(&self, plot: Plot, what: &str) {
        let record = self.record();
        let current = self.current().unwrap();
        assert_eq!(record.probation, None, "{what}");
        let status = self.site.soll(&["status", "--output", "json"]).expect(0).json();
        let row = &status["environments"][0];
        let confirmed = record.confirmed.as_ref().map(|c| c.release.clone());
        match plot {
            Plot::Good | Plot::Back => {
                assert_eq!((&row["sync"], &row["health"]), (&"in-sync".into(), &"healthy".into()), "{what}: {row:#}");
                assert_eq!(confirmed, Some(current), "{what}");
                let plan = self.site.soll(&["plan", "--detailed-exitcode"]);
                assert_eq!(plan.code, Some(0), "{what}: {}", plan.out);
            }
            Plot::Bad | Plot::Unmigrated => {
                assert_eq!(confirmed, Some(current), "{what}");
                assert_ne!(row["quarantined"], serde_json::json!([]), "{what}");
            }
            Plot::Reverted => {
                assert_eq!(confirmed, Some(current), "{what}");
                assert_eq!(row["sync"], "in-sync", "{what}: {row:#}");
            }
            Plot::Held => assert_ne!(row["quarantined"], serde_json::json!([]), "{what}"),
        }
        let doors = self.site.read("maintenance");
        assert!(matches!(doors.lines().last(), None | Some("off")), "{what}: it stays closed: {doors}");
        self.history(what);
    }
}
