//! `soll host-agent`: serves the operations over a byte stream, and keeps the lease of law 6 when the stream is gone.
//!
//! One worker per root, so that a long hook holds up nobody else; what holds nothing runs beside them. The agent ends
//! when its controller is gone and no probation needs it. Where it listens for that, a controller whose stream was lost
//! resumes its session, and gets the answers to what it asked before: nothing runs twice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::host::disk::root::Root;
use crate::host::lock;
use crate::host::release::siblings;
use crate::host::serve::local::Nothing;
use crate::host::serve::ops::{Prober, perform};
use crate::host::serve::reattach::ResumeListener;
use crate::host::serve::session::Session;
use crate::host::serve::worker::{Job, Task, Worker, bug};
use crate::host::wire::frame::{Frame, Hello, PROTOCOL};
use crate::host::wire::{Call, HostError, Op, Reply};

/// Without a controller it looks so often whether there is anything left to come back for.
const LOOK: Duration = Duration::from_secs(1);

/// An agent that holds nothing and hears nobody for so long ends; whoever needs one again starts one.
const FORGOTTEN: Duration = Duration::from_secs(20 * 60);

/// What happens to the stream.
enum News {
    /// The controller said that it is done, or somebody told this process to end.
    Left,
    /// This stream ended without a word.
    Lost(u64),
    /// There is another one.
    Back,
}

/// Serves standard input and output in a session of its own, until the controller is gone and no probation is left.
/// A hang-up is ignored; a request to terminate is taken like the end of the input. `lingers`: a controller whose stream
/// was lost may come back for so long.
pub fn serve_stdio(prober: Arc<dyn Prober>, lingers: Option<Duration>) -> io::Result<()> {
    // Fails where this process leads a session already: then there is nothing to leave.
    let _ = rustix::process::setsid();
    let input = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    let output = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    // From here on nothing but frames can get into the stream, and closing it really closes it.
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::spawn(|| std::env::current_exe().map(|own| siblings::tidy(&own)));
    let watch = move |end: Sender<News>| {
        for signal in signals.forever() {
            if signal != SIGHUP && end.send(News::Left).is_err() {
                return;
            }
        }
    };
    // An sshd waits for whoever holds its pipes, and a probation may take long.
    let closed = move || {
        let _ = rustix::stdio::dup2_stderr(&null);
    };
    // Without one the controller is only told that it cannot come back.
    let resume = lingers.and_then(|time| ResumeListener::bind(time).ok());
    serve_until(input, output, prober, resume, watch, closed)
}

/// Serves any pair of streams, until the controller is gone and no probation is left.
pub fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    prober: Arc<dyn Prober>,
) -> io::Result<()> {
    serve_until(input, output, prober, None, |_| (), || ())
}

fn serve_until(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    prober: Arc<dyn Prober>,
    resume: Option<ResumeListener>,
    watch: impl FnOnce(Sender<News>) + Send + 'static,
    closed: impl Fn(),
) -> io::Result<()> {
    let session = Arc::new(Session::new(output, resume.is_some(), prober)?);
    let agent = Arc::new(Agent { session: session.clone(), workers: Mutex::default(), beside: Mutex::default() });
    let binary = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let version = format!("soll {}", env!("CARGO_PKG_VERSION"));
    let (offered, lingers) = resume.as_ref().map(|resume| (resume.session.clone(), resume.lingers)).unzip();
    session.send(&Frame::Hello(Hello { protocol: PROTOCOL, version, binary, session: offered }));
    let (sender, news) = channel();
    let signals = sender.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || watch(signals))?;
    agent.listen(0, input, sender.clone())?;
    if let Some(resume) = resume {
        let agent = agent.clone();
        std::thread::Builder::new().name("resume".to_owned()).spawn(move || agent.resume(&resume, &sender))?;
    }
    agent.attend(&news, lingers, &closed);
    session.close();
    closed();
    agent.finish();
    Ok(())
}

struct Agent {
    session: Arc<Session>,
    workers: Mutex<HashMap<PathBuf, Running>>,
    /// Calls that hold nothing, each in a thread of its own.
    beside: Mutex<Vec<JoinHandle<()>>>,
}

/// A worker's queue and its thread.
type Running = (Sender<Task>, JoinHandle<()>);

impl Agent {
    /// Returns when nobody needs this agent any more. `lingers`: how long a controller may take to come back.
    fn attend(&self, news: &Receiver<News>, lingers: Option<Duration>, closed: &impl Fn()) {
        let session = &self.session;
        let mut alone: Option<Instant> = None;
        loop {
            match news.recv_timeout(if alone.is_some() { LOOK } else { FORGOTTEN / 4 }) {
                Err(RecvTimeoutError::Timeout) => {
                    let over = match alone {
                        Some(since) => session.is_idle() || lingers.is_none_or(|time| since.elapsed() > time),
                        // A connection that carries nothing any more may look alive for hours from here.
                        None => session.is_idle() && session.silent() > FORGOTTEN,
                    };
                    if over {
                        return;
                    }
                }
                // The stream that came back may be lost again before this news is heard.
                Ok(News::Back) => alone = alone.filter(|_| !session.is_attached()),
                Ok(News::Lost(stream)) if lingers.is_some() => {
                    if session.detach(stream) {
                        self.detached();
                        closed();
                        if session.is_idle() {
                            return;
                        }
                        alone = Some(Instant::now());
                    }
                }
                Ok(News::Left | News::Lost(_)) | Err(_) => return,
            }
        }
    }

