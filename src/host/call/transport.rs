//! The transport to one agent: its stream, and the next one when it is lost: frames go out in order, answers come in, and a call
//! that was on its way is never given up before the agent itself is. Knows frames, not what they ask for.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::host::call::pending::Pending;
use crate::host::call::stream::{Reconnect, Stream, put, read, send};
use crate::host::disk::token::token;
use crate::host::lock;
use crate::host::wire::challenge::{self, Side};
use crate::host::wire::frame::{Frame, Resumable};
use crate::host::wire::{HostError, Secret};

/// An agent that is asked every second and says nothing for so long is lost, whatever its connection says.
const SILENCE: Duration = Duration::from_secs(20);
/// The same while an upload is under way, behind which all else waits: some 40 kB in a second are enough.
const CROWDED: Duration = Duration::from_secs(60);
/// How long an agent may take to take up a session.
const GREETING: Duration = Duration::from_secs(10);
/// Between two attempts, at first and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What waits to be sent.
pub(in crate::host) enum Outgoing {
    /// Kept until it is answered: another stream may have to carry it again.
    Call(Arc<Frame>),
    /// A piece of an upload, as it goes over the wire. One that is lost is sent with another upload.
    Data(Vec<u8>),
}

impl Outgoing {
    fn call(&self) -> Option<u64> {
        match self {
            Outgoing::Call(frame) => match &**frame {
                Frame::Call(call) => Some(call.id),
                _ => None,
            },
            Outgoing::Data(_) => None,
        }
    }
}

/// Why an exchange ended.
enum End {
    /// Nobody will ask for anything any more.
    Done,
    Lost {
        why: String,
        silent: bool,
    },
}

/// Carries frames until nobody needs it, or until it is lost for good.
pub(in crate::host) async fn keep(
    mut stream: Stream,
    mut queue: mpsc::Receiver<Outgoing>,
    pending: Arc<Pending>,
    packed: bool,
    session: Option<Resumable>,
) {
    loop {
        match exchange(&mut stream, &mut queue, &pending, packed).await {
            End::Done => return farewell(stream).await,
            End::Lost { why, silent } => {
                let resume = lock(&pending.reconnect).clone().zip(session.as_ref());
                if let Some((reconnect, _)) = &resume {
                    tracing::warn!(
                        place = reconnect.place(),
                        why,
                        "an agent is lost; it is tried for {} s to reach it again",
                        reconnect.patience().as_secs()
                    );
                }
                let back = match &resume {
                    Some((reconnect, session)) => {
                        let back = reattach(&**reconnect, session, silent, &pending, packed).await;
                        if back.is_ok() {
                            tracing::warn!(place = reconnect.place(), "the agent is reached again: the run goes on");
                        }
                        back
                    }
                    None => Err(String::new()),
                };
                match back {
                    Ok(new) => stream = new,
                    Err(and) if and.is_empty() => return pending.die(&why),
                    Err(and) => return pending.die(&format!("{why}; {and}")),
                }
            }
        }
    }
}

/// The end of its input tells the agent; what it still says is not of interest.
async fn farewell(mut stream: Stream) {
    let _ = stream.send(&Frame::Bye, false).await;
    let _ = stream.input.shutdown().await;
    while let Ok(Some(_)) = stream.read(&mut || ()).await {}
}

