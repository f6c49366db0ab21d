//! One directory of one machine under two names: nobody deploys there, instead of two that overwrite each other.

use std::fs;
use std::os::unix::fs::symlink;

use crate::ssh::server::{Sshd, me, small_agent};
use crate::support::world::{APP, World, env};

/// A world whose hosts `web1` and `web2` are two names of one machine, with these environments.
fn two_names(sshd: &Sshd, environments: &str) -> World {
    let mut w = World::with("");
    let known = sshd.known("ed25519");
    w.write("known_hosts", &format!("{known}{}", known.replace("127.0.0.1", "localhost")));
    w.write("ssh_config", "");
    for (name, value) in [("KEY", "key"), ("CONFIG", "ssh_config")] {
        w.set(&format!("SOLL_SSH_{name}"), &format!("$DIR/{value}"));
    }
    w.set("SOLL_KNOWN_HOSTS", "$DIR/known_hosts");
    fs::copy(sshd.path("key"), w.path("key")).unwrap();
    small_agent(&mut w);
    let host = |name: &str, address: &str| {
        format!("[hosts.{name}]\naddress = \"{address}\"\nuser = \"{}\"\nport = {}\n", me(), sshd.port)
    };
    w.commit(&format!("{APP}\n{}{}{environments}", host("web1", "127.0.0.1"), host("web2", "localhost")));
    w
}

/// An environment on a host, with its root at a path of its own.
fn at(name: &str, hosts: &str, root: &str) -> String {
    env(name, 'a', &format!("hosts = [{hosts}]")).replace(&format!("$DIR/{name}"), root)
}

/// How many places of a plan are told to be shared.
fn shared(w: &World, line: &str) -> usize {
    let plan = w.soll(&format!("plan --output json {line}")).exits(0).json();
    let environments = plan["environments"].as_array().unwrap().iter();
    let blockers = environments.flat_map(|env| env["blockers"].as_array().unwrap());
    blockers.filter(|b| b["code"] == "shared-root" && b["grade"] == "P0").count()
}

#[test]
fn two_hosts_of_one_environment_are_one_machine() {
    let sshd = Sshd::new("");
    let w = two_names(&sshd, &at("staging", "\"web1\", \"web2\"", "$DIR/staging"));
    assert_eq!(shared(&w, ""), 2);
    w.soll("apply").exits(1).says("both names are one place on one machine").says("take web1 or web2 out");
    assert!(!w.path("staging").exists(), "nothing was done there");
    w.edit("\"web1\", \"web2\"", "\"web1\"");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    // Found out later, it is no less of an error, although both run what is desired.
    w.edit("\"web1\"]", "\"web1\", \"web2\"]");
    assert_eq!(shared(&w, ""), 2);
    w.soll("apply").exits(1);
}

#[test]
fn two_environments_on_one_machine_are_told_even_one_at_a_time() {
    let sshd = Sshd::new("");
    let (staging, production) = (at("staging", "\"web1\"", "$DIR/api"), at("production", "\"web2\"", "$DIR/api"));
    let production = production.replacen("<a>", "<b>", 1);
    let w = two_names(&sshd, &format!("{staging}{production}"));
    // Once the machines have said who they are, nobody begins.
    assert_eq!(shared(&w, ""), 2);
    for line in ["apply", "apply staging", "apply production"] {
        w.soll(line).exits(1).says("both names are one place on one machine");
    }
    assert!(!w.path("api").exists());
    // One that is added where another one is already.
    let all = w.read("state/desired-state.toml");
    w.edit(&production, "");
    w.soll("apply").exits(0);
    let tree = w.tree("api");
    w.commit(&all);
    assert_eq!((shared(&w, "production"), shared(&w, "")), (1, 2));
    w.soll("apply production").exits(1).says("is the directory of").says("of staging (web1)");
    assert_eq!(w.tree("api"), tree);
    // Another controller, which has no memory, sees the same.
    fs::remove_dir_all(w.path("ctl")).unwrap();
    w.soll("apply production").exits(1);
    // One that does not answer may be there, too.
    w.edit("address = \"127.0.0.1\"", "address = \"127.0.0.7\"");
    w.write("ssh_config", "ConnectTimeout 2\n");
    w.soll("apply production").exits(1).says("was taken last as").says("whose host does not answer");
    // Each at a place of its own, and the one that was in the way gone.
    w.edit("address = \"127.0.0.7\"", "address = \"127.0.0.1\"");
    w.edit(&production, &at("production", "\"web2\"", "$DIR/b"));
    assert_eq!(shared(&w, ""), 0);
    w.soll("apply").exits(0);
    assert_eq!((w.read("api/current/index.html"), w.read("b/current/index.html")), ("a".to_owned(), "a".to_owned()));
    // A name that is given up is in nobody's way.
    let text = w.read("state/desired-state.toml");
    w.commit(&text.replace("environments.staging", "environments.renamed").replace("web1", "front"));
    assert_eq!(shared(&w, ""), 0);
    w.soll("apply").exits(0);
}

#[test]
fn two_paths_that_a_link_joins_are_one_root() {
    let w = World::with(
        &(at("staging", "", "$DIR/srv/api") + &at("production", "", "$DIR/www/api")).replace("hosts = []", ""),
    );
    fs::create_dir(w.path("srv")).unwrap();
    symlink("srv", w.path("www")).unwrap();
    assert_eq!(shared(&w, ""), 2);
    w.soll("apply").exits(1).says("both names are one place on one machine");
    assert!(!w.path("srv/api").exists());
    // The root itself may be the link.
    fs::remove_file(w.path("www")).unwrap();
    fs::create_dir(w.path("www")).unwrap();
    w.soll("apply staging").exits(0);
    symlink("../srv/api", w.path("www/api")).unwrap();
    assert_eq!((shared(&w, ""), shared(&w, "production")), (2, 1));
    w.soll("apply").exits(1);
    fs::remove_file(w.path("www/api")).unwrap();
    w.soll("apply").exits(0);
    assert_eq!(w.read("www/api/current/index.html"), "a");
}
