//! A web server on this machine that misbehaves on order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One answer.
#[derive(Clone)]
pub struct Reply {
    status: &'static str,
    headers: Vec<String>,
    body: Vec<u8>,
    /// The length that is announced; `None`: the body is sent in chunks.
    announced: Option<usize>,
    after: After,
}

#[derive(Clone, Copy, PartialEq)]
enum After {
    Close,
    /// Keeps the connection, and says nothing any more.
    Silence,
}

impl Reply {
    pub fn new(status: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Reply { status, headers: Vec::new(), announced: Some(body.len()), body, after: After::Close }
    }

    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new("200 OK", body)
    }

    pub fn header(mut self, line: impl Into<String>) -> Self {
        self.headers.push(line.into());
        self
    }

    /// Only so many bytes of the body arrive; then the connection breaks.
    pub fn broken_after(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self
    }

    /// Only so many bytes of the body arrive; then nothing.
    pub fn silent_after(mut self, bytes: usize) -> Self {
        self.after = After::Silence;
        self.broken_after(bytes)
    }

    /// Without a length, in chunks.
    pub fn chunked(mut self) -> Self {
        self.announced = None;
        self
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub headers: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    script: HashMap<String, VecDeque<Reply>>,
    asked: Vec<Asked>,
}

/// Answers every path with its replies in turn, the last one again and again; 404 where there are none.
pub struct Server {
    pub address: String,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Server { address, state, task }
    }

    pub fn on(&self, path: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.state.lock().unwrap().script.insert(path.to_owned(), replies.into_iter().collect());
        self
    }

    /// All requests whose line starts like this.
    pub fn asked(&self, start: &str) -> Vec<Asked> {
        self.state.lock().unwrap().asked.iter().filter(|asked| asked.line.starts_with(start)).cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers =
        lines.filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned())).collect();
    let path = line.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
    let reply = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { line: line.clone(), headers });
        let by_method = format!("{} {path}", line.split(' ').next().unwrap());
        let key = if state.script.contains_key(&by_method) { by_method } else { path };
        match state.script.get_mut(&key) {
            Some(replies) if replies.len() > 1 => replies.pop_front().unwrap(),
            Some(replies) => replies.front().unwrap().clone(),
            None => Reply::new("404 Not Found", "nothing here"),
        }
    };
    let mut out = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status);
    for header in &reply.headers {
        out += &format!("{header}\r\n");
    }
    match reply.announced {
        Some(length) => out += &format!("Content-Length: {length}\r\n\r\n"),
        None => out += "Transfer-Encoding: chunked\r\n\r\n",
    }
    let mut out = out.into_bytes();
    if !line.starts_with("HEAD") {
        if reply.announced.is_none() {
            out.extend_from_slice(format!("{:x}\r\n", reply.body.len()).as_bytes());
        }
        out.extend_from_slice(&reply.body);
        if reply.announced.is_none() {
            out.extend_from_slice(b"\r\n0\r\n\r\n");
        }
    }
    if stream.write_all(&out).await.is_ok() && reply.after == After::Silence {
        // Until the client has had enough.
        let _ = stream.read_u8().await;
    }
}
