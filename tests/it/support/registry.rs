//! A registry on a port of this machine, with what is published in it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::docker::{Docker, watched};
use super::world::until;

/// Who may log in where a login is asked for.
pub const USER: &str = "deploy";
/// What they say then.
pub const PASSWORD: &str = "sesame-of-the-registry";
/// The same as `htpasswd -B` writes it.
const HASH: &str = "$2y$04$abcdefghijklmnopqrstuuI9kGZnyREpCIuPMLYqOr7QiVvEZvaEW";

/// A registry on a port of this machine.
pub struct Registry {
    dir: tempfile::TempDir,
    pub port: u16,
    /// Only [`USER`] is let in.
    closed: bool,
    /// Words before its own, and before those of whoever looks whether it answers: into a network of its own.
    inside: Vec<String>,
    runs: Option<Child>,
}

impl Registry {
    pub fn start() -> Registry {
        Registry::new(false, Vec::new())
    }

    /// One that asks for a login.
    pub fn closed() -> Registry {
        Registry::new(true, Vec::new())
    }

    /// One in a network that these words lead to.
    pub fn inside(words: Vec<String>) -> Registry {
        Registry::new(false, words)
    }

    fn new(closed: bool, inside: Vec<String>) -> Registry {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut registry = Registry { dir: tempfile::tempdir().unwrap(), port, closed, inside, runs: None };
        registry.resume();
        registry
    }

    /// Nobody answers at its port any more.
    pub fn stop(&mut self) {
        if let Some(mut runs) = self.runs.take() {
            drop(runs.stdin.take());
            let _ = runs.wait();
        }
    }

