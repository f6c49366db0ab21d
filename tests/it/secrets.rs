//! Secrets planted wherever a user keeps them are in no output, no log, no journal, no record and no command line (law 9).

use std::fs;
use std::path::Path;

use crate::support::answers::Web;
use crate::support::site::{Done, Site, sha};

const TOKEN: &str = "tok-Zx81-planted-bearer/+";
const OTHER: &str = "tok-Qy72-planted-in-a-file";
const DATABASE: &str = "pw-Kt93-planted-in-dotenv";
const APP_KEY: &str = "base64:Wd64plantedAppKey0123456789=";
const BUNDLE: &str = "pw-Mn55-planted-in-a-bundle-url";
const REPO: &str = "pw-Vb46-planted-in-a-repo-url";
const QUERY: &str = "sig-Hj37-planted-in-a-signed-url";

/// All of them, and with each a part that would be recognised.
fn planted() -> Vec<&'static str> {
    let whole = [TOKEN, OTHER, DATABASE, APP_KEY, BUNDLE, REPO, QUERY];
    let parts = ["Zx81-plan", "Qy72-plan", "Kt93-plan", "Wd64plan", "Mn55-plan", "Vb46-plan", "Hj37-plan"];
    whole.into_iter().chain(parts).collect()
}

#[track_caller]
fn clean(what: &str, text: &str) {
    for secret in planted() {
        let at = text.find(secret);
        assert!(at.is_none(), "{what} shows {secret}:\n{text}");
    }
}

/// Everything that was said and written so far.
struct Said(Vec<(String, Done)>);

impl Said {
    fn run(&mut self, site: &Site, args: &[&str]) -> i32 {
        let done = site.soll(args);
        let code = done.code.expect("it was not killed");
        self.0.push((args.join(" "), done));
        code
    }

    #[track_caller]
    fn clean(&self) {
        for (what, done) in &self.0 {
            clean(what, &done.out);
            clean(what, &done.err);
        }
    }
}

