//! The program on the host: where it lies, what may be in its way, and that a strange one is not spoken to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::server::{Sshd, agents, world, world_with};
use crate::support::world::World;

#[test]
fn it_lies_where_the_state_file_says() {
    let sshd = Sshd::new("");
    let world = world_with(&sshd, "agent_dir = \"$DIR/opt/soll\"", "");
    world.soll("apply").exits(0);
    let name = fs::read_dir(world.path("opt/soll")).unwrap().next().unwrap().unwrap().file_name();
    let said = Command::new("sha256sum").arg(world.path("opt/soll").join(&name)).output().unwrap();
    let digest = String::from_utf8(said.stdout).unwrap()[..64].to_owned();
    assert_eq!(name.to_str().unwrap(), format!("soll-{digest}"), "its name is its SHA-256");
    assert!(agents(&sshd).is_empty());
}

#[test]
fn this_program_is_put_there_where_none_is_configured() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let machine = rustix::system::uname().machine().to_string_lossy().to_uppercase();
    world.set(&format!("SOLL_AGENT_{machine}"), "");
    world.soll("plan staging").exits(0);
    let there = agents(&sshd);
    assert_eq!(there.len(), 1);
    let same = Command::new("cmp").arg(&there[0]).arg(env!("CARGO_BIN_EXE_soll")).status().unwrap();
    assert!(same.success());
}

#[test]
fn a_directory_where_nothing_may_run_is_named_before_anything_is_sent() {
    let sshd = Sshd::new("");
    let world = world_with(&sshd, "agent_dir = \"$DIR/noexec\"", "");
    fs::create_dir(world.path("noexec")).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "noexec,size=64m", "tmpfs"])
        .arg(world.path("noexec"))
        .status();
    assert!(mounted.unwrap().success());
    let said = world.soll("apply");
    let left = fs::read_dir(world.path("noexec")).unwrap().count();
    let gone = Command::new("umount").arg(world.path("noexec")).status();
    assert!(gone.unwrap().success());
    said.exits(6).says("noexec").says("agent_dir").hides("panicked");
    assert_eq!(left, 0, "nothing is left behind");
}

#[test]
fn a_full_disk_is_named() {
    let sshd = Sshd::new("");
    let world = world_with(&sshd, "agent_dir = \"$DIR/small\"", "");
    fs::create_dir(world.path("small")).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(world.path("small")).status();
    assert!(mounted.unwrap().success());
    let said = world.soll("apply");
    let left = fs::read_dir(world.path("small")).unwrap().count();
    let gone = Command::new("umount").arg(world.path("small")).status();
    assert!(gone.unwrap().success());
    said.exits(6).says("cannot be written").says("agent_dir");
    assert_eq!(left, 0, "nothing is left behind");
}

/// A directory with programs of the host's own, which are found before those of the system.
fn programs(sshd: &Sshd, world: &World, programs: &[(&str, &str)]) {
    fs::create_dir_all(world.path("bin")).unwrap();
    for (name, text) in programs {
        world.write(&format!("bin/{name}"), text);
        fs::set_permissions(world.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let line = format!("export PATH={}:$PATH\n", world.path("bin").display());
    fs::write(sshd.home().join(".bashrc"), line).unwrap();
}

#[test]
fn a_host_of_another_kind_needs_a_program_of_its_own() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    programs(&sshd, &world, &[("uname", "#!/bin/sh\necho pdp11\n")]);
    world.soll("apply").exits(6).says("pdp11").says("[agents]").says("SOLL_AGENT_PDP11");
    world.set("SOLL_AGENT_PDP11", env!("CARGO_BIN_EXE_soll"));
    world.soll("apply").exits(0);
    world.set("SOLL_AGENT_PDP11", "/bin/true");
    let said = world.soll("apply").exits(6);
    said.says("agent start");
    world.set("SOLL_AGENT_PDP11", "$DIR/nowhere");
    world.soll("apply").exits(6).says("nowhere");
}

#[test]
fn a_host_without_the_usual_tools_is_served_as_far_as_it_is_safe() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    // Only what is needed, and neither gzip nor anything that knows a SHA-256.
    for name in ["uname", "mkdir", "rm", "chmod", "cat", "wc", "mv", "sync", "sha256sum"] {
        let real = String::from_utf8(Command::new("which").arg(name).output().unwrap().stdout).unwrap();
        fs::create_dir_all(world.path("bin")).unwrap();
        std::os::unix::fs::symlink(real.trim(), world.path("bin").join(name)).unwrap();
    }
    let line = format!("export PATH={}\n", world.path("bin").display());
    fs::write(sshd.home().join(".bashrc"), line).unwrap();
    fs::rename(world.path("bin/sha256sum"), world.path("aside")).unwrap();
    world.soll("apply").exits(6).says("SHA-256").says("coreutils");
    assert!(agents(&sshd).is_empty());
    fs::rename(world.path("aside"), world.path("bin/sha256sum")).unwrap();
    world.soll("apply").exits(0);
    assert_eq!(world.runs("staging"), "a");
}

#[test]
fn what_arrives_changed_is_not_run() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    programs(&sshd, &world, &[("sha256sum", "#!/bin/sh\necho 0000\n")]);
    world.soll("apply").exits(6).says("SHA-256 differs");
    assert!(agents(&sshd).is_empty());
}

#[test]
fn one_that_a_crash_has_cut_short_is_put_there_anew() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    world.soll("plan staging").exits(0);
    let there = agents(&sshd).remove(0);
    let whole = fs::metadata(&there).unwrap().len();
    // Not in place: it may still run.
    fs::remove_file(&there).unwrap();
    fs::write(&there, "half").unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o700)).unwrap();
    world.soll("apply").exits(0);
    assert_eq!(fs::metadata(&there).unwrap().len(), whole);
}

#[test]
fn another_program_in_its_place_is_not_spoken_to() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    world.soll("plan staging").exits(0);
    let there = agents(&sshd).remove(0);
    let size = usize::try_from(fs::metadata(&there).unwrap().len()).unwrap();
    fs::remove_file(&there).unwrap();
    let text = format!("#!/bin/sh\nexec {} host-agent\n", env!("CARGO_BIN_EXE_soll"));
    fs::write(&there, format!("{text}{}", "#".repeat(size - text.len()))).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o700)).unwrap();
    world.soll("apply").exits(6).says("not asked for");
    assert!(!world.path("staging").exists(), "nothing was done there");
}
