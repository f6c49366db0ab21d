//! Links of a release that lead out of it: a virtual environment's interpreter, `storage:link`, data beside the root. They
//! are the application's wish, and only ever links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::world::{APP, Ran, World, env, sha};

/// One environment, with these lines for the application and for itself.
fn world(app: &str, more: &str) -> World {
    let w = World::new();
    w.commit(&format!("{}{}", APP.replace("[apps.web]\n", &format!("[apps.web]\n{app}\n")), env("staging", 'a', more)));
    w
}

/// A bundle by the system's tar, with these links beside its `index.html`.
fn bundle(w: &World, letter: char, links: &[(&str, &str)]) {
    let dir = w.path(&format!("build/{letter}"));
    let _ = fs::remove_dir_all(&dir);
    w.write(&format!("build/{letter}/index.html"), &letter.to_string());
    for (path, target) in links {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(w.fill(target), path).unwrap();
    }
    pack(w, letter);
}

fn pack(w: &World, letter: char) {
    let (dir, archive) = (w.path(&format!("build/{letter}")), w.archive(letter));
    assert!(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&dir).arg(".").status().unwrap().success());
    let sum = soll::model::ids::Digest::of(&fs::read(&archive).unwrap());
    w.write(&format!("state/bundles/deployment-bundle-{}.tar.gz.sha256", sha(letter)), &sum.to_string());
}

