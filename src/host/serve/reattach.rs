//! How a controller finds its agent again when the stream between them was lost: a socket with a name that only the two
//! know, in the abstract namespace, so that neither a full nor a read-only disk is in the way. Knows streams, no calls.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use crate::host::disk::token::token;
use crate::host::wire::frame::Frame;

/// Who connects and says nothing is sent away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a controller whose stream was lost resumes its session.
pub struct ResumeListener {
    listener: UnixListener,
    /// What the controller has to know.
    pub session: String,
    /// How long the agent waits for it.
    pub lingers: Duration,
}

impl ResumeListener {
    /// A new one.
    ///
    /// # Errors
    /// There is no randomness, or no socket.
    pub fn bind(lingers: Duration) -> io::Result<ResumeListener> {
        let session = token()?;
        let listener = UnixListener::bind_addr(&address(&session)?)?;
        Ok(ResumeListener { listener, session, lingers })
    }

    /// Waits for somebody of the same user who asks for the calls of this session: the stream, and what it waits for.
    pub fn next(&self) -> (UnixStream, Vec<u64>) {
        loop {
            match self.listener.accept().and_then(|(stream, _)| greet(stream)) {
                Ok(Some(guest)) => return guest,
                Ok(None) => {}
                // No descriptors are left, for example.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

fn greet(mut stream: UnixStream) -> io::Result<Option<(UnixStream, Vec<u64>)>> {
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if peer.uid != rustix::process::geteuid() {
        return Ok(None);
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    let Ok(Some((Frame::Resume(waiting), _))) = Frame::read(&mut stream) else { return Ok(None) };
    stream.set_read_timeout(None)?;
    Ok(Some((stream, waiting)))
}

/// Carries standard input and output to the agent of a session, until either end is done.
///
/// # Errors
/// The streams cannot be had. An agent that is gone is no error: it is said to the controller.
pub fn bridge(session: &str) -> io::Result<()> {
    // Not through a buffer of ours: an answer would wait in it.
    let mut input = File::from(rustix::io::dup(rustix::stdio::stdin())?);
    let mut output = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    let Ok(mut agent) = UnixStream::connect_addr(&address(session)?) else {
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
