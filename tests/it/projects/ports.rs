//! Ports of the host, on an engine that makes networks: in a network of its own, so that nothing of the machine's is touched.

use super::platform::Platform;
use crate::network::namespace::Namespace;
use crate::support::docker::{Docker, Options};
use crate::support::engines::{Pair, on_each};
use crate::support::registry::Registry;
use crate::support::world::until;

on_each!(who_holds_a_port_is_named_before_anything_is_stopped: strict; old);

fn who_holds_a_port_is_named_before_anything_is_stopped(on: &'static Pair) {
    let space = Namespace::new("");
    let docker = Docker::start(on, Options { inside: space.enter(), ..Options::default() });
    let registry = Registry::inside(space.enter());
    let port = registry.port;
    let mut p = Platform::with(&docker, "soll-ports", "", registry, port);
    p.w.inside = space.enter();
    let file = p.w.read("state/platform/compose.yml");
    let with = |published: &str| {
        // Of `web` alone.
        let (head, web) = file.split_once("  web:\n").unwrap();
        let web = web.replacen("    network_mode: none\n", &format!("    ports: [\"{published}\"]\n"), 1);
        p.w.write("state/platform/compose.yml", &format!("{head}  web:\n{web}"));
        p.w.commit_all(published);
    };
    with("8080:80");
    p.w.soll("apply").exits(0);
    let seen = p.w.soll("status --output json").exits(0).json();
    assert!(seen.to_string().contains("0.0.0.0:8080->80/tcp"), "{seen:#}");
    p.w.soll("plan --detailed-exitcode").exits(0);

    // Another container, then a program of the host.
    docker.run(&["run", "-d", "--name", "stranger", "-p", "9090:80", "soll-ports-base:1", "sleep", "1000"]);
    p.w.soll("doctor").says("held by others: 0.0.0.0:9090/tcp (the container stranger)");
    with("9090:80");
    let failed = p.w.soll("apply").exits(3).says("port 9090/tcp of this host, which the container stranger holds");
    failed.says("service web");
    assert_eq!(p.status().len(), 3);
    assert!(p.status().iter().all(|(_, well)| *well), "it went back: {:?}", p.status());
    let listens =
        "import socket,sys; s=socket.socket(); s.bind(('0.0.0.0', 9191)); s.listen(); print('ready'); sys.stdin.read()";
    let mut words = space.enter();
    words.extend(["python3", "-c", listens].map(str::to_owned));
    let mut program = p.w.program(&words[0]);
    let mut program = program.args(&words[1..]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    until("it listens", || space.run("ss -ltn").contains(":9191").then_some(()));
    with("9191:80");
    p.w.soll("apply").exits(3).says("port 9191/tcp of this host, which a program of this host");
    assert!(p.status().iter().all(|(_, well)| *well), "it went back: {:?}", p.status());
    drop(program.stdin.take());
    program.wait().unwrap();
    docker.run(&["rm", "-f", "stranger"]);
}
