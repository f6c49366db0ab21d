//! Hosts that are there and make trouble: full, read-only, silent, talkative, refusing. The message names host, place and
//! cure; `current` stays what it was.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::net::{Fault, Host, Net, go_on, peak, stopped};
use crate::crash::points::long;
use crate::ssh::server::keygen;
use crate::support::world::{World, env, until};

/// The environment `app` with the root `/srv/app` on this host, which runs `a`; `b` is desired.
fn ready(net: &Net, host: &Host, more: &str) -> World {
    let world = net.world(&[host], &app(&[host], more));
    world.soll("apply").exits(0);
    world.edit("<a>", "<b>");
    world
}

/// The environment `app` on these hosts.
pub fn app(hosts: &[&Host], more: &str) -> String {
    let names: Vec<_> = hosts.iter().map(|host| format!("\"{}\"", host.name)).collect();
    let more = format!("hosts = [{}]\n{more}", names.join(", "));
    env("app", 'a', &more).replace("$DIR/app", "/srv/app")
}

/// Still `a`, confirmed, and nothing on probation.
#[track_caller]
fn untouched(host: &Host) {
    let record = host.record();
    assert_eq!(host.runs(), "a");
    assert!(record["confirmed"]["sha"].as_str().unwrap().starts_with('a'), "{record:#}");
    assert!(record["probation"].is_null(), "{record:#}");
    assert_eq!(record["quarantined"].as_array().map_or(0, Vec::len), 0, "{record:#}");
}

#[track_caller]
fn converges(world: &World, host: &Host) {
    world.soll("apply").exits(0);
    assert_eq!(host.runs(), "b");
    world.soll("plan --detailed-exitcode").exits(0);
}

#[test]
fn a_login_that_is_refused_from_the_middle_on() {
    let net = Net::new();
    let host = net.host(1, "");
    let gate = "[[environments.app.hooks]]\nname = \"waits\"\nphase = \"prepare\"\nrun = \"\"\"\n\
                touch $DIR/waiting; while [ -e $DIR/hold -a ! -e $DIR/go ]; do sleep 0.02; done\"\"\"\n";
    let world = ready(&net, &host, gate);
    fs::remove_file(world.path("waiting")).unwrap();
    world.write("hold", "");
    let run = world.start("apply", "log");
    until("the hook waits", || world.path("waiting").exists().then_some(()));
    fs::rename(host.sshd.path("authorized"), host.sshd.path("hidden")).unwrap();
    host.space.kill(|words| words.starts_with("sshd: ") && !words.contains("listener"));
    assert_eq!(run.wait(), Some(6), "{}", world.read("log"));
    let log = world.read("log");
    assert!(log.contains("web1") && log.contains("apply again"), "{log}");
    world.soll("apply").exits(6).says("web1").says("the host refuses").says("authorized_keys");
    fs::rename(host.sshd.path("hidden"), host.sshd.path("authorized")).unwrap();
    world.write("go", "");
    until("the run that was lost ends there", || host.agents().is_empty().then_some(()));
    untouched(&host);
    converges(&world, &host);
}

#[test]
fn a_host_key_that_changed_between_two_runs() {
    let net = Net::new();
    let mut host = net.host(1, "");
    let world = ready(&net, &host, "");
    for half in ["host_ed25519", "host_ed25519.pub"] {
        fs::remove_file(host.sshd.path(half)).unwrap();
    }
    keygen(&host.sshd.path("host_ed25519"), &["ed25519"], "");
    host.sshd.again(&["ed25519"], "");
    let said = world.soll("apply").exits(6).says("web1").says("somebody is in between").says("known_hosts:1");
    said.says(&format!("10.0.0.11 {}", host.sshd.public("ed25519")));
    untouched(&host);
    // A person compared it, and takes the line that was shown.
    let known = net.variables(&[&host]);
    assert!(known.iter().any(|(name, _)| name == "SOLL_KNOWN_HOSTS"));
    converges(&world, &host);
}

#[test]
fn a_full_disk() {
    let net = Net::new();
    let host = net.host(1, "");
    host.space.run("mkdir /srv/app; mount -t tmpfs -o size=512k,mode=755 none /srv/app");
    let world = ready(&net, &host, "");
    world.bundle('b', &[("large", &"0123456789abcdef".repeat(1 << 16))]);
    world.soll("apply").exits(1).says("web1").says("/srv/app").says("free");
    untouched(&host);
    // Somebody else fills it while we write: what was counted as free is gone.
    host.space.run("mount -o remount,size=2m /srv/app; head -c 1800k /dev/zero > /srv/app/else");
    world.soll("apply").exits(1).says("web1").says("/srv/app");
    untouched(&host);
    host.space.run("rm /srv/app/else; mount -o remount,size=4m /srv/app");
    converges(&world, &host);
}

