//! What goes well: the steps of A4 in one plan, the workers, the caches, the way back to a release, a commit instead of a
//! bundle.

use super::stack::{Stack, application};
use crate::support::world::until;

/// A migration of a release of its own.
pub const COLUMN: (&str, Option<&str>) = (
    "database/migrations/2025_02_01_000000_add_email_to_users_table.php",
    Some("<?php\nreturn 'ALTER TABLE users ADD email VARCHAR(100)';\n"),
);

/// The jobs that are done, with the release whose worker did each.
fn done(stack: &Stack) -> Vec<String> {
    stack.redis("lrange done 0 -1").lines().map(str::to_owned).collect()
}

#[test]
fn a_deployment_is_one_plan_and_every_step_says_what_it_saw() {
    let mut stack = Stack::start();
    let one = stack.release(&[]);
    stack.deploy(&one).exits(0);
    assert_eq!(stack.shows(), one);
    stack.supervise();
    stack.redis("rpush queue '1 10'");
    until("the first worker works", || (done(&stack).len() == 1).then_some(()));

    let two = stack.release(&[COLUMN]);
    stack.desire(&two);
    let plan = stack.world.soll("plan production --output json").exits(0).json();
    let steps = plan["environments"][0]["steps"].as_array().unwrap();
    let kinds: Vec<&str> = steps.iter().map(|step| step["kind"].as_str().unwrap()).collect();
    let mut order = kinds.clone();
    order.dedup();
    assert_eq!(
        order,
        [
            "health-before",
            "fetch",
            "verify",
            "upload",
            "extract",
            "link",
            "hook",
            "gate",
            "migrate",
            "hook",
            "seal",
            "switch",
            "hook",
            "reload",
            "hook",
            "grace",
            "health",
            "assets",
            "confirm",
            "prune"
        ]
    );
    // Nine structure checks of the recipe, its two commands, and the manifest.
    assert_eq!(kinds.iter().filter(|kind| **kind == "gate").count(), 12);
    let migrations: Vec<_> = steps.iter().filter(|step| step["irreversible"] == true).map(|step| &step["id"]).collect();
    assert_eq!(migrations, ["migrate:local:migrate"]);

    stack.world.soll("apply production").exits(0);
    assert_eq!(stack.shows(), two);
    let run = stack.world.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    let show = stack.world.soll(&format!("show {run}")).exits(0);
    for evidence in [
        "Laravel Framework 11.0.0",
        "2025_02_01_000000_add_email_to_users_table DONE",
        "Caches cleared.",
        "Broadcasting queue restart signal.",
        "2 assets of public/build/manifest.json served",
    ] {
        assert!(show.stdout.contains(evidence), "`{evidence}` is not in\n{}", show.stdout);
    }
    // The worker of the release before has ended by itself, and the one that came reads the new code.
    let release = stack.world.release("production");
    until("a worker of the new release", || stack.redis("lrange workers 0 -1").contains(&release).then_some(()));
    stack.redis("rpush queue '2 10'");
    until("it works", || done(&stack).contains(&format!("2 {release}")).then_some(()));
    stack.world.soll("plan --detailed-exitcode").exits(0);

    // A return migrates nothing, fetches nothing, and its workers are those of before.
    let back = stack.deploy(&one).exits(0).hides("migrate").hides("fetch");
    assert!(back.stderr.contains("rollback-queue-restart"), "{}", back.stderr);
    assert_eq!(stack.shows(), one);
    let release = stack.world.release("production");
    until("a worker of the old release", || stack.redis("lrange workers -1 -1").contains(&release).then_some(()));
    stack.redis("rpush queue '3 10'");
    until("it works again", || done(&stack).contains(&format!("3 {release}")).then_some(()));
}

/// A configuration that was cached where the bundle was built would name that machine's database.
#[test]
fn what_was_cached_in_a_build_does_not_reach_the_server() {
    let mut stack = Stack::start();
    let cached = "<?php\nreturn ['DB_SOCKET' => '/nowhere', 'DB_DATABASE' => 'ci', 'DB_USERNAME' => 'ci', \
                  'DB_PASSWORD' => 'ci', 'REDIS_SOCKET' => '/nowhere'];\n";
    let one = stack.release(&[("bootstrap/cache/config.php", Some(cached))]);
    stack.deploy(&one).exits(0);
    assert_eq!(stack.shows(), one);
}

#[test]
fn a_variable_that_is_missing_is_said_before_anything_is_switched() {
    let mut stack = Stack::start();
    let one = stack.release(&[]);
    stack.put("production/shared/.env/production.env", "APP_KEY=x\n");
    stack.deploy(&one).exits(1).says("DB_PASSWORD");
    assert_eq!(stack.page("/"), None);
}

/// The same application from commits, with `vendor/` and the built assets in them.
#[test]
fn a_commit_is_deployed_where_it_holds_all_that_a_bundle_would() {
    let stack = Stack::start();
    std::fs::create_dir_all(stack.world.path("app")).unwrap();
    stack.world.git_in("app", &["init", "-q", "-b", "main"]);
    let commit = |stack: &Stack, text: &str| {
        let dir = stack.world.path("build/commit");
        // A commit cannot hold its own id: what it says is a text of its own.
        application(&dir, text, &[]);
        stack.sh("rm -rf app/* && cp -r build/commit/. app/");
        stack.world.commit_in("app", text)
    };
    let (one, two) = (commit(&stack, &"1".repeat(40)), commit(&stack, &"2".repeat(40)));
    let state = |stack: &Stack, sha: &str| {
        stack.desire(sha);
        stack.world.edit(
            "bundle = { url = \"bundles/deployment-bundle-{sha}.tar.gz\" }",
            "kind = \"git\"\nrepository = \"$DIR/app\"",
        );
        stack.world.edit("body = \"{sha}\"", "body = \"{sha8}\"");
    };
    state(&stack, &one);
    stack.world.soll("apply").exits(0);
    assert_eq!(stack.shows(), "1".repeat(40));
    state(&stack, &two);
    stack.world.soll("apply").exits(0);
    assert_eq!(stack.shows(), "2".repeat(40));
    state(&stack, &one);
    stack.world.soll("apply").exits(0).hides("migrate");
    assert_eq!(stack.shows(), "1".repeat(40));
    stack.world.soll("plan --detailed-exitcode").exits(0);
}

/// What a script has deployed before: `current`, `releases/` and `shared/`, and nobody knows the commit.
#[test]
fn a_server_that_a_script_deployed_to_is_taken_over() {
    let mut stack = Stack::start();
    let old = "production/releases/20250101_000000-abcdef12";
    application(&stack.world.path(old), &"abcdef12".repeat(5), &[]);
    stack.sh(&format!(
        "mkdir -p production/shared/storage/framework production/shared/public/uploads\ncd {old}\n\
         ln -s ../../shared/storage storage && ln -s ../../shared/.env/production.env .env\n\
         php artisan migrate --force && ln -s releases/20250101_000000-abcdef12 ../../current"
    ));
    assert_eq!(stack.shows(), "abcdef12".repeat(5));

    // It is what a release that fails goes back to.
    let sick = stack.release(&[("routes/web.php", Some("<?php\nreturn ['/' => fn () => [503, 'no']];\n"))]);
    stack.deploy(&sick).exits(3).says("adopt");
    assert_eq!(stack.shows(), "abcdef12".repeat(5));
    let one = stack.release(&[COLUMN]);
    stack.deploy(&one).exits(0);
    assert_eq!(stack.shows(), one);
    stack.world.soll("plan --detailed-exitcode").exits(0);
}
