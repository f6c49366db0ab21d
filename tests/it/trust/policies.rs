//! Guards of the settings: a commit raises them and never lowers them.

use crate::support::world::{World, env};

fn world(environments: &str, settings: &str) -> World {
    let mut w = World::with(environments);
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", settings);
    w
}

/// The blockers of an environment, as `grade code: message`.
fn blockers(w: &World, environment: &str) -> Vec<String> {
    let plan = w.soll(&format!("plan {environment} --output json")).json();
    let all = plan["environments"][0]["blockers"].as_array().unwrap();
    let text = |blocker: &serde_json::Value, key: &str| blocker[key].as_str().unwrap().to_owned();
    all.iter().map(|b| format!("{} {}: {}", text(b, "grade"), text(b, "code"), text(b, "message"))).collect()
}

#[test]
fn a_commit_cannot_ask_for_fewer_approvals_than_the_settings() {
    let w = world(&env("prod-eu", 'a', "approvals = 0\n"), "[policy.\"prod*\"]\napprovals = 1\n");
    let told = "approvals 1, from the settings' policy \"prod*\"; the state file says 0";
    assert_eq!(
        blockers(&w, "prod-eu"),
        ["P1 approval: 0 of 1 approvals for prod-eu -> aaaaaaaa".to_owned(), format!("P2 policy: {told}")]
    );
    for form in ["text", "markdown"] {
        w.soll(&format!("plan --output {form}")).says("approvals 1, from the settings' policy");
    }
    w.soll("validate").exits(0).says(told);
    w.soll("validate --output json").says("prod*");
    w.soll("apply").exits(4);
    w.soll("approve prod-eu").exits(0);
    w.soll("apply").exits(0);
    // The state file may ask for more.
    w.edit("approvals = 0", "approvals = 2");
    w.edit("<a>", "<b>");
    assert_eq!(blockers(&w, "prod-eu"), ["P1 approval: 0 of 2 approvals for prod-eu -> bbbbbbbb"]);
}

#[test]
fn the_strictest_of_all_tables_that_match_holds() {
    let settings = "[policy.prod]\napprovals = 1\n[policy.\"*\"]\napprovals = 3\n[policy.\"p?od\"]\napprovals = 2\nimmutable = true\n[policy.other]\napprovals = 9\n";
    let w = world(&env("prod", 'a', ""), settings);
    let found = blockers(&w, "prod");
    assert!(found[0].contains("0 of 3 approvals"), "{found:?}");
    assert!(found.iter().any(|b| b.contains("approvals 3, from the settings' policy \"*\"")), "{found:?}");
    assert!(found.iter().any(|b| b.contains("immutable, from the settings' policy \"p?od\"")), "{found:?}");
}

#[test]
fn an_emergency_skips_nothing_of_the_settings() {
    let emergency = "[environments.prod.emergency]\nrelease = \"<a>\"\nreason = \"all is lost\"\nskip = [\"approval\", \"promotion\", \"soak\"]\n";
    let both = format!("{}{}", env("prod", 'a', emergency), env("staging", 'b', ""));
    let w = world(&both, "[policy.prod]\napprovals = 1\n");
    assert!(blockers(&w, "prod").iter().any(|b| b.starts_with("P1 approval")), "{:?}", blockers(&w, "prod"));
    // What only the state file asks for may be skipped, down to what the settings do.
    let w = world(
        &both.replace("[environments.prod.emergency]", "approvals = 2\n[environments.prod.emergency]"),
        "[policy.prod]\napprovals = 1\n",
    );
    assert!(blockers(&w, "prod").iter().any(|b| b.contains("0 of 1 approvals")), "{:?}", blockers(&w, "prod"));
    let w = world(&both, "[policy.prod]\npromote = \"staging\"\n");
    assert!(blockers(&w, "prod").iter().any(|b| b.starts_with("P0 not-green")), "{:?}", blockers(&w, "prod"));
    let w = world(&both, "[policy.prod]\nno_emergency = true\n");
    let found = blockers(&w, "prod");
    assert!(found.iter().any(|b| b.contains("`emergency` is ignored") && b.contains("all is lost")), "{found:?}");
    assert!(!found.iter().any(|b| b.contains("P2 emergency")), "{found:?}");
}

