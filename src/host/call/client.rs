//! The controller's side of one agent: calls by number, many at once, over any byte stream. Knows no operation's meaning.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::Command;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::artifact::delta::Telling;
use crate::artifact::picked::Picked;
use crate::host::call::pending::{Pending, lost};
use crate::host::call::piece::Pieces;
use crate::host::call::stream::{Reconnect, Stream};
use crate::host::call::telling::Told;
use crate::host::call::transport::{self, Outgoing};
use crate::host::lock;
use crate::host::wire::frame::{Frame, Hello, PIECE, PROTOCOL, WINDOW};
use crate::host::wire::{Call, HostError, Op, Reply};
use crate::model::ids::{Digest, Epoch};

/// How long an agent may take until it says hello.
const HELLO: Duration = Duration::from_secs(20);
/// An agent that takes no piece of an upload for so long hangs: of the slowest wire some 20 kB in a second are enough.
const STALLED: Duration = Duration::from_secs(120);
/// How long the last pieces may take, until they lie on its disk.
const LAST: Duration = Duration::from_secs(600);

/// A connection to one agent. Cheap to clone; the last one dropped closes the agent's input, which lets go of everything
/// but a probation.
#[derive(Clone)]
pub struct Client {
    frames: mpsc::Sender<Outgoing>,
    pending: Arc<Pending>,
    /// Long frames are compressed.
    packed: bool,
    hello: Arc<Hello>,
}

