//! What one controller is to all workers of an agent: its voice, when it was last heard, and what it holds. The stream may
//! change under it: what was asked and what was answered stay until the controller has the answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::host::disk::root::Root;
use crate::host::lock;
use crate::host::release::stage::Feed;
use crate::host::serve::ops::Prober;
use crate::host::wire::frame::{Frame, WINDOW};
use crate::host::wire::{Answer, HostError, Reply};
use crate::model::ids::Epoch;

/// Shared by the reader and every worker.
pub struct Session {
    voice: Mutex<Voice>,
    /// The controller came back, or never will.
    turned: Condvar,
    /// Answers are kept until they arrived: the stream may be replaced.
    keeps: bool,
    heard: Mutex<Instant>,
    closed: AtomicBool,
    /// Long frames are compressed.
    packs: AtomicBool,
    held: Mutex<HashMap<PathBuf, HeldRoot>>,
    uploads: Mutex<HashMap<u64, Upload>>,
    /// For checks that are made from here.
    pub prober: Arc<dyn Prober>,
}

/// The stream that is spoken over now, and what its successor would have to know.
#[derive(Default)]
struct Voice {
    /// Which stream it is. What comes from an earlier one is not heard any more.
    stream: u64,
    /// To the thread that writes: a controller that is frozen, and reads nothing, must not freeze a worker with it.
    /// `None`: nobody listens.
    writer: Option<Sender<Vec<u8>>>,
    /// Calls that are not answered yet.
    asked: BTreeSet<u64>,
    /// Answers that may not have arrived.
    answered: BTreeMap<u64, Vec<u8>>,
}

/// A root that this session holds, as far as others than its worker need to know.
struct HeldRoot {
    root: Root,
    epoch: Epoch,
    /// The lease of the probation, while there is one.
    probation: Option<Duration>,
    noted: Instant,
}

struct Upload {
    pieces: Sender<Vec<u8>>,
    under_way: Arc<AtomicU64>,
}

