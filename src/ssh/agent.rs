//! From a connection to an agent that answers: start it where it is, put it there where it is not. What a login shell
//! prints before is skipped; what is in the way is said with its cure.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::program::{Program, Programs};
use super::script::{self, Marker};
use crate::host::call::client::Client;
use crate::host::call::stream::Stream;
use crate::link::connection::Connection;
use crate::link::error::{Phase, SshError, quote};
use crate::link::exec::{Exec, Input, Output};

/// Where agents are kept, unless the state file says otherwise.
pub const DIR: &str = "~/.cache/soll/agents";
/// So much may a profile print before the agent speaks.
const NOISE: usize = 64 << 10;
/// How long a login shell and the start may take.
const START: Duration = Duration::from_secs(30);
/// How long the host may take over the next piece of the binary, or to check it.
const STALL: Duration = Duration::from_secs(60);
const PIECE: usize = 64 << 10;
/// Seconds.
const MARGIN: u64 = 10;

/// What became of the start.
pub enum Started<T> {
    Agent(T),
    /// The binary is not there.
    Missing(Program),
    /// The host allows no more sessions on this connection.
    Full,
}

/// Starts the agent in this directory, if it is there. `patience`: for how long one tries to find it again when the
/// connection is lost.
///
/// # Errors
/// It cannot run there: why, and what to do.
pub async fn start(
    connection: &Arc<Connection>,
    programs: &Programs,
    dir: &str,
    patience: Duration,
) -> Result<Started<Client>, SshError> {
    // The agent waits somewhat longer than anybody tries to reach it.
    let linger = if patience.is_zero() { 0 } else { patience.as_secs() + MARGIN };
    let how = format!("--linger={linger}");
    let stream = match begin(connection, programs, dir, &how).await? {
        Started::Agent(stream) => stream,
        Started::Missing(program) => return Ok(Started::Missing(program)),
        Started::Full => return Ok(Started::Full),
    };
    let broken = |why: String| {
        let cure = "look at the message: a program for a newer libc or another machine needs a build of its own \
                    (`[agents]` in the controller's settings; the static one runs everywhere)";
        SshError::new(&connection.place, Phase::Agent, why, cure)
    };
    let client = Client::on(stream, true).await.map_err(|error| broken(error.to_string()))?;
    let binary = client.hello().binary.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default();
    let ours = programs.0.values().any(|program| binary == format!("soll-{}", program.digest));
    if !ours {
        return Err(broken(format!("an agent answered that was not asked for ({})", client.hello().binary)));
    }
    Ok(Started::Agent(client))
}

/// Leads to the agent of a session, which runs already; the binary in this directory is the way to it.
///
/// # Errors
/// There is no way: why, and what to do.
pub async fn attach(
    connection: &Arc<Connection>,
    programs: &Programs,
    dir: &str,
    session: &str,
) -> Result<Started<Stream>, SshError> {
    begin(connection, programs, dir, &format!("--attach={session}")).await
}

async fn begin(
    connection: &Arc<Connection>,
    programs: &Programs,
    dir: &str,
    how: &str,
) -> Result<Started<Stream>, SshError> {
    let words: Vec<_> =
        programs.0.iter().map(|(machine, program)| format!("{machine}={},{}", program.digest, program.size)).collect();
    let marker = marker(connection)?;
    let line = script::start(&marker, dir, how, &words);
    let Some(exec) = connection.exec(&line).await? else { return Ok(Started::Full) };
    let mut talk = Talk::new(connection, exec, marker, Phase::Agent);
    let answer = talk.answer(START).await?;
    let (word, rest) = answer.split_once(' ').unwrap_or((&answer, ""));
    match word {
        "agent" => Ok(Started::Agent(Stream::new(talk.output, talk.input))),
        "missing" => {
            let (machine, _) = rest.split_once(' ').unwrap_or((rest, ""));
            let program = programs.0.get(machine).cloned();
            program.map(Started::Missing).ok_or_else(|| foreign(&talk, machine, programs))
        }
        "noexec" => Err(noexec(&talk, rest)),
        "unsafe" => Err(exchangeable(&talk, rest)),
        _ => Err(foreign(&talk, rest, programs)),
    }
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Done,
    /// The host allows no more sessions on this connection.
    Full,
    /// It cannot unpack.
    NoGzip,
}

