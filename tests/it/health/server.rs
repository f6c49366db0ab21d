//! A server that behaves as badly as it is told to, one connection per request, on 127.0.0.1.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Lower-case names, as `name: value` lines.
    pub head: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What is done about it.
pub enum Reply {
    /// These bytes, then the end.
    Raw(Vec<u8>),
    /// Unread input and a closed socket: the peer gets a reset.
    Reset,
    /// Nothing, ever.
    Hang,
    /// A head, then `x` for as long as somebody reads.
    Endless(&'static str),
}

impl Reply {
    pub fn ok(body: &str) -> Self {
        Reply::status(200, body)
    }
    pub fn status(status: u16, body: &str) -> Self {
        Reply::with(status, "", body)
    }
    /// `headers`: whole lines with their ends.
    pub fn with(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Reply::Raw(format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes())
    }
}

pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub async fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_counting(move |request, _| reply(request)).await
    }

    /// `reply` also gets how many requests for the same path came before.
    pub async fn start_counting(reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, reply).await
    }

    pub async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::listen(Some(acceptor), |_, _| Reply::ok("secure")).await
    }

    async fn listen(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (seen.clone(), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, reply, tls) = (log.clone(), reply.clone(), tls.clone());
                tokio::spawn(async move {
                    let _ = match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => answer(stream, &log, &*reply).await,
                            Err(error) => Err(error),
                        },
                        None => answer(stream, &log, &*reply).await,
                    };
                });
            }
        });
        Server { address, seen }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    log: &Mutex<Vec<Request>>,
    reply: &(dyn Fn(&Request, usize) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        // `/reset…` never gets its request read to the end: that is what makes the reset one.
        if head.starts_with(b"GET /reset") {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let request = Request { method, path, head };
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|earlier| earlier.path == request.path).count();
        log.push(request.clone());
        before
    };
    match reply(&request, before) {
        Reply::Raw(bytes) => stream.write_all(&bytes).await?,
        Reply::Reset => {}
        Reply::Hang => std::future::pending().await,
        Reply::Endless(head) => {
            stream.write_all(head.as_bytes()).await?;
            let block = [b'x'; 64 << 10];
            loop {
                stream.write_all(&block).await?;
            }
        }
    }
    stream.shutdown().await
}
