//! Things that are no files, where files are read: on this machine and behind SSH.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, mknodat};
use soll::host::disk::command;
use soll::host::wire::Exit;

use crate::ssh::server::{Sshd, world_with};
use crate::support::world::{Ran, World, env};

/// Nothing that is asked for here takes so long, unless it hangs.
const LIMIT: &str = "60";
const ENV: &str = "shared_files = [\".env\"]\nrequired_env = [\"APP_KEY\"]";

fn pipe(at: &Path) {
    mknodat(CWD, at, FileType::Fifo, 0o666.into(), 0).unwrap();
}

/// Whatever can lie in the place of a file and holds up who reads it: what it is, the words that say so, how it gets there.
type Trap = (&'static str, &'static str, fn(&Path));

const TRAPS: &[Trap] = &[
    ("a pipe", "a pipe (FIFO)", pipe),
    ("a link to a pipe", "a pipe (FIFO)", |at| {
        pipe(&at.with_extension("beside"));
        symlink(at.with_extension("beside"), at).unwrap();
    }),
    ("a device without an end", "a device", |at| symlink("/dev/zero", at).unwrap()),
    ("a directory", "a directory", |at| fs::create_dir(at).unwrap()),
    ("a socket", "a socket", |at| drop(UnixListener::bind(at).unwrap())),
    ("a terabyte", "more than 1048576 bytes", |at| fs::File::create(at).unwrap().set_len(1 << 40).unwrap()),
];

fn clear(at: &Path) {
    for path in [at.to_owned(), at.with_extension("beside")] {
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
    }
}

/// The program, which must end by itself: 124 says that it did not.
fn within(world: &mut World, line: &str) -> Ran {
    world.inside = vec!["timeout".to_owned(), "-k".to_owned(), "1".to_owned(), LIMIT.to_owned()];
    let ran = world.soll(line);
    world.inside.clear();
    assert!(ran.exit != 124 && ran.exit != 137, "soll {line} hung: {}{}", ran.stdout, ran.stderr);
    ran
}

fn no_trap_holds_anybody_up(world: &mut World) {
    let file = world.path("staging/shared/.env");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "APP_KEY=1\n").unwrap();
    within(world, "apply").exits(0);
    world.edit("<a>", "<b>");
    for (what, says, lay) in TRAPS {
        clear(&file);
        lay(&file);
        let plan = within(world, "plan staging");
        for word in ["staging/shared/.env", says, "put a regular file in its place"] {
            assert!(plan.stdout.contains(word), "{what}: `{word}` is not in\n{}{}", plan.stdout, plan.stderr);
        }
        within(world, "apply staging").exits(1);
        assert_eq!(world.runs("staging"), "a", "{what}");
        within(world, "diff staging").exits(0);
        within(world, "doctor staging");
        within(world, "preflight staging");
    }
    clear(&file);
    fs::write(&file, "APP_KEY=1\n").unwrap();
    within(world, "apply staging").exits(0);
    assert_eq!(world.runs("staging"), "b");
}

#[test]
fn a_shared_file_that_is_none_holds_nobody_up_here() {
    let mut world = World::with(&env("staging", 'a', ENV));
    no_trap_holds_anybody_up(&mut world);
}

#[test]
fn a_shared_file_that_is_none_holds_nobody_up_behind_ssh() {
    let sshd = Sshd::new("");
    let mut world = world_with(&sshd, "", ENV);
    no_trap_holds_anybody_up(&mut world);
}

#[test]
fn what_lies_in_a_release_holds_nobody_up() {
    let mut world = World::staging("drift = \"report\"\ndrift_every = \"1s\"");
    let release = world.path("staging/current").canonicalize().unwrap();
    for (what, _, lay) in TRAPS {
        clear(&release.join("index.html"));
        lay(&release.join("index.html"));
        let said = within(&mut world, "diff staging");
        assert!(said.stdout.contains("index.html"), "{what}: {}{}", said.stdout, said.stderr);
        clear(&release.join("index.html"));
        for (_, _, lay) in TRAPS {
            lay(&release.join("extra"));
            within(&mut world, "diff staging");
            clear(&release.join("extra"));
        }
        fs::write(release.join("index.html"), "a").unwrap();
    }
    // The next deployment looks for contents in that release, and finds another source for those that are not what they were.
    clear(&release.join("index.html"));
    pipe(&release.join("index.html"));
    world.edit("<a>", "<b>");
    within(&mut world, "apply staging").exits(0);
    assert_eq!(world.runs("staging"), "b");
}

/// What a program may have printed of a file that nobody can read in full is not shown.
#[test]
fn output_that_may_hold_secrets_of_a_trap_stays_on_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".env");
    for (what, _, lay) in TRAPS {
        clear(&file);
        lay(&file);
        let command = soll::model::record::Command {
            name: "print".to_owned(),
            run: "echo a-secret-of-somebody".to_owned(),
            env: Default::default(),
            timeout: Duration::from_secs(20),
            hides: vec![file.display().to_string()],
        };
        let result = command::run(&command, dir.path()).unwrap();
        assert_eq!(result.exit, Exit::Code(0));
        assert!(!result.output.contains("a-secret"), "{what}: {}", result.output);
        assert!(result.output.contains("is not shown"), "{what}: {}", result.output);
    }
    clear(&file);
    let command = soll::model::record::Command {
        name: "print".to_owned(),
        run: "echo shown".to_owned(),
        env: Default::default(),
        timeout: Duration::from_secs(20),
        hides: vec![file.display().to_string()],
    };
    assert_eq!(command::run(&command, dir.path()).unwrap().output, "shown\n", "a file that is not there hides nothing");
}