    /// Takes up the session on every stream that comes, until nobody listens.
    fn resume(self: &Arc<Self>, resume: &ResumeListener, news: &Sender<News>) {
        loop {
            let (stream, waiting) = resume.next();
            let back = stream.try_clone().and_then(|output| self.session.attach(output, &waiting));
            // A thread that cannot be had: the controller hears nothing, and tries again.
            let heard = back.and_then(|number| self.listen(number, stream, news.clone()));
            if heard.is_ok() && news.send(News::Back).is_err() {
                return;
            }
        }
    }

    /// Hears a stream in a thread of its own.
    fn listen(self: &Arc<Self>, stream: u64, input: impl Read + Send + 'static, end: Sender<News>) -> io::Result<()> {
        let agent = self.clone();
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || end.send(agent.read(stream, BufReader::new(input))))
            .map(drop)
    }

    /// Reads frames until the stream ends, is none of ours, or was replaced.
    fn read(&self, stream: u64, mut input: impl Read) -> News {
        while let Ok(Some((frame, packed))) = Frame::read(&mut input) {
            if self.session.is_closed() || !self.session.is_current(stream) {
                break;
            }
            self.session.hear();
            if packed {
                self.session.pack();
            }
            match frame {
                Frame::Call(call) if self.session.accept(stream, call.id) => self.dispatch(*call),
                Frame::Data { call, bytes } => self.session.data(call, bytes),
                Frame::Got(calls) => self.session.arrived(&calls),
                Frame::Bye => return News::Left,
                _ => {}
            }
        }
        News::Lost(stream)
    }

    /// Says to every worker that nobody listens.
    fn detached(&self) {
        for (sender, _) in lock(&self.workers).values() {
            let _ = sender.send(Task::Detached);
        }
    }

    fn dispatch(&self, call: Call) {
        let Call { id, root, op } = call;
        if matches!(op, Op::Ping) {
            let path = Root::at(&root).map(|root| root.path().to_owned()).unwrap_or_default();
            return self.session.answer(id, &path, Ok(Reply::Done));
        }
        let refused = match Root::at(&root) {
            Ok(root) if op.epoch().is_none() => self.aside(id, root, op),
            Ok(root) => self.enqueue(id, root, op),
            Err(error) => Err(error),
        };
        if let Err(error) = refused {
            self.session.answer(id, root.as_ref(), Err(error));
        }
    }

    fn enqueue(&self, id: u64, root: Root, op: Op) -> Result<(), HostError> {
        let pieces = op.is_followed().then(|| self.session.expect_upload(id));
        let mut workers = lock(&self.workers);
        let key = root.path().to_owned();
        if !workers.contains_key(&key) {
            let (sender, jobs) = channel();
            let worker = Worker::new(self.session.clone(), root);
            let thread = std::thread::Builder::new().name("root".to_owned()).spawn(move || worker.run(&jobs));
            workers.insert(key.clone(), (sender, thread.map_err(|error| no_thread(&error))?));
        }
        let sent = workers
            .get(&key)
            .is_some_and(|(sender, _)| sender.send(Task::Job(Box::new(Job { id, op, pieces }))).is_ok());
        if sent { Ok(()) } else { Err(HostError::Connection("the agent is about to end".into())) }
    }

    fn aside(&self, id: u64, root: Root, op: Op) -> Result<(), HostError> {
        let session = self.session.clone();
        let work = move || {
            let done = || perform(&root, op, &*session.prober, &mut Nothing);
            let result = catch_unwind(AssertUnwindSafe(done)).unwrap_or_else(|panic| Err(bug(&*panic)));
            session.answer(id, root.path(), result);
        };
        let thread = std::thread::Builder::new().name("aside".to_owned()).spawn(work);
        let mut beside = lock(&self.beside);
        beside.retain(|thread| !thread.is_finished());
        beside.push(thread.map_err(|error| no_thread(&error))?);
        Ok(())
    }

    /// Waits for every effect under way, and for every probation that is watched.
    fn finish(&self) {
        let workers = std::mem::take(&mut *lock(&self.workers));
        let threads: Vec<_> = workers.into_values().map(|(_sender, thread)| thread).collect();
        for thread in threads.into_iter().chain(std::mem::take(&mut *lock(&self.beside))) {
            let _ = thread.join();
        }
    }
}

fn no_thread(error: &io::Error) -> HostError {
    HostError::Io(format!("the agent cannot start a thread: {error}"))
}
