//! Opens files of SOPS through the program `sops` of this machine: the file goes in by its standard input, as it stands at the
//! commit, and comes out as JSON. Nothing is written to a disk. Which keys it asks (age, PGP, a cloud's) is in the file.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::model::desired::sealed::Form;
use crate::model::key_text::KeySource;
use crate::model::shown::clean;

/// A key of a cloud is asked over the network.
const PATIENCE: Duration = Duration::from_secs(30);
/// What it prints has at most so many bytes.
const MOST: u64 = 1 << 20;
/// So much of what it says is told.
const TOLD: usize = 600;
/// How often it is asked whether it has ended, once its outputs are closed.
const LOOK: Duration = Duration::from_millis(10);

/// The contents of a file, as JSON.
///
/// # Errors
/// Half a sentence that goes on after the file's name.
pub fn open(text: &str, form: Form, identity: Option<&KeySource>) -> Result<Zeroizing<Vec<u8>>, String> {
    let kind = match form {
        Form::SopsYaml => "yaml",
        Form::SopsJson => "json",
        Form::SopsDotenv | Form::Age => "dotenv",
    };
    let mut sops = Command::new("sops");
    sops.args(["-d", "--input-type", kind, "--output-type", "json", "/dev/stdin"]);
    settings(&mut sops, identity);
    let mut child = sops.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "is a file of SOPS, and there is no `sops` on this machine's PATH: install it, or encrypt the \
                                         file with age"
                .to_owned()
        }
        _ => format!("is a file of SOPS, and `sops` cannot be started: {error}"),
    })?;
    let (out, err) = (heard(child.stdout.take()), heard(child.stderr.take()));
    // A program that reads nothing would keep whoever writes for ever: that ends when the program does.
    if let Some(mut stdin) = child.stdin.take() {
        let text = text.to_owned();
        std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    }
    let deadline = Instant::now() + PATIENCE;
    let left = || deadline.saturating_duration_since(Instant::now());
    let both = out.recv_timeout(left()).ok().zip(err.recv_timeout(left()).ok());
    let status = both.is_some().then(|| ended(&mut child, deadline)).flatten();
    let (Some((out, err)), Some(status)) = (both, status) else {
        if let Ok(pid) = i32::try_from(child.id())
            && let Some(group) = Pid::from_raw(pid)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
        let seconds = PATIENCE.as_secs();
        return Err(format!(
            "was not opened by `sops` within {seconds} s: does it reach the service that holds its key?"
        ));
    };
    if status.success() {
        return Ok(out);
    }
    let said = clean(&String::from_utf8_lossy(&err)).split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().take(TOLD).collect();
    let said = if said.is_empty() { status.to_string() } else { said };
    Err(format!(
        "was not opened by `sops`: {said}; give it a key that the file is encrypted for (SOLL_AGE_IDENTITY for one of age)"
    ))
}

/// What it hears: the settings of the clouds and of SOPS itself, this controller's identity, and no secret of ours.
fn settings(sops: &mut Command, identity: Option<&KeySource>) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SOLL_") {
            sops.env_remove(name);
        }
    }
    match identity {
        Some(KeySource::File(path)) => {
            sops.env("SOPS_AGE_KEY_FILE", path);
        }
        Some(KeySource::Text { text, .. }) => {
            sops.env("SOPS_AGE_KEY", &**text);
        }
        None => {}
    }
    sops.env("LC_ALL", "C").current_dir("/").process_group(0);
    sops.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
}

fn ended(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Reads an output to its end, beside whoever writes the input.
fn heard(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Zeroizing<Vec<u8>>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        // As large as it may become: what grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST as usize));
        if let Some(pipe) = pipe {
            let _ = pipe.take(MOST).read_to_end(&mut bytes);
        }
        let _ = tell.send(bytes);
    });
    told
}