    /// With what it had.
    pub fn resume(&mut self) {
        let config = self.dir.path().join("config.yml");
        let mut text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{}\n",
            self.dir.path().join("data").display(),
            self.port
        );
        if self.closed {
            let people = self.dir.path().join("htpasswd");
            fs::write(&people, format!("{USER}:{HASH}\n")).unwrap();
            text += &format!("auth:\n  htpasswd:\n    realm: soll\n    path: {}\n", people.display());
        }
        fs::File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
        let own = ["docker-registry", "serve", &config.display().to_string()].map(str::to_owned);
        let words = [self.inside.as_slice(), &own].concat();
        self.runs = Some(watched(&words, &[], &self.dir.path().join("log").display().to_string(), None));
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}", self.port);
        let look = [self.inside.as_slice(), &["bash", "-c", &script].map(str::to_owned)].concat();
        until("the registry answers", || {
            let done = Command::new(&look[0]).args(&look[1..]).stderr(Stdio::null()).status().unwrap();
            done.success().then_some(())
        });
    }

    /// A name in it.
    pub fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }

    /// The registry itself, as references name it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Makes an image, sends it here, and forgets it on the engine.
    pub fn publish(&self, rest: &str, version: &str) -> String {
        self.publish_by(Docker::here(), rest, version)
    }

    /// The same by this engine; where the registry is in a network of its own, only one that is there can.
    pub fn publish_by(&self, docker: &Docker, rest: &str, version: &str) -> String {
        let (docker, name) = (if self.inside.is_empty() { Docker::here() } else { docker }, self.name(rest));
        docker.image(&name, version);
        self.take(docker, &name);
        name
    }

    /// The same of an image with so many bytes.
    pub fn publish_heavy(&self, rest: &str, bytes: u64) -> String {
        let (docker, name) = (Docker::here(), self.name(rest));
        docker.heavy_image(&name, bytes);
        self.take(docker, &name);
        name
    }

    /// Names an image of a repository by an index of several platforms, of which this one is real. Gives the digest of the index.
    pub fn index(&self, repository: &str, tag: &str, of: &str) -> String {
        const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
        const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
        let place = format!("/v2/{repository}/manifests");
        let (head, body) = self.ask("GET", &format!("{place}/{of}"), &format!("Accept: {MANIFEST}\r\n"), "");
        let one = |architecture: &str| {
            serde_json::json!({ "mediaType": MANIFEST, "size": body.len(), "digest": digest(&head),
                "platform": { "os": "linux", "architecture": architecture } })
        };
        let own = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        let all = [one("s390x"), one(own), one("ppc64le")];
        let list = serde_json::json!({ "schemaVersion": 2, "mediaType": LIST, "manifests": all }).to_string();
        let more = format!("Content-Type: {LIST}\r\nContent-Length: {}\r\n", list.len());
        digest(&self.ask("PUT", &format!("{place}/{tag}"), &more, &list).0)
    }

    /// Head and body of an answer that must be well.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, more: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n{more}\r\n{body}", self.port).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')), "{method} {path}: {answer}");
        (head.to_owned(), body.to_owned())
    }

    /// Sends an image here whose name is one of this registry's, with the login where one is asked for, and forgets it on the
    /// engine.
    pub fn send(&self, name: &str) {
        let (docker, config) = (Docker::here(), self.dir.path().join("client").display().to_string());
        if self.closed {
            docker.run(&["--config", &config, "login", "-u", USER, "-p", PASSWORD, &self.address()]);
        }
        docker.run(&["--config", &config, "push", "-q", name]);
        docker.run(&["rmi", name]);
    }

    /// What is served as the blob with this digest is something else from now on.
    pub fn spoil(&self, digest: &str) {
        let file = self.blob(digest);
        let length = fs::metadata(&file).unwrap().len();
        fs::write(&file, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
    }

    /// The digests of the layers of an image, the lowest first.
    pub fn layers(&self, repository: &str, tag: &str) -> Vec<String> {
        let manifests = self.dir.path().join(format!("data/docker/registry/v2/repositories/{repository}/_manifests"));
        let link = fs::read_to_string(manifests.join(format!("tags/{tag}/current/link"))).unwrap();
        let manifest = fs::read(self.blob(link.trim_start_matches("sha256:").trim())).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|one| one["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned()).collect()
    }

    /// The file in which it keeps a blob.
    fn blob(&self, digest: &str) -> PathBuf {
        self.dir.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{digest}/data", &digest[..2]))
    }

    fn take(&self, docker: &Docker, name: &str) {
        docker.run(&["push", "-q", name]);
        docker.run(&["rmi", name]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Of what an answer is about.
fn digest(head: &str) -> String {
    let line = head.lines().find(|line| line.to_lowercase().starts_with("docker-content-digest:")).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

/// What stands in front of a registry, and lets everybody through or nobody.
pub struct Gate {
    pub port: u16,
    shut: Arc<AtomicBool>,
    /// How many requests were refused.
    refused: Arc<AtomicUsize>,
}

impl Gate {
    /// An open one.
    pub fn before(registry: &Registry) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (shut, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let gate = Gate { port: listener.local_addr().unwrap().port(), shut: shut.clone(), refused: refused.clone() };
        let behind = registry.port;
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (shut, refused) = (shut.clone(), refused.clone());
                // Whoever goes away in the middle is no trouble of the gate's.
                std::thread::spawn(move || {
                    let _ = one(client, behind, &shut, &refused);
                });
            }
        });
        gate
    }

    /// From now on there are too many requests, or not any more.
    pub fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::SeqCst);
    }

    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

/// One request of one connection.
fn one(mut client: TcpStream, behind: u16, shut: &AtomicBool, refused: &AtomicUsize) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 || head.len() > 64 << 10 {
            return Ok(());
        }
        // Engines try TLS first, and take this for the answer of a server without it.
        if head.is_empty() && !byte[0].is_ascii_uppercase() {
            return client.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
        head.push(byte[0]);
    }
    if shut.load(Ordering::SeqCst) {
        refused.fetch_add(1, Ordering::SeqCst);
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}"#;
        return write!(
            client,
            "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 30\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
    }
    let mut registry = TcpStream::connect(("127.0.0.1", behind))?;
    head.truncate(head.len() - 2);
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    registry.write_all(&head)?;
    let (mut from, mut to) = (client.try_clone()?, registry.try_clone()?);
    std::thread::spawn(move || io::copy(&mut from, &mut to));
    let sent = io::copy(&mut registry, &mut client);
    client.shutdown(Shutdown::Both)?;
    sent.map(drop)
}
