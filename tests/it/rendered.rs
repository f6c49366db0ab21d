//! Files that are rendered for a host (A10, E4): a version of each belongs to a release, comes with it and goes with it, and
//! nothing that is secret in it is shown anywhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::world::{APP, World, env, sha, until};

const KEY: &str = "k3y-planted-Gh55-secret";
const OTHER: &str = "0ther-planted-Jk71-secret";

const TEMPLATE: &str =
    "# made by soll for {host}\nAPP_KEY={secret:APP_KEY}\nTENANT={tenant}\nREGION=eu\nJSON={{\"sha\": \"{sha8}\"}}\n";

/// What an environment needs for a rendered `.env`: every release notes which file it saw.
const FILES: &str = "shared_files = [\".env\"]\nrequired_env = [\"APP_KEY\"]\nvariables = { tenant = \"acme\" }\n\
    [[environments.staging.files]]\npath = \".env\"\ntemplate = \"env/staging.env\"\nmode = \"0640\"\n\
    [[environments.staging.hooks]]\nphase = \"post-switch\"\nrun = \"cat .env >> $DIR/seen; cat .env; echo TENANT $TENANT\"\n";

fn world() -> World {
    let mut w = World::with("");
    w.set("SOLL_SECRET_APP_KEY", KEY);
    w.write("state/env/staging.env", TEMPLATE);
    w.commit(&format!("{APP}{}", env("staging", 'a', FILES)));
    w
}

fn settled() -> World {
    let w = world();
    w.soll("apply").exits(0);
    w.soll("plan --detailed-exitcode").exits(0);
    w
}

/// What the live release reads.
fn live(w: &World) -> String {
    w.read("staging/current/.env")
}

fn expected(tenant: &str, key: &str, letter: char) -> String {
    let sha8 = &sha(letter)[..8];
    format!("# made by soll for local\nAPP_KEY={key}\nTENANT={tenant}\nREGION=eu\nJSON={{\"sha\": \"{sha8}\"}}\n")
}

