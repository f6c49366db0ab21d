//! What one controller's connection is to all workers of an agent: its voice, when it was last heard, and what it holds.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{Frame, WINDOW};
use super::ops::Prober;
use super::root::Root;
use super::stage::Feed;
use super::wire::{Answer, HostError, Reply};
use crate::model::ids::Epoch;

/// Shared by the reader and every worker.
pub struct Session {
    /// To the thread that writes: a controller that is frozen, and reads nothing, must not freeze a worker with it.
    writer: Mutex<Option<Sender<Vec<u8>>>>,
    heard: Mutex<Instant>,
    closed: AtomicBool,
    /// Long frames are compressed.
    packs: AtomicBool,
    held: Mutex<HashMap<PathBuf, Held>>,
    uploads: Mutex<HashMap<u64, Upload>>,
    /// For checks that are made from here.
    pub prober: Arc<dyn Prober>,
}

/// A root that this session holds, as far as others than its worker need to know.
struct Held {
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
    /// A new one; the controller counts as heard.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new(mut output: impl Write + Send + 'static, prober: Arc<dyn Prober>) -> io::Result<Session> {
        let (writer, frames) = channel::<Vec<u8>>();
        std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            // A controller that is gone is noticed by the reader, or by its silence.
            while let Ok(bytes) = frames.recv()
                && output.write_all(&bytes).and_then(|()| output.flush()).is_ok()
            {}
        })?;
        Ok(Session {
            writer: Mutex::new(Some(writer)),
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
        lock(&self.writer).take();
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
        if let Some(writer) = &*lock(&self.writer) {
            let _ = writer.send(bytes);
        }
    }

    /// Answers a call, and says so if a person asked its run to stop.
    pub fn answer(&self, id: u64, path: &Path, result: Result<Reply, HostError>) {
        let cancelled = self.cancelled(path);
        match self.encode(&Frame::Answer(Box::new(Answer { id, result, cancelled: cancelled.clone() }))) {
            Ok(bytes) => self.send_bytes(bytes),
            // Too large for a frame: the caller has to hear something.
            Err(error) => {
                let result = Err(HostError::Io(format!("the answer cannot be sent: {error}")));
                self.send(&Frame::Answer(Box::new(Answer { id, result, cancelled })));
            }
        }
    }

    /// Notes what a worker holds; `None`: nothing any more.
    pub fn holds(&self, root: &Root, epoch: Option<Epoch>, probation: Option<Duration>) {
        let mut held = lock(&self.held);
        match epoch {
            Some(epoch) => {
                let noted =
                    held.get(root.path()).filter(|h| h.probation.is_some()).map_or_else(Instant::now, |h| h.noted);
                held.insert(root.path().to_owned(), Held { root: root.clone(), epoch, probation, noted });
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

/// A worker that panicked left no half-written value behind: what these locks guard is replaced whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
