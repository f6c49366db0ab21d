//! A Python service from commits on a whole Debian machine (S4): what a customer has who follows `docs/python.md`.

use super::machine::{ADDRESS, Machine};
use super::net::Net;
use crate::support::wheel::wheel;
use crate::support::world::World;

const RIGHTS: &str = r#"
usermod -aG systemd-journal deploy
for verb in reset-failed restart stop; do
    echo "deploy ALL=(root) NOPASSWD: /usr/bin/systemctl $verb storage-api.service"
done > /etc/sudoers.d/storage
"#;

/// As the page has it.
const UNIT: &str = "[Service]\nUser=deploy\nWorkingDirectory=/srv/app/current\nEnvironmentFile=/srv/app/shared/.env\n\
    ExecStart=/srv/app/current/.venv/bin/python server.py\nRestart=on-failure\nRestartSec=100ms\n";

/// Says its code, the version of its package, and a variable of its environment.
const SERVER: &str = r#"import http.server, os, hello


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"@ {hello.VERSION} {os.environ['GREETING']}".encode())


http.server.HTTPServer(("127.0.0.1", 9000), Answer).serve_forever()
"#;

const STATE: &str = r#"schema = 1

[apps.storage]
kind = "git"
recipe = "python"
repository = "$DIR/app"
variables = { service = "storage-api" }
settle = "1s"
required_env = ["GREETING"]
[apps.storage.health]
attempts = 20
interval = "200ms"
[[apps.storage.health.checks]]
name = "answers"
http = "http://127.0.0.1:9000/"

[hosts.web1]
address = "@address"
user = "deploy"

[environments.app]
hosts = ["web1"]
root = "/srv/app"
release = "@release"
"#;

fn code(world: &World, server: &str) -> String {
    world.write("app/server.py", server);
    world.commit_in("app", "code")
}

fn says(machine: &Machine<'_>) -> String {
    let ask = "import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:9000/\").read().decode())";
    machine.run(&format!("python3 -c '{ask}'")).trim().to_owned()
}

#[test]
fn a_service_from_commits_on_a_customers_server() {
    let net = Net::new();
    let machine = Machine::boot(&net);
    machine.run(RIGHTS);
    std::fs::write(machine.path("/etc/systemd/system/storage-api.service"), UNIT).unwrap();
    machine.run("systemctl daemon-reload");
    for version in ["1.0", "2.0"] {
        wheel("hello", version, &machine.path("/srv/wheels"));
    }
    let world = machine.world("");
    std::fs::create_dir_all(world.path("app")).unwrap();
    world.git_in("app", &["init", "-q", "-b", "main"]);
    world.write("app/requirements.txt", "--no-index\n--find-links /srv/wheels\nhello==1.0\n");
    let one = code(&world, &SERVER.replace('@', "one"));
    world.commit(&STATE.replace("@address", ADDRESS).replace("@release", &one));
    world.write("env", "GREETING=good morning\n");
    world.soll("provision app --env-file $DIR/env").exits(0);
    world.soll("doctor app").exits(0).says("storage-api.service");
    world.soll("apply").exits(0);
    assert_eq!(says(&machine), "one 1.0 good morning");

    // Other code, the same requirements: nothing is installed.
    let two = code(&world, &SERVER.replace('@', "two"));
    world.soll(&format!("release app {two}")).exits(0);
    let second = world.soll("apply").exits(0).says("copied from");
    // How long each step took, for whoever runs it with --nocapture.
    println!("{}", second.stderr);
    assert_eq!(says(&machine), "two 1.0 good morning");
    world.soll("plan --detailed-exitcode").exits(0);

    // One that does not start goes back by itself, and says why it did not.
    let three = code(&world, "import no_such_module\n");
    world.soll(&format!("release app {three}")).exits(0);
    world.soll("apply").exits(3).says("storage-api.service").says("No module named 'no_such_module'");
    assert_eq!(says(&machine), "two 1.0 good morning");

    // The customer's environment changes at the same commit.
    world.soll(&format!("release app {two}")).exits(0);
    world.soll("apply").exits(0);
    let env = machine.path("/srv/app/shared/.env");
    std::fs::write(env, "GREETING=good evening\n").unwrap();
    world.soll("plan --detailed-exitcode").exits(2).says("shared/.env changed");
    world.soll("apply").exits(0);
    assert_eq!(says(&machine), "two 1.0 good evening");

    // Back to what was before: it is there, and nothing is built.
    world.soll("rollback app").exits(0);
    world.soll("apply").exits(0).hides("venv");
    assert_eq!(says(&machine), "one 1.0 good evening");

    // Systemd starts it again after a reboot, without soll.
    let mut machine = machine;
    machine.run("ln -s ../storage-api.service /etc/systemd/system/multi-user.target.wants/ 2>/dev/null || ln -s /etc/systemd/system/storage-api.service /etc/systemd/system/multi-user.target.wants/");
    machine.dies();
    machine.start();
    crate::support::world::until("it serves again", || {
        let ask =
            "python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:9000/\")' && echo yes || echo no";
        (machine.run(ask).trim() == "yes").then_some(())
    });
    world.soll("status").exits(0).says("in-sync");
}
