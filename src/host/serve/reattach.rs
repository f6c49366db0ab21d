//! How a controller finds its agent again when the stream between them was lost: a socket with a name that only the two
//! know, in the abstract namespace, so that neither a full nor a read-only disk is in the way. Knows streams, no calls.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use crate::host::disk::token::token;
use crate::host::wire::Secret;
use crate::host::wire::challenge::{self, Side};
use crate::host::wire::frame::{Frame, Resumable};

/// Who connects and says nothing is sent away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a controller whose stream was lost resumes its session.
pub struct ResumeListener {
    listener: UnixListener,
    /// What the controller has to know.
    pub session: Resumable,
    /// How long the agent waits for it.
    pub lingers: Duration,
}

impl ResumeListener {
    /// A new one.
    ///
    /// # Errors
    /// There is no randomness, or no socket.
    pub fn bind(lingers: Duration) -> io::Result<ResumeListener> {
        let session = Resumable { name: token()?, key: Secret::new(token()? + &token()?) };
        let listener = UnixListener::bind_addr(&address(&session.name)?)?;
        Ok(ResumeListener { listener, session, lingers })
    }

    /// Waits for the controller of this session: the stream, and what it waits for. Anybody on the host may connect; who
    /// is another user, or does not know the key, is sent away.
    pub fn next(&self) -> (UnixStream, Vec<u64>) {
        loop {
            match self.listener.accept().and_then(|(stream, _)| greet(stream, &self.session.key)) {
                Ok(Some(guest)) => return guest,
                Ok(None) => {}
                // No descriptors are left, for example.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// Whether the other end is a process of our own user.
fn is_own(stream: &UnixStream) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_peercred(stream)?.uid == rustix::process::geteuid())
}

fn greet(mut stream: UnixStream, key: &Secret) -> io::Result<Option<(UnixStream, Vec<u64>)>> {
    if !is_own(&stream)? {
        return Ok(None);
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    let Ok(Some((Frame::Challenge(asked), _))) = Frame::read(&mut stream) else { return Ok(None) };
    let number = token()?;
    let Some(proof) = challenge::proof(key, Side::Agent, &asked, &number) else { return Ok(None) };
    if (Frame::Proof { number: number.clone(), proof }).write(&mut stream).is_err() {
        return Ok(None);
    }
    let Ok(Some((Frame::Resume { proof, waiting }, _))) = Frame::read(&mut stream) else { return Ok(None) };
    if !challenge::holds(key, Side::Controller, &asked, &number, &proof) {
        return Ok(None);
    }
    stream.set_read_timeout(None)?;
    Ok(Some((stream, waiting)))
}

/// Carries standard input and output to the agent of a session, until either end is done.
///
/// # Errors
/// The streams cannot be had. An agent that is gone is no error: it is said to the controller.
pub fn bridge(session: &str) -> io::Result<()> {
    // Not through a buffer of ours: an answer would wait in it.
    let mut input = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    let mut output = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    let agent = UnixStream::connect_addr(&address(session)?);
    // The name is free again when the agent is gone, and everybody on the host could see it.
    let Some(mut agent) = agent.ok().filter(|agent| is_own(agent).unwrap_or(false)) else {
        return Frame::Bye.write(&mut output);
    };
    let mut to_agent = agent.try_clone()?;
    std::thread::spawn(move || {
        let _ = copy(&mut input, &mut to_agent);
        let _ = to_agent.shutdown(Shutdown::Write);
    });
    // Its end is the agent's: whoever still writes to it is not heard.
    let _ = copy(&mut agent, &mut output);
    Ok(())
}

/// Hands on what comes as it comes. Not `io::copy`: that splices, and a splice that waits for a socket keeps the pipe
/// locked, so that whoever reads the pipe gets nothing either.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn address(session: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("soll-agent-{session}"))
}
