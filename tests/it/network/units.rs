//! Units of systemd on a whole Debian machine: what `current` leads to is what runs, forward, back, and without a controller.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::machine::{ADDRESS, Machine};
use super::net::Net;
use crate::support::world::{World, until};

/// Who deploys may do what soll calls for each of these units, and may read the journal.
const RIGHTS: &str = r#"
usermod -aG systemd-journal deploy
for unit in storage.service web.service web.socket; do
    for verb in reset-failed restart stop; do
        echo "deploy ALL=(root) NOPASSWD: /usr/bin/systemctl $verb $unit"
    done
done > /etc/sudoers.d/units
echo 'deploy ALL=(root) NOPASSWD: /usr/bin/systemctl daemon-reload' >> /etc/sudoers.d/units
"#;

/// A service out of `current` that systemd starts again when it ends.
const STORAGE: &str = "[Service]\nUser=deploy\nWorkingDirectory=/srv/app/current\nExecStart=/usr/bin/python3 main.py\n\
    Restart=always\nRestartSec=100ms\n";

/// Says which release it is, and stays.
const WELL: &str = "import time\nprint('serving', open('index.html').read(), flush=True)\ntime.sleep(100000)\n";

fn install(machine: &Machine<'_>, name: &str, text: &str) {
    std::fs::write(machine.path(&format!("/etc/systemd/system/{name}")), text).unwrap();
    machine.run("systemctl daemon-reload");
}

/// A world whose `app` is run by units.
fn world(machine: &Machine<'_>, more: &str) -> World {
    machine.run(RIGHTS);
    let world = machine.world(&format!("settle = \"1s\"\n{more}"));
    for letter in ['a', 'b', 'd', 'e', 'f'] {
        world.bundle(letter, &[("main.py", WELL)]);
    }
    world
}

fn storage<'a>(net: &'a Net, more: &str) -> (Machine<'a>, World) {
    let machine = Machine::boot(net);
    install(&machine, "storage.service", STORAGE);
    let world = world(&machine, &format!("unit = \"storage.service\"\n{more}"));
    (machine, world)
}

/// The release that the main process of a unit stands in, by the letter in its `index.html`.
fn runs(machine: &Machine<'_>, unit: &str) -> String {
    machine.run(&format!("cat /proc/$(systemctl show -P MainPID {unit})/cwd/index.html"))
}

fn property(machine: &Machine<'_>, unit: &str, name: &str) -> String {
    machine.run(&format!("systemctl show -P {name} {unit}")).trim().to_owned()
}