impl Client {
    /// Starts `EXE host-agent` on this machine. It leads a session of its own and outlives this process while a
    /// probation needs it (law 6). Of this process's environment it gets what [`passes`] lets through.
    pub async fn spawn_local(exe: &Path) -> Result<Client, HostError> {
        let mut command = Command::new(exe);
        command.arg("host-agent").env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(passes)));
        Client::spawn(command).await
    }

    /// Starts an agent by any command that leads to one.
    pub async fn spawn(mut command: Command) -> Result<Client, HostError> {
        // Standard error is not inherited: an agent that outlives us must not keep someone's pipe open.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(false);
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .map_err(|error| HostError::Connection(format!("cannot start the agent {program}: {error}").into()))?;
        let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(HostError::Connection(format!("the agent {program} has no input or output").into()));
        };
        // Reaps it whenever it ends.
        tokio::spawn(async move { child.wait().await });
        Client::over(output, input, false).await
    }

    /// Speaks to an agent over a pair of streams. `packed`: long frames are compressed, for a wire that is slower than
    /// a processor.
    ///
    /// # Errors
    /// [`HostError::Connection`]: it says no hello, or speaks another version.
    pub async fn over(
        output: impl AsyncRead + Unpin + Send + 'static,
        input: impl AsyncWrite + Unpin + Send + 'static,
        packed: bool,
    ) -> Result<Client, HostError> {
        Client::on(Stream::new(output, input), packed).await
    }

    /// The same over a stream that stands already.
    ///
    /// # Errors
    /// Those of [`Client::over`].
    pub async fn on(mut stream: Stream, packed: bool) -> Result<Client, HostError> {
        let hello = match tokio::time::timeout(HELLO, stream.read(&mut || ())).await {
            Ok(Ok(Some(Frame::Hello(hello)))) => hello,
            Ok(Ok(_)) => return Err(lost("the agent ended, or said something else than hello")),
            Ok(Err(error)) => return Err(lost(&format!("the agent cannot be understood: {error}"))),
            Err(_) => return Err(lost(&format!("the agent did not say hello within {} s", HELLO.as_secs()))),
        };
        if hello.protocol != PROTOCOL {
            let text = format!(
                "the agent {} ({}) speaks protocol {}, this program {PROTOCOL}: put the matching binary there",
                hello.binary, hello.version, hello.protocol
            );
            return Err(HostError::Connection(text.into()));
        }
        let pending = Arc::new(Pending::new(hello.session.is_some()));
        let (frames, queue) = mpsc::channel::<Outgoing>(4);
        tokio::spawn(transport::keep(stream, queue, pending.clone(), packed, hello.session.clone()));
        Ok(Client { frames, pending, packed, hello: Arc::new(hello) })
    }

    /// From now on a stream that is lost is replaced so, where the agent lingers; without a way whoever asked hears of it
    /// at once.
    pub fn reconnect_by(&self, how: Option<Arc<dyn Reconnect>>) {
        *lock(&self.pending.reconnect) = how;
    }

    /// What the agent said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Whether nothing will be answered any more.
    pub fn is_dead(&self) -> bool {
        self.pending.is_dead()
    }

    /// Whether nobody else has a copy of this.
    pub fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.hello) == 1
    }

    /// Whether it answered within the last `fresh`, or does so within `patience`.
    pub async fn is_there(&self, fresh: Duration, patience: Duration) -> bool {
        if self.is_dead() {
            return false;
        }
        let heard = self.pending.heard().is_some_and(|at| at.elapsed() < fresh);
        heard || matches!(tokio::time::timeout(patience, self.call("/", Op::Ping)).await, Ok(Ok(_)))
    }

    /// Asks for one operation on one root and waits for the answer.
    ///
    /// # Errors
    /// Those of the operation; [`HostError::Connection`]: the answer is lost, and whether the effect happened is unknown.
    pub async fn call(&self, root: &str, op: Op) -> Result<Reply, HostError> {
        let (id, answer) = self.pending.register(root, None)?;
        let _forget = self.pending.forget_at_end(id);
        self.ask(id, root, op).await?;
        answer.await.unwrap_or_else(|_| Err(self.pending.why()))
    }

    /// Tells a manifest, and asks what of it is missing there. An answer that takes longer than `patience` does not come.
    ///
    /// # Errors
    /// Those of the operation; [`HostError::Interrupted`]: another stream has to carry it from the beginning.
    pub async fn offer(
        &self,
        root: &str,
        (epoch, keep): (Epoch, Option<u32>),
        telling: Telling,
        patience: Duration,
    ) -> Result<Reply, HostError> {
        let op = Op::Missing { epoch, listing: telling.listing(), keep };
        self.follow(root, op, None, patience, &mut Told::new(telling, self.packed)).await
    }

    /// Sends the contents of these files of what was offered, `total` bytes, which `pieces` gives one after the other in
    /// their order. An early answer (no room, fenced) ends it at once. Pieces that end too early give the upload up;
    /// complete contents are kept there.
    pub async fn upload(
        &self,
        root: &str,
        epoch: Epoch,
        (tree, files, total): (Digest, Picked, u64),
        pieces: &mut impl Pieces,
    ) -> Result<Reply, HostError> {
        self.follow(root, Op::Upload { epoch, tree, files }, Some(total), LAST, pieces).await
    }

    /// Asks for an operation that data follow; `total`: so many bytes, neither more nor fewer.
    async fn follow(
        &self,
        root: &str,
        op: Op,
        total: Option<u64>,
        patience: Duration,
        pieces: &mut impl Pieces,
    ) -> Result<Reply, HostError> {
        let window = Arc::new(Semaphore::new(usize::try_from(WINDOW).unwrap_or(PIECE)));
        let (id, mut answer) = self.pending.register(root, Some(window.clone()))?;
        let _forget = self.pending.forget_at_end(id);
        self.ask(id, root, op).await?;
        let sent = tokio::select! {
            biased;
            early = &mut answer => return early.unwrap_or_else(|_| Err(self.pending.why())),
            sent = self.pump(id, &window, total, pieces) => sent,
        };
        if let Err(error) = &sent {
            // Its disk hangs, or whoever reads there does: it would not answer either.
            if error.kind() == io::ErrorKind::TimedOut {
                return Err(lost(&error.to_string()));
            }
            if let Ok(end) = (Frame::Data { call: id, bytes: Vec::new() }).encode() {
                let _ = self.frames.send(Outgoing::Data(end)).await;
            }
            return Err(match answer.await {
                Ok(Err(gone @ (HostError::Connection(_) | HostError::Interrupted(_)))) => gone,
                // Whatever the agent says is only that the upload ended early.
                Ok(_) => HostError::Io(format!("the blobs for the upload to {root} cannot be read: {error}")),
                Err(_) => self.pending.why(),
            });
        }
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(self.pending.why())),
            Err(_) => {
                let within = patience.as_secs();
                Err(lost(&format!("the agent did not say within {within} s that what was sent to it arrived")))
            }
        }
    }

    async fn pump(&self, id: u64, window: &Semaphore, total: Option<u64>, pieces: &mut impl Pieces) -> io::Result<()> {
        let mut left = total;
        while left != Some(0) {
            let Some(piece) = pieces.next().await? else {
                let Some(left) = left else { return Ok(()) };
                // What came is good: complete blobs are kept there.
                let text = format!("they end {left} bytes too early");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            };
            left = left.map(|left| left.saturating_sub(piece.length as u64));
            // Never closed: a connection that dies ends the select around this.
            let send = async {
                if let Ok(room) = window.acquire_many(u32::try_from(piece.length).unwrap_or(u32::MAX)).await {
                    room.forget();
                }
                let frame = Outgoing::Data(piece.into_frame(id)?);
                self.frames.send(frame).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            };
            let late = || {
                let text = format!("the agent took nothing more of the upload for {} s", STALLED.as_secs());
                io::Error::new(io::ErrorKind::TimedOut, text)
            };
            tokio::time::timeout(STALLED, send).await.map_err(|_| late())??;
        }
        Ok(())
    }

    /// Whether what is sent is packed: it goes over a wire.
    pub fn packs(&self) -> bool {
        self.packed
    }

    /// Renews the lease of everything that this connection holds, `every` so often, until the guard is dropped. Naming a
    /// held root makes a wish to cancel its run known within that time ([`Client::cancellations`]).
    pub fn heartbeat(&self, root: &str, every: Duration) -> Heartbeat {
        let (client, root) = (self.clone(), root.to_owned());
        let beats = Beats::new(self.pending.clone());
        let task = tokio::spawn(async move {
            let _beats = beats;
            let mut rhythm = tokio::time::interval(every);
            rhythm.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                rhythm.tick().await;
                if client.call(&root, Op::Ping).await.is_err() {
                    return;
                }
            }
        });
        Heartbeat(task.abort_handle())
    }

    /// The roots whose run a person asked to stop, and who that was.
    pub fn cancellations(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.pending.cancellations()
    }

    async fn ask(&self, id: u64, root: &str, op: Op) -> Result<(), HostError> {
        let call = Frame::Call(Box::new(Call { id, root: root.to_owned(), op }));
        self.frames.send(Outgoing::Call(Arc::new(call))).await.map_err(|_| self.pending.why())
    }
}

