//! `recipe = "python"` for commits: virtual environments that are built once for the same requirements, and many customers of
//! one service.

use std::process::Command;

use crate::support::wheel::wheel;
use crate::support::world::World;

/// What the recipe asks systemd for is asked of the application itself: there is no systemd here.
const STATE: &str = r#"schema = 1

[apps.api]
kind = "git"
recipe = "python"
repository = "$DIR/app"
variables = { service = "api" }
units = []
[[apps.api.hooks]]
name = "restart"
phase = "post-switch"
run = ".venv/bin/hello > $DIR/said"
on_failure = "rollback"
[[apps.api.hooks]]
name = "rollback-restart"
phase = "rollback"
run = ".venv/bin/hello > $DIR/said"
[[apps.api.health.checks]]
name = "service"
run = ".venv/bin/python app.py"

[environments.production]
release = "@"
root = "$DIR/production"
"#;

/// An application that needs `hello` in this version, and a second commit with other code and the same requirements.
fn app(w: &World) -> [String; 2] {
    for version in ["1.0", "2.0"] {
        wheel("hello", version, &w.path("wheels"));
    }
    std::fs::create_dir_all(w.path("app")).unwrap();
    w.git_in("app", &["init", "-q", "-b", "main"]);
    requires(w, "hello==1.0");
    w.write("production/shared/.env", "APP=1\n");
    [code(w, "one"), code(w, "two")]
}

fn requires(w: &World, lines: &str) {
    w.write("app/requirements.txt", &format!("--no-index\n--find-links $DIR/wheels\n{lines}\n"));
}

fn code(w: &World, text: &str) -> String {
    w.write("app/app.py", &format!("import hello\n\nprint('{text}', hello.VERSION)\n"));
    w.commit_in("app", text)
}

fn release(w: &World, sha: &str) -> crate::support::world::Ran {
    w.soll(&format!("release production {sha}")).exits(0);
    w.soll("apply")
}

#[test]
fn an_environment_is_built_once_for_the_same_requirements() {
    let w = World::new();
    let [one, two] = app(&w);
    w.commit(&STATE.replace('@', &one));
    w.soll("apply").exits(0).hides("copied from");
    assert_eq!(w.read("said"), "hello 1.0\n");
    let cached = || std::fs::read_dir(w.path("production/.soll/cache/venv")).unwrap().count();
    assert_eq!(cached(), 1);

    // The same requirements: copied, and nothing in it names the release that it was built in.
    release(&w, &two).exits(0).says("copied from");
    let live = w.path("production/releases").join(w.release("production"));
    let command = std::fs::read_to_string(live.join(".venv/bin/hello")).unwrap();
    assert!(command.starts_with(&format!("#!{}/.venv/bin/python", live.display())), "{command}");
    let old = one.get(..8).unwrap();
    let names_old = Command::new("grep").args(["-rlI", old]).arg(live.join(".venv")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&names_old.stdout), "", "paths of the release that it was built in");
    // What is written in one release changes neither the cache nor another one (I8).
    let module = ".venv/lib/*/site-packages/hello.py";
    let sh =
        |script: String| Command::new("sh").arg("-ec").arg(script).current_dir(w.path("production")).output().unwrap();
    let others =
        sh(format!("cat releases/*/{module} .soll/cache/venv/*/lib/*/site-packages/hello.py | sort | uniq -c")).stdout;
    assert_eq!(String::from_utf8_lossy(&others).matches("3 ").count(), 3, "three copies of each line");
    sh(format!("for file in current/{module}; do echo '# written-here-4711' >> \"$file\"; done"));
    let changed = sh("grep -rl written-here-4711 releases .soll/cache/venv | wc -l".to_owned()).stdout;
    assert_eq!(String::from_utf8_lossy(&changed).trim(), "1");
    sh(format!("sed -i '/written-here-4711/d' current/{module}"));
    // What Python compiles while it runs is no drift.
    w.soll("plan --detailed-exitcode").exits(0);

    // Others: built anew, and the way back builds nothing.
    requires(&w, "hello==2.0");
    let three = code(&w, "three");
    release(&w, &three).exits(0).hides("copied from");
    assert_eq!((w.read("said").as_str(), cached()), ("hello 2.0\n", 2));
    release(&w, &one).exits(0).hides("venv");
    assert_eq!(w.read("said"), "hello 1.0\n");
}

#[test]
fn a_requirement_that_is_not_there_is_a_verdict_and_an_index_that_is_away_is_none() {
    let w = World::new();
    let [one, _] = app(&w);
    w.commit(&STATE.replace('@', &one));
    w.soll("apply").exits(0);
    let live = w.release("production");

    requires(&w, "hello==9.9");
    let wrong = code(&w, "wrong");
    release(&w, &wrong).exits(1).says("prepare hook `venv` says no").says("hello==9.9");
    assert_eq!((w.release("production"), w.quarantined("production").len()), (live.clone(), 1));

    // Nobody listens there.
    w.write("app/requirements.txt", "--index-url http://127.0.0.1:9/simple\nhello==1.0\n");
    let away = code(&w, "away");
    let ran = release(&w, &away).exits(1);
    ran.says("it can be tried again").says("exit code 75");
    assert_eq!((w.release("production"), w.quarantined("production").len()), (live, 1), "no second verdict");
    w.soll("plan").hides("quarantined");
}

/// S4: each customer with a root, an `.env` and a database of their own. One whose database refuses the migration keeps what
/// runs, and stops nobody.
#[test]
fn a_customer_whose_migration_fails_stops_no_other() {
    let w = World::new();
    let [one, two] = app(&w);
    let state = STATE.replace("\"$DIR/production\"", "\"$DIR/{tenant}\"").replace("> $DIR/said", "> ../../said");
    let (head, _) = state.split_once("\n[environments").unwrap();
    let migrate = "import os, sqlite3; d = sqlite3.connect(os.environ[\"DB\"]); d.execute(\"create table if not exists t (n)\"); \
                   d.execute(\"insert into t values (1)\"); d.commit()";
    let migrate = format!(
        "\n[[apps.api.hooks]]\nname = \"migrate\"\nphase = \"migrate\"\nrun = '''. ./.env; export DB; .venv/bin/python -c '{migrate}' '''\n"
    );
    let template = format!("\n[templates.customer]\nrelease = \"{one}\"\nroot = \"$DIR/{{tenant}}\"\n");
    let customer = |name: &str| {
        w.write(&format!("{name}/shared/.env"), &format!("DB=$DIR/{name}.db\n"));
        format!("\n[environments.{name}]\nextends = \"customer\"\nvariables = {{ tenant = \"{name}\" }}\n")
    };
    let customers: String = ["acme", "beta", "gamma"].map(customer).concat();
    w.commit(&format!("{head}{migrate}{template}{customers}"));
    w.soll("apply").exits(0);

    std::fs::remove_file(w.path("beta.db")).unwrap();
    w.write("beta.db", "this is no database, and long enough that nobody takes it for an empty one");
    w.edit(&one, &two);
    w.soll("apply").exits(1).says("migrate hook `migrate` says no");
    let runs = |name: &str| w.release(name).rsplit_once('-').unwrap().1.to_owned();
    assert_eq!(["acme", "beta", "gamma"].map(runs), [&two[..8], &one[..8], &two[..8]]);
    assert_eq!(w.read("beta/said"), "hello 1.0\n");
    // Each has a cache of its own: what one customer builds, no other runs.
    assert!(["acme", "beta", "gamma"].iter().all(|name| w.path(&format!("{name}/.soll/cache/venv")).is_dir()));
}
