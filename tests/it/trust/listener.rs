//! Who connects to a daemon and means no good: they hold no place for long, and never everybody's.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::SECRET;
use crate::support::web::{free_port, get};
use crate::support::world::{Running, World, until};

/// Longer than any limit of the listener.
const LONG: Duration = Duration::from_secs(120);

/// What they send, before they wait for ever.
const STALLS: [&str; 4] = [
    "",
    "GET /observation HTTP/1.1\r\nHost: x\r\nX-Half: ",
    "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nX-Hub-Signature-256: sha256=SIGNATURE\r\n\r\n",
    // One that was served well and stays for nothing.
    "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
];

fn daemon(w: &mut World) -> (String, Running) {
    w.set("SOLL_POLL", "1h");
    w.set("SOLL_SECRET_WEBHOOK", SECRET);
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = w.start(&format!("run --listen {address}"), "daemon.log");
    until("it listens", || get(&address, "/healthz"));
    (address, daemon)
}

fn stalled(address: &str, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let said = STALLS[number % STALLS.len()].replace("SIGNATURE", &"0".repeat(64));
    stream.write_all(said.as_bytes()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

#[test]
fn three_hundred_who_stall_keep_nobody_out_and_are_shown_out() {
    let mut w = World::staging("");
    let (address, daemon) = daemon(&mut w);
    let streams: Vec<_> = (0..300).map(|number| stalled(&address, number)).collect();
    assert_eq!(get(&address, "/healthz").as_deref(), Some("ok\n"));
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap().flatten();
    let sockets =
        open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("socket")));
    let sockets = sockets.count();
    assert!(sockets < 280, "{sockets} sockets are open");
    for (number, mut stream) in streams.into_iter().enumerate() {
        let mut said = Vec::new();
        if let Err(error) = stream.read_to_end(&mut said) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "connection {number} is still open: {error}");
        }
    }
    assert_eq!(get(&address, "/healthz").as_deref(), Some("ok\n"));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn who_sends_a_byte_now_and_then_is_shown_out_too() {
    let mut w = World::staging("");
    let (address, daemon) = daemon(&mut w);
    let header = "GET /healthz HTTP/1.1\r\nX-Long: ";
    let body = STALLS[2].replace("SIGNATURE", &"0".repeat(64)).replace("Content-Length: 9", "Content-Length: 999999");
    let begun = [header, &body].map(|said| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        stream
    });
    let deadline = Instant::now() + LONG;
    let mut open = Vec::from(begun);
    while !open.is_empty() {
        assert!(Instant::now() < deadline, "{} of them are still served", open.len());
        open.retain_mut(|stream| stream.write_all(b"x").is_ok());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_webhook_counts_when_all_its_bytes_are_signed_and_few() {
    use hmac::{Hmac, KeyInit, Mac};
    let mut w = World::staging("");
    let (address, daemon) = daemon(&mut w);
    let post = |signature: Option<&str>, body: &[u8], length: usize| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let signature = signature.map(|said| format!("X-Hub-Signature-256: sha256={said}\r\n")).unwrap_or_default();
        let head = format!("POST /webhook HTTP/1.1\r\nHost: x\r\n{signature}Content-Length: {length}\r\n\r\n");
        // Whoever is refused early need not hear the rest.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    let signed = |body: &[u8]| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body);
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let body = vec![b'{'; 300_000];
    assert_eq!(post(Some(&signed(&body)), &body, body.len()), "202");
    assert_eq!(post(Some(&signed(b"other")), &body, body.len()), "401");
    assert_eq!(post(None, b"", 1 << 30), "401", "it is refused before it is read");
    let large = vec![b'{'; (1 << 20) + 1];
    assert_eq!(post(Some(&signed(&large)), &large, large.len()), "413");
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    assert_eq!(post(Some(&signed(b"pushed")), b"pushed", 6), "202");
    until("it looks at once", || (w.runs("staging") == "b").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}
