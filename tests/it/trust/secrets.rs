//! A secret goes where the settings say, and nowhere else, whoever commits its name.

use crate::support::web::Web;
use crate::support::world::{APP, World, env};

const VALUE: &str = "tok-Gh55-planted-secret";

/// An environment `staging` whose only other check sends TOKEN to this address from there.
fn state(url: &str, from: &str) -> String {
    let check = format!(
        "[[environments.staging.health.checks]]\nname = \"asks\"\nhttp = \"{url}\"\nbearer = \"TOKEN\"\nfrom = \"{from}\"\n"
    );
    format!("{APP}{}", env("staging", 'a', &check))
}

fn world(settings: &str) -> World {
    let mut w = World::with("");
    w.set("SOLL_SECRET_TOKEN", VALUE);
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", settings);
    w
}

fn heard(web: &Web) -> bool {
    web.seen().iter().any(|head| head.contains(VALUE))
}

#[test]
fn a_check_sends_a_secret_to_the_origins_of_its_table_alone() {
    let (good, evil) = (Web::start(), Web::start());
    good.set("/health", 200, "ok");
    evil.set("/health", 200, "ok");
    let origin = good.url("");
    for from in ["host", "controller"] {
        let w = world(&format!("[secrets.TOKEN]\nuse = [\"health\"]\norigins = [\"{origin}\"]\n"));
        w.commit(&state(&good.url("/health"), from));
        w.soll("apply").exits(0);
        assert!(heard(&good), "the right one got it, from the {from}");
        for url in [
            evil.url("/health"),
            // The authority is the second host here.
            evil.url("/health").replace("http://", &format!("http://{}@", origin.trim_start_matches("http://"))),
            evil.url("/{sha}/../health"),
        ] {
            w.commit(&state(&url, from).replace("release = \"<a>\"", "release = \"<b>\""));
            for command in ["plan", "status", "why staging", "apply", "preflight staging", "doctor"] {
                w.soll(command).hides(VALUE);
            }
            w.soll("plan --output json").exits(0).says("secret-missing").hides(VALUE);
            w.soll("apply").exits(1).says("[secrets.TOKEN]").hides(VALUE);
        }
        assert!(!heard(&evil), "a commit sent it elsewhere, from the {from}: {:?}", evil.seen());
        assert_eq!(w.runs("staging"), "a");
    }
}

#[test]
fn a_redirect_takes_no_secret_along() {
    let (good, evil) = (Web::start(), Web::start());
    evil.set("/health", 200, "ok");
    let target = evil.url("/health");
    let server = crate::support::answers::Web::answering(move |_| {
        format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    for from in ["host", "controller"] {
        let w = world(&format!("[secrets.TOKEN]\norigins = [\"{}\"]\n", server.url()));
        w.commit(&state(&format!("{}/health", server.url()), from));
        w.soll("apply").exits(1).says("302").hides(VALUE);
    }
    assert!(!heard(&evil) && !heard(&good), "{:?}", evil.seen());
}

#[test]
fn a_table_binds_to_environments_and_uses() {
    let web = Web::start();
    web.set("/health", 200, "ok");
    for (table, why) in [
        ("environments = [\"prod*\"]", "environment staging"),
        ("use = [\"notify\", \"backup\"]", "`health`"),
        ("use = []", "`health`"),
    ] {
        let w = world(&format!("[secrets.TOKEN]\n{table}\n"));
        w.commit(&state(&web.url("/health"), "controller"));
        w.soll("apply").exits(1).says("P1").says(why).says("[secrets.TOKEN]").hides(VALUE);
        w.soll("doctor").says(why);
    }
    assert!(!heard(&web));
    // A table that allows it, and none at all.
    for settings in ["[secrets.TOKEN]\nuse = [\"health\"]\nenvironments = [\"stag*\"]\n", ""] {
        let w = world(settings);
        w.commit(&state(&web.url("/health"), "controller"));
        w.soll("apply").exits(0);
    }
    assert!(heard(&web));
}

#[test]
fn an_empty_secret_is_none() {
    let web = Web::start();
    web.set("/health", 200, "ok");
    let mut w = world("");
    w.set("SOLL_SECRET_TOKEN", "");
    w.commit(&state(&web.url("/health"), "controller"));
    w.soll("plan").exits(0).says("secret-missing").says("empty");
    w.soll("apply").exits(1).says("empty");
    assert!(web.seen().is_empty(), "{:?}", web.seen());
}

#[test]
fn a_table_that_says_nothing_known_is_an_error_with_its_line() {
    for (settings, says) in [
        ("[secrets.TOKEN]\nuses = [\"health\"]\n", "line 2"),
        ("[secrets.TOKEN]\nuse = [\"helth\"]\n", "line 2"),
        ("[secrets.TOKEN]\n\norigins = [\"api.example.com\"]\n", "line 3"),
        ("[secrets.TOKEN]\norigins = [\"https://api.example.com/path\"]\n", "line 2"),
        ("[secrets.TOKEN]\nenvironments = [\"prod[\"]\n", "line 2"),
        ("[secrets.token]\n", "line 1"),
    ] {
        let w = world(settings);
        w.commit(&format!("{APP}{}", env("staging", 'a', "")));
        w.soll("plan").exits(1).says("config.toml").says(says);
    }
}

#[test]
fn doctor_names_the_secrets_that_any_commit_may_use() {
    let w = world("");
    w.commit(&format!("{APP}{}", env("staging", 'a', "")));
    w.soll("doctor").hides("any address");
    // A repository elsewhere: git cannot fetch it here, so a file:// address of another machine cannot be had either.
    w.git(&["clone", "-q", "--bare", ".", "../far.git"]);
    w.soll("doctor --repo file://$DIR/far.git").hides("any address");
}