#[test]
fn a_unit_runs_what_current_leads_to() {
    let net = Net::new();
    let (machine, world) = storage(&net, "shared_files = [\".env\"]\n");
    world.soll("provision app").exits(0);
    std::fs::write(machine.path("/srv/app/shared/.env"), "API_TOKEN=abracadabra-4711\n").unwrap();
    machine.run("chown deploy: /srv/app/shared/.env; chmod 640 /srv/app/shared/.env");
    world.soll("doctor app").exits(0).says("storage.service is inactive (dead), and leads through /srv/app/current");
    let plan = world.soll("plan --output json").exits(0).json();
    let kinds: Vec<_> = plan["environments"][0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "activate").count(), 1, "{kinds:?}");

    world.soll("apply").exits(0);
    assert_eq!(runs(&machine, "storage.service"), "a");
    let first = property(&machine, "storage.service", "InvocationID");
    world.edit("<a>", "<b>");
    world.soll("apply").exits(0);
    assert_eq!(runs(&machine, "storage.service"), "b");
    assert_ne!(property(&machine, "storage.service", "InvocationID"), first);

    // One that ends as soon as it starts goes back by itself, and its own words are told, without the secret in them.
    let crashes = "import sys\nprint('no database:', open('.env').read())\nsys.exit(3)\n";
    world.bundle('c', &[("main.py", crashes)]);
    world.edit("<b>", "<c>");
    let failed = world.soll("apply").exits(3).says("unit storage.service says no on web1").says("status=3");
    failed.says("no database: API_TOKEN=***").hides("abracadabra");
    assert_eq!((machine.runs().as_str(), runs(&machine, "storage.service").as_str()), ("b", "b"));
    assert_eq!(property(&machine, "storage.service", "ActiveState"), "active");
    assert!(machine.record()["probation"].is_null(), "{:#}", machine.record());
    assert!(machine.record()["confirmed"]["activation"]["units"][0]["name"] == "storage.service");
    world.soll("apply").exits(7);

    // A changed file of its environment is a restart at the same commit (A10).
    world.edit("<c>", "<b>");
    let before = property(&machine, "storage.service", "InvocationID");
    std::fs::write(machine.path("/srv/app/shared/.env"), "API_TOKEN=another-one-4712\n").unwrap();
    world.soll("apply").exits(0);
    assert_ne!(property(&machine, "storage.service", "InvocationID"), before);
    assert_eq!(runs(&machine, "storage.service"), "b");
    world.soll("plan --detailed-exitcode").exits(0);

    // Stopped and started by a person (D5).
    world.soll("stop app --reason maintenance").exits(0).says("storage.service is stopped");
    assert_eq!(property(&machine, "storage.service", "ActiveState"), "inactive");
    world.soll("start app").exits(0);
    assert_eq!(runs(&machine, "storage.service"), "b");
}

#[test]
fn a_unit_that_stays_in_the_old_directory_is_caught() {
    let net = Net::new();
    let (machine, world) = storage(&net, "");
    world.soll("apply").exits(0);
    let old = machine.run("readlink -f /srv/app/current").trim().to_owned();

    // By name: seen before anything is touched.
    install(&machine, "storage.service", &STORAGE.replace("/srv/app/current", &old));
    world.soll("doctor app").says(&format!("storage.service names {old}"));
    world.edit("<a>", "<b>");
    world.soll("apply").exits(1).says(&format!("names {old}")).says("lead through /srv/app/current");
    assert_eq!(machine.runs(), "a");

    // By a program that goes there itself: seen where its process stands, and taken back.
    machine.run(&format!(
        "printf '#!/bin/sh\\ncd {old}\\nexec /usr/bin/python3 main.py\\n' > /usr/local/bin/start && chmod 755 /usr/local/bin/start"
    ));
    install(&machine, "storage.service", &STORAGE.replace("/usr/bin/python3 main.py", "/usr/local/bin/start"));
    world.soll("apply").exits(3).says("does not run the release").says(&old);
    assert_eq!(machine.runs(), "a");

    // The unit is mended on the host, without a word to systemd: soll says it.
    std::fs::write(machine.path("/etc/systemd/system/storage.service"), STORAGE).unwrap();
    assert_eq!(property(&machine, "storage.service", "NeedDaemonReload"), "yes");
    world.soll("retry app").exits(0);
    world.soll("apply").exits(0);
    assert_eq!((machine.runs().as_str(), runs(&machine, "storage.service").as_str()), ("b", "b"));
}

#[test]
fn what_cannot_be_restarted_is_an_error_and_condemns_nobody() {
    let net = Net::new();
    let (machine, world) = storage(&net, "");
    world.soll("apply").exits(0);
    // The rule is gone.
    machine.run("rm /etc/sudoers.d/units; gpasswd -d deploy systemd-journal");
    world.edit("<a>", "<b>");
    let rule = "deploy ALL=(root) NOPASSWD: /usr/bin/systemctl reset-failed storage.service";
    world.soll("apply").exits(1).says("storage.service").says(rule);
    world
        .soll("doctor app")
        .exits(1)
        .says("systemctl restart storage.service")
        .says("usermod -aG systemd-journal deploy");
    assert_eq!((machine.runs().as_str(), runs(&machine, "storage.service").as_str()), ("a", "a"));
    // The unit is gone.
    machine.run(RIGHTS);
    world.edit("unit = \"storage.service\"", "unit = \"storages.service\"");
    world.soll("apply").exits(1).says("there is no unit storages.service on server").says("daemon-reload");
    world.soll("doctor app").exits(1).says("there is no unit storages.service");
    let record = machine.record();
    assert!(record["probation"].is_null() && record["quarantined"].as_array().is_none_or(Vec::is_empty), "{record:#}");
    world.edit("storages.service", "storage.service");
    world.soll("apply").exits(0);
    assert_eq!(runs(&machine, "storage.service"), "b");
}

