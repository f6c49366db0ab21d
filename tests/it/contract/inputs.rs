//! What a release is made with beside its commit: shared files and directories, required variables, secrets (A9, A10, E4).

use crate::support::web::Web;
use crate::support::world::{World, env};

const ENV_FILE: &str = "shared_files = [{ path = \".env\", from = \".env/production.env\" }]\n";
const RELOAD: &str = "[[environments.staging.hooks]]\nname = \"reload\"\nphase = \"post-switch\"\nreload = true\nrun = \"cat .env >> $DIR/log\"\n";

#[test]
fn a_missing_shared_file_is_1_and_never_made_empty() {
    let w = World::with(&env("staging", 'a', ENV_FILE));
    w.soll("apply").exits(1).says("shared/.env/production.env is missing on local").says("an empty one is never made");
    assert!(!w.path("staging/shared/.env/production.env").exists());
    assert!(!w.path("staging/current").exists());
    w.write("staging/shared/.env/production.env", "APP_KEY=x\n");
    w.soll("apply").exits(0);
    assert_eq!(w.read("staging/current/.env"), "APP_KEY=x\n");
    // It belongs to the host: the next release leads to the same file.
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.read("staging/current/.env"), "APP_KEY=x\n");
}

#[test]
fn a_required_variable_that_is_missing_is_1() {
    let w = World::with(&env("staging", 'a', &format!("{ENV_FILE}required_env = [\"APP_KEY\", \"DB_PASSWORD\"]")));
    w.write("staging/shared/.env/production.env", "APP_KEY=hunter2\n# DB_PASSWORD=hunter2\n");
    w.soll("plan").exits(0).says("lacks DB_PASSWORD").hides("hunter2");
    w.soll("apply").exits(1).says("lacks DB_PASSWORD").hides("hunter2");
    assert!(!w.path("staging/current").exists());
    w.write("staging/shared/.env/production.env", "APP_KEY=hunter2\nDB_PASSWORD=\"hunter2\"\n");
    w.soll("apply").exits(0).hides("hunter2");
}

#[test]
fn a_changed_environment_file_is_a_change_at_the_same_commit() {
    let w = World::with(&env("staging", 'a', &format!("{ENV_FILE}{RELOAD}")));
    w.write("staging/shared/.env/production.env", "K=1\n");
    w.soll("apply").exits(0);
    let release = w.release("staging");
    w.write("staging/shared/.env/production.env", "K=2\n");
    w.soll("plan --detailed-exitcode").exits(2).says("shared/.env/production.env changed at the same commit");
    w.soll("apply").exits(0);
    assert_eq!((w.read("log"), w.release("staging")), ("K=1\nK=2\n".into(), release));
    w.soll("plan --detailed-exitcode").exits(0);
    // Verified, too: what it breaks is told.
    w.edit("test ! -e broken", "grep -q K= .env");
    w.write("staging/shared/.env/production.env", "nothing\n");
    w.soll("apply").exits(1).says("check `alive`");
    w.soll("apply").exits(7);
    w.write("staging/shared/.env/production.env", "K=3\n");
    w.soll("apply").exits(0);
}

#[test]
fn a_changed_variable_is_a_change_at_the_same_commit() {
    let w = World::staging(
        "variables = { tenant = \"north\" }\n[[environments.staging.hooks]]\nname = \"reload\"\nphase = \"post-switch\"\nrun = \"echo {tenant} >> $DIR/log\"\n",
    );
    w.edit("\"north\"", "\"south\"");
    w.soll("plan --detailed-exitcode").exits(2).says("the variables changed at the same commit");
    w.soll("apply").exits(0);
    assert_eq!(w.read("log"), "north\nsouth\n");
    w.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn changed_shared_paths_make_the_release_anew() {
    let w = World::staging("shared_dirs = [\"storage\"]");
    let release = w.release("staging");
    w.write("staging/current/storage/upload.txt", "kept");
    assert_eq!(w.read("staging/shared/storage/upload.txt"), "kept");
    w.edit("[\"storage\"]", "[\"storage\", \"public/uploads\"]");
    w.soll("apply").exits(0).says("the shared paths changed");
    assert_ne!(w.release("staging"), release);
    assert!(w.path("staging/shared/public/uploads").is_dir());
    assert_eq!(w.read("staging/current/storage/upload.txt"), "kept");
}

#[test]
fn a_check_with_a_token_needs_the_secret_and_sends_it() {
    let web = Web::start();
    web.set("/health", 200, "all is well");
    let check = format!(
        "[[environments.staging.health.checks]]\nname = \"web\"\nhttp = \"{}\"\nbearer = \"TOKEN\"\nbody = \"well\"\n",
        web.url("/health")
    );
    for from in ["host", "controller"] {
        let mut w = World::with(&env("staging", 'a', &format!("{check}from = \"{from}\"\n")));
        w.soll("apply").exits(1).says("SOLL_SECRET_TOKEN");
        w.set("SOLL_SECRET_TOKEN", "hunter2");
        w.soll("apply -v").exits(0).hides("hunter2");
        assert!(web.seen().last().unwrap().to_lowercase().contains("authorization: bearer hunter2"));
        w.soll("history --output json").exits(0).hides("hunter2");
        assert!(!w.record("staging").to_string().contains("hunter2"));
    }
    // From a file of the controller as well.
    let mut w = World::with(&env("staging", 'a', &check));
    w.write("secrets/TOKEN", "hunter3\n");
    w.set("SOLL_SECRETS_DIR", "$DIR/secrets");
    w.soll("apply").exits(0).hides("hunter3");
    assert!(web.seen().last().unwrap().to_lowercase().contains("authorization: bearer hunter3\r"));
    // A body that does not match is a verdict.
    web.set("/health", 200, "hm");
    w.soll("release staging <b>").exits(0);
    w.soll("apply").exits(1).says("check `web`");
}
