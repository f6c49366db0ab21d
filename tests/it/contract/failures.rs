//! The table "What a failure does" (contract 1.2), row by row.

use crate::support::world::{World, env};

/// A hook of one phase that says no as long as `$DIR/no` is there.
fn refuses(phase: &str, more: &str) -> String {
    format!(
        "[[environments.staging.hooks]]\nname = \"says\"\nphase = \"{phase}\"\nrun = \"test ! -e $DIR/no\"\n{more}\n{ROLLBACK}"
    )
}

/// A rollback hook that leaves a trace with the commit that it saw.
const ROLLBACK: &str = r#"
[[environments.staging.hooks]]
name = "traces"
phase = "rollback"
run = "echo $SOLL_SHA >> $DIR/rollback"
"#;

/// `staging` runs `a`, `b` is desired and something says no.
fn refused(more: &str) -> World {
    let w = World::staging(more);
    w.soll("release staging <b>").exits(0);
    w.write("no", "");
    w
}

/// Nothing happened to the live release, and nobody remembers a verdict.
#[track_caller]
fn untouched(w: &World) {
    assert_eq!(w.runs("staging"), "a");
    assert_eq!(w.quarantined("staging"), Vec::<String>::new());
}

/// The live release is the old one, and `letter` is not tried again by itself.
#[track_caller]
fn condemned(w: &World, letter: &str) {
    assert_eq!(w.quarantined("staging"), [letter]);
    let before = w.tree("staging");
    w.soll("apply").exits(7).says("is quarantined").says("soll retry staging");
    assert_eq!(w.tree("staging"), before);
}

#[test]
fn a_missing_bundle_is_1_and_tried_again() {
    let w = World::staging("");
    w.soll("release staging <e>").exits(0);
    w.soll("apply").exits(1).says("there is no bundle of eeeeeeee");
    untouched(&w);
    w.bundle('e', &[]);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "e");
}

#[test]
fn a_bundle_that_vanished_behind_its_checksum_is_1() {
    let w = World::staging("");
    w.soll("release staging <b>").exits(0);
    std::fs::remove_file(w.archive('b')).unwrap();
    w.soll("apply").exits(1).says("deployment-bundle-bbbb");
    untouched(&w);
    w.bundle('b', &[]);
    w.soll("apply").exits(0);
}

#[test]
fn a_wrong_checksum_is_1_and_nothing_of_it_is_unpacked() {
    let w = World::staging("");
    let mut bytes = std::fs::read(w.archive('b')).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(w.archive('b'), bytes).unwrap();
    w.soll("release staging <b>").exits(0);
    let before = w.tree("staging/releases");
    w.soll("apply").exits(1).says("SHA-256");
    untouched(&w);
    assert_eq!(w.tree("staging/releases"), before);
    w.bundle('b', &[]);
    w.soll("apply").exits(0);
}

#[test]
fn a_hostile_archive_is_1_and_writes_nowhere_else() {
    let w = World::staging("");
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    header.as_gnu_mut().unwrap().name[..11].copy_from_slice(b"../escaped\0");
    header.set_cksum();
    tar.append(&header, &b"evil"[..]).unwrap();
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    std::fs::write(w.archive('b'), &bytes).unwrap();
    let sum = w.program("sha256sum").arg(w.archive('b')).output().unwrap().stdout;
    std::fs::write(format!("{}.sha256", w.archive('b').display()), sum).unwrap();
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(1).says("escaped");
    untouched(&w);
    let everything = w.tree(".");
    assert!(!everything.keys().any(|path| path.ends_with("escaped")), "{:?}", everything.keys());
}

#[test]
fn a_gate_that_says_no_is_1_and_quarantined() {
    for gate in ["file = \"index.php\"", "dir = \"vendor\"", "name = \"loads\"\nrun = \"test ! -e $DIR/no\""] {
        let w = World::with(&env("staging", 'a', ""));
        w.soll("apply").exits(0);
        w.write("no", "");
        w.soll("release staging <b>").exits(0);
        w.edit("[environments.staging]", &format!("[[apps.web.gates]]\n{gate}\n{ROLLBACK}\n[environments.staging]"));
        w.soll("apply").exits(1).says("FAILED").says("`current` is untouched");
        assert_eq!(w.runs("staging"), "a");
        condemned(&w, "b");
        assert_eq!(w.read("rollback"), "", "a gate runs no rollback hooks");
    }
}