/// Puts a binary there: under another name until the host has found its SHA-256 right.
///
/// # Errors
/// The host has no place for it: why, and what to do.
pub async fn put(connection: &Arc<Connection>, program: &Program, dir: &str) -> Result<Put, SshError> {
    match put_as(connection, program, dir, true).await? {
        Put::NoGzip => put_as(connection, program, dir, false).await,
        put => Ok(put),
    }
}

async fn put_as(connection: &Arc<Connection>, program: &Program, dir: &str, packed: bool) -> Result<Put, SshError> {
    let marker = marker(connection)?;
    let digest = program.digest.to_string();
    let line = script::put(&marker, dir, &digest, program.size, packed);
    let place = &connection.place;
    let failed = |what: String, cure: &str| SshError::new(place, Phase::Bootstrap, what, cure);
    let Some(exec) = connection.exec(&line).await? else { return Ok(Put::Full) };
    let mut talk = Talk::new(connection, exec, marker, Phase::Bootstrap);
    let mut answer = talk.answer(START).await?;
    if answer == "send" {
        tracing::info!(%place, bytes = program.size, "putting the agent there");
        // A host that stops taking says why in its answer.
        let sent = talk.send(program, packed).await;
        answer = talk.answer(STALL).await.map_err(|error| match sent {
            Err(sent) => failed(format!("{} ({sent})", error.what), "look at its disk and at the network"),
            Ok(()) => error,
        })?;
    }
    let (word, rest) = answer.split_once(' ').unwrap_or((&answer, ""));
    let noise = quote(&talk.output.get_ref().end().stderr);
    let why = if noise.is_empty() { String::new() } else { format!(": {noise}") };
    let elsewhere = "make room or rights there, or name another directory with `agent_dir` of the host";
    match word {
        "done" => Ok(Put::Done),
        "nogzip" if packed => Ok(Put::NoGzip),
        "nodir" => Err(failed(format!("the directory {rest} cannot be made{why}"), elsewhere)),
        "nowrite" => {
            Err(failed(format!("the agent ({} bytes) cannot be written to {rest}{why}", program.size), elsewhere))
        }
        "noexec" => Err(noexec(&talk, rest)),
        "unsafe" => Err(exchangeable(&talk, rest)),
        "nosha" => Err(failed(
            "the host has no program that checks a SHA-256, so the agent is not trusted".to_owned(),
            "install coreutils (sha256sum), busybox or openssl there",
        )),
        "differs" => Err(failed(
            "what arrived there is not what was sent: its SHA-256 differs".to_owned(),
            "try again; if it stays so, look at the host's disk",
        )),
        other => Err(failed(format!("the host answered `{other}`"), "report this")),
    }
}

fn marker(connection: &Connection) -> Result<Marker, SshError> {
    Marker::new().map_err(|error| {
        SshError::new(
            &connection.place,
            Phase::Agent,
            format!("no random number: {error}"),
            "is the system call `getrandom` forbidden to this process?",
        )
    })
}

fn noexec(talk: &Talk, dir: &str) -> SshError {
    let what = format!("nothing in {dir} may be executed there (a filesystem mounted `noexec`, or a policy)");
    SshError::new(
        &talk.connection.place,
        Phase::Bootstrap,
        what,
        "name a directory where programs may lie with `agent_dir` of the host",
    )
}

/// Others than the user who logs in, and root, could put another program in the place of the agent's.
fn exchangeable(talk: &Talk, rest: &str) -> SshError {
    let mut words = rest.rsplitn(3, ' ');
    let (owner, mode) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = words.next().unwrap_or_default();
    let writable = mode.get(5..6) == Some("w") || mode.get(8..9) == Some("w");
    let mend = match () {
        () if mode.starts_with('l') => format!("rm {path}"),
        () if writable => format!("chmod go-w {path}"),
        () => format!("chown root {path}"),
    };
    let what = format!(
        "another user of the host could put another program in the place of the agent: {path} is {mode} and belongs to the \
         user {owner}; nothing is started from there"
    );
    let cure = format!("`{mend}` on the host, or name another directory with `agent_dir` of the host");
    SshError::new(&talk.connection.place, Phase::Agent, what, cure)
}