async fn exchange(stream: &mut Stream, queue: &mut mpsc::Receiver<Outgoing>, pending: &Pending, packed: bool) -> End {
    let heard = Mutex::new(Instant::now());
    let Stream { output, input } = stream;
    let lost = |why: String| End::Lost { why, silent: false };
    let reading = async {
        loop {
            match read(output, &mut || *lock(&heard) = Instant::now()).await {
                Ok(Some(frame)) => pending.take(frame),
                Ok(None) => return lost("the agent ended the connection".to_owned()),
                Err(error) => return lost(format!("the connection to the agent broke: {error}")),
            }
        }
    };
    let writing = async {
        while let Some(next) = queue.recv().await {
            // Before anything is waited for: this may be dropped at any such point, and a call must not be lost with it.
            if let Outgoing::Call(frame) = &next {
                pending.sending(frame);
            }
            let got = pending.got();
            let mut sent = Ok(());
            if !got.is_empty() {
                sent = send(input, &Frame::Got(got), false).await;
            }
            if sent.is_ok() {
                sent = match &next {
                    Outgoing::Call(frame) => send(input, frame, packed).await,
                    Outgoing::Data(bytes) => put(input, bytes).await,
                };
            }
            if let Err(error) = sent {
                // A frame that is too long harms its own call alone.
                if let (Some(call), io::ErrorKind::InvalidInput) = (next.call(), error.kind()) {
                    pending.settle(call, Err(HostError::Io(format!("cannot ask the agent: {error}"))));
                } else {
                    return lost(format!("the connection to the agent broke: {error}"));
                }
            }
        }
        End::Done
    };
    let watching = async {
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // Only who is asked all the time has something to say all the time.
            if pending.beats.load(Ordering::Relaxed) == 0 {
                since = Instant::now();
            }
            let patience = if pending.uploads() { CROWDED } else { SILENCE };
            if since.max(*lock(&heard)).elapsed() > patience {
                let why = format!("the agent said nothing for {} s", patience.as_secs());
                return End::Lost { why, silent: true };
            }
        }
    };
    tokio::select! {
        end = reading => end,
        end = writing => end,
        end = watching => end,
    }
}

/// Another stream on which the session goes on; the reason where there is none.
async fn reattach(
    how: &dyn Reconnect,
    session: &Resumable,
    mut silent: bool,
    pending: &Pending,
    packed: bool,
) -> Result<Stream, String> {
    let (until, mut pause) = (Instant::now() + how.patience(), PAUSE.0);
    loop {
        let attempt = async {
            let mut stream = how.reconnect(&session.name, silent).await.map_err(|error| Some(error.to_string()))?;
            let greeted = tokio::time::timeout(GREETING, resume(&mut stream, &session.key, pending, packed)).await;
            let silence = || Some(format!("it did not answer within {} s", GREETING.as_secs()));
            greeted.map_err(|_| silence())??;
            Ok(stream)
        };
        let left = until.saturating_duration_since(Instant::now());
        let why = match tokio::time::timeout(left, attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(None)) => return Err("its process is gone".to_owned()),
            Ok(Err(Some(why))) => why,
            Err(_) => "no answer".to_owned(),
        };
        // A connection that was given up once is not the one that comes next.
        silent = false;
        if Instant::now() + pause >= until {
            return Err(format!("it could not be reached again within {} s: {why}", how.patience().as_secs()));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Makes sure that it is the agent, says what is waited for, and sends again what never arrived. `Err(None)`: the agent
/// is not there any more.
async fn resume(stream: &mut Stream, key: &Secret, pending: &Pending, packed: bool) -> Result<(), Option<String>> {
    let broken = |error: io::Error| Some(error.to_string());
    let asked = token().map_err(broken)?;
    stream.send(&Frame::Challenge(asked.clone()), false).await.map_err(broken)?;
    let number = match stream.read(&mut || ()).await.map_err(broken)? {
        Some(Frame::Proof { number, proof }) if challenge::holds(key, Side::Agent, &asked, &number, &proof) => number,
        Some(Frame::Bye) => return Err(None),
        None => return Err(Some("the stream ended at once".to_owned())),
        Some(_) => return Err(Some("somebody answered there who is not the agent of this session".to_owned())),
    };
    let Some(proof) = challenge::proof(key, Side::Controller, &asked, &number) else {
        return Err(Some("the agent of this session gave no number".to_owned()));
    };
    pending.interrupt_uploads();
    let waiting = pending.unanswered();
    let resume = Frame::Resume { proof, waiting: waiting.keys().copied().collect() };
    stream.send(&resume, false).await.map_err(broken)?;
    let known = match stream.read(&mut || ()).await.map_err(broken)? {
        Some(Frame::Resumed(known)) => known,
        Some(Frame::Bye) => return Err(None),
        _ => return Err(Some("the stream ended at once".to_owned())),
    };
    for (_, frame) in waiting.iter().filter(|(id, _)| !known.contains(id)) {
        stream.send(frame, packed).await.map_err(broken)?;
    }
    Ok(())
}
