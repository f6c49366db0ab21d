//! The controller's side of one agent: calls by number, many at once, over any byte stream. Knows no operation's meaning.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::process::Command;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::frame::{FAST, Frame, Hello, PIECE, PROTOCOL, TIGHT, WINDOW};
use super::line::{self, Outgoing, Stream, Way};
use super::session::lock;
use super::wire::{Answer, Call, HostError, Op, Reply};
use crate::model::ids::{Digest, Epoch};

/// A small upload is cut into pieces of this size.
const LARGE: usize = 2 * 1024 * 1024;
/// How long an agent may take until it says hello.
const HELLO: Duration = Duration::from_secs(20);

/// A connection to one agent. Cheap to clone; the last one dropped closes the agent's input, which lets go of everything
/// but a probation.
#[derive(Clone)]
pub struct Client {
    frames: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    hello: Arc<Hello>,
}

/// What the task that keeps the line shares with callers. It holds no sender of frames: it must not keep the connection
/// open.
pub(super) struct Shared {
    next: AtomicU64,
    pending: Mutex<Pending>,
    cancelled: watch::Sender<BTreeMap<String, String>>,
    /// Heartbeats under way: an agent that is asked every second and is silent is not there any more.
    pub(super) beats: AtomicUsize,
    /// The agent keeps answers until it hears that they arrived.
    keeps: bool,
    /// Long frames are compressed.
    packed: bool,
}

#[derive(Default)]
struct Pending {
    calls: HashMap<u64, Waiting>,
    /// Answers that the agent need not keep any longer.
    got: Vec<u64>,
    /// Why nothing will be answered any more.
    dead: Option<String>,
}

struct Waiting {
    root: String,
    answer: oneshot::Sender<Result<Reply, HostError>>,
    /// The call, once it was given to a stream: another one may have to carry it again.
    sent: Option<Arc<Frame>>,
    /// What an upload may send.
    window: Option<Arc<Semaphore>>,
}

impl Client {
    /// Starts `EXE host-agent` on this machine. It leads a session of its own and outlives this process while a
    /// probation needs it (law 6). Its environment is this process's.
    pub async fn spawn_local(exe: &Path) -> Result<Client, HostError> {
        let mut command = Command::new(exe);
        command.arg("host-agent");
        Client::spawn(command).await
    }

    /// Starts an agent by any command that leads to one.
    pub async fn spawn(mut command: Command) -> Result<Client, HostError> {
        // Standard error is not inherited: an agent that outlives us must not keep someone's pipe open.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(false);
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .map_err(|error| HostError::Connection(format!("cannot start the agent {program}: {error}")))?;
        let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(HostError::Connection(format!("the agent {program} has no input or output")));
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
        Client::on(Stream::new(output, input), packed, None).await
    }

