//! People who use the application all the time: every request counts, and says which release answered it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// As many of them as PHP-FPM has processes.
const PEOPLE: usize = 4;
/// A person reads before the next click; that is all that keeps two processors from doing nothing else.
const THINKS: Duration = Duration::from_millis(4);
/// Compiled code and its database; what takes a while; a file that nginx serves itself.
const PATHS: [&str; 4] = ["/", "/health", "/slow", "/build/manifest.json"];

struct Answer {
    began: Instant,
    /// The first eight digits of the commit that answered, or what was wrong.
    said: Result<String, String>,
}

pub struct Load {
    ends: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Answer>>>,
    people: Vec<JoinHandle<()>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Count {
    pub requests: usize,
    pub failed: Vec<String>,
}

impl Load {
    pub fn start(port: u16) -> Load {
        let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let person = |n: usize| {
            let (ends, answers) = (ends.clone(), answers.clone());
            std::thread::spawn(move || {
                for path in PATHS.iter().cycle().skip(n) {
                    if ends.load(Ordering::SeqCst) {
                        return;
                    }
                    let began = Instant::now();
                    let said = ask(port, path).map_err(|why| format!("{path}: {why}"));
                    answers.lock().unwrap().push(Answer { began, said });
                    std::thread::sleep(THINKS);
                }
            })
        };
        let people = (0..PEOPLE).map(person).collect();
        Load { ends, answers, people }
    }

    /// Which releases answered requests that were begun after a moment; at least `n` of them are waited for.
    pub fn answered_since(&self, moment: Instant, n: usize) -> BTreeSet<String> {
        crate::support::world::until("enough is asked", || {
            let answers = self.answers.lock().unwrap();
            let since: Vec<&Answer> = answers.iter().rev().take_while(|answer| answer.began > moment).collect();
            let said = |answer: &&Answer| answer.said.clone().unwrap_or_else(|why| why);
            (since.len() >= n).then(|| since.iter().map(said).collect())
        })
    }

    pub fn end(mut self) -> Count {
        self.ends.store(true, Ordering::SeqCst);
        self.people.drain(..).for_each(|person| person.join().unwrap());
        let answers = self.answers.lock().unwrap();
        let failed = answers.iter().filter_map(|answer| answer.said.clone().err()).collect();
        Count { requests: answers.len(), failed }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}

/// One request on a connection of its own. An answer that is cut off, or whose parts come from two releases, has failed.
fn ask(port: u16, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|error| error.to_string())?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("{} bytes, no answer", bytes.len()))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("{}: {body}", head.lines().next().unwrap_or_default()));
    }
    if head.contains("ransfer-") && !body.ends_with("0\r\n\r\n") {
        return Err(format!("cut off: {body}"));
    }
    let commit = commits(body);
    let dirs: BTreeSet<&str> = head.lines().filter_map(|line| line.strip_prefix("X-Release: ")).collect();
    match (commit.len(), commit.first()) {
        (1, Some(commit)) if dirs.iter().all(|dir| dir.ends_with(&format!("-{commit}"))) => Ok(commit.clone()),
        _ => Err(format!("of two releases: {dirs:?} {commit:?} {body}")),
    }
}

/// The commits that a text names: the first eight digits of each run of eight or more of them.
fn commits(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit());
    words
        .filter(|word| [8, 40].contains(&word.len()) && !word.starts_with("20"))
        .map(|word| word[..8].to_owned())
        .collect()
}