#[test]
fn a_promotion_of_the_settings_is_not_left_out_and_not_turned_elsewhere() {
    for lines in ["", "promote = { from = \"fake\", soak = \"0s\" }\n"] {
        let all = [env("staging", 'b', ""), env("fake", 'a', ""), env("prod", 'a', lines)].concat();
        let w = world(&all, "[policy.\"*\"]\npromote = \"staging\"\n[policy.fake]\n");
        w.write("config.toml", "[policy.\"prod*\"]\npromote = \"staging\"\n");
        w.soll("apply staging fake").exits(0);
        let found = blockers(&w, "prod");
        assert!(found[0].starts_with("P0 not-promoted: staging runs"), "{found:?}");
        assert!(
            found.iter().any(|b| b.contains("promote from staging, from the settings' policy \"prod*\"")),
            "{found:?}"
        );
        w.soll("apply prod").exits(4);
    }
    // One that nobody has.
    let w = world(&env("prod", 'a', ""), "[policy.prod]\npromote = \"staging\"\n");
    assert!(blockers(&w, "prod")[0].starts_with("P0 not-green: staging was not looked at"));
    // The source itself is promoted from nowhere, and two sources are one too many.
    let both = [env("staging", 'a', ""), env("prod", 'a', "")].concat();
    let w = world(&both, "[policy.\"*\"]\npromote = \"staging\"\n[policy.prod]\npromote = \"other\"\n");
    w.soll("apply staging").exits(0);
    assert!(blockers(&w, "prod").iter().any(|b| b.starts_with("P0 policy: the settings' policies name several")));
}

#[test]
fn tags_are_refused_where_the_settings_say_so() {
    let w = world(&env("prod", 'a', "").replace("<a>", "v1"), "[policy.prod]\nimmutable = true\n");
    w.git(&["tag", "v1"]);
    w.edit("[apps.web]\n", "[apps.web]\nrepository = \"$DIR/state\"\n");
    let found = blockers(&w, "prod");
    assert!(found.iter().any(|b| b.starts_with("P0 policy") && b.contains("`release = \"v1\"` is a tag")), "{found:?}");
    w.soll("apply").exits(1);
}

#[test]
fn commits_that_must_be_signed_need_signers() {
    let w = world(&env("prod", 'a', ""), "[policy.prod]\nsigned = true\n");
    let found = blockers(&w, "prod");
    assert!(found[0].starts_with("P0 policy: commits must be signed"), "{found:?}");
    w.soll("apply").exits(4).says("allowed_signers");
}

#[test]
fn settings_that_say_nothing_change_no_plan() {
    let w = World::with(&env("prod", 'a', "approvals = 1\n"));
    let fingerprint = |w: &World| w.soll("plan --output json").json()["fingerprint"].as_str().unwrap().to_owned();
    let before = fingerprint(&w);
    let mut w = w;
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", "[policy.other]\napprovals = 2\n[policy.prod]\napprovals = 1\n");
    assert_eq!(fingerprint(&w), before);
}

#[test]
fn a_table_that_says_nothing_known_is_an_error_with_its_line() {
    for (settings, line) in [
        ("\n[policy.prod]\napproval = 1\n", "line 3"),
        ("[policy.prod]\n\napprovals = -1\n", "line 3"),
        ("[policy.prod]\npromote = \"a b\"\n", "line 2"),
        ("\n[policy.\"prod[\"]\napprovals = 1\n", "line 2"),
        ("[policy.prod]\nsigned = \"yes\"\n", "line 2"),
    ] {
        let w = world(&env("prod", 'a', ""), settings);
        w.soll("plan").exits(1).says("config.toml").says(line);
        w.soll("validate").exits(1).says(line);
    }
}