    /// The same over a stream that is replaced when it is lost, where the agent lingers.
    ///
    /// # Errors
    /// Those of [`Client::over`].
    pub async fn on(mut stream: Stream, packed: bool, way: Option<Arc<dyn Way>>) -> Result<Client, HostError> {
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
            return Err(HostError::Connection(text));
        }
        let shared = Arc::new(Shared {
            next: AtomicU64::new(1),
            pending: Mutex::default(),
            cancelled: watch::Sender::new(BTreeMap::new()),
            beats: AtomicUsize::new(0),
            keeps: hello.session.is_some(),
            packed,
        });
        let (frames, queue) = mpsc::channel::<Outgoing>(4);
        let again = way.zip(hello.session.clone());
        tokio::spawn(line::keep(stream, queue, shared.clone(), packed, again));
        Ok(Client { frames, shared, hello: Arc::new(hello) })
    }

    /// What the agent said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Whether nothing will be answered any more.
    pub fn is_dead(&self) -> bool {
        lock(&self.shared.pending).dead.is_some()
    }

    /// Asks for one operation on one root and waits for the answer.
    ///
    /// # Errors
    /// Those of the operation; [`HostError::Connection`]: the answer is lost, and whether the effect happened is unknown.
    pub async fn call(&self, root: &str, op: Op) -> Result<Reply, HostError> {
        let (id, answer) = self.shared.register(root, None)?;
        let _forget = Forget { shared: &self.shared, id };
        self.ask(id, root, op).await?;
        answer.await.unwrap_or_else(|_| Err(self.shared.why()))
    }

    /// Sends blobs, whose bytes `source` gives one after the other in the order of `blobs`. An early answer (no room,
    /// fenced) ends it at once. A source that ends too early gives the upload up; complete blobs are kept there.
    pub async fn upload(
        &self,
        root: &str,
        epoch: Epoch,
        blobs: Vec<(Digest, u64)>,
        source: &mut (impl AsyncRead + Unpin),
    ) -> Result<Reply, HostError> {
        let total = blobs.iter().map(|(_, size)| size).sum();
        let window = Arc::new(Semaphore::new(usize::try_from(WINDOW).unwrap_or(PIECE)));
        let (id, mut answer) = self.shared.register(root, Some(window.clone()))?;
        let _forget = Forget { shared: &self.shared, id };
        self.ask(id, root, Op::Upload { epoch, blobs }).await?;
        let sent = tokio::select! {
            biased;
            early = &mut answer => return early.unwrap_or_else(|_| Err(self.shared.why())),
            sent = self.pump(id, &window, total, source) => sent,
        };
        if let Err(error) = &sent {
            let _ = self.data(id, Vec::new(), FAST).await;
            return Err(match answer.await {
                Ok(Err(gone @ (HostError::Connection(_) | HostError::Interrupted(_)))) => gone,
                // Whatever the agent says is only that the upload ended early.
                Ok(_) => HostError::Io(format!("the blobs for the upload to {root} cannot be read: {error}")),
                Err(_) => self.shared.why(),
            });
        }
        answer.await.unwrap_or_else(|_| Err(self.shared.why()))
    }

    async fn pump(
        &self,
        id: u64,
        window: &Semaphore,
        total: u64,
        source: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<()> {
        // Little is packed tightly and in large pieces: then it is the bytes that take the time.
        let (most, level) = if total <= WINDOW { (LARGE, TIGHT) } else { (PIECE, FAST) };
        let mut left = total;
        while left > 0 {
            let piece = most.min(usize::try_from(left).unwrap_or(PIECE));
            let mut bytes = Vec::with_capacity(piece);
            // Full pieces: a frame for each small blob costs more than its bytes.
            while bytes.len() < piece {
                let mut room = (&mut *source).take((piece - bytes.len()) as u64);
                if room.read_buf(&mut bytes).await? == 0 {
                    // What came is good: complete blobs are kept there.
                    let read = bytes.len();
                    self.data(id, bytes, level).await?;
                    let text = format!("they end {} bytes too early", left - read as u64);
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
                }
            }
            let n = bytes.len();
            left -= n as u64;
            // Never closed: a connection that dies ends the select around this.
            if let Ok(room) = window.acquire_many(u32::try_from(n).unwrap_or(u32::MAX)).await {
                room.forget();
            }
            self.data(id, bytes, level).await?;
        }
        Ok(())
    }

    /// Packs a piece here, where others need not wait for it, and hands it on.
    async fn data(&self, call: u64, bytes: Vec<u8>, level: i32) -> io::Result<()> {
        let frame = Frame::Data { call, bytes };
        let bytes = if self.shared.packed { frame.encode_packed(level)? } else { frame.encode()? };
        self.frames.send(Outgoing::Data(bytes)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Renews the lease of everything that this connection holds, `every` so often, until the guard is dropped. Naming a
    /// held root makes a wish to cancel its run known within that time ([`Client::cancellations`]).
    pub fn heartbeat(&self, root: &str, every: Duration) -> Heartbeat {
        let (client, root) = (self.clone(), root.to_owned());
        let beats = Beats::new(self.shared.clone());
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
        self.shared.cancelled.subscribe()
    }

    async fn ask(&self, id: u64, root: &str, op: Op) -> Result<(), HostError> {
        let call = Frame::Call(Box::new(Call { id, root: root.to_owned(), op }));
        self.frames.send(Outgoing::Call(Arc::new(call))).await.map_err(|_| self.shared.why())
    }
}

/// Ends the heartbeat when dropped.
pub struct Heartbeat(tokio::task::AbortHandle);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Counts a heartbeat while it beats.
struct Beats(Arc<Shared>);

impl Beats {
    fn new(shared: Arc<Shared>) -> Beats {
        shared.beats.fetch_add(1, Ordering::Relaxed);
        Beats(shared)
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.0.beats.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A caller that stops waiting leaves nothing behind.
struct Forget<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.shared.pending).calls.remove(&self.id);
    }
}

type Answered = oneshot::Receiver<Result<Reply, HostError>>;

impl Shared {
    fn register(&self, root: &str, window: Option<Arc<Semaphore>>) -> Result<(u64, Answered), HostError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let mut pending = lock(&self.pending);
        if let Some(why) = &pending.dead {
            return Err(lost(why));
        }
        pending.calls.insert(id, Waiting { root: root.to_owned(), answer, sent: None, window });
        Ok((id, answered))
    }

    /// What came from the agent.
    pub(super) fn take(&self, frame: Frame) {
        match frame {
            Frame::Answer(answer) => {
                let Answer { id, result, cancelled } = *answer;
                // First the wish, then the answer: who was answered finds the wish that came with it.
                let root = lock(&self.pending).calls.get(&id).map(|waiting| waiting.root.clone());
                if let Some(root) = root {
                    self.note_cancelled(root, cancelled);
                }
                self.settle(id, result);
            }
            Frame::Credit { call, bytes } => {
                if let Some(window) = lock(&self.pending).calls.get(&call).and_then(|waiting| waiting.window.as_ref()) {
                    // An agent gives back what it took, never more: a larger number would be a broken one.
                    window.add_permits(usize::try_from(bytes.min(WINDOW)).unwrap_or(0));
                }
            }
            _ => {}
        }
    }

    /// Answers a call.
    pub(super) fn settle(&self, id: u64, result: Result<Reply, HostError>) {
        let mut pending = lock(&self.pending);
        if self.keeps {
            pending.got.push(id);
        }
        if let Some(waiting) = pending.calls.remove(&id) {
            let _ = waiting.answer.send(result);
        }
    }

    /// A call is about to be given to a stream: from now on it has to be carried again when that is lost.
    pub(super) fn sending(&self, frame: &Arc<Frame>) {
        if let Frame::Call(call) = &**frame
            && let Some(waiting) = lock(&self.pending).calls.get_mut(&call.id)
        {
            waiting.sent = Some(frame.clone());
        }
    }

    /// Whether an upload is under way.
    pub(super) fn uploads(&self) -> bool {
        lock(&self.pending).calls.values().any(|waiting| waiting.window.is_some())
    }

    /// The answers that arrived since this was asked last.
    pub(super) fn got(&self) -> Vec<u64> {
        std::mem::take(&mut lock(&self.pending).got)
    }

    /// The calls that were given to a stream and have no answer, by number. An upload is not taken up where it was: what
    /// was under way is lost, and who asked for it asks again what is missing.
    pub(super) fn unanswered(&self) -> BTreeMap<u64, Arc<Frame>> {
        let mut pending = lock(&self.pending);
        let uploads = pending.calls.extract_if(|_, waiting| waiting.window.is_some() && waiting.sent.is_some());
        for (_, waiting) in uploads.collect::<Vec<_>>() {
            let text = "the connection broke during the upload".to_owned();
            let _ = waiting.answer.send(Err(HostError::Interrupted(text)));
        }
        pending.calls.iter().filter_map(|(id, waiting)| Some((*id, waiting.sent.clone()?))).collect()
    }

    fn note_cancelled(&self, root: String, by: Option<String>) {
        self.cancelled.send_if_modified(|all| match by {
            Some(by) => all.insert(root, by.clone()) != Some(by),
            None => all.remove(&root).is_some(),
        });
    }

    /// Nothing will be answered any more: everyone who waits hears why.
    pub(super) fn die(&self, why: &str) {
        let mut pending = lock(&self.pending);
        pending.dead.get_or_insert_with(|| why.to_owned());
        for (_, waiting) in pending.calls.drain() {
            let _ = waiting.answer.send(Err(lost(why)));
        }
    }

    fn why(&self) -> HostError {
        lost(lock(&self.pending).dead.as_deref().unwrap_or("the connection to the agent was closed"))
    }
}

fn lost(why: &str) -> HostError {
    HostError::Connection(format!(
        "{why}; whether what was asked for happened is unknown until the host is observed again"
    ))
}