#[test]
fn a_unit_is_ready_when_it_says_so() {
    let net = Net::new();
    let machine = Machine::boot(&net);
    let unit = "[Service]\nType=notify\nNotifyAccess=all\nWorkingDirectory=/srv/app/current\n\
                ExecStart=/usr/bin/python3 main.py\nTimeoutStartSec=3s\n";
    install(&machine, "storage.service", unit);
    let world = world(&machine, "unit = \"storage.service\"\n");
    let notifies = "import os, socket, time\ntime.sleep(1)\n\
                    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n\
                    print('ready', flush=True)\ntime.sleep(100000)\n";
    for letter in ['a', 'b'] {
        world.bundle(letter, &[("main.py", notifies)]);
    }
    world.soll("apply").exits(0);
    // It runs as root: its process is not shown to who deploys, and the unit says where it started.
    assert_eq!(runs(&machine, "storage.service"), "a");
    world.edit("<a>", "<b>");
    world.soll("apply").exits(0);
    assert_eq!(runs(&machine, "storage.service"), "b");
    // One that never says so is never active.
    world.edit("<b>", "<d>");
    world.soll("apply").exits(3).says("storage.service").says("result timeout").says("serving d");
    assert_eq!((machine.runs().as_str(), runs(&machine, "storage.service").as_str()), ("b", "b"));
}