#[test]
fn a_file_system_that_turned_read_only() {
    let net = Net::new();
    let host = net.host(1, "");
    let world = ready(&net, &host, "");
    host.space.run("mount --bind /srv /srv; mount -o remount,ro,bind /srv");
    let said = world.soll("apply").exits(1).says("web1").says("/srv/app").says("Read-only file system");
    said.says("mount -o remount,rw").hides("panicked");
    untouched(&host);
    world.soll("plan").exits(0).says("web1");
    host.space.run("umount /srv");
    converges(&world, &host);
}

#[test]
fn a_disk_that_breaks_in_the_middle() {
    let net = Net::new();
    let host = net.host(1, "");
    let image = host.path("image").display().to_string();
    host.space.run(&format!("truncate -s 16M {image}; mkfs.ext4 -q {image}; mkdir -p /srv/app"));
    host.space.run(&format!("mount -o loop,errors=remount-ro {image} /srv/app; rmdir /srv/app/lost+found"));
    let device = host.space.run("basename $(findmnt -no SOURCE /srv/app)");
    // What the kernel does when it reads nonsense from the disk.
    let hook = format!(
        "[[environments.app.hooks]]\nname = \"breaks\"\nphase = \"pre-switch\"\n\
         run = \"test ! -e $DIR/break || echo broken > /sys/fs/ext4/{}/trigger_fs_error\"\n",
        device.trim()
    );
    let world = ready(&net, &host, &hook);
    world.write("break", "");
    let said = world.soll("apply").exits(1).says("web1").says("/srv/app").says("Read-only file system");
    said.says("mount -o remount,rw");
    until("the agent is gone", || host.agents().is_empty().then_some(()));
    host.space.run(&format!("umount /srv/app; e2fsck -fy {image} || test $? -eq 1; mount -o loop {image} /srv/app"));
    fs::remove_file(world.path("break")).unwrap();
    untouched(&host);
    converges(&world, &host);
}

#[test]
fn a_user_who_may_not_sudo() {
    let net = Net::new();
    let host = net.host(1, "");
    let hook = "[[environments.app.hooks]]\nname = \"reloads\"\nphase = \"post-switch\"\nreload = true\n\
                run = \"test $SOLL_SHA = <a> || setpriv --reuid nobody --regid nogroup --clear-groups sudo -n true\"\n";
    let world = ready(&net, &host, hook);
    // A verdict after the switch: everyone goes back (contract 1.2).
    world.soll("apply").exits(3).says("web1").says("reloads").says("sudo");
    assert_eq!(host.runs(), "a");
    world.soll("apply").exits(7);
}

