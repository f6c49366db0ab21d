//! Who stands where an agent stood: another user who took its name, a process of the same user that does not know the
//! key, a program that others could have put there.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use soll::host::call::client::Client;
use soll::host::call::stream::{Reconnect, Stream};
use soll::host::wire::frame::Frame;
use soll::host::wire::{HostError, Op};
use soll::model::ids::Digest;

use super::APPLICATION;
use crate::ssh::server::{Sshd, world_with};

/// Binds the name, and answers every connection with the bytes of a frame.
const IMPOSTOR: &str = "
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind('\\0soll-agent-' + sys.argv[1])
listener.listen()
print('bound', flush=True)
while True:
    peer, _ = listener.accept()
    peer.sendall(bytes.fromhex(sys.argv[2]))
";

struct Impostor(std::process::Child);

impl Impostor {
    fn new(user: u32, name: &str, says: &Frame) -> Impostor {
        let bytes: String = says.encode().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
        // The system's own: one in a home is not everybody's.
        command.env("PATH", "/usr/bin:/bin").args(["python3", "-c", IMPOSTOR, name, &bytes]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "bound\n");
        Impostor(child)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the bridge to a session says, where nobody asks it for anything.
fn bridge(name: &str) -> Option<Frame> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soll"));
    command.args(["host-agent", &format!("--attach={name}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = Frame::read(child.stdout.as_mut().unwrap()).unwrap().map(|(frame, _)| frame);
    let _ = child.kill();
    child.wait().unwrap();
    said
}

#[test]
fn the_bridge_does_not_speak_to_another_user_who_took_the_name() {
    let name = |what: &str| format!("test-{what}-{}", std::process::id());
    let own = rustix::process::geteuid().as_raw();
    // The control: a process of the same user is handed on, and what it says is for the controller to judge.
    let same = Impostor::new(own, &name("same"), &Frame::Resumed(vec![7]));
    assert!(matches!(bridge(&name("same")), Some(Frame::Resumed(calls)) if calls == [7]));
    drop(same);
    let _other = Impostor::new(APPLICATION, &name("other"), &Frame::Resumed(vec![7]));
    assert!(matches!(bridge(&name("other")), Some(Frame::Bye)), "as if the agent were gone");
}

/// The first stream is cut at once; every other one leads to somebody who answers this.
struct Elsewhere(fn() -> Frame);

impl Reconnect for Elsewhere {
    fn reconnect<'a>(&'a self, _: &'a str, _: bool) -> BoxFuture<'a, Result<Stream, HostError>> {
        let says = (self.0)().encode().unwrap();
        Box::pin(async move {
            let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            let mut theirs = theirs.into_std().unwrap();
            theirs.set_nonblocking(false).unwrap();
            std::thread::spawn(move || {
                let _ = Frame::read(&mut theirs);
                let _ = theirs.write_all(&says);
                // Whatever else comes is taken, and may not be a call.
                while let Ok(Some((frame, _))) = Frame::read(&mut theirs) {
                    assert!(!matches!(frame, Frame::Call(_)), "a call was given to a stranger");
                }
            });
            let (output, input) = ours.into_split();
            Ok(Stream::new(output, input))
        })
    }

    fn place(&self) -> String {
        "somewhere else".to_owned()
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(400)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_key_is_not_taken_for_the_agent() {
    let strangers: [fn() -> Frame; 3] = [
        || Frame::Resumed(vec![]),
        || Frame::Proof { number: "00".to_owned(), proof: Digest::of(b"a guess") },
        || Frame::Proof { number: String::new(), proof: Digest::of(b"") },
    ];
    for stranger in strangers {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_soll"))
            .args(["host-agent", "--linger=120"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = Client::over(child.stdout.take().unwrap(), child.stdin.take().unwrap(), false).await.unwrap();
        client.reconnect_by(Some(Arc::new(Elsewhere(stranger))));
        assert!(client.call("/", Op::Ping).await.is_ok());
        child.kill().await.unwrap();
        let lost = client.call("/", Op::Ping).await.unwrap_err().to_string();
        assert!(lost.contains("not the agent of this session"), "{lost}");
    }
}

/// Reads the agent's hello, and gives its name and its key.
fn hello(child: &mut std::process::Child) -> (String, String) {
    match Frame::read(child.stdout.as_mut().unwrap()).unwrap() {
        Some((Frame::Hello(hello), _)) => {
            let shown = format!("{hello:?}");
            let session = hello.session.unwrap();
            assert!(!shown.contains(session.key.expose()), "the key is shown: {shown}");
            (session.name.clone(), session.key.expose().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_agent_gives_its_session_to_nobody_who_does_not_know_the_key() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soll"));
    command.args(["host-agent", "--linger=120"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut agent = command.spawn().unwrap();
    let (name, key) = hello(&mut agent);
    let cmdline = fs::read_to_string(format!("/proc/{}/cmdline", agent.id())).unwrap();
    assert!(!cmdline.contains(&key) && !name.contains(&key), "the key is in an argument or a name");
    let connect = || {
        let address = SocketAddr::from_abstract_name(format!("soll-agent-{name}")).unwrap();
        let stream = UnixStream::connect_addr(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    };
    // The words of the version before, and those of who only guesses the proof.
    let mut stream = connect();
    Frame::Resume { proof: Digest::of(b""), waiting: vec![] }.write(&mut stream).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or_default(), 0, "it is sent away");
    let mut stream = connect();
    Frame::Challenge("00".to_owned()).write(&mut stream).unwrap();
    let Ok(Some((Frame::Proof { proof, .. }, _))) = Frame::read(&mut stream) else { panic!("no proof") };
    // Its own proof, sent back.
    Frame::Resume { proof, waiting: vec![] }.write(&mut stream).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or_default(), 0, "it is sent away");
    // And the controller is heard as before.
    let ping = soll::host::wire::Call { id: 1, root: "/".to_owned(), op: Op::Ping };
    Frame::Call(Box::new(ping)).write(agent.stdin.as_mut().unwrap()).unwrap();
    let answer = Frame::read(agent.stdout.as_mut().unwrap()).unwrap();
    assert!(matches!(answer, Some((Frame::Answer(_), _))), "{answer:?}");
    drop(agent.stdin.take());
    agent.wait().unwrap();
}

#[test]
fn a_program_where_others_may_write_is_neither_put_nor_started() {
    let sshd = Sshd::new("");
    let world = world_with(&sshd, "agent_dir = \"$DIR/opt/soll\"", "");
    let mode = |path: &str, mode: u32| fs::set_permissions(world.path(path), fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir_all(world.path("opt/soll")).unwrap();
    mode("opt/soll", 0o777);
    let place = world.path("opt/soll").display().to_string();
    world.soll("plan staging").exits(6).says(&format!("chmod go-w {place}")).says("agent_dir");
    assert_eq!(fs::read_dir(world.path("opt/soll")).unwrap().count(), 0, "nothing was put there");
    mode("opt/soll", 0o755);
    world.soll("apply").exits(0);
    for (path, bad, good) in [("opt/soll", 0o775, 0o755), ("opt", 0o777, 0o755)] {
        mode(path, bad);
        let place = world.path(path).display().to_string();
        world.soll("apply").exits(6).says(&format!("chmod go-w {place}`"));
        world.soll("doctor staging").exits(6).says("another user of the host could put another program");
        mode(path, good);
        world.soll("apply").exits(0);
    }
    // One that somebody prepared under the right name.
    let program = fs::read_dir(world.path("opt/soll")).unwrap().next().unwrap().unwrap().path();
    std::os::unix::fs::chown(&program, Some(APPLICATION), None).unwrap();
    world.soll("apply").exits(6).says("belongs to the user 33");
}
