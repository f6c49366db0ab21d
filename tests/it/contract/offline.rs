//! Commands that need no host: validate, init, bundle, recipe, schema, completions, man.

use crate::support::world::{World, env};

#[test]
fn every_error_is_told_at_once_with_its_place() {
    let w = World::with(&env("staging", 'a', ""));
    w.soll("validate").exits(0).says("valid: 1 environment");
    // The work tree is what is checked, before it is committed.
    w.write(
        "state/desired-state.toml",
        &w.read("state/desired-state.toml").replace("release =", "relaese =").replace("attempts = 2", "attempts = 0"),
    );
    w.soll("validate").exits(1).says("relaese").says("release").says("attempts").says("desired-state.toml:6:12");
    w.soll("validate --ref HEAD").exits(0);
    w.soll("plan")
        .exits(0)
        .says(&w.fill("desired-state.toml in $DIR/state is"))
        .says("what is not committed is not looked at");
    w.soll("plan --ref HEAD").exits(0).hides("is not committed");
    w.write("elsewhere.toml", "schema = 2\n");
    w.soll("validate $DIR/elsewhere.toml").exits(1).says("elsewhere.toml:1:10");
    w.soll("validate $DIR/none.toml").exits(1).says("none.toml");
}

#[test]
fn a_first_file_is_valid_and_never_written_over() {
    let w = World::new();
    let recipes = w.soll("recipe").exits(0).stdout;
    assert!(recipes.lines().count() >= 7, "{recipes}");
    for recipe in recipes.lines() {
        let path = w.path(&format!("{recipe}/state.toml"));
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let path = path.to_str().unwrap();
        w.run(&["init", path, "--recipe", recipe])
            .exits(0)
            .says("next: edit it, then: git init -b main, soll validate");
        w.run(&["validate", path]).exits(0).hides("⚠");
    }
    let before = w.read("static/state.toml");
    w.soll("init $DIR/static/state.toml").exits(1).says("is there already");
    assert_eq!(w.read("static/state.toml"), before);
    w.soll("init $DIR/x.toml --recipe nonsense").exits(64).says("laravel");
    let other = w.soll("init $DIR/x.toml --recipe laravel --kind compose").exits(64);
    other.says("the recipe `laravel` is not for applications of kind compose; for those: generic, compose");
}

#[test]
fn a_first_file_says_what_is_known_already() {
    let w = World::new();
    let line = "init $DIR/state/first.toml --recipe laravel --environment shop.live --host web1.example.com --user deploy \
        --root /var/www/shop --repository https://git.example.com/acme/shop.git --release <a> --health http://127.0.0.1/up";
    // In a repository nobody needs to begin one.
    w.soll(line).exits(0).hides("git init");
    let said = w.soll("validate $DIR/state/first.toml --output json").exits(0).json();
    assert_eq!(said["environments"], serde_json::json!(["shop.live"]));
    assert_eq!(said["warnings"], serde_json::json!([]));
    let text = w.read("state/first.toml");
    for line in [
        "[hosts.web1]\naddress = \"web1.example.com\"\nuser = \"deploy\"\n",
        "[environments.\"shop.live\"]\n",
        "hosts = [\"web1\"]\nroot = \"/var/www/shop\"\n",
        "kind = \"git\"",
        "repository = \"https://git.example.com/acme/shop.git\"",
        "http = \"http://127.0.0.1/up\"",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.contains(&format!("release = \"{}\"", crate::support::world::sha('a'))), "{text}");
    // An address of digits is no name of a host.
    w.soll("init $DIR/by-address.toml --host 192.0.2.7").exits(0);
    w.soll("validate $DIR/by-address.toml").exits(0);
    assert!(w.read("by-address.toml").contains("[hosts.web1]\naddress = \"192.0.2.7\"\n"));
    // What was said and is wrong is told at its place, and nothing is written.
    w.soll("init $DIR/wrong.toml --release abc --root here").exits(64).says("wrong.toml").says("abc").says("2 errors");
    assert!(!w.path("wrong.toml").exists());
    w.soll("init $DIR/wrong.toml --kind bundle --repository $DIR/app").exits(64).says("--kind git");
}

