//! The same key for a program that only knows files and agents: the `ssh` that `git` starts. A key that `ssh` reads itself
//! is named to it; one that only this program has, as a text or in a form that `ssh` does not read, is used through an agent
//! of this process. Its socket lies in a directory that only this user enters, knows that one key, and is gone with the
//! command; the key itself is written nowhere.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use futures_util::stream;
use russh::keys::PrivateKey;
use russh::keys::agent::client::AgentClient;
use russh::keys::agent::server::{Agent, MessageType, serve};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use crate::host::wire::Secret;
use crate::link::identity::{Closed, open};
use crate::model::key_text::KeySource;

/// How a child gets the key.
pub enum Lent {
    /// `ssh -i` reads it.
    File(PathBuf),
    /// For as long as this lives.
    Agent(KeyAgent),
}

/// Decides how a child gets this key.
///
/// # Errors
/// The key is not to be had: half a sentence with the next move, without any of its text.
pub fn lend(source: &KeySource, passphrase: Option<&Secret>) -> Result<Lent, String> {
    let named = |why: String| format!("the key cannot be used: {} {why}", source.shown());
    match (open(source, passphrase), source.file()) {
        (Ok(_), Some(path)) if is_readable_by_ssh(path) => Ok(Lent::File(path.to_owned())),
        (Ok(private), _) => match KeyAgent::start(private) {
            Ok(agent) => Ok(Lent::Agent(agent)),
            Err(error) => Err(named(format!("cannot be lent to ssh, because no socket can be made: {error}"))),
        },
        // The other half may be with an agent, which ssh asks; a file that is not there is told by ssh.
        (Err(Closed { public: Some(_), .. }), Some(path)) if has_agent() => Ok(Lent::File(path.to_owned())),
        (Err(Closed { missing: true, public: None, .. }), Some(path)) => Ok(Lent::File(path.to_owned())),
        (Err(closed), _) => Err(named(closed.why)),
    }
}

fn has_agent() -> bool {
    std::env::var_os("SSH_AUTH_SOCK").is_some_and(|socket| !socket.is_empty())
}

/// `ssh` refuses a file that others may read, and one that is not in the exact form.
fn is_readable_by_ssh(path: &Path) -> bool {
    let Ok(meta) = std::fs::metadata(path) else { return false };
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    let Ok(bytes) = std::fs::read(path).map(zeroize::Zeroizing::new) else { return false };
    let plain = bytes.starts_with(b"-----BEGIN ") && bytes.ends_with(b"-----\n") && !bytes.contains(&b'\r');
    let closed = bytes.windows(9).any(|part| part == b"ENCRYPTED") || encrypted(&bytes);
    plain && !closed && !(ours && meta.permissions().mode() & 0o077 != 0)
}

fn encrypted(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| russh::keys::decode_secret_key(text, None).is_err())
}

/// An agent of this process with one key.
pub struct KeyAgent {
    socket: PathBuf,
    /// Dropping it ends the agent.
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl KeyAgent {
    /// Listens before it returns.
    pub fn start(key: PrivateKey) -> std::io::Result<KeyAgent> {
        // A socket's name must be short, and nobody else may come near it.
        let run = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        let mut builder = tempfile::Builder::new();
        builder.prefix("soll-").permissions(std::fs::Permissions::from_mode(0o700));
        let dir = match run.and_then(|run| builder.tempdir_in(run).ok()) {
            Some(dir) => dir,
            None => builder.tempdir()?,
        };
        let socket = dir.path().join("agent");
        let (end, ended) = oneshot::channel();
        let (started, start) = std::sync::mpsc::channel();
        let path = socket.clone();
        let thread = std::thread::Builder::new().name("key agent".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async {
                let ready = prepare(key, &path).await;
                match ready {
                    Ok(()) => drop(started.send(Ok(()))),
                    Err(error) => return drop(started.send(Err(error))),
                }
                let _ = ended.await;
            });
        })?;
        let gone = || std::io::Error::other("its thread ended");
        start.recv().map_err(|_| gone())??;
        Ok(KeyAgent { socket, end: Some(end), thread: Some(thread), _dir: dir })
    }

    /// What `SSH_AUTH_SOCK` is to say.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Listens, and gives the agent its key over a first stream of our own, before anybody else can speak to it.
async fn prepare(key: PrivateKey, socket: &Path) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let (ours, theirs) = UnixStream::pair()?;
    let streams = stream::unfold((Some(theirs), listener), |(first, listener)| async move {
        let next = match first {
            Some(first) => Ok(first),
            None => listener.accept().await.map(|(stream, _)| stream),
        };
        Some((next, (None, listener)))
    });
    tokio::spawn(async move { serve(Box::pin(streams), Signing).await });
    let added = AgentClient::connect(ours).add_identity(&key, &[]).await;
    added.map_err(|error| std::io::Error::other(error.to_string()))
}

/// Tells its key and signs; the first stream adds the key, and nobody takes it away or locks it.
#[derive(Clone)]
struct Signing;

impl Agent for Signing {
    async fn confirm_request(&self, asked: MessageType) -> bool {
        matches!(asked, MessageType::RequestKeys | MessageType::Sign | MessageType::AddKeys)
    }
}