#[test]
fn a_file_is_rendered_with_the_first_deployment_and_leads_where_units_look() {
    let w = world();
    w.soll("plan --detailed-exitcode").exits(2).says("render").hides(KEY);
    assert!(!w.path("staging").exists(), "a plan writes nothing");
    w.soll("apply").exits(0).hides(KEY);
    assert_eq!(live(&w), expected("acme", KEY, 'a'));
    let meta = fs::metadata(w.path("staging/current/.env")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
    assert_eq!(w.read("staging/shared/.env"), live(&w));
    let target = fs::read_link(w.path("staging/shared/.env")).unwrap();
    assert!(target.to_str().unwrap().starts_with(".versions/.env/"), "{}", target.display());
    let versions = fs::metadata(w.path("staging/shared/.versions")).unwrap();
    assert_eq!(versions.permissions().mode() & 0o7777, 0o711);
    w.soll("plan --detailed-exitcode").exits(0);
    assert!(w.read("seen").contains(KEY), "the hook saw it");
}

/// A variable, a secret, the template: each is a change at the same commit, planned, deployed, and then there is none.
#[test]
fn a_change_of_what_is_rendered_is_a_deployment_of_the_same_commit() {
    let mut w = settled();
    let first = w.release("staging");
    w.edit("tenant = \"acme\"", "tenant = \"globex\"");
    w.soll("plan --detailed-exitcode").exits(2).says("changed TENANT").hides(KEY);
    w.soll("apply").exits(0).hides(KEY);
    assert_eq!(live(&w), expected("globex", KEY, 'a'));
    let second = w.release("staging");
    assert_ne!(second, first);
    assert_eq!(
        w.read(&format!("staging/releases/{first}/.env")),
        expected("acme", KEY, 'a'),
        "the old one keeps its own"
    );

    w.set("SOLL_SECRET_APP_KEY", OTHER);
    w.soll("plan --detailed-exitcode").exits(2).says("changed APP_KEY").hides(KEY).hides(OTHER);
    w.soll("apply").exits(0).hides(KEY).hides(OTHER);
    assert_eq!(live(&w), expected("globex", OTHER, 'a'));
    w.soll("plan --detailed-exitcode").exits(0);

    w.write("state/env/staging.env", &TEMPLATE.replace("REGION=eu", "ZONE=b"));
    w.commit_all("another template");
    w.soll("plan --detailed-exitcode").exits(2).says("new ZONE").says("gone REGION");
    w.soll("apply").exits(0);
    assert!(live(&w).contains("ZONE=b"), "{}", live(&w));
    w.soll("plan --detailed-exitcode").exits(0);
    // A template that comes out the same is no change of what runs.
    w.write("state/env/staging.env", &TEMPLATE.replace("REGION=eu", "ZONE=b").replace("{tenant}", "globex"));
    w.commit_all("the same by other words");
    w.soll("plan --detailed-exitcode").exits(0);
    for line in ["history", "show last", "status", "why staging"] {
        w.soll(line).hides(KEY).hides(OTHER);
    }
    assert!(!everywhere(&w, "ctl").contains(KEY), "the history of the controller");
    assert!(!everywhere(&w, "ctl").contains(OTHER), "the history of the controller");
    assert!(!everywhere(&w, "staging/.soll").contains(OTHER), "the record of the host");
}

/// All bytes of all files below a directory, as text.
fn everywhere(w: &World, dir: &str) -> String {
    let mut found = String::new();
    let mut open = vec![w.path(dir)];
    while let Some(path) = open.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            found.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
    found
}

/// What is rendered decides whether it is healthy: the old release comes back with its own file, and the case is condemned,
/// until the value is repaired.
#[test]
fn an_unhealthy_value_goes_back_to_the_old_file() {
    let w = settled();
    let check = "[[environments.staging.health.checks]]\nname = \"tenant\"\nrun = \"! grep -q bad .env\"\n";
    w.commit(&format!("{}{check}", w.read("state/desired-state.toml")));
    w.soll("apply").exits(0);
    let (first, before) = (w.release("staging"), live(&w));
    w.edit("tenant = \"acme\"", "tenant = \"bad\"");
    w.soll("apply").exits(3).says("ROLLED BACK").hides(KEY);
    assert_eq!((w.release("staging"), live(&w)), (first.clone(), before.clone()));
    assert_eq!(w.read("staging/shared/.env"), before, "what units read is the old one as well");
    w.soll("apply").exits(7).says("quarantined");
    w.edit("tenant = \"bad\"", "tenant = \"good\"");
    w.soll("apply").exits(0);
    assert_eq!(live(&w), expected("good", KEY, 'a'));
    w.edit("tenant = \"good\"", "tenant = \"acme\"");
    w.soll("apply").exits(0);
    assert_eq!(live(&w), before);
}

/// A secret that made it unhealthy is repaired: that is another case.
#[test]
fn a_repaired_secret_is_a_new_case() {
    let mut w = settled();
    let check = "[[environments.staging.health.checks]]\nname = \"key\"\nrun = \"! grep -q 0ther .env\"\n";
    w.commit(&format!("{}{check}", w.read("state/desired-state.toml")));
    w.set("SOLL_SECRET_APP_KEY", OTHER);
    w.soll("apply").exits(3).says("ROLLED BACK").hides(OTHER);
    w.soll("apply").exits(7).hides(OTHER);
    w.set("SOLL_SECRET_APP_KEY", "a-third-planted-secret");
    w.soll("apply").exits(0);
    assert!(live(&w).contains("a-third-planted-secret"));
}

/// Nobody is left to say what to do: the host goes back by itself, and the old file with it.
#[test]
fn a_host_that_hears_nobody_goes_back_with_its_file() {
    let mut w = world();
    w.edit("required_env", "deadline = \"1s\"\nrequired_env");
    w.soll("apply").exits(0);
    let (first, before) = (w.release("staging"), live(&w));
    w.edit("tenant = \"acme\"", "tenant = \"globex\"");
    w.set("SOLL_FAULT", "run.after-result@switch");
    w.soll("apply").exits(-1);
    w.set("SOLL_FAULT", "");
    until("the host is back", || (w.release("staging") == first).then_some(()));
    until("with its file", || (w.read("staging/shared/.env") == before).then_some(()));
    assert_eq!(live(&w), before);
}

/// Whatever dies between the link and what leads to the rendered file: whoever comes next repairs it.
#[test]
fn an_agent_that_dies_at_the_link_leaves_nothing_behind() {
    for place in
        ["host.render.before-rename", "host.render.after-rename", "host.switch.after-rename", "host.switch.after-files"]
    {
        let mut w = settled();
        w.edit("tenant = \"acme\"", "tenant = \"globex\"");
        w.set("SOLL_FAULT", place);
        w.soll("apply");
        w.set("SOLL_FAULT", "");
        until(place, || (w.soll("apply").exit == 0).then_some(()));
        assert_eq!(live(&w), expected("globex", KEY, 'a'), "{place}");
        assert_eq!(w.read("staging/shared/.env"), live(&w), "{place}");
        w.soll("plan --detailed-exitcode").exits(0);
        assert!(!everywhere(&w, "staging/shared").contains("new"), "{place}");
    }
}

#[test]
fn a_migration_that_fails_with_the_new_file_changes_nothing_for_what_runs() {
    let w = settled();
    let hook = "[[environments.staging.hooks]]\nphase = \"migrate\"\nrun = \"cat .env; ! grep -q globex .env\"\n";
    w.commit(&format!("{}{hook}", w.read("state/desired-state.toml")));
    let (first, before) = (w.release("staging"), live(&w));
    w.edit("tenant = \"acme\"", "tenant = \"globex\"");
    w.soll("apply").exits(1).says("`current` is untouched").hides(KEY);
    assert_eq!((w.release("staging"), live(&w), w.read("staging/shared/.env")), (first, before.clone(), before));
}

#[test]
fn what_lay_there_before_is_kept_and_comes_back_with_its_release() {
    let w = World::with("");
    w.write("state/env/staging.env", "TENANT=rendered\n");
    w.write("staging/shared/.env", "TENANT=by-hand\n");
    let plain = format!("{APP}{}", env("staging", 'a', "shared_files = [\".env\"]"));
    w.commit(&plain);
    w.soll("apply").exits(0);
    let first = w.release("staging");
    let files = "[[environments.staging.files]]\npath = \".env\"\ntemplate = \"env/staging.env\"\n";
    let check = "[[environments.staging.health.checks]]\nname = \"no\"\nrun = \"! grep -q rendered .env\"\n";
    w.commit(&format!("{plain}{files}{check}"));
    w.soll("apply").exits(3);
    assert_eq!((w.release("staging"), live(&w)), (first.clone(), "TENANT=by-hand\n".to_owned()));
    assert!(!w.path("staging/shared/.env").is_symlink(), "the file itself is there again");
    w.commit(&format!("{plain}{files}"));
    w.soll("apply").exits(0).says("before-soll");
    assert_eq!(live(&w), "TENANT=rendered\n");
    assert_eq!(w.read("staging/shared/.env.before-soll"), "TENANT=by-hand\n");
    w.soll("plan --detailed-exitcode").exits(0);
    // Nobody renders it any more: what is desired is what lay there.
    w.commit(&plain);
    w.soll("apply").exits(0);
    assert_eq!(live(&w), "TENANT=by-hand\n");
    w.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn each_host_gets_its_own() {
    let hosts = ["web1", "web2"].map(|name| format!("[hosts.{name}]\naddress = \"local\"\n")).concat();
    let files = FILES.replace("shared_files", "hosts = [\"web1\", \"web2\"]\nshared_files");
    let mut w = World::with("");
    w.set("SOLL_SECRET_APP_KEY", KEY);
    w.write("state/env/staging.env", TEMPLATE);
    w.commit(&format!("{APP}{hosts}{}", env("staging", 'a', &files).replace("$DIR/staging", "$DIR/staging/{host}")));
    w.soll("apply").exits(0);
    for host in ["web1", "web2"] {
        let wanted = expected("acme", KEY, 'a').replace("local", host);
        assert_eq!(w.read(&format!("staging/{host}/current/.env")), wanted);
    }
    w.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn a_secret_that_is_missing_or_refused_blocks_by_name() {
    let mut w = world();
    w.set("SOLL_SECRET_APP_KEY", "");
    w.soll("apply").exits(1).says("P0").says("APP_KEY").says("empty");
    w.set("SOLL_SECRET_APP_KEY", KEY);
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", "[secrets.APP_KEY]\nuse = [\"health\"]\n");
    w.soll("apply").exits(1).says("P0").says("use = [\"files\"]").hides(KEY);
    w.write("config.toml", "[secrets.APP_KEY]\nuse = [\"files\"]\nenvironments = [\"prod*\"]\n");
    w.soll("apply").exits(1).says("environment staging").hides(KEY);
    assert!(!w.path("staging/current").exists());
    w.write("config.toml", "[secrets.APP_KEY]\nuse = [\"files\"]\nenvironments = [\"stag*\"]\n");
    w.soll("apply").exits(0);
    // A renewed secret is named by its version, and the old one holds until then.
    w.set("SOLL_SECRET_APP_KEY__2", OTHER);
    w.soll("plan --detailed-exitcode").exits(0);
    w.write("state/env/staging.env", &TEMPLATE.replace("secret:APP_KEY", "secret:APP_KEY@2"));
    w.commit_all("renewed");
    w.soll("apply").exits(0).hides(OTHER);
    assert!(live(&w).contains(OTHER));
}

#[test]
fn what_required_env_asks_for_is_looked_for_in_what_is_rendered() {
    let w = world();
    w.edit("required_env = [\"APP_KEY\"]", "required_env = [\"APP_KEY\", \"DB_URL\"]");
    w.soll("apply").exits(1).says("DB_URL").says("env/staging.env");
    assert!(!w.path("staging/current").exists());
}

/// What a commit that is not accepted would render nobody renders (law 11).
#[test]
fn a_proposal_renders_nothing() {
    let w = settled();
    w.git(&["checkout", "-q", "-b", "proposal"]);
    w.write("state/env/staging.env", "STOLEN={secret:APP_KEY}\nAPP_KEY=x\n");
    w.commit_all("a proposal");
    w.git(&["checkout", "-q", "main"]);
    let plan = w.soll("plan --ref proposal").exits(0).hides(KEY).hides("STOLEN");
    plan.says("not accepted");
    assert!(!everywhere(&w, "staging/shared").contains("STOLEN"));
}

/// A version is what its name says, or it is told, and made anew by the next deployment.
#[test]
fn a_file_that_was_edited_by_hand_is_seen() {
    let w = settled();
    let file = fs::canonicalize(w.path("staging/current/.env")).unwrap();
    fs::write(&file, "APP_KEY=by-hand\n").unwrap();
    w.soll("plan").exits(0).says(".env");
    w.edit("required_env", "drift = \"heal\"\nrequired_env");
    w.soll("apply").exits(0);
    assert_eq!(live(&w), expected("acme", KEY, 'a'));
    w.soll("plan --detailed-exitcode").exits(0);
}

/// Versions go with the releases that read them.
#[test]
fn versions_that_nobody_reads_go() {
    let w = settled();
    w.edit("required_env", "keep_releases = 2\nrequired_env");
    for tenant in ["one", "two", "three", "four"] {
        let text = w.read("state/desired-state.toml");
        let line = text.lines().find(|line| line.starts_with("variables")).unwrap().to_owned();
        w.edit(&line, &format!("variables = {{ tenant = \"{tenant}\" }}"));
        w.soll("apply").exits(0);
    }
    let versions = fs::read_dir(w.path("staging/shared/.versions/.env")).unwrap().count();
    assert_eq!(versions, 2, "those of the two releases that are kept");
    assert!(live(&w).contains("TENANT=four"));
}

/// A server that looks after itself renders with its own secrets.
#[test]
fn a_server_in_pull_mode_renders_its_own() {
    let hosts = ["web1", "web2"].map(|name| format!("[hosts.{name}]\naddress = \"{name}.example.com\"\n")).concat();
    let files = FILES.replace("shared_files", "hosts = [\"web1\", \"web2\"]\nshared_files");
    let mut w = World::with("");
    w.write("state/env/staging.env", TEMPLATE);
    w.commit(&format!("{APP}{hosts}{}", env("staging", 'a', &files).replace("$DIR/staging", "$DIR/staging/{host}")));
    for (host, key) in [("web1", KEY), ("web2", OTHER)] {
        w.set("SOLL_SECRET_APP_KEY", key);
        let line = |line: &str| format!("{line} --host {host} --state-dir $DIR/ctl-{host}");
        w.soll(&line("apply")).exits(0).hides(key);
        assert_eq!(w.read(&format!("staging/{host}/current/.env")), expected("acme", key, 'a').replace("local", host));
        w.soll(&line("plan --detailed-exitcode")).exits(0);
    }
}

/// What is rendered is nothing that a person puts there, and the doctor says what it needs.
#[test]
fn provision_and_doctor_know_what_is_rendered() {
    let mut w = world();
    w.write("mine", "APP_KEY=x\n");
    w.soll("provision staging --env-file $DIR/mine").says("env/staging.env").says("rendered");
    assert!(!w.path("staging/shared/.env").exists());
    w.soll("doctor").says("APP_KEY is there for .env");
    w.set("SOLL_SECRET_APP_KEY", "");
    w.soll("doctor").says(".env is rendered with the secret APP_KEY");
    w.edit("mode = \"0640\"", "owner = \"nobody-of-this-name\"");
    w.soll("doctor").says("this host has no user nobody-of-this-name");
}

/// Back to the commit before: the release that is there, with the version that it was made with.
#[test]
fn a_rollback_returns_to_the_release_with_its_file() {
    let w = settled();
    w.write("state/env/staging.env", &TEMPLATE.replace("JSON={{\"sha\": \"{sha8}\"}}\n", ""));
    w.commit_all("no commit in it");
    w.soll("apply").exits(0);
    let (first, before) = (w.release("staging"), live(&w));
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    w.soll("release staging <a>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!((w.release("staging"), live(&w)), (first, before), "nothing was made anew");
}

/// A secret does not stand in the arguments of any process.
#[test]
fn no_process_is_given_a_secret_as_an_argument() {
    let w = world();
    let look = "[[environments.staging.hooks]]\nphase = \"pre-switch\"\nname = \"looks\"\n\
        run = \"for p in /proc/[0-9]*; do tr '\\\\0' ' ' < $p/cmdline; done > $DIR/arguments 2> /dev/null; env > $DIR/environment\"\n";
    w.commit(&format!("{}{look}", w.read("state/desired-state.toml")));
    w.soll("apply").exits(0);
    assert!(!w.read("arguments").is_empty() && !w.read("environment").is_empty());
    assert!(!w.read("arguments").contains(KEY) && !w.read("environment").contains(KEY));
}

/// A file of any form: what a hook, a gate and a check print of it is shown without the secrets in it (law 9).
#[test]
fn what_commands_print_of_a_file_of_any_form_has_no_secret_in_it() {
    let mut w = World::with("");
    w.set("SOLL_SECRET_APP_KEY", KEY);
    w.write("state/env/database.yml", "database:\n  password: {secret:APP_KEY}\n");
    let files = "shared_files = [\"database.yml\"]\n[[environments.staging.files]]\npath = \"database.yml\"\n\
        template = \"env/database.yml\"\n[[environments.staging.hooks]]\nphase = \"post-switch\"\nrun = \"cat database.yml\"\n\
        [[environments.staging.gates]]\nname = \"gate\"\nrun = \"cat database.yml\"\n\
        [[environments.staging.health.checks]]\nname = \"prints\"\nrun = \"cat database.yml; test ! -e broken\"\n";
    w.commit(&format!("{APP}{}", env("staging", 'a', files)));
    w.soll("apply").exits(0).says("password: ***").hides(KEY);
    w.edit("<a>", "<c>");
    w.soll("apply").exits(3).says("password: ***").hides(KEY);
    let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    w.soll(&format!("show {run}")).exits(0).says("password: ***").hides(KEY);
    w.soll("status --output json").hides(KEY);
    w.soll("history --output json").hides(KEY);
}

/// The gates of a preflight see what would be rendered, and nothing of it is left.
#[test]
fn a_preflight_tries_a_release_with_the_files_that_it_would_get() {
    let w = settled();
    w.edit("tenant = \"acme\"", "tenant = \"globex\"");
    let gate = "\n[[environments.staging.gates]]\nname = \"tenant\"\nrun = \"grep -q TENANT=globex .env\"\n";
    w.commit(&(w.read("state/desired-state.toml") + gate));
    w.soll("preflight staging").exits(0).says("changed TENANT").says("`tenant`: exit code 0").hides(KEY);
    assert_eq!(live(&w), expected("acme", KEY, 'a'));
    assert!(!everywhere(&w, "staging/.soll").contains("globex"));

    let mut w = w;
    w.set("SOLL_SECRET_APP_KEY", "");
    w.soll("preflight staging").exits(1).says("APP_KEY");
}

/// A file that is given away belongs to that user, and the agent, which may do that, reads it again.
#[test]
fn a_file_is_given_to_its_owner() {
    let w = world();
    w.edit("mode = \"0640\"", "mode = \"0640\"\nowner = \"www-data:www-data\"");
    w.soll("apply").exits(0);
    let meta = fs::metadata(w.path("staging/current/.env")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (33, 33, 0o640), "as Debian numbers it");
    w.soll("plan --detailed-exitcode").exits(0);
    w.edit("tenant = \"acme\"", "tenant = \"globex\"");
    w.soll("plan --detailed-exitcode").exits(2).says("changed TENANT");
    w.soll("apply").exits(0);
    assert_eq!(fs::metadata(w.path("staging/current/.env")).unwrap().uid(), 33);
    w.soll("plan --detailed-exitcode").exits(0);
}