#[test]
fn a_host_that_loses_its_controller_activates_what_it_goes_back_to() {
    let net = Net::new();
    let (machine, mut world) = storage(&net, "deadline = \"3s\"\n");
    world.soll("apply").exits(0);
    world.edit("<a>", "<b>");
    // b runs, and nobody confirms it.
    world.set("SOLL_FAULT", "run.after-effect@activate");
    world.soll("apply");
    assert_eq!(runs(&machine, "storage.service"), "b");
    until("the host has gone back", || machine.record()["probation"].is_null().then_some(()));
    assert_eq!((machine.runs().as_str(), runs(&machine, "storage.service").as_str()), ("a", "a"));
    let returned = machine.record()["returned"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(returned.starts_with("no controller was heard") && !returned.contains(';'), "{returned}");

    // One that fails, and whose controller dies between the link and the restart of what it is back at.
    world.set("SOLL_FAULT", "");
    world.soll("apply").exits(0);
    world.bundle('c', &[("main.py", "import sys\nsys.exit(3)\n")]);
    world.edit("<b>", "<c>");
    world.set("SOLL_FAULT", "run.after-effect@rollback");
    world.soll("apply");
    let record = machine.record();
    assert_eq!((machine.runs().as_str(), &record["probation"]["returning"]), ("b", &Value::Bool(true)), "{record:#}");
    until("the host has activated it", || machine.record()["probation"].is_null().then_some(()));
    assert_eq!(runs(&machine, "storage.service"), "b");
    world.set("SOLL_FAULT", "");
    world.soll("apply").exits(7);
}

#[test]
fn a_socket_refuses_nobody_while_its_service_restarts() {
    let net = Net::new();
    let machine = Machine::boot(&net);
    install(&machine, "web.socket", "[Socket]\nListenStream=8080\n");
    install(
        &machine,
        "web.service",
        "[Service]\nWorkingDirectory=/srv/app/current\nExecStart=/usr/bin/python3 main.py\n",
    );
    let world = world(&machine, "units = [\"web.service\", \"web.socket\"]\n");
    // It answers what it has taken before it ends.
    let serves = "import signal, socket, sys\nlistener = socket.socket(fileno=3)\nending = []\n\
                  signal.signal(signal.SIGTERM, lambda *_: ending.append(1))\nlistener.settimeout(0.1)\n\
                  body = open('index.html').read().encode()\n\
                  while not ending:\n    try:\n        client, _ = listener.accept()\n    except socket.timeout:\n        continue\n\
                  \x20   client.settimeout(5)\n    client.recv(4096)\n    client.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n' + body)\n    client.close()\n";
    for letter in ['a', 'b'] {
        world.bundle(letter, &[("main.py", serves)]);
    }
    world.edit("settle = \"1s\"", "settle = \"300ms\"");
    world.soll("apply").exits(0);
    let socket = property(&machine, "web.socket", "InvocationID");
    let service = property(&machine, "web.service", "InvocationID");

    let load = format!(
        "import socket, sys\nasked = failed = 0\nwhile True:\n    line = open(sys.argv[1]).read()\n    if line: break\n\
         \x20   asked += 1\n    try:\n        s = socket.create_connection(('{ADDRESS}', 8080), 10)\n        s.settimeout(10)\n\
         \x20       s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\n        said = b''\n        while True:\n            part = s.recv(4096)\n\
         \x20           if not part: break\n            said += part\n        if not said.startswith(b'HTTP/1.0 200'): raise OSError(said)\n\
         \x20   except OSError as error:\n        failed += 1\n        print(error, file=sys.stderr)\nprint(asked, failed)\n"
    );
    world.write("load.py", &load);
    world.write("over", "");
    let words = net.controller.enter();
    let mut asking = Command::new(&words[0]);
    asking.args(&words[1..]).arg("python3").arg(world.path("load.py")).arg(world.path("over"));
    let said = File::create(world.path("load.err")).unwrap();
    let asking = asking.stdout(Stdio::piped()).stderr(said).spawn().unwrap();
    let mut letter = 'a';
    for _ in 0..6 {
        let next = if letter == 'a' { 'b' } else { 'a' };
        world.edit(&format!("<{letter}>"), &format!("<{next}>"));
        world.soll("apply").exits(0);
        assert_eq!(machine.runs(), next.to_string());
        letter = next;
    }
    // Until there were a hundred of them, as soll does it.
    let again = "for i in $(seq 94); do systemctl reset-failed web.service; systemctl restart web.service; done";
    machine.run(again);
    File::create(world.path("over")).unwrap().write_all(b"over").unwrap();
    let done = asking.wait_with_output().unwrap();
    let counts = String::from_utf8(done.stdout).unwrap();
    println!("requests, failed: {counts}");
    let (asked, failed) = counts.trim().split_once(' ').unwrap();
    assert!(asked.parse::<u32>().unwrap() > 100, "{counts}");
    assert_eq!(failed, "0", "{}", world.read("load.err"));
    assert_eq!(property(&machine, "web.socket", "InvocationID"), socket, "the socket was kept");
    assert_ne!(property(&machine, "web.service", "InvocationID"), service);
}

/// What it needs is gone, whichever release runs: no release is condemned for that.
#[test]
fn where_the_release_before_does_not_start_either_it_was_not_the_release() {
    let net = Net::new();
    let (machine, world) = storage(&net, "");
    let needs = "import os, sys\nos.path.exists('/srv/database') or sys.exit('no database')\n";
    for letter in ['a', 'b'] {
        world.bundle(letter, &[("main.py", &format!("{needs}{WELL}"))]);
    }
    machine.run("touch /srv/database");
    world.soll("apply").exits(0);
    machine.run("rm /srv/database");
    world.edit("<a>", "<b>");
    world.soll("apply").exits(1).says("AND THE WAY BACK FAILED").says("web1 is suspect").says("no database");
    assert_eq!(machine.runs(), "a");
    let record = machine.record();
    assert!(record["quarantined"].as_array().is_none_or(Vec::is_empty), "{record:#}");
    machine.run("touch /srv/database");
    world.soll("retry app").exits(0);
    world.soll("apply").exits(0);
    assert_eq!((machine.runs().as_str(), runs(&machine, "storage.service").as_str()), ("b", "b"));
}

/// The first rung of the ladder (C6) needs no hook: what fails between deployments restarts, and is confirmed as what it was.
#[test]
fn a_service_that_died_between_deployments_is_restarted() {
    let net = Net::new();
    let machine = Machine::boot(&net);
    install(&machine, "storage.service", &STORAGE.replace("Restart=always", "Restart=no"));
    let checked = "[environments.app.health]\nevery = \"1s\"\nfailures = 2\nattempts = 1\n\
                   [[environments.app.health.checks]]\nname = \"storage\"\nsystemd = \"storage.service\"\n";
    let world = world(&machine, &format!("unit = \"storage.service\"\n{checked}"));
    let daemon = world.start("run", "log");
    let settled = || machine.record()["confirmed"].is_object() && machine.record()["probation"].is_null();
    until("it runs", || settled().then_some(()));
    let before = machine.record()["confirmed"]["release"].clone();
    machine.run("kill -9 $(systemctl show -P MainPID storage.service)");
    until("it has died", || (property(&machine, "storage.service", "ActiveState") == "failed").then_some(()));
    until("it runs again", || (property(&machine, "storage.service", "ActiveState") == "active").then_some(()));
    until("it is well again", || world.read("log").contains("is well again").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(machine.record()["confirmed"]["release"], before);
    assert_eq!(runs(&machine, "storage.service"), "a");
}

#[test]
fn a_unit_that_was_stopped_is_seen_by_whoever_looks_and_healed_where_that_is_said() {
    let net = Net::new();
    let (machine, world) = storage(&net, "");
    world.soll("apply").exits(0);
    world.soll("status").exits(0).says("1 service as released");
    machine.run("systemctl stop storage.service");
    world.soll("plan --detailed-exitcode").exits(0).says("storage.service  0 of 1 running, inactive (dead)");
    world.soll("status").exits(0).says("1 of 1 services not as released");
    assert_eq!(property(&machine, "storage.service", "ActiveState"), "inactive", "whoever looks starts nothing");
    world.edit("settle = \"1s\"", "settle = \"1s\"\ndrift = \"heal\"");
    world.soll("plan --detailed-exitcode").exits(2).says("activate");
    world.soll("apply").exits(0);
    assert_eq!(runs(&machine, "storage.service"), "a");
    world.soll("plan --detailed-exitcode").exits(0).hides("not as released");
}

#[test]
fn nobody_waits_for_a_unit_to_settle_who_wants_everything_back() {
    let net = Net::new();
    let (machine, world) = storage(&net, "");
    world.soll("apply").exits(0);
    world.edit("settle = \"1s\"", "settle = \"10m\"");
    world.edit("<a>", "<b>");
    let run = world.start("apply", "log");
    until("b is started", || {
        (machine.runs() == "b" && property(&machine, "storage.service", "ActiveState") == "active").then_some(())
    });
    until("it is in its process", || {
        let pid = property(&machine, "storage.service", "MainPID");
        (machine.run(&format!("cat /proc/{pid}/cwd/index.html || true")) == "b").then_some(())
    });
    // The settle time of the way back is that with which a was confirmed.
    world.soll("cancel app --now").exits(0);
    let exit = run.wait();
    assert_eq!(
        (machine.runs().as_str(), runs(&machine, "storage.service").as_str()),
        ("a", "a"),
        "{}",
        world.read("log")
    );
    assert!(machine.record()["probation"].is_null(), "{exit:?} {}", world.read("log"));
    let record = machine.record();
    assert!(record["quarantined"].as_array().is_none_or(Vec::is_empty), "{record:#}");
}

#[test]
fn what_came_with_the_release_that_failed_goes_with_it() {
    let net = Net::new();
    let machine = Machine::boot(&net);
    install(&machine, "storage.service", STORAGE);
    // It ends well, and nothing names it, so that systemd forgets it; the timer stays.
    install(
        &machine,
        "web.service",
        "[Service]\nType=oneshot\nExecStart=/bin/cp /srv/app/current/index.html /run/once\n",
    );
    install(&machine, "web.timer", "[Timer]\nOnCalendar=yearly\n");
    let world = world(&machine, "units = [\"storage.service\", \"web.service\"]\n");
    machine.run(&RIGHTS.replace("web.socket", "web.timer mailer.service"));
    world.soll("apply").exits(0);
    assert_eq!((runs(&machine, "storage.service").as_str(), machine.read("/run/once").as_str()), ("a", "a"));

    let mailer = STORAGE.replace("main.py", "mailer.py");
    install(&machine, "mailer.service", &mailer);
    let two = [("main.py", "import sys, time\ntime.sleep(0.5)\nsys.exit(5)\n"), ("mailer.py", WELL)];
    world.bundle('c', &two);
    world.edit("\"web.service\"]", "\"web.service\", \"web.timer\", \"mailer.service\"]");
    // The mailer is started after the other one, which ends only then.
    world.edit("[\"storage.service\", ", "[\"mailer.service\", \"storage.service\", ");
    world.edit(", \"mailer.service\"]", "]");
    world.edit("<a>", "<c>");
    world.soll("apply").exits(3).says("unit storage.service says no").says("status=5");
    assert_eq!((runs(&machine, "storage.service").as_str(), machine.read("/run/once").as_str()), ("a", "a"));
    for unit in ["mailer.service", "web.timer"] {
        assert_eq!(property(&machine, unit, "ActiveState"), "inactive", "{unit}");
    }
    assert_eq!(machine.runs(), "a");
    // With a release that has its program, it stays.
    world.bundle('d', &[("main.py", WELL), ("mailer.py", WELL)]);
    world.edit("<c>", "<d>");
    world.soll("apply").exits(0).says("mailer.service is active (running)").says("web.timer is active (waiting)");
    assert_eq!(runs(&machine, "mailer.service"), "d");
}

#[test]
fn a_unit_of_the_user_needs_no_sudo() {
    let net = Net::new();
    let machine = Machine::boot(&net);
    let world = world(&machine, "units = [{ name = \"worker.service\", user = true }]\n");
    machine.run("mkdir -p /home/deploy/.config/systemd/user; chown -R deploy: /home/deploy/.config");
    let unit = STORAGE.replace("User=deploy\n", "");
    std::fs::write(machine.path("/home/deploy/.config/systemd/user/worker.service"), unit).unwrap();
    // Nobody has logged in, and the manager does not run without that.
    world.soll("apply").exits(1).says("worker.service").says("loginctl enable-linger deploy");
    machine.run("rm -f /etc/sudoers.d/units; loginctl enable-linger deploy");
    until("the manager of the user runs", || {
        machine.run("systemctl is-active user@$(id -u deploy).service || true").starts_with("active").then_some(())
    });
    world.soll("apply").exits(0);
    let main = "cat /proc/$(XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user show -P MainPID worker.service)/cwd/index.html";
    let runs = || machine.run(&format!("su deploy -c '{main}'"));
    assert_eq!(runs(), "a");
    world.soll("doctor app").exits(0).says("worker.service is active (running)");
    world.bundle('c', &[("main.py", "import sys\nprint('no such queue')\nsys.exit(4)\n")]);
    world.edit("<a>", "<c>");
    world.soll("apply").exits(3).says("worker.service (of the user)").says("status=4").says("no such queue");
    assert_eq!((machine.runs().as_str(), runs().as_str()), ("a", "a"));
}