/// Whether an agent of this machine needs that variable: who it is, where programs and certificates are, the way out, and
/// whose agent it is. Hooks run beside it and could look into what it was started with.
fn passes(name: &str) -> bool {
    matches!(
        name,
        "PATH"
            | "HOME"
            | "USER"
            | "LOGNAME"
            | "SHELL"
            | "LANG"
            | "LANGUAGE"
            | "TZ"
            | "TMPDIR"
            | "XDG_RUNTIME_DIR"
            | "DOCKER_HOST"
            | "SSL_CERT_FILE"
            | "SSL_CERT_DIR"
            | "RUST_BACKTRACE"
            | "SOLL_STATE_DIR"
            | "SOLL_FAULT"
    ) || name.starts_with("LC_")
        || matches!(&*name.to_ascii_lowercase(), "http_proxy" | "https_proxy" | "all_proxy" | "no_proxy")
}

/// Ends the heartbeat when dropped.
pub struct Heartbeat(tokio::task::AbortHandle);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Counts a heartbeat while it beats.
struct Beats(Arc<Pending>);

impl Beats {
    fn new(pending: Arc<Pending>) -> Beats {
        pending.beats.fetch_add(1, Ordering::Relaxed);
        Beats(pending)
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.0.beats.fetch_sub(1, Ordering::Relaxed);
    }
}