#[test]
fn a_profile_that_talks_and_a_shell_that_is_none() {
    let net = Net::new();
    let host = net.host(1, "");
    fs::write(host.sshd.home().join(".bashrc"), "echo Welcome; echo to web1 >&2; printf 'no line end'\n").unwrap();
    let world = ready(&net, &host, "");
    converges(&world, &host);
    for shell in ["fish", "tcsh"] {
        let key = fs::read_to_string(host.sshd.path("key.pub")).unwrap();
        let command = format!("command=\"exec {shell} -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" {key}");
        fs::write(host.sshd.path("authorized"), command).unwrap();
        for letter in ["a", "b"] {
            world.soll(&format!("release app <{letter}>")).exits(0);
            world.soll("apply").exits(0);
            assert_eq!(host.runs(), letter, "{shell}");
        }
    }
}

#[test]
fn a_hook_that_hangs() {
    let net = Net::new();
    let host = net.host(1, "");
    // It hears TERM and goes on: only KILL ends it, with what it started.
    let hook = "[[environments.app.hooks]]\nname = \"hangs\"\nphase = \"prepare\"\ntimeout = \"300ms\"\n\
                run = \"\"\"\ntest $SOLL_SHA = <a> && exit\n\
                trap 'echo heard TERM; touch $DIR/heard' TERM; while :; do sleep 1000 & wait; done\"\"\"\n";
    let world = ready(&net, &host, hook);
    world.soll("apply").exits(1).says("web1").says("hangs").says("was killed").says("untouched");
    assert!(world.path("heard").exists(), "it was asked first");
    assert_eq!(host.runs(), "a");
    until("nothing of it is left", || {
        (!host.space.processes().iter().any(|p| p.words.contains("sleep"))).then_some(())
    });
}

#[test]
fn a_hook_that_prints_gigabytes() {
    let net = Net::new();
    let host = net.host(1, "");
    let amount = if long() { "10G" } else { "1G" };
    let hook = format!(
        "[[environments.app.hooks]]\nname = \"talks\"\nphase = \"prepare\"\n\
         run = \"\"\"\ntest $SOLL_SHA = <a> && exit\necho begin; yes | head -c {amount}; echo end; exit 3\"\"\"\n"
    );
    let world = ready(&net, &host, &hook);
    let run = world.start("apply -v", "log");
    let (exit, kib) = peak(run);
    assert_eq!(exit, Some(1), "{}", world.read("log"));
    assert!(kib < 100 << 10, "the controller took {kib} KiB");
    let name = world.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    let shown = world.soll(&format!("show {name} --output json")).exits(0);
    let shown = shown.says("begin").says("bytes left out").says("\\nend").stdout;
    assert!(shown.len() < 1 << 20, "{} bytes are shown", shown.len());
    assert_eq!(host.runs(), "a");
}

#[test]
fn a_long_and_lossy_way() {
    let net = Net::new();
    let host = net.host(1, "");
    let mut world = ready(&net, &host, "");
    // Patience as README says for such links.
    world.set("SOLL_SSH_CONFIG", "$DIR/patient");
    world.write("patient", "ConnectTimeout 20\nServerAliveInterval 5\nServerAliveCountMax 3\n");
    let _relay = net.far(&host, 100.0, 1.0);
    converges(&world, &host);
    world.soll("rollback app").exits(0);
    world.soll("apply").exits(0);
    assert_eq!(host.runs(), "a");
    world.edit(&format!("release = \"{}\"", "a".repeat(40)), "release = \"<c>\"");
    world.soll("apply").exits(3);
    assert_eq!(host.runs(), "a");
}

#[test]
fn a_short_cut_is_nobodys_loss() {
    let net = Net::new();
    let mut host = net.host(1, "");
    let mut world = ready(&net, &host, "");
    world.set("SOLL_SSH_CONFIG", "$DIR/patient");
    world.write("patient", "ConnectTimeout 20\nServerAliveInterval 5\nServerAliveCountMax 3\n");
    for place in ["upload", "switch", "confirm"] {
        world.set("SOLL_FAULT", &format!("stop:run.after-intent@{place}"));
        let mut run = world.start("apply", "log");
        world.set("SOLL_FAULT", "");
        assert!(stopped(&mut run.child), "{}", world.read("log"));
        net.strike(&mut host, Fault::Cable);
        go_on(&run.child);
        // Time itself is what is tested here: much less than a connection is given up after.
        std::thread::sleep(std::time::Duration::from_millis(1000));
        net.cure(&mut host, Fault::Cable);
        assert_eq!(run.wait(), Some(0), "{place}: {}", world.read("log"));
        let (now, next) = if host.runs() == "b" { ("<b>", "<a>") } else { ("<a>", "<b>") };
        world.edit(now, next);
        world.edit("schema = 1\n", &format!("schema = 1\n# after {place}\n"));
    }
}

#[test]
fn a_cut_that_was_noticed_is_mended() {
    let net = Net::new();
    let mut host = net.host(1, "");
    let waits = "[[environments.app.hooks]]\nname = \"waits\"\nphase = \"prepare\"\nrun = \"\"\"\n\
                 echo ran >> $DIR/ran; while [ -e $DIR/hold -a ! -e $DIR/go ]; do sleep 0.02; done\"\"\"\n";
    let mut world = ready(&net, &host, waits);
    world.set("SOLL_SSH_CONFIG", "$DIR/quick");
    world.write("quick", "ConnectTimeout 2\nServerAliveInterval 1\nServerAliveCountMax 2\n");
    world.set("SOLL_REATTACH", "60s");
    fs::remove_file(world.path("ran")).unwrap();
    world.write("hold", "");
    let run = world.start("apply", "log");
    until("the hook waits", || world.path("ran").exists().then_some(()));
    net.strike(&mut host, Fault::Cable);
    until("it is noticed", || world.read("log").contains("an agent is lost").then_some(()));
    // The command ends while nobody can hear it.
    world.write("go", "");
    net.cure(&mut host, Fault::Cable);
    assert_eq!(run.wait(), Some(0), "{}", world.read("log"));
    assert!(world.read("log").contains("is reached again"), "{}", world.read("log"));
    assert_eq!((host.runs().as_str(), world.read("ran").as_str()), ("b", "ran\n"));
}

#[test]
fn an_agent_that_stands_still() {
    let net = Net::new();
    let host = net.host(1, "");
    let waits = "[[environments.app.hooks]]\nname = \"waits\"\nphase = \"prepare\"\nrun = \"\"\"\n\
                 test $SOLL_SHA = <a> && exit\ntouch $DIR/began; while [ ! -e $DIR/go ]; do sleep 0.02; done\"\"\"\n";
    let mut world = ready(&net, &host, waits);
    world.set("SOLL_REATTACH", "1s");
    let run = world.start("apply", "log");
    until("the hook waits", || world.path("began").exists().then_some(()));
    let agents = host.agents();
    let signal = |signal: Signal| {
        for agent in &agents {
            // Its sshd answers all the same: only that the agent says nothing tells.
            let _ = kill_process(Pid::from_raw(agent.pid).unwrap(), signal);
        }
    };
    signal(Signal::STOP);
    let (exit, said) = (run.wait(), world.read("log"));
    assert_eq!(exit, Some(6), "{said}");
    assert!(said.contains("web1") && said.contains("said nothing for 20 s"), "{said}");
    world.write("go", "");
    signal(Signal::CONT);
    assert_eq!(host.runs(), "a");
    let is_old = |pid: i32| agents.iter().any(|agent| agent.pid == pid);
    until("it sees that nobody listens", || (!host.agents().iter().any(|agent| is_old(agent.pid))).then_some(()));
    converges(&world, &host);
}