impl Session {
    /// A new one; the controller counts as heard. `keeps`: its stream may be replaced by another one.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new(output: impl Write + Send + 'static, keeps: bool, prober: Arc<dyn Prober>) -> io::Result<Session> {
        let voice = Voice { writer: Some(writer(output)?), ..Voice::default() };
        Ok(Session {
            voice: Mutex::new(voice),
            turned: Condvar::new(),
            keeps,
            heard: Mutex::new(Instant::now()),
            closed: AtomicBool::new(false),
            packs: AtomicBool::new(false),
            held: Mutex::default(),
            uploads: Mutex::default(),
            prober,
        })
    }

    /// A frame came: every lease starts anew (law 6). Where a release is on probation this is noted on disk too, a few
    /// times per lease, for whoever asks when this process is gone.
    pub fn hear(&self) {
        *lock(&self.heard) = Instant::now();
        for held in lock(&self.held).values_mut() {
            if held.probation.is_some_and(|lease| held.noted.elapsed() > lease / 4) {
                held.noted = Instant::now();
                // Not noted only means that a successor would go back earlier.
                let _ = held.root.note_heard(Duration::ZERO);
            }
        }
    }

    /// For how long nothing was heard.
    pub fn silent(&self) -> Duration {
        lock(&self.heard).elapsed()
    }

    /// The controller is gone: nobody is answered any more, uploads end where they are.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        lock(&self.uploads).clear();
        // Dropped, so that whoever carries our output (an sshd) does not wait for this process.
        lock(&self.voice).writer.take();
        self.turned.notify_all();
    }

    /// A stream is lost; `false`: it was replaced before.
    pub fn detach(&self, stream: u64) -> bool {
        let mut voice = lock(&self.voice);
        if voice.stream != stream {
            return false;
        }
        voice.writer = None;
        lock(&self.uploads).clear();
        true
    }

    /// The controller is back on another stream, and waits for these. What it could not be told is told now. Gives the
    /// number of the stream.
    ///
    /// # Errors
    /// No thread can be started, or it is too late: the agent is about to end.
    pub fn attach(&self, output: impl Write + Send + 'static, waiting: &[u64]) -> io::Result<u64> {
        let writer = writer(output)?;
        let mut voice = lock(&self.voice);
        if self.is_closed() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        voice.stream += 1;
        voice.answered.retain(|id, _| waiting.contains(id));
        let knows = |id: &&u64| voice.asked.contains(id) || voice.answered.contains_key(id);
        let known = waiting.iter().filter(knows).copied().collect();
        // A thread that has just started takes everything.
        let _ = writer.send(Frame::Resumed(known).encode()?);
        for answer in voice.answered.values() {
            let _ = writer.send(answer.clone());
        }
        voice.writer = Some(writer);
        lock(&self.uploads).clear();
        self.hear();
        self.turned.notify_all();
        Ok(voice.stream)
    }

    /// Whether there is a controller that listens.
    pub fn is_attached(&self) -> bool {
        lock(&self.voice).writer.is_some()
    }

    /// Waits until the controller is back, or gone for good, or until this time is over.
    pub fn wait(&self, time: Duration) {
        let voice = lock(&self.voice);
        let alone = |voice: &mut Voice| voice.writer.is_none() && !self.is_closed();
        drop(self.turned.wait_timeout_while(voice, time, alone));
    }

    /// Whether anything is under way or held that a controller would come back for.
    pub fn is_idle(&self) -> bool {
        lock(&self.held).is_empty() && lock(&self.voice).asked.is_empty()
    }

    /// Takes a call from a stream. `false`: the stream was replaced, and who sent it will send it again.
    pub fn accept(&self, stream: u64, call: u64) -> bool {
        let mut voice = lock(&self.voice);
        if voice.stream != stream {
            return false;
        }
        voice.asked.insert(call);
        true
    }

    /// Whether a stream is the one that counts.
    pub fn is_current(&self, stream: u64) -> bool {
        lock(&self.voice).stream == stream
    }

    /// These answers arrived.
    pub fn arrived(&self, calls: &[u64]) {
        let mut voice = lock(&self.voice);
        calls.iter().for_each(|call| drop(voice.answered.remove(call)));
    }

    /// Whether the controller is gone.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The controller packs its frames: long answers are packed too from now on.
    pub fn pack(&self) {
        self.packs.store(true, Ordering::Relaxed);
    }

    fn encode(&self, frame: &Frame) -> io::Result<Vec<u8>> {
        if self.packs.load(Ordering::Relaxed) { frame.encode_packed() } else { frame.encode() }
    }

    /// Sends a frame, without waiting for anyone to read it.
    pub fn send(&self, frame: &Frame) {
        if let Ok(bytes) = self.encode(frame) {
            self.send_bytes(bytes);
        }
    }

    fn send_bytes(&self, bytes: Vec<u8>) {
        if let Some(writer) = &lock(&self.voice).writer {
            let _ = writer.send(bytes);
        }
    }

    fn send_answer(&self, id: u64, bytes: Vec<u8>) {
        let mut voice = lock(&self.voice);
        voice.asked.remove(&id);
        if self.keeps {
            voice.answered.insert(id, bytes.clone());
        }
        if let Some(writer) = &voice.writer {
            let _ = writer.send(bytes);
        }
    }

    /// Answers a call, and says so if a person asked its run to stop.
    pub fn answer(&self, id: u64, path: &Path, result: Result<Reply, HostError>) {
        let cancelled = self.cancelled(path);
        let answer = |result| Frame::Answer(Box::new(Answer { id, result, cancelled: cancelled.clone() }));
        // Too large for a frame: the caller has to hear something.
        let short = |error| answer(Err(HostError::Io(format!("the answer cannot be sent: {error}")))).encode();
        if let Ok(bytes) = self.encode(&answer(result)).or_else(short) {
            self.send_answer(id, bytes);
        }
    }

    /// Notes what a worker holds; `None`: nothing any more.
    pub fn holds(&self, root: &Root, epoch: Option<Epoch>, probation: Option<Duration>) {
        let mut held = lock(&self.held);
        match epoch {
            Some(epoch) => {
                let noted =
                    held.get(root.path()).filter(|h| h.probation.is_some()).map_or_else(Instant::now, |h| h.noted);
                held.insert(root.path().to_owned(), HeldRoot { root: root.clone(), epoch, probation, noted });
            }
            None => {
                held.remove(root.path());
            }
        }
    }

    fn cancelled(&self, path: &Path) -> Option<String> {
        let (root, epoch) = lock(&self.held).get(path).map(|held| (held.root.clone(), held.epoch))?;
        root.record().ok()?.cancel.filter(|cancel| cancel.epoch == epoch).map(|cancel| cancel.by)
    }

    /// Data of this call are taken from now on.
    pub fn expect_upload(self: &Arc<Self>, call: u64) -> Pieces {
        let (pieces, receiver) = channel();
        let under_way = Arc::new(AtomicU64::new(0));
        lock(&self.uploads).insert(call, Upload { pieces, under_way: under_way.clone() });
        Pieces { session: self.clone(), call, receiver, under_way, taken: 0, lease: None }
    }

    /// A piece of an upload came. Data of a call that was answered already are dropped; a sender that ignores the
    /// window is cut off.
    pub fn data(&self, call: u64, bytes: Vec<u8>) {
        let mut uploads = lock(&self.uploads);
        let Some(upload) = uploads.get(&call) else { return };
        let before = upload.under_way.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if before > 2 * WINDOW || upload.pieces.send(bytes).is_err() {
            uploads.remove(&call);
        }
    }
}

/// A thread that writes what it is given. One whose reader is gone is noticed by who reads, or by the silence.
fn writer(mut output: impl Write + Send + 'static) -> io::Result<Sender<Vec<u8>>> {
    let (writer, frames) = channel::<Vec<u8>>();
    std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
        while let Ok(bytes) = frames.recv()
            && output.write_all(&bytes).and_then(|()| output.flush()).is_ok()
        {}
    })?;
    Ok(writer)
}

/// The feed of a call that has no data: it only knows whether anybody still waits.
pub struct Silence {
    pub session: Arc<Session>,
    /// A controller that is silent for so long is gone.
    pub lease: Duration,
}

impl Feed for Silence {
    fn next(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn is_gone(&self) -> bool {
        self.session.is_closed() || self.session.silent() >= self.lease
    }
}

/// The data of one upload call, as they come.
pub struct Pieces {
    session: Arc<Session>,
    call: u64,
    receiver: Receiver<Vec<u8>>,
    under_way: Arc<AtomicU64>,
    taken: u64,
    /// A sender that is silent for so long is gone.
    pub lease: Option<Duration>,
}

impl Feed for Pieces {
    fn next(&mut self) -> Option<Vec<u8>> {
        let piece = loop {
            let patience =
                self.lease.map_or(Duration::from_secs(1), |lease| lease.saturating_sub(self.session.silent()));
            match self.receiver.recv_timeout(patience) {
                Ok(piece) => break piece,
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.lease.is_some_and(|lease| self.session.silent() >= lease) => {
                    return None;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        self.taken += piece.len() as u64;
        if self.taken >= WINDOW / 4 {
            self.under_way.fetch_sub(self.taken, Ordering::SeqCst);
            self.session.send(&Frame::Credit { call: self.call, bytes: std::mem::take(&mut self.taken) });
        }
        Some(piece)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        lock(&self.session.uploads).remove(&self.call);
    }
}