/// A commit by half a person would bear a guess for ever.
#[test]
fn an_author_has_a_name_and_an_address_or_neither_is_set() {
    let w = World::with(&env("staging", 'a', ""));
    let name = "SOLL_AUTHOR_NAME (`author_name`)";
    let email = "SOLL_AUTHOR_EMAIL (`author_email`)";
    let release = "release staging <b>";
    let only_email = w.soll_with(release, &[("SOLL_AUTHOR_EMAIL", "bot@example.com")]).exits(1);
    only_email.says(&format!("{email} is set and {name} is not"));
    let only_name = w.soll_with(release, &[("SOLL_AUTHOR_NAME", "A bot")]).exits(1);
    only_name.says(&format!("{name} is set and {email} is not"));
    w.soll_with(release, &[("SOLL_AUTHOR_NAME", "A bot"), ("SOLL_AUTHOR_EMAIL", "bot@example.com")]).exits(0);
    assert_eq!(w.git(&["log", "-1", "--format=%an <%ae>", "main"]), "A bot <bot@example.com>");
}

#[test]
fn recipes_schema_completions_and_the_manual() {
    let w = World::new();
    let names = w.soll("recipe").exits(0).stdout;
    for name in ["generic", "static", "laravel", "python"] {
        assert!(names.lines().any(|line| line == name), "{names}");
        assert!(!w.soll(&format!("recipe {name}")).exits(0).stdout.is_empty());
    }
    w.soll("recipe laravel").exits(0).says("artisan");
    w.soll("recipe nonsense").exits(64).says("generic");
    let schema = w.soll("schema").exits(0).json();
    assert!(schema["properties"]["environments"].is_object(), "{schema}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        w.soll(&format!("completions {shell}")).exits(0).says("SOLL_COMPLETE");
    }
    w.soll("man").exits(0).says(".TH").says("acknowledge");
    w.soll("--version").exits(0).says("soll 0.1.0 (");
    w.soll("version").exits(0).says("soll 0.1.0 (");
    assert_eq!(w.soll("version --output json").exits(0).json()["version"], "0.1.0");
    w.soll("help rollback").exits(0).says("--with-database").says("Examples:");
}

#[test]
fn a_bundle_is_reproducible_and_complete_or_not_made() {
    let w = World::new();
    w.write("build/x/index.html", "x");
    w.soll("bundle $DIR/build/x --sha <a> --out $DIR/one").exits(0);
    w.soll("bundle $DIR/build/x --sha <a> --out $DIR/two").exits(0);
    let name = w.fill("deployment-bundle-<a>.tar.gz");
    let archive = |dir: &str| std::fs::read(w.path(&format!("{dir}/{name}"))).unwrap();
    assert_eq!(archive("one"), archive("two"));
    let check = w
        .program("sha256sum")
        .args(["--check", &format!("{name}.sha256")])
        .current_dir(w.path("one"))
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    w.soll("bundle $DIR/build/x --sha abc --out $DIR/one").exits(64);
    w.soll("bundle $DIR/build/x --sha <a> --out $DIR/one --check tests").exits(64).says("NAME=CONCLUSION");
    w.soll("bundle $DIR/none --sha <a> --out $DIR/one").exits(1);
    // The gates of an environment that name files hold already here (A3).
    w.commit(&format!(
        "{}[[apps.web.gates]]\nfile = \"public/index.php\"\n{}",
        crate::support::world::APP,
        env("staging", 'a', "")
    ));
    w.soll("bundle $DIR/build/x --sha <b> --out $DIR/one --gates-of staging").exits(1).says("public/index.php");
    assert!(!w.path(&w.fill("one/deployment-bundle-<b>.tar.gz")).exists());
    w.write("build/x/public/index.php", "x");
    w.soll("bundle $DIR/build/x --sha <b> --out $DIR/one --gates-of staging").exits(0);
    w.soll("bundle $DIR/build/x --sha <b> --out $DIR/one --gates-of nowhere").exits(64);
}