/// The three ways, and no word of a command that would refuse it as well.
fn names_three_ways(said: Ran, entry: &str) {
    let all = format!("{} {}", said.stdout, said.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [&format!("`{entry}`"), "leads out of the release", "links_out = [", "--copies", "ln -sr", "`prepare`"]
    {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(!all.contains("`soll bundle DIR`"), "{all}");
}

fn target(w: &World, path: &str) -> String {
    fs::read_link(w.path("staging/current").join(path)).unwrap().display().to_string()
}

const VENV: [(&str, &str); 3] =
    [("venv/bin/python", "python3"), ("venv/bin/python3", "/usr/bin/python3"), ("venv/lib64", "lib")];

#[test]
fn a_virtual_environment_goes_where_its_interpreter_may_be_outside() {
    let w = world("", "");
    bundle(&w, 'a', &VENV);
    names_three_ways(w.soll("apply").exits(1), "venv/bin/python");
    names_three_ways(w.soll("preflight staging").exits(1), "venv/bin/python");
    assert!(w.quarantined("staging").is_empty(), "nothing was judged");
    let gate =
        "links_out = [\"/usr/bin/python3*\"]\n[[apps.web.gates]]\nfile = \"venv/bin/python3\"\n[apps.web.health]";
    w.edit("[apps.web.health]", gate);
    w.soll("preflight staging").exits(0).says("file `venv/bin/python3` is there");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    assert_eq!([target(&w, "venv/bin/python"), target(&w, "venv/bin/python3")], ["python3", "/usr/bin/python3"]);
    w.soll("plan --detailed-exitcode").exits(0).says("in sync");
    // It may be said of one environment as well, and taken back: what runs stays as it is.
    w.edit("links_out = [\"/usr/bin/python3*\"]\n", "");
    w.soll("plan --detailed-exitcode").exits(0).says("in sync");
    bundle(&w, 'b', &VENV);
    w.edit("release = \"<a>\"", "release = \"<b>\"\nlinks_out = [\"/usr/bin/python3\"]");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    w.soll("rollback staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

/// One machine unpacks a bundle once, for whoever wants it: what one application allows is not allowed for another.
#[test]
fn each_application_speaks_for_itself() {
    let w = world("links_out = [\"/usr/bin/*\"]", "");
    bundle(&w, 'a', &VENV);
    w.soll("apply").exits(0);
    let other = "[apps.other]\nbundle = { url = \"bundles/deployment-bundle-{sha}.tar.gz\" }\n";
    let text =
        w.read("state/desired-state.toml").replace("[environments.staging]", "[environments.staging]\napp = \"web\"");
    w.commit(&format!("{text}{other}{}", env("strict", 'a', "app = \"other\"")));
    names_three_ways(w.soll("apply").exits(1), "venv/bin/python");
    assert!(!w.path("strict/current").exists());
}

#[test]
fn a_host_that_fetches_for_itself_asks_the_same() {
    let w = world("", "");
    w.edit(
        "\"bundles/deployment-bundle-{sha}.tar.gz\"",
        "\"$DIR/state/bundles/deployment-bundle-{sha}.tar.gz\", fetch_from = \"host\"",
    );
    bundle(&w, 'a', &VENV);
    names_three_ways(w.soll("apply").exits(1), "venv/bin/python");
    names_three_ways(w.soll("preflight staging").exits(1), "venv/bin/python");
    w.edit("[apps.web]\n", "[apps.web]\nlinks_out = [\"/usr/bin/python3\"]\n");
    w.soll("preflight staging").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(target(&w, "venv/bin/python3"), "/usr/bin/python3");
    w.soll("plan --detailed-exitcode").exits(0).says("in sync");
}

/// A way out is one, however it is spelt; and no glob lets more through than what it says.
#[test]
fn no_spelling_leads_further_than_the_glob() {
    let w = world("links_out = [\"/usr/bin/python3*\", \"../../data/**\", \"../*/cache\"]", "");
    w.soll("provision staging").exits(0);
    for (links, bad) in [
        (vec![("l", "/usr/bin/python3/../../../etc/passwd")], "l"),
        (vec![("l", "/usr/bin/perl")], "l"),
        (vec![("a/l", "../../../data/x")], ""),
        (vec![("a/l", "../../data/x")], ""),
        (vec![("l", "../../data/x"), ("out", "l/../../y")], "out"),
        (vec![("l", "../../data/../y")], "l"),
        (vec![("a/l", "../../../../data/x")], "a/l"),
        (vec![("l", "../../cache")], "l"),
        (vec![("l", "../x/cache")], ""),
        (vec![("py", "/usr/bin/python3"), ("l", "py/../../../etc")], "l"),
        (vec![("here", "."), ("l", "here/../../data/x")], ""),
        (vec![("here", "."), ("l", "here/../x")], "l"),
        (vec![("l", "//usr/bin/./python3")], ""),
    ] {
        bundle(&w, 'a', &links);
        let said = w.soll("preflight staging");
        match bad {
            "" => drop(said.exits(0)),
            bad => names_three_ways(said.exits(1), bad),
        }
    }
}

/// What a message proposes is what lets the link in.
#[test]
fn the_line_that_the_message_gives_is_the_right_one() {
    for (path, target) in [
        ("public/storage", "/home/ci/build/storage/app/public"),
        ("data", "../../../data"),
        ("a/b/data", "../../../../shared/[x] {y}"),
        ("l", "/"),
    ] {
        let w = world("", "");
        bundle(&w, 'a', &[(path, target)]);
        let said = w.soll("apply").exits(1);
        let all = format!("{} {}", said.stdout, said.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        let line = &all[all.find("links_out = [").expect(&all)..];
        let line = &line[..=line.find("\"]").expect(&all) + 1];
        w.edit("[apps.web]\n", &format!("[apps.web]\n{line}\n"));
        w.soll("apply").exits(0);
        assert_eq!(self::target(&w, path), target);
    }
}

/// Copies, modes, drift, healing, going back and clearing up: none of it reaches what a link leads to.
#[test]
fn nothing_of_ours_follows_a_link_out() {
    let w = world(
        "links_out = [\"$DIR/outside\", \"$DIR/outside/*\"]\nkeep_releases = 1",
        "drift = \"heal\"\ndrift_every = \"1ms\"",
    );
    w.write("outside/secret", "theirs");
    w.write("outside/index.html", "theirs");
    let before = w.tree("outside");
    bundle(&w, 'a', &[("data", "$DIR/outside"), ("one", "$DIR/outside/secret"), ("gone", "$DIR/outside/none")]);
    w.soll("apply").exits(0);
    w.soll("plan --detailed-exitcode").exits(0).says("in sync");
    assert_eq!(w.read("staging/current/data/secret"), "theirs");
    // What changes behind the link is no drift; the link itself is.
    w.write("outside/more", "theirs");
    w.soll("plan --detailed-exitcode").exits(0).says("in sync");
    fs::remove_file(w.path("outside/more")).unwrap();
    let link = w.path("staging/current/data");
    fs::remove_file(&link).unwrap();
    symlink(w.path("outside/secret"), &link).unwrap();
    w.soll("diff staging").exits(0).says("~ data");
    w.soll("apply").exits(0);
    assert_eq!(target(&w, "data"), w.path("outside").display().to_string());
    // A release with a directory of that name has its own files, and one with the link again has none.
    w.write("build/b/index.html", "b");
    w.write("build/b/data/secret", "ours");
    w.write("build/b/data/other", "theirs");
    pack(&w, 'b');
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    w.soll("apply").exits(0);
    assert_eq!([w.read("staging/current/data/secret"), w.read("staging/current/data/other")], ["ours", "theirs"]);
    bundle(&w, 'c', &[("data", "$DIR/outside")]);
    w.edit("release = \"<b>\"", "release = \"<c>\"");
    w.soll("apply").exits(0);
    w.soll("doctor staging");
    assert_eq!(fs::read_dir(w.path("staging/releases")).unwrap().count(), 1, "the old ones are gone");
    assert_eq!(w.tree("outside"), before);
}

/// The command that the hook runs is the application's, and what it makes on the host is sealed as it is.
#[test]
fn a_prepare_hook_needs_no_leave() {
    let w = world(
        "",
        "drift_every = \"1ms\"\n[[environments.staging.hooks]]\nphase = \"prepare\"\nrun = \"ln -s /usr/bin/python3 py && ln -s ../../data data\"",
    );
    bundle(&w, 'a', &[]);
    w.soll("apply").exits(0);
    assert_eq!([target(&w, "py"), target(&w, "data")], ["/usr/bin/python3", "../../data"]);
    w.soll("plan --detailed-exitcode").exits(0).says("in sync").hides("drift:");
    fs::remove_file(w.path("staging/current/py")).unwrap();
    symlink("/usr/bin/perl", w.path("staging/current/py")).unwrap();
    w.soll("diff staging").exits(0).says("~ py");
}

#[test]
fn a_bundle_that_was_made_is_one_that_is_taken() {
    let w = world("", "");
    w.write("build/a/index.html", "a");
    fs::create_dir_all(w.path("build/a/venv/bin")).unwrap();
    symlink("/usr/bin/python3", w.path("build/a/venv/bin/python3")).unwrap();
    let make = "bundle $DIR/build/a --sha <a> --out $DIR/state/bundles";
    names_three_ways(w.soll(make).exits(1).says("--links-out GLOB"), "venv/bin/python3");
    assert!(!w.archive('a').exists());
    names_three_ways(w.soll(&format!("{make} --gates-of staging")).exits(1), "venv/bin/python3");
    w.soll(&format!("{make} --links-out python3")).exits(1).says("`python3` begins neither with `/` nor with `../`");
    let gate =
        "links_out = [\"/usr/bin/python3*\"]\n[[apps.web.gates]]\nfile = \"venv/bin/python3\"\n[apps.web.health]";
    w.edit("[apps.web.health]", gate);
    w.soll(&format!("{make} --gates-of staging")).exits(0);
    let by_environment = fs::read(w.archive('a')).unwrap();
    w.soll(&format!("{make} --links-out /usr/bin/python3")).exits(0);
    assert_eq!(fs::read(w.archive('a')).unwrap(), by_environment);
    w.soll("apply").exits(0);
    assert_eq!(target(&w, "venv/bin/python3"), "/usr/bin/python3");
}

/// The ways that the message gives, gone: each of them makes a bundle that needs no leave.
#[test]
fn the_ways_that_the_message_gives_lead_there() {
    let w = world("", "");
    w.write("build/a/index.html", "a");
    let run = |dir: &Path, script: &str| {
        let done = Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let dir = w.path("build/a");
    run(
        &dir,
        "python3 -m venv --without-pip venv; mkdir -p storage/app/public public; ln -s $PWD/storage/app/public public/storage",
    );
    w.soll("bundle $DIR/build/a --sha <a> --out $DIR/state/bundles").exits(1).says("leads out of the release");
    run(
        &dir,
        "rm -r venv public/storage; python3 -m venv --without-pip --copies venv; ln -sr storage/app/public public/storage",
    );
    w.soll("bundle $DIR/build/a --sha <a> --out $DIR/state/bundles").exits(0);
    w.soll("apply").exits(0);
    run(&w.path("staging/current"), "venv/bin/python3 -c 'import json'; test -d public/storage");
}