#[test]
fn of_several_gates_each_is_asked_and_the_first_no_is_the_reason() {
    let w = World::with(&env("staging", 'a', ""));
    w.soll("apply").exits(0);
    w.soll("release staging <b>").exits(0);
    let gates = ["index.html", "artisan", "vendor/autoload.php", "version"].map(|file| format!("file = \"{file}\"\n"));
    let gates: String = gates.iter().map(|gate| format!("[[apps.web.gates]]\n{gate}")).collect();
    w.edit("[environments.staging]", &format!("{gates}\n[environments.staging]"));
    w.soll("apply").exits(1).says("gate `artisan` says no").says("`current` is untouched");
    assert_eq!(w.runs("staging"), "a");
    let last = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    w.soll(&format!("show {last}")).exits(0).says("gate `artisan` says no").says("gate `vendor/autoload.php` says no");
    condemned(&w, "b");
}

#[test]
fn a_cached_bundle_that_rotted_is_named_and_nothing_is_switched() {
    let w = World::with(&format!("{}{}", env("first", 'a', ""), env("second", 'a', "")));
    w.soll("apply first").exits(0);
    let bundles = w.path("ctl/cache/bundles/bundles");
    let bundle = std::fs::read_dir(bundles).unwrap().next().unwrap().unwrap().path();
    let pack = bundle.join("blobs.pack");
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let said = format!("{} is damaged", bundle.display());
    w.soll("apply second").exits(1).says(&said).says("remove the directory and try again");
    assert!(!w.path("second/current").exists());
    assert_eq!(w.quarantined("second"), Vec::<String>::new());
    std::fs::remove_dir_all(&bundle).unwrap();
    w.soll("apply second").exits(0);
    assert_eq!(w.runs("second"), "a");
}

#[test]
fn a_hook_before_the_switch_that_says_no_is_1_and_quarantined() {
    // By their defaults only a migration runs the rollback hooks, in the release that stays: `a`.
    for (phase, more, rollback) in [
        ("prepare", "", ""),
        ("pre-switch", "", ""),
        ("migrate", "", "<a>\n"),
        ("prepare", "on_failure = \"rollback\"", "<a>\n"),
        ("pre-switch", "on_failure = \"rollback\"", "<a>\n"),
        ("migrate", "on_failure = \"abort\"", ""),
    ] {
        let w = refused(&refuses(phase, more));
        w.soll("apply").exits(1).says("FAILED").says(&format!("{phase} hook `says` says no"));
        assert_eq!(w.runs("staging"), "a", "{phase} {more}");
        assert_eq!(w.read("rollback"), w.fill(rollback), "{phase} {more}");
        condemned(&w, "b");
    }
}

#[test]
fn warn_anywhere_is_recorded_and_shown_and_goes_on() {
    for phase in ["prepare", "migrate", "pre-switch", "post-switch", "verify", "after"] {
        let w = refused(&refuses(phase, "on_failure = \"warn\""));
        let done = w.soll("apply").exits(0).says("WARNING").says(&format!("{phase} hook `says` says no"));
        assert!(done.stdout.contains("succeeded"), "{}", done.stdout);
        assert_eq!((w.runs("staging"), w.read("rollback")), ("b".into(), String::new()), "{phase}");
        let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
        w.soll(&format!("show {run}")).exits(0).says("WARNING");
    }
    let w = World::staging(
        "[[environments.staging.health.checks]]\nname = \"extra\"\nrun = \"false\"\non_failure = \"warn\"",
    );
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0).says("WARNING");
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn an_unhealthy_target_warns_or_blocks_and_is_no_verdict_on_the_cure() {
    for before in ["warn", "block"] {
        // The live release becomes unhealthy by itself; `b` is the cure.
        let w = World::with(&env("staging", 'a', ""));
        w.bundle('b', &[("cure", "")]);
        w.write("up", "");
        let check = "[[apps.web.health.checks]]\nname = \"up\"\nrun = \"test -e $DIR/up -o -e cure\"\n";
        let health = format!("[environments.staging.health]\nbefore = \"{before}\"\n");
        w.edit("[environments.staging]", &format!("{check}[environments.staging]"));
        w.write("state/desired-state.toml", &(w.read("state/desired-state.toml") + &health));
        w.commit_all("health before");
        w.soll("apply").exits(0);
        std::fs::remove_file(w.path("up")).unwrap();
        w.soll("release staging <b>").exits(0);
        let releases = w.tree("staging/releases");
        let ran = w.soll("apply").says("unhealthy before the deployment: check `up` on local");
        if before == "warn" {
            ran.exits(0).says("WARNING");
            assert_eq!(w.runs("staging"), "b");
            continue;
        }
        ran.exits(1);
        untouched(&w);
        assert_eq!(w.tree("staging/releases"), releases);
        // It is tried again, and goes on as soon as the target is well.
        w.soll("apply").exits(1);
        w.write("up", "");
        w.soll("apply").exits(0);
        assert_eq!(w.runs("staging"), "b");
    }
}

