//! A connection to a lingering agent that a test can mute, cut, and let come back.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal};
use soll::host::call::client::Client;
use soll::host::call::stream::{Reconnect, Stream};
use soll::host::wire::HostError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;

use crate::host::world::World;

/// The wire.
pub struct Wire {
    pumps: Mutex<Vec<AbortHandle>>,
    /// What is given to it disappears.
    mute: Arc<AtomicBool>,
    swallowed: Arc<AtomicU64>,
    /// There is a way to the agent.
    open: AtomicBool,
    patience: Duration,
    agent: Mutex<Option<Child>>,
}

impl Wire {
    /// An agent at the other end, and a root there.
    pub async fn to(root: &str, patience: Duration) -> (Arc<Wire>, World) {
        let wire = Arc::new(Wire {
            pumps: Mutex::default(),
            mute: Arc::default(),
            swallowed: Arc::default(),
            open: AtomicBool::new(true),
            patience,
            agent: Mutex::default(),
        });
        let mut child = program("--linger=120");
        let stream = wire.carry(child.stdout.take().unwrap(), child.stdin.take().unwrap());
        *wire.agent.lock().unwrap() = Some(child);
        let client = Client::on(stream, true).await.unwrap();
        client.reconnect_by(Some(wire.clone()));
        (wire, World::with(root, client))
    }

    /// Swallows what the controller says from now on.
    pub fn mute(&self) {
        self.mute.store(true, Ordering::SeqCst);
    }

    /// How many bytes disappeared.
    pub fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::SeqCst)
    }

    /// Both ends find it broken. `open`: another one can be had at once.
    pub fn cut(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
        self.mute.store(false, Ordering::SeqCst);
        self.pumps.lock().unwrap().drain(..).for_each(|pump| pump.abort());
    }

    /// There is a way again.
    pub fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    pub fn kill_agent(&self) {
        let agent = self.agent.lock().unwrap();
        let pid = agent.as_ref().and_then(Child::id).and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("it runs");
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    /// The agent, to wait for its end.
    pub fn take_agent(&self) -> Child {
        self.agent.lock().unwrap().take().unwrap()
    }

    fn carry(
        &self,
        output: impl AsyncRead + Unpin + Send + 'static,
        input: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Stream {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (from, to) = tokio::io::split(theirs);
        let mut pumps = self.pumps.lock().unwrap();
        pumps.push(tokio::spawn(pump(Some((self.mute.clone(), self.swallowed.clone())), from, input)).abort_handle());
        pumps.push(tokio::spawn(pump(None, output, to)).abort_handle());
        let (output, input) = tokio::io::split(ours);
        Stream::new(output, input)
    }
}

async fn pump(
    swallows: Option<(Arc<AtomicBool>, Arc<AtomicU64>)>,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        match swallows.as_ref().filter(|(mute, _)| mute.load(Ordering::SeqCst)) {
            Some((_, count)) => {
                count.fetch_add(n as u64, Ordering::SeqCst);
            }
            None => {
                to.write_all(&buffer[..n]).await?;
                to.flush().await?;
            }
        }
    }
}

fn program(how: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soll"));
    command.args(["host-agent", how]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

impl Reconnect for Wire {
    fn reconnect<'a>(&'a self, session: &'a str, _silent: bool) -> BoxFuture<'a, Result<Stream, HostError>> {
        Box::pin(async move {
            if !self.open.load(Ordering::SeqCst) {
                return Err(HostError::Connection("the cable is out".into()));
            }
            let mut bridge = program(&format!("--attach={session}"));
            let stream = self.carry(bridge.stdout.take().unwrap(), bridge.stdin.take().unwrap());
            tokio::spawn(async move { bridge.wait().await });
            Ok(stream)
        })
    }

    fn place(&self) -> String {
        "the other end of the wire".to_owned()
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}
