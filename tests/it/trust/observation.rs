//! What a daemon publishes, and who believes it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use soll::model::ids::Digest;

use super::Trap;
use crate::support::answers;
use crate::support::web::{Web, free_port, get};
use crate::support::world::{Running, World, env, until};

/// A daemon that publishes; its address.
fn daemon(w: &World, line: &str) -> (String, Running) {
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = w.start(&format!("run --listen {address}{line}"), "daemon.log");
    (address, daemon)
}

/// Head and body of one GET, with more lines in the head of the request.
fn ask(address: &str, lines: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /observation HTTP/1.0\r\nhost: {address}\r\n{lines}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

/// A key pair `NAME` and `NAME.pub`. Gives the public one.
fn key(w: &World, name: &str) -> String {
    let mut keygen = w.program("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(w.path(name));
    assert!(keygen.status().unwrap().success());
    w.read(&format!("{name}.pub")).trim().to_owned()
}

/// Settings with one `[[observation]]` of these lines.
fn source(w: &World, url: &str, lines: &str) {
    w.write("settings.toml", &format!("[[observation]]\nurl = \"{url}\"\n{lines}\n"));
}

/// Two checks that count how often they are asked: one that the host runs, one at a server.
fn counted(web: &Web) -> String {
    format!(
        "[environments.staging.health]\nevery = \"1h\"\n\
         [[environments.staging.health.checks]]\nname = \"runs\"\nrun = \"echo x >> $DIR/asked\"\n\
         [[environments.staging.health.checks]]\nname = \"web\"\nhttp = \"{}\"\n",
        web.url("/health")
    )
}

#[test]
fn a_hundred_who_ask_touch_no_host() {
    let web = Web::start();
    web.set("/health", 200, "fine");
    let mut w = World::staging(&counted(&web));
    w.set("SOLL_POLL", "1h");
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = w.start(&format!("run --listen {address}"), "daemon.log");
    until("the daemon publishes", || get(&address, "/observation"));
    let asked = || (w.read("asked").lines().count(), web.seen().len());
    let before = asked();
    for _ in 0..100 {
        let seen = get(&address, "/observation").unwrap();
        let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen["commit"], w.head());
    }
    assert_eq!(asked(), before);
    assert_eq!(daemon.stop(), Some(0));
}

/// Everything that is nobody's business: a command, a person, what a check said, the digest of a small `.env`.
#[test]
fn what_is_published_names_no_person_no_command_and_no_contents() {
    let app = "[[environments.NAME.health.checks]]\nrun = \"test ! -e sesame-check\"\n\
               [[environments.NAME.hooks]]\nphase = \"migrate\"\nrun = \"true sesame-hook\"\n\
               [[environments.NAME.hooks]]\nphase = \"rollback\"\nrun = \"true sesame-back\"\n\
               [[environments.NAME.hooks]]\nphase = \"stop\"\nrun = \"true sesame-stop\"\n";
    let of = |name: &str, more: &str| {
        let lines = format!("shared_files = [\".env\"]\n{more}\n{}", app.replace("NAME", name));
        env(name, 'a', &lines)
    };
    let mut w = World::with(&["live", "failed", "stopped", "waits"].map(|name| of(name, "")).concat());
    let contents = "KEY=hunter2\n";
    for name in ["live", "failed", "stopped", "waits"] {
        w.write(&format!("{name}/shared/.env"), contents);
    }
    w.soll("apply").exits(0);
    w.run(&["stop", "stopped", "--reason", "ask ann@example.com"]).exits(0);
    w.soll("release failed <c>").exits(0);
    w.soll("apply failed").exits(3);
    let waits = w.read("state/desired-state.toml").replacen(
        "[environments.waits]\n",
        "[environments.waits]\napprovals = 1\n",
        1,
    );
    w.commit(&waits);
    w.soll("release waits <b>").exits(0);
    w.run(&["approve", "waits", "--note", "ann@example.com said so"]).exits(0);
    w.run(&["reject", "waits", "--reason", "ann@example.com did not"]).exits(0);
    w.set("SOLL_POLL", "1h");
    let (address, daemon) = daemon(&w, "");
    let text = until("the daemon publishes", || get(&address, "/observation"));
    assert_eq!(daemon.stop(), Some(0));
    let seen: Value = serde_json::from_str(&text).unwrap();
    let environments = &seen["observed"]["environments"];
    let root = |name: &str| environments[name]["hosts"]["local"]["reached"].clone();
    // What a planner needs is there.
    assert!(root("failed")["quarantined"][0]["verdict"] == true, "{text}");
    assert!(root("stopped")["stopped"].is_string(), "{text}");
    assert!(root("live")["health"].as_array().is_some_and(|checks| checks.len() == 2), "{text}");
    assert_eq!(environments["waits"]["words"].as_array().map(Vec::len), Some(2), "{text}");
    let digests = [
        Digest::of(contents.as_bytes()).to_string(),
        w.record("live")["confirmed"]["files"][".env"].as_str().unwrap().to_owned(),
        w.record("failed")["quarantined"][0]["key"]["files"].as_str().unwrap().to_owned(),
    ];
    let planted = ["sesame", "ann", "@", "hunter2", "exit code", "test ! -e"];
    for planted in planted.into_iter().map(str::to_owned).chain(digests) {
        assert!(!text.contains(&planted), "`{planted}` is published:\n{text}");
    }
}

/// A plan without estimates, and without what was not published of shared files.
fn plain(w: &World, line: &str) -> Value {
    let mut plan = w.soll(line).json();
    plan["observed"] = Value::Null;
    for env in plan["environments"].as_array_mut().unwrap() {
        (env["binding"], env["reviewed"]) = (Value::Null, Value::Null);
        for step in env["steps"].as_array_mut().unwrap() {
            step["estimate_ms"] = Value::Null;
        }
        for blocker in env["blockers"].as_array_mut().unwrap() {
            if ["quarantined", "stopped", "unreachable"].contains(&blocker["code"].as_str().unwrap()) {
                blocker["message"] = Value::Null;
            }
            // Why a host is not seen is not published, and the next move depends on it.
            if blocker["code"] == "unreachable" {
                blocker["fix"] = Value::Null;
            }
        }
        for host in env["hosts"].as_array_mut().unwrap() {
            host["drift_age_s"] = Value::Null;
            if host["reachable"] == false {
                host["reason"] = Value::Null;
            }
        }
    }
    plan
}

#[test]
fn a_plan_of_what_is_published_is_the_plan_of_whoever_looks() {
    let web = Web::start();
    web.set("/health", 200, "fine");
    web.set("/ill", 500, "tired");
    let names = ["calm", "wants", "drifts", "failed", "stopped", "lost", "ill"];
    let of = |name: &str| {
        let health = web.url(if name == "ill" { "/ill" } else { "/health" });
        let frozen = if name == "wants" { "frozen = \"so that nothing happens\"\n" } else { "" };
        let lines = format!(
            "shared_files = [\".env\"]\ndrift_every = \"1h\"\n{frozen}[[environments.{name}.health.checks]]\n\
             name = \"web\"\nhttp = \"{health}\"\non_failure = \"warn\"\n"
        );
        env(name, 'a', &lines)
    };
    let mut w = World::with(&names.map(of).concat().replace("frozen", "# frozen"));
    for name in names {
        w.write(&format!("{name}/shared/.env"), "KEY=value\n");
    }
    w.soll("apply").exits(0);
    w.soll("release failed <c>").exits(0);
    w.soll("apply failed").exits(3);
    w.soll("stop stopped --reason enough").exits(0);
    w.commit(&w.read("state/desired-state.toml").replace("# frozen", "frozen"));
    w.soll("release wants <b>").exits(0);
    w.write("drifts/current/index.html", "by hand");
    std::fs::remove_file(w.path("drifts/.soll/drift.json")).unwrap();
    std::fs::rename(w.path("lost"), w.path("away")).unwrap();
    w.write("lost", "no directory");
    w.set("SOLL_POLL", "300ms");
    let (address, daemon) = daemon(&w, "");
    let url = format!("http://{address}/observation");
    until("the daemon publishes", || get(&address, "/observation"));
    let (mut live, mut theirs) = (Value::Null, Value::Null);
    for _ in 0..20 {
        (live, theirs) =
            (plain(&w, "plan --output json"), plain(&w, &format!("plan --output json --observation {url}")));
        if live == theirs {
            break;
        }
    }
    assert_eq!(serde_json::to_string_pretty(&theirs).unwrap(), serde_json::to_string_pretty(&live).unwrap());
    let sync =
        |name: &str| live["environments"].as_array().unwrap().iter().find(|env| env["name"] == name).unwrap().clone();
    assert_eq!(sync("drifts")["hosts"][0]["drift"][0]["kind"], "changed", "{live}");
    assert_eq!(sync("lost")["hosts"][0]["reachable"], false);
    assert_eq!((&sync("ill")["health"], &sync("calm")["health"]), (&"degraded".into(), &"healthy".into()));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn only_the_publisher_that_the_settings_name_is_believed() {
    let mut w = World::staging("");
    let (web1, eve) = (key(&w, "web1"), key(&w, "eve"));
    w.set("SOLL_POLL", "1h");
    w.set("SOLL_OBSERVATION_KEY", "$DIR/web1");
    let (address, signing) = daemon(&w, "");
    until("the daemon publishes", || get(&address, "/observation"));
    let url = format!("http://{address}/observation");
    let plan = |url: &str, lines: &str| {
        source(&w, url, lines);
        w.soll(&format!("plan --detailed-exitcode --config $DIR/settings.toml --observation {url}"))
    };
    let signed = format!("publisher = \"{web1}\"\nhosts = [\"*\"]");
    plan(&url, &signed).exits(0);
    plan(&url, &format!("publisher = \"{eve}\"\nhosts = [\"*\"]")).exits(1).says("and its publisher is SHA256:");
    // Bound to names of hosts.
    plan(&url, &format!("publisher = \"{web1}\"\nhosts = [\"web*\"]")).exits(6).says("may not speak for it");
    plan(&url, &format!("publisher = \"{web1}\"\nhosts = [\"loc*\"]")).exits(0);
    // No older than it may be.
    plan(&url, &format!("{signed}\nmax_age = \"1ms\""))
        .exits(1)
        .says("publishes of staging is of")
        .says("may be 1ms old");
    // What somebody changed, or signed for something else, or not at all.
    let (head, body) = ask(&address, "").unwrap();
    let signature = head.lines().find_map(|line| line.strip_prefix("soll-signature: ")).unwrap().to_owned();
    assert_eq!(signing.stop(), Some(0));
    let serve = |head: String, body: String| {
        let length = body.len();
        answers::Web::answering(move |_| {
            format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        })
    };
    let line = format!("soll-signature: {signature}\r\n");
    let same = serve(line.clone(), body.clone());
    plan(&format!("{}/observation", same.url()), &signed).exits(0);
    let changed = serve(line, body.replacen("\"pass\"", "\"fail\"", 1));
    plan(&format!("{}/observation", changed.url()), &signed).exits(1).says("something was changed after it was signed");
    let bare = serve(String::new(), body.clone());
    plan(&format!("{}/observation", bare.url()), &signed).exits(1).says("is not believed: it is not signed");
    // A file has its signature beside it, as ssh-keygen makes it.
    let file = w.fill("$DIR/seen.json");
    w.write("seen.json", &body);
    plan(&file, &signed).exits(1).says("it is not signed");
    for (namespace, exit) in [("file", 1), ("soll-observation", 0)] {
        let _ = std::fs::remove_file(w.path("seen.json.sig"));
        let mut keygen = w.program("ssh-keygen");
        keygen.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).args([w.path("web1"), w.path("seen.json")]);
        assert!(keygen.status().unwrap().success());
        plan(&file, &signed).exits(exit);
    }
    w.set("SOLL_OBSERVATION_KEY", "");
    let (address, daemon) = daemon(&w, "");
    until("the daemon publishes", || get(&address, "/observation"));
    let unsigned = format!("http://{address}/observation");
    source(&w, &unsigned, &signed);
    let plan = format!("plan --config $DIR/settings.toml --observation {unsigned}");
    w.soll(&plan).exits(1).says("is not believed: it is not signed");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_daemon_with_a_token_publishes_for_those_who_have_it() {
    let mut w = World::staging("");
    w.set("SOLL_POLL", "1h");
    w.set("SOLL_SECRET_OBSERVATION", "let-me-read");
    let (address, daemon) = daemon(&w, "");
    let with = |token: &str| ask(&address, &format!("authorization: Bearer {token}\r\n"));
    until("the daemon publishes", || with("let-me-read").filter(|(head, _)| head.contains(" 200 ")));
    for stranger in [ask(&address, "").unwrap(), with("let-me-see").unwrap(), with("").unwrap()] {
        assert!(stranger.0.contains(" 401 ") && !stranger.1.contains("staging"), "{stranger:?}");
    }
    let url = format!("http://{address}/observation");
    source(&w, &url, "token = \"OBSERVATION\"\nhosts = [\"*\"]");
    let plan = format!("plan --detailed-exitcode --config $DIR/settings.toml --observation {url}");
    w.soll(&plan).exits(0);
    w.set("SOLL_SECRET_OBSERVATION", "");
    w.soll(&plan).exits(1).says("wants the secret OBSERVATION").hides("let-me-read");
    w.soll(&format!("plan --observation {url}")).exits(1).says("401").hides("let-me-read");
    assert_eq!(daemon.stop(), Some(0));
}

/// Sends for as long as somebody reads. Counts what it sent.
fn endless(head: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/observation", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(head.as_bytes());
            let piece = vec![b' '; 1 << 20];
            while stream.write_all(&piece).is_ok() {
                count.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
    });
    (url, sent)
}

#[test]
fn what_is_too_much_is_cut_off_and_nobody_is_sent_elsewhere() {
    let w = World::staging("");
    let (url, sent) = endless("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    w.soll(&format!("plan --observation {url}")).exits(1).says("is too large to be an observation");
    assert!(sent.load(Ordering::SeqCst) < 128 << 20, "it was read to the end, of which there is none");
    let trap = Trap::set();
    let elsewhere = trap.url("/observation");
    let web = answers::Web::answering(move |_| {
        format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    let plan = format!("plan --observation {}/observation", web.url());
    w.soll(&plan).exits(1).says("302 Found, and is not looked for elsewhere");
    assert!(!trap.is_sprung());
    w.soll("plan --observation http://192.0.2.1/observation").exits(1).says("over http anybody on the way may change");
    w.soll("plan --observation ftp://192.0.2.1/observation").exits(1).says("neither https nor a file");
}

#[test]
fn a_host_that_acts_on_it_wants_to_know_who_publishes() {
    let hosts = "[hosts.web1]\naddress = \"web1.example.com\"\n[hosts.far]\naddress = \"far.example.com\"\n";
    let source_of = "\n[environments.other]\nrelease = \"<a>\"\nhosts = [\"far\"]\nroot = \"$DIR/other\"\n";
    let promoted = "[environments.web]\nrelease = \"<a>\"\nhosts = [\"web1\"]\nroot = \"$DIR/web\"\n\
                    promote = { from = \"other\", soak = \"0s\" }\n";
    let mut w = World::with(&format!("{hosts}{promoted}{source_of}"));
    let far = key(&w, "far");
    w.soll("apply --host far --state-dir $DIR/ctl-far").exits(0);
    w.set("SOLL_POLL", "1h");
    w.set("SOLL_OBSERVATION_KEY", "$DIR/far");
    let (address, daemon) = daemon(&w, " --host far --state-dir $DIR/ctl-far");
    until("the daemon publishes", || get(&address, "/observation"));
    let url = format!("http://{address}/observation");
    let apply = "apply --host web1 --state-dir $DIR/ctl-web1";
    w.soll(&format!("{apply} --observation {url}")).exits(1).says("nothing says who publishes there");
    assert_eq!(w.runs("web"), "");
    // Somebody who may speak for another host only.
    source(&w, &url, &format!("publisher = \"{far}\"\nhosts = [\"web2\"]"));
    w.soll(&format!("{apply} --config $DIR/settings.toml")).exits(4).says("may not speak for it");
    assert_eq!(w.runs("web"), "");
    source(&w, &url, &format!("publisher = \"{far}\"\nhosts = [\"far\"]"));
    w.soll(&format!("{apply} --config $DIR/settings.toml")).exits(0);
    assert_eq!(w.runs("web"), "a");
    assert_eq!(daemon.stop(), Some(0));
}
