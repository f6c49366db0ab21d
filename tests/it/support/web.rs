//! A small web server whose answers are switched while it runs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Pages {
    answers: BTreeMap<String, (u16, Vec<u8>)>,
    seen: Vec<String>,
}

/// Answers 404 where nothing was set. It ends with the test process.
pub struct Web {
    address: SocketAddr,
    pages: Arc<Mutex<Pages>>,
}

impl Web {
    pub fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Web { address: listener.local_addr().unwrap(), pages: Arc::default() };
        let pages = web.pages.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is its own trouble.
                let _ = answer(stream, &pages);
            }
        });
        web
    }

    /// From now on this path, without its query, answers so.
    pub fn set(&self, path: &str, status: u16, body: &str) {
        self.set_bytes(path, status, body.as_bytes().to_owned());
    }

    /// The same with what is no text.
    pub fn set_bytes(&self, path: &str, status: u16, body: Vec<u8>) {
        self.pages.lock().unwrap().answers.insert(path.to_owned(), (status, body));
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of all requests so far, with what was sent behind them.
    pub fn seen(&self) -> Vec<String> {
        self.pages.lock().unwrap().seen.clone()
    }
}

fn answer(mut stream: TcpStream, pages: &Mutex<Pages>) -> std::io::Result<()> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut sent = vec![0; length.unwrap_or(0)];
    std::io::Read::read_exact(&mut lines, &mut sent)?;
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let path = target.split('?').next().unwrap_or_default();
    let (status, body) = {
        let mut pages = pages.lock().unwrap();
        pages.seen.push(format!("{head}{}", String::from_utf8_lossy(&sent)));
        pages.answers.get(path).cloned().unwrap_or((404, Vec::new()))
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    stream.write_all(&body)
}

/// One request to somebody else's server; nothing where it does not answer with 200.
pub fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200").map(|_| body.to_owned())
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