/// Every file below `dir` but the places where the secrets belong.
fn files(dir: &Path, but: &[&Path], found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if but.contains(&&*path) {
            continue;
        }
        if kind.is_dir() {
            files(&path, but, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

#[test]
fn what_is_planted_appears_nowhere() {
    let mut site = Site::new();
    // It echoes what it was asked with, in the body of a bad answer.
    let echo = Web::answering(|head| {
        let status = if head.contains("GET /bad") { "500 No" } else { "200 OK" };
        let body = format!("{{\"you said\": {:?}}}", head.replace("\r\n", " "));
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    });
    let secrets = site.path("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("OTHER"), format!("{OTHER}\n")).unwrap();
    for (name, value) in
        [("SOLL_SECRET_TOKEN", TOKEN), ("SOLL_SECRETS_DIR", &site.at("secrets")), ("SOLL_LOG", "debug")]
    {
        site.vars.push((name.to_owned(), value.to_owned()));
    }
    site.write("web/shared/.env", &format!("DB_PASSWORD=\"{DATABASE}\"\nAPP_KEY={APP_KEY}\n"));
    let (bundles, dir, url) = (site.bundles(), site.at(""), echo.url());
    let elsewhere = url.replace("http://", &format!("http://ann:{BUNDLE}@"));
    let state = |release: &str, path: &str, gate: &str| {
        format!(
            r#"
schema = 1
[apps.web]
bundle = {{ url = "{bundles}" }}
shared_files = [".env"]
required_env = ["DB_PASSWORD", "APP_KEY"]
[[apps.web.gates]]
name = "environment"
run = "cat .env; {gate}"
[[apps.web.hooks]]
phase = "prepare"
run = "cat .env; for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; done > {dir}cmdlines 2>&1; true"
[[apps.web.hooks]]
phase = "after"
run = "cat .env; false"
[[apps.web.hooks]]
phase = "rollback"
on_failure = "warn"
run = "cat .env; false"
[environments.web]
app = "web"
release = "{release}"
root = "{dir}web"
[environments.web.health]
attempts = 1
[[environments.web.health.checks]]
name = "from here"
http = "{url}/{path}"
bearer = "TOKEN"
from = "controller"
[[environments.web.health.checks]]
name = "from there"
http = "{url}/{path}"
bearer = "OTHER"
from = "host"
[[environments.web.health.checks]]
name = "own words"
run = "cat .env; test {path} = good"
[environments.web.watch]
for = "10ms"
every = "5ms"
[[environments.web.watch.metrics]]
name = "figure"
http = "{url}/bad"
bearer = "TOKEN"
above = 1
on_failure = "warn"
[environments.elsewhere]
app = "web"
release = "{release}"
root = "{dir}elsewhere"
[apps.other]
bundle = {{ url = "{elsewhere}/bad/{{sha}}.tar.gz?X-Signature={QUERY}" }}
[environments.other]
app = "other"
release = "{release}"
root = "{dir}other"
"#
        )
    };
    let mut said = Said(Vec::new());
    let every = |said: &mut Said, site: &Site| {
        for form in ["text", "json", "markdown"] {
            said.run(site, &["plan", "--output", form]);
        }
        for args in [&["status"][..], &["status", "--output", "json"], &["history"], &["why", "web"], &["diff", "web"]]
        {
            said.run(site, args);
        }
        said.run(site, &["why", "other"]);
        let runs = site.soll(&["history", "--output", "json"]).json();
        let runs: Vec<_> = runs.as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect();
        for run in &runs {
            said.run(site, &["show", run]);
            said.run(site, &["show", run, "--output", "json"]);
        }
        runs.len()
    };
    // Refused by a gate, found ill after the switch, and good.
    for (n, path, gate) in [(1, "good", "true"), (2, "good", "false"), (3, "bad", "true"), (4, "good", "true")] {
        site.bundle(&sha(n), &[("index.html", &sha(n))]);
        site.commit(&state(&sha(n), path, gate));
        said.run(&site, &["apply", "web"]);
        said.run(&site, &["apply"]);
        every(&mut said, &site);
    }
    assert_eq!(site.live("web"), sha(4), "the last one runs: {:?}", said.0.iter().rev().take(9).collect::<Vec<_>>());
    let runs = every(&mut said, &site);
    assert!(runs >= 4, "{runs} runs");
    assert!(said.0.iter().any(|(_, done)| done.out.contains("***")), "what was echoed was shown, masked");
    // A mistake beside a secret, and a repository that is not there.
    let repo = format!("{}/state.git", url.replace("http://", &format!("http://ann:{REPO}@")));
    said.run(&site, &["plan", "--repo", &repo]);
    said.run(&site, &["status", "--repo", &repo]);
    site.commit(&state(&sha(4), "good", "true").replace("bearer = \"OTHER\"", &format!("bearer = \"{OTHER}\"")));
    assert_eq!(said.run(&site, &["validate"]), 1);
    // It is about that environment alone, which stays as the commit before has it.
    assert_eq!(said.run(&site, &["plan"]), 0);
    // The loop, and what it publishes.
    site.commit(&state(&sha(1), "good", "true"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
    let daemon = site.daemon(&["--listen", &format!("127.0.0.1:{port}")], &[("SOLL_LOG_FORMAT", "json")]);
    daemon.until("it goes back to the first", || site.live("web") == sha(1) && site.record("web").probation.is_none());
    // Until every environment was looked at there is nothing to publish.
    let mut page = String::new();
    daemon.until("it publishes", || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = b"GET /observation HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, request).unwrap();
        page.clear();
        std::io::Read::read_to_string(&mut stream, &mut page).unwrap();
        page.starts_with("HTTP/1.1 200")
    });
    clean("what it publishes", &page);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
    clean("the log of the loop", &log);
    said.clean();
    let cmdlines = site.read("cmdlines");
    assert!(cmdlines.contains("host-agent"), "{cmdlines}");
    // The address of the other repository was given as an argument by us; what we start must not repeat it.
    clean("a command line", &cmdlines);
    // Journal, history, records, caches: every byte of them.
    let at_home = [site.path("secrets"), site.path("web/shared/.env"), site.path("state")];
    let mut all = Vec::new();
    files(&site.path(""), &at_home.each_ref().map(|path| &**path), &mut all);
    assert!(all.iter().any(|path| path.starts_with(site.path("ctl"))), "{all:?}");
    assert!(all.iter().any(|path| path.components().any(|part| part.as_os_str() == ".soll")), "{all:?}");
    for path in all {
        clean(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(&path).unwrap()));
    }
}