#[test]
fn what_fails_after_the_switch_goes_back_and_is_verified() {
    for phase in ["post-switch", "verify"] {
        let w = refused(&refuses(phase, ""));
        w.soll("apply").exits(3).says("ROLLED BACK").says(&format!("{phase} hook `says` says no"));
        assert_eq!((w.runs("staging"), w.read("rollback")), ("a".into(), w.fill("<a>\n")), "{phase}");
        // The old release was verified: its health stands in the record of the run.
        let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
        w.soll(&format!("show {run}")).exits(0).says("turning back").says("health:local:alive").says("attempt: pass");
        condemned(&w, "b");
    }
    let w = World::staging(ROLLBACK);
    w.soll("release staging <c>").exits(0);
    w.soll("apply").exits(3).says("check `alive` on local").says("(2 attempts)");
    assert_eq!((w.runs("staging"), w.read("rollback")), ("a".into(), w.fill("<a>\n")));
    condemned(&w, "c");
}

#[test]
fn missing_assets_go_back() {
    let web = crate::support::web::Web::start();
    let check = format!(
        "[[environments.staging.health.checks]]\nname = \"assets\"\nassets = {{ manifest = \"manifest.json\", base_url = \"{}\" }}\n",
        web.url("/build/")
    );
    let w = World::with(&env("staging", 'a', &check));
    let manifest = |file: &str| format!("{{\"main.js\":{{\"file\":\"{file}\",\"src\":\"main.js\",\"isEntry\":true}}}}");
    w.bundle('a', &[("manifest.json", &manifest("assets/a.js"))]);
    w.bundle('b', &[("manifest.json", &manifest("assets/b.js"))]);
    w.bundle('d', &[("manifest.json", "not JSON")]);
    web.set("/build/assets/a.js", 200, "a");
    w.soll("apply").exits(0);
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(3).says("assets/b.js");
    assert_eq!(w.runs("staging"), "a");
    w.soll("release staging <d>").exits(0);
    w.soll("apply").exits(3).says("manifest.json");
    web.set("/build/assets/b.js", 200, "b");
    w.soll("release staging <b>").exits(0);
    w.soll("retry staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn a_way_back_to_something_unhealthy_is_1_and_loud() {
    // Whatever is switched after `ill` appears is not healthy, the old release neither.
    let check = "[[environments.staging.health.checks]]\nname = \"well\"\nrun = \"test ! -e $DIR/ill\"\n";
    let hook = "[[environments.staging.hooks]]\nphase = \"post-switch\"\nrun = \"if [ -e $DIR/no ]; then touch $DIR/ill; fi\"\n";
    let w = refused(&format!("{check}{hook}"));
    w.soll("apply")
        .exits(1)
        .says("AND THE WAY BACK FAILED")
        .says("check `well`")
        .says("local is suspect, not bbbbbbbb");
    assert_eq!(w.runs("staging"), "a");
    assert_eq!(w.quarantined("staging"), Vec::<String>::new());
    let last = w.soll("status --output json").exits(0).json()["environments"][0].clone();
    assert_eq!(last["operation"], "blocked");
    assert_eq!(last["last_run"]["result"], "failed");
}

#[test]
fn hold_stays_for_people_to_look_at() {
    let w = World::staging("on_failure = \"hold\"");
    w.soll("release staging <c>").exits(0);
    w.soll("apply").exits(1).says("held for people to look at");
    assert_eq!(w.runs("staging"), "c");
    assert!(w.record("staging")["probation"].is_null());
    assert_eq!(w.quarantined("staging"), ["c"]);
    w.soll("apply").exits(7);
    assert_eq!(w.runs("staging"), "c");
    w.soll("release staging <a>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_first_release_that_fails_stays_because_there_is_no_way_back() {
    let w = World::with(&env("staging", 'c', ""));
    w.soll("apply").exits(1).says("there was no confirmed release to go back to");
    assert_eq!(w.runs("staging"), "c");
    assert!(w.record("staging")["confirmed"].is_null());
    condemned(&w, "c");
    // A release that is good is deployed over it, and a failure of a later one goes back to that.
    w.soll("release staging <a>").exits(0);
    w.soll("apply").exits(0);
    w.bundle('d', &[("broken", "")]);
    w.soll("release staging <d>").exits(0);
    w.soll("apply").exits(3);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn a_hook_that_takes_too_long_says_no() {
    let hook = "[[environments.staging.hooks]]\nname = \"slow\"\nphase = \"post-switch\"\nrun = \"if [ -e $DIR/no ]; then sleep 60; fi\"\ntimeout = \"200ms\"\n";
    let w = refused(hook);
    w.soll("apply").exits(3).says("post-switch hook `slow` says no");
    assert_eq!(w.runs("staging"), "a");
}