#[test]
fn a_reader_that_goes_away_is_nobodys_mistake() {
    let w = World::new();
    let mut command = w.program("sh");
    command.arg("-c").arg(format!("{} man | head -n 1", env!("CARGO_BIN_EXE_soll")));
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// A CI job that waits asks the forge as often as the loop would, however often it looks at the hosts.
#[test]
fn waiting_asks_a_remote_repository_no_oftener_than_the_loop() {
    let mut w = World::staging("");
    w.git(&["config", "receive.denyCurrentBranch", "ignore"]);
    w.soll("release staging <b>").exits(0);
    // Every look at the remote is a git of its own.
    let git = String::from_utf8(std::process::Command::new("which").arg("git").output().unwrap().stdout).unwrap();
    w.write(
        "bin/git",
        &format!("#!/bin/sh\ncase \"$*\" in *fetch*) echo x >> $DIR/fetched;; esac\nexec {} \"$@\"\n", git.trim()),
    );
    std::fs::set_permissions(w.path("bin/git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("$DIR/bin:{}", std::env::var("PATH").unwrap());
    w.set("PATH", &path);
    w.set("SOLL_REPO", "file://$DIR/state");
    w.set("SOLL_POLL", "1h");
    let fetched = || w.read("fetched").lines().count();
    // The first one ever also makes the mirror.
    w.soll("wait staging --timeout 0s").exits(1);
    w.write("fetched", "");
    w.soll("wait staging --timeout 0s").exits(1);
    let once = fetched();
    assert!(once > 0, "no look was noticed");
    w.write("fetched", "");
    w.soll("wait staging --timeout 2s").exits(1);
    assert_eq!(fetched(), once, "the remote is asked at every look");
}

/// Whoever reads a proposal reads why it cannot be planned where the plan would stand.
#[test]
fn a_proposal_that_is_wrong_is_told_so_in_its_comment() {
    let w = World::with(&env("staging", 'a', ""));
    let good = w.read("state/desired-state.toml");
    // Of a part that is wrong it is said first, and what stays for it; the rest is planned.
    w.commit("schema = 1\n\n[environments.staging]\nrelaese = \"@everybody\"\nroot = \"/srv\"\n");
    let said = w.soll("plan --ref HEAD --output markdown").exits(0).stdout;
    let begins = "<!-- soll-plan -->\n**soll**: the environment staging of desired-state.toml is wrong in commit ";
    assert!(said.starts_with(begins), "{said}");
    assert!(said.contains("desired-state.toml:4:1") && said.contains("relaese"), "{said}");
    assert!(said.contains("\n**soll**: 1 environment changes"), "{said}");
    // Of a file that says nothing that can be believed there is no plan.
    w.commit(&good.replace("schema = 1", "shcema = 1"));
    for line in ["plan --ref HEAD --output markdown", "plan --output markdown"] {
        let said = w.soll(line).exits(1).stdout;
        assert!(said.starts_with("<!-- soll-plan -->\n**soll**: no plan: the state file has "), "{line}: {said}");
        assert!(said.contains("shcema") && said.contains("`soll validate`"), "{line}: {said}");
        assert!(!said.contains("<details>"), "{line}: {said}");
    }
}

/// What a shell asks for when a key is pressed, as the script of bash asks it.
#[test]
fn a_shell_completes_what_there_is() {
    let w = World::with(&(env("staging", 'a', "") + &env("shop-live", 'a', "")));
    w.soll("apply staging").exits(0);
    let run = w.soll("history --output json").exits(0).json()[0]["run"].as_str().unwrap().to_owned();
    let completed = |line: &str| {
        let at = line.split_whitespace().count().to_string();
        let asked =
            w.soll_with(&format!("-- soll {line}"), &[("SOLL_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", &at)]);
        asked.exits(0).stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed("plan s"), ["shop-live", "staging"]);
    assert_eq!(completed("promote staging sh"), ["shop-live"]);
    assert_eq!(completed("roll"), ["rollback"]);
    assert_eq!(completed("recipe la"), ["laravel"]);
    assert_eq!(completed("release staging aaaa"), [crate::support::world::sha('a')]);
    assert_eq!(completed(&format!("show {}", &run[..run.len() - 1])), [run]);
    // A place where nothing can be read completes nothing, and makes nothing.
    let empty = [
        ("SOLL_COMPLETE", "bash"),
        ("_CLAP_COMPLETE_INDEX", "2"),
        ("SOLL_REPO", "/nowhere"),
        ("SOLL_STATE_DIR", "/nowhere"),
    ];
    assert_eq!(w.soll_with("-- soll plan s", &empty).exits(0).stdout, "");
    assert!(!std::path::Path::new("/nowhere").exists());
}

/// As plans and `status` show commits, they can be named; the file gets the whole id.
#[test]
fn the_first_digits_of_a_known_commit_name_a_release() {
    let w = World::with(&(env("staging", 'a', "") + &env("production", 'b', "")));
    w.soll("release staging bbbbbbbb").exits(0).says("Release bbbbbbbb to staging");
    let whole = format!("release = \"{}\"", crate::support::world::sha('b'));
    assert_eq!(w.read("state/desired-state.toml").matches(&whole).count(), 2);
    let twin = format!("bbbbbbbb{}", "0".repeat(32));
    w.commit(&format!(
        "{}\n[environments.old]\nrelease = \"{twin}\"\nroot = \"/srv/old\"\napp = \"web\"\n",
        w.read("state/desired-state.toml")
    ));
    let several = w.soll("release staging bbbbbb").exits(64).says("several commits begin with bbbbbb: ").says(&twin);
    several.says(&crate::support::world::sha('b'));
    // One that nobody knows is no release.
    let before = w.head();
    w.soll("release staging dddddddd").says("shortened commit id");
    assert_eq!(w.head(), before);
}