fn foreign(talk: &Talk, machine: &str, programs: &Programs) -> SshError {
    let have: Vec<_> = programs.0.keys().map(String::as_str).collect();
    let what = format!("the host is a {machine}, and there is an agent for {} only", have.join(", "));
    let cure = format!(
        "build soll for it, and name the file in the controller's settings: [agents] {machine} = \"/path\" (or SOLL_AGENT_{})",
        machine.to_ascii_uppercase()
    );
    SshError::new(&talk.connection.place, Phase::Bootstrap, what, cure)
}

/// A script that runs on a host, and what it has said so far.
struct Talk {
    connection: Arc<Connection>,
    output: BufReader<Output>,
    input: Input,
    marker: String,
    phase: Phase,
}

impl Talk {
    fn new(connection: &Arc<Connection>, exec: Exec, marker: Marker, phase: Phase) -> Talk {
        let output = BufReader::new(exec.output);
        Talk { connection: connection.clone(), output, input: exec.input, marker: marker.whole(), phase }
    }

    /// The next line with our marker, without it.
    async fn answer(&mut self, patience: Duration) -> Result<String, SshError> {
        let mut noise = Vec::new();
        let read = tokio::time::timeout(patience, line(&mut self.output, &self.marker, &mut noise)).await;
        let said = |noise: &[u8]| {
            if noise.is_empty() { String::new() } else { format!("; it printed: {}", quote(noise)) }
        };
        let failed = |what: String, cure: &str| SshError::new(&self.connection.place, self.phase, what, cure);
        match read {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(failed(
                format!(
                    "the login shell prints more than {} KiB before it runs a command{}",
                    NOISE >> 10,
                    said(&noise)
                ),
                "make its profile silent for shells that are not interactive",
            )),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(failed(error.to_string(), "try again; look at the log of sshd there"))
            }
            Ok(Err(error)) => {
                let what = format!("the host did not run our command: {error}{}", said(&noise));
                if let Some(cure) = crate::link::expired::cure(&what, &self.connection.place.user) {
                    return Err(failed(what, &cure));
                }
                Err(failed(
                    what,
                    "the user needs a login shell that runs commands: no `nologin`, no forced command for this key",
                ))
            }
            Err(_) => Err(failed(
                format!("no answer within {} s{}", patience.as_secs(), said(&noise)),
                "does the profile of the login shell wait for something?",
            )),
        }
    }

    /// Sends the binary and the end of the input. A host that takes nothing for a minute is given up.
    async fn send(&mut self, program: &Program, packed: bool) -> io::Result<()> {
        let (sender, mut pieces) = tokio::sync::mpsc::channel::<io::Result<Vec<u8>>>(16);
        let path = program.path.clone();
        tokio::task::spawn_blocking(move || {
            let feed = Feed(sender.clone());
            let packing = || -> io::Result<()> {
                let mut file = std::fs::File::open(&path)?;
                let mut to = io::BufWriter::with_capacity(PIECE, feed);
                if packed {
                    let mut packer = GzEncoder::new(&mut to, Compression::new(4));
                    io::copy(&mut file, &mut packer)?;
                    packer.finish()?;
                } else {
                    io::copy(&mut file, &mut to)?;
                }
                io::Write::flush(&mut to)
            };
            if let Err(error) = packing() {
                let _ = sender.blocking_send(Err(error));
            }
        });
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            let sent = tokio::time::timeout(STALL, self.input.write_all(&piece)).await;
            sent.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the host takes no more")))?;
        }
        self.input.shutdown().await
    }
}

/// Into a channel, from a thread that may wait.
struct Feed(tokio::sync::mpsc::Sender<io::Result<Vec<u8>>>);

impl io::Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(Ok(bytes.to_vec())).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The rest of the first line that has the marker; `None`: too much came before it. What came is in `noise`.
async fn line(from: &mut BufReader<Output>, marker: &str, noise: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut start = 0;
    loop {
        let piece = from.fill_buf().await?;
        let (n, whole) = match piece.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (piece.len(), false),
        };
        noise.extend_from_slice(&piece[..n]);
        from.consume(n);
        if whole {
            let text = String::from_utf8_lossy(&noise[start..]).into_owned();
            if let Some((_, answer)) = text.split_once(marker) {
                return Ok(Some(answer.trim().to_owned()));
            }
            start = noise.len();
        }
        if noise.len() > NOISE {
            return Ok(None);
        }
    }
}
