//! The listener: connections, each of which has its time and no more. Whoever sends nothing, or half of what they begin, or
//! does not read what they asked for, holds a place until then, and never the last one: who comes takes the place of who has
//! been there longest.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// What a listener grants to whoever connects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// So many connections are open at once.
    pub connections: usize,
    /// From the connection to the last line of the request's header.
    pub header: Duration,
    /// From the connection to the last byte of the answer, as the reader takes it.
    pub whole: Duration,
}

impl Limits {
    /// Those of a daemon: far fewer connections than it may have files open, since its agents need them, too. What it
    /// publishes of a large fleet takes its time to a slow reader.
    pub const DAEMON: Limits =
        Limits { connections: 256, header: Duration::from_secs(5), whole: Duration::from_secs(60) };
}

/// The longest header that is read.
const HEADER: usize = 32 << 10;

/// So long nobody is let in after the system refused a connection for want of something.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves for ever.
pub(super) async fn listen(listener: TcpListener, app: Router, limits: Limits) {
    let mut open = Open { limit: limits.connections.max(1), tasks: JoinSet::new(), order: VecDeque::new() };
    loop {
        tokio::select! {
            Some(ended) = open.tasks.join_next_with_id(), if !open.tasks.is_empty() => open.ended(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => open.take(connection(stream, app.clone(), limits)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// The open connections, the oldest first.
struct Open {
    limit: usize,
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Open {
    fn take(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        // A connection that has ended by itself makes room first; an open one is closed only where none has.
        while self.order.len() >= self.limit
            && let Some(ended) = self.tasks.try_join_next_with_id()
        {
            self.ended(ended);
        }
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(connection));
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.order.retain(|task| task.id() != id);
    }
}

/// One request and its answer: a connection that is kept for the next request would only hold a place.
async fn connection(stream: TcpStream, app: Router, limits: Limits) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header).keep_alive(false).max_buf_size(HEADER);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    match tokio::time::timeout(limits.whole, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the listener ended early"),
        Err(_) => tracing::debug!("a connection to the listener took too long and was closed"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    const LARGE: usize = 64 << 20;

    async fn serve(limits: Limits) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/large", get(async || vec![b'x'; LARGE]))
            .route("/never", get(async || std::future::pending::<()>().await));
        tokio::spawn(listen(listener, app, limits));
        address
    }

    async fn connect(address: std::net::SocketAddr, said: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream
    }

    /// Everything until the other side closes.
    async fn rest(mut stream: TcpStream) -> usize {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all.len()
    }

    #[tokio::test]
    async fn who_does_not_read_is_left_when_the_time_is_over() {
        let whole = Duration::from_millis(500);
        let address = serve(Limits { connections: 9, header: whole, whole }).await;
        assert!(rest(connect(address, REQUEST).await).await > LARGE, "a reader gets everything");
        let mut stalled = connect(address, REQUEST).await;
        let closed = async {
            while stalled.write_all(b"x").await.is_ok() {
                tokio::time::sleep(whole / 50).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), closed).await.expect("it is still served");
    }

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_the_oldest() {
        let long = Duration::from_secs(3600);
        let address = serve(Limits { connections: 3, header: long, whole: long }).await;
        let said: [&[u8]; 3] = [b"", b"GET /large HTTP/1.1\r\nHo", b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n"];
        let mut stalled = Vec::new();
        for said in said.iter().cycle().take(9) {
            stalled.push(connect(address, said).await);
        }
        assert!(rest(connect(address, REQUEST).await).await > LARGE);
        for stream in stalled.into_iter().take(6) {
            assert_eq!(rest(stream).await, 0);
        }
    }
}
