//! State files for the loop, and hooks that wait until they are let go.

use crate::support::site::{Site, sha, until};

/// Everything of one loop.
pub struct Yard {
    pub site: Site,
    environments: Vec<(String, String, String)>,
    app: String,
}

impl Yard {
    /// Bundles of the commits 1 to 8; 8 is bad, and 9 is missing.
    pub fn new() -> Yard {
        let site = Site::new();
        for n in 1..=8 {
            let text = if n == 8 { format!("{}\nbad\n", sha(n)) } else { format!("{}\n", sha(n)) };
            site.bundle(&sha(n), &[("index.html", &text)]);
        }
        Yard { site, environments: Vec::new(), app: String::new() }
    }

    /// More for the application.
    pub fn app(mut self, text: &str) -> Yard {
        self.app += text;
        self
    }

    /// A hook of the application that notes that it runs and then waits for [`Yard::let_go`].
    pub fn slow_hook(self, phase: &str) -> Yard {
        let dir = self.site.at("");
        let run = format!("echo $SOLL_SHA >> {dir}$SOLL_ENV.{phase}; while [ ! -e {dir}go ]; do sleep 0.02; done");
        self.app(&format!("[[apps.web.hooks]]\nphase = \"{phase}\"\nrun = \"\"\"{run}\"\"\"\n"))
    }

    /// Every hook that waits goes on, and none waits any more.
    pub fn let_go(&self) {
        self.site.write("go", "");
    }

    /// How often a hook of [`Yard::slow_hook`] began.
    pub fn began(&self, env: &str, phase: &str) -> usize {
        self.site.read(&format!("{env}.{phase}")).lines().count()
    }

    #[track_caller]
    pub fn begins(&self, env: &str, phase: &str, times: usize) {
        until(&format!("{phase} of {env}"), || self.began(env, phase) >= times);
    }

    /// An environment; `more` are lines of its table, and tables below it.
    pub fn env(mut self, name: &str, n: u32, more: &str) -> Yard {
        self.set(name, n, more);
        self
    }

    /// Adds or replaces an environment; nothing is committed yet.
    pub fn set(&mut self, name: &str, n: u32, more: &str) {
        self.environments.retain(|(other, ..)| other != name);
        self.environments.push((name.to_owned(), sha(n), more.to_owned()));
    }

    pub fn remove(&mut self, name: &str) {
        self.environments.retain(|(other, ..)| other != name);
    }

    pub fn text(&self) -> String {
        let mut text = format!("schema = 1\n[apps.web]\nbundle = {{ url = \"{}\" }}\n", self.site.bundles());
        text += &self.app;
        for (name, release, more) in &self.environments {
            let root = self.site.at(name);
            text += &format!("[environments.{name}]\nrelease = \"{release}\"\nroot = \"{root}\"\n{more}\n");
            if !more.contains(".health]") {
                text += &format!("[environments.{name}.health]\nattempts = 1\ninterval = \"10ms\"\n");
            }
            let check = "! grep -q bad index.html";
            text += &format!("[[environments.{name}.health.checks]]\nname = \"good\"\nrun = \"{check}\"\n");
        }
        text
    }

    pub fn commit(&self) {
        self.site.commit(&self.text());
    }

    /// Commits another release of an environment.
    pub fn release(&mut self, name: &str, n: u32) {
        let more = self.environments.iter().find(|(other, ..)| other == name).unwrap().2.clone();
        self.set(name, n, &more);
        self.commit();
    }

    /// A commit that changes no environment.
    pub fn readme(&self, text: &str) {
        self.site.write("state/README", text);
        self.site.git(&["add", "-A"]);
        self.site.git(&["commit", "-q", "-m", "words"]);
    }

    /// Whether an environment runs this commit, confirmed.
    pub fn runs(&self, name: &str, n: u32) -> bool {
        let record = self.site.record(name);
        let confirmed = record.confirmed.and_then(|c| c.sha).is_some_and(|s| s.as_str() == sha(n));
        confirmed && record.probation.is_none() && self.site.live(name) == sha(n)
    }

    /// The results of the runs of an environment, oldest first; `-` for one that is not over.
    pub fn results(&self, name: &str) -> Vec<String> {
        let history = self.site.soll(&["history", name, "--output", "json"]).expect(0).json();
        let mut runs: Vec<_> = history.as_array().unwrap().iter().collect();
        runs.reverse();
        runs.iter().map(|run| run["result"].as_str().unwrap_or("-").to_owned()).collect()
    }
}
