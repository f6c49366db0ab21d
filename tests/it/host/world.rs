//! A root in a temporary directory, an agent to it, and the laws as assertions.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use soll::artifact::delta::Telling;
use soll::artifact::manifest::{ByDigest, Entry, Manifest, Node};
use soll::artifact::picked::Picked;
use soll::host::call::client::Client;
use soll::host::call::piece::{Packing, Piece, Pieces};
use soll::host::serve::ops::Prober;
use soll::host::wire::{HostError, Observe, Op, Reply, Secret};
use soll::model::desired::{MetricSource, Probe, Shared};
use soll::model::ids::{Digest, Epoch, ReleaseName, Sha};
use soll::model::observed::{Attempt, Current, HostState, Verdict};
use soll::model::record::{Command, Confirmed, Probation, QuarantineKey, Release};
use tokio::io::{AsyncRead, AsyncReadExt};

pub const LEASE: Duration = Duration::from_secs(120);
/// What makes a probation end by itself soon, and yet not before a slow machine has spoken once.
pub const SHORT: Duration = Duration::from_millis(700);

/// Answers what it is asked with what it was asked.
pub struct Fake;

impl Prober for Fake {
    fn probe(&self, probe: &Probe, dir: &Path, secret: Option<&Secret>, _: Duration) -> Attempt {
        let evidence = format!("{probe:?} in {} with {}", dir.display(), secret.map_or("", Secret::expose));
        Attempt { at: Timestamp::UNIX_EPOCH, verdict: Verdict::Pass, evidence, millis: 1 }
    }
    fn measure(&self, _: &MetricSource, _: &Path, _: Option<&Secret>, _: Duration) -> Result<f64, String> {
        Ok(4.5)
    }
}

/// On a file system in memory: hundreds of fsyncs are part of these tests, their latency is not.
pub fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// An agent in a thread of this process.
pub async fn in_process() -> Client {
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let theirs = theirs.into_std().unwrap();
    theirs.set_nonblocking(false).unwrap();
    let input = theirs.try_clone().unwrap();
    std::thread::spawn(move || soll::host::serve::agent::serve(input, theirs, Arc::new(Fake)));
    let (output, input) = ours.into_split();
    Client::over(output, input, false).await.unwrap()
}

/// A bundle: its manifest and its blobs.
#[derive(Clone, Default)]
pub struct Bundle {
    pub manifest: Manifest,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Bundle {
    /// From paths and contents; a path that ends in `/` is a directory, `!` marks an executable, `@` a link.
    pub fn new(files: &[(&str, &str)]) -> Bundle {
        let mut bundle = Bundle::default();
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        for (path, text) in files {
            let (path, node) = match path.chars().last() {
                Some('/') => (&path[..path.len() - 1], Node::Dir),
                Some('@') => (&path[..path.len() - 1], Node::Link { target: (*text).to_owned() }),
                last => {
                    let sha256 = Digest::of(text.as_bytes());
                    bundle.blobs.insert(sha256, text.as_bytes().to_vec());
                    let executable = last == Some('!');
                    let node = Node::File { sha256, size: text.len() as u64, executable };
                    (path.trim_end_matches('!'), node)
                }
            };
            for (i, _) in path.match_indices('/') {
                nodes.entry(path[..i].to_owned()).or_insert(Node::Dir);
            }
            nodes.insert(path.to_owned(), node);
        }
        bundle.manifest = Manifest::of(nodes.into_iter().map(|(path, node)| Entry::plain(path, node))).unwrap();
        bundle
    }

    /// The blobs that are asked for, and their bytes.
    pub fn pick(&self, wanted: &[Digest]) -> (Wanted, Cursor<Vec<u8>>) {
        let by_digest = ByDigest::of(&self.manifest);
        let files = Picked::of(wanted.iter().map(|digest| by_digest.first(&self.manifest, digest).unwrap()));
        let bytes: Vec<u8> =
            files.files(&self.manifest).flat_map(|(_, digest, _)| self.blobs[digest].clone()).collect();
        ((self.manifest.digest(), files, bytes.len() as u64), Cursor::new(bytes))
    }
}

/// Files of a tree, and how many bytes they have.
pub type Wanted = (Digest, Picked, u64);

/// A root and a connection to its agent.
pub struct World {
    _temp: Option<tempfile::TempDir>,
    pub root: String,
    pub client: Client,
}

pub fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

pub fn name(text: &str) -> ReleaseName {
    text.parse().unwrap()
}

pub fn release(digit: char) -> Release {
    Release {
        sha: Some(sha(digit)),
        bundle: None,
        tree: None,
        links: None,
        strip: 0,
        staged_at: Timestamp::now(),
        sealed: false,
        confirmed_at: None,
        failed: false,
        adopted: false,
    }
}

pub fn key(digit: char) -> QuarantineKey {
    let none = Digest::of(b"");
    QuarantineKey { sha: sha(digit), bundle: None, config: none, files: none }
}

pub fn shell(run: &str) -> Command {
    let env = [("SOLL_ENV".to_owned(), "test".to_owned())].into();
    Command {
        name: "a command".to_owned(),
        run: run.to_owned(),
        env,
        timeout: Duration::from_secs(20),
        hides: Vec::new(),
    }
}

pub fn shared(path: &str, from: &str, directory: bool) -> Shared {
    Shared { path: path.to_owned(), from: from.to_owned(), directory }
}

impl World {
    pub async fn new() -> World {
        let temp = temp();
        let root = temp.path().join("app").display().to_string();
        World { _temp: Some(temp), root, client: in_process().await }
    }

    pub fn with(root: &str, client: Client) -> World {
        World { _temp: None, root: root.to_owned(), client }
    }

    pub fn path(&self, rel: &str) -> PathBuf {
        Path::new(&self.root).join(rel)
    }

    pub fn write(&self, rel: &str, text: &str) {
        let path = self.path(rel);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, rel: &str) -> String {
        std::fs::read_to_string(self.path(rel)).unwrap_or_else(|error| panic!("{rel}: {error}"))
    }

    pub async fn call(&self, op: Op) -> Result<Reply, HostError> {
        self.client.call(&self.root, op).await
    }

    pub async fn acquire(&self, epoch: u64, lease: Duration) -> Result<HostState, HostError> {
        self.acquire_for(epoch, lease, None).await
    }

    /// The same, to act on a commit.
    pub async fn acquire_for(&self, epoch: u64, lease: Duration, commit: Option<&str>) -> Result<HostState, HostError> {
        let (who, accept) = ("test".to_owned(), commit.map(str::to_owned));
        let op = Op::Acquire {
            epoch: Epoch(epoch),
            who,
            lease,
            accept,
            machine: None,
            tenant: None,
            look: Observe::default(),
        };
        match self.call(op).await? {
            Reply::Acquired(state) => Ok(*state),
            other => panic!("{other:?}"),
        }
    }

    pub async fn state(&self) -> HostState {
        match self.call(Op::Observe(Observe::default())).await {
            Ok(Reply::State(state)) => *state,
            other => panic!("{other:?}"),
        }
    }

    pub async fn missing(&self, epoch: u64, bundle: &Bundle) -> Result<Vec<Digest>, HostError> {
        let manifest = Arc::new(bundle.manifest.clone());
        let telling = Telling::whole((&manifest, manifest.digest()));
        match self.client.offer(&self.root, (Epoch(epoch), None), telling, LEASE).await? {
            Reply::Missing { files, .. } => Ok(files.files(&manifest).map(|(_, digest, _)| *digest).collect()),
            other => panic!("{other:?}"),
        }
    }

    pub async fn send(&self, epoch: u64, bundle: &Bundle, wanted: &[Digest]) -> Result<Reply, HostError> {
        let (list, mut bytes) = bundle.pick(wanted);
        upload(&self.client, &self.root, epoch, list, &mut bytes).await
    }

    pub async fn extract(&self, epoch: u64, to: &str, digit: char, bundle: &Bundle) -> Result<Reply, HostError> {
        let wanted = self.missing(epoch, bundle).await?;
        self.send(epoch, bundle, &wanted).await?;
        let tree = bundle.manifest.digest();
        self.call(Op::Extract { epoch: Epoch(epoch), name: name(to), release: release(digit), tree }).await
    }

    pub async fn link(&self, epoch: u64, to: &str, shared: &[Shared]) -> Result<Reply, HostError> {
        let (name, shared) = (name(to), shared.to_vec());
        self.call(Op::Link { epoch: Epoch(epoch), name, shared, env_file: None, required_env: vec![] }).await
    }

    pub async fn seal(&self, epoch: u64, to: &str, shared: &[Shared], mutable: &[&str]) -> Result<Reply, HostError> {
        let mutable = mutable.iter().map(|glob| (*glob).to_owned()).collect();
        self.call(Op::Seal { epoch: Epoch(epoch), name: name(to), shared: shared.to_vec(), mutable }).await
    }

    /// Missing, upload, extract, link, seal.
    pub async fn stage(
        &self,
        epoch: u64,
        to: &str,
        digit: char,
        bundle: &Bundle,
        links: &[Shared],
    ) -> Result<(), HostError> {
        self.extract(epoch, to, digit, bundle).await?;
        self.link(epoch, to, links).await?;
        self.seal(epoch, to, links, &[]).await.map(|_| ())
    }

    pub fn probation(&self, epoch: u64, to: &str, digit: char, lease: Duration, rollback: &str) -> Probation {
        Probation {
            release: name(to),
            sha: sha(digit),
            back_to: None,
            epoch: Epoch(epoch),
            armed_at: Timestamp::now(),
            lease,
            key: key(digit),
            rollback: if rollback.is_empty() { vec![] } else { vec![shell(rollback)] },
            activation: Default::default(),
            returning: false,
            watched: None,
        }
    }

    pub async fn switch(&self, epoch: u64, to: &str, digit: char) -> Result<Reply, HostError> {
        let probation = self.probation(epoch, to, digit, LEASE, "");
        self.call(Op::Switch { epoch: Epoch(epoch), probation }).await
    }

    pub async fn confirm(&self, epoch: u64, to: &str, digit: char) -> Result<Reply, HostError> {
        let confirmed = Confirmed {
            release: name(to),
            sha: Some(sha(digit)),
            bundle: None,
            at: Timestamp::now(),
            inputs: None,
            files: BTreeMap::new(),
            activation: Default::default(),
        };
        self.call(Op::Confirm { epoch: Epoch(epoch), confirmed }).await
    }

    /// A whole deployment.
    pub async fn deploy(&self, epoch: u64, to: &str, digit: char, bundle: &Bundle) {
        self.stage(epoch, to, digit, bundle, &[]).await.unwrap();
        self.switch(epoch, to, digit).await.unwrap();
        self.confirm(epoch, to, digit).await.unwrap();
        self.laws();
    }

    pub async fn current(&self) -> Current {
        self.state().await.current
    }

    /// Laws 1 and 2, read from the disk without the code under test.
    pub fn laws(&self) {
        let record: serde_json::Value =
            serde_json::from_str(&self.read(".soll/record.json")).expect("the record is whole");
        let link = std::fs::read_link(self.path("current")).ok();
        if let Some(confirmed) = record["confirmed"]["release"].as_str() {
            assert!(link.is_some(), "law 1: `current` is gone");
            assert!(self.path("releases").join(confirmed).is_dir(), "law 2: the confirmed release is gone");
        }
        let Some(link) = link else { return };
        let live = link.file_name().unwrap().to_str().unwrap();
        assert_eq!(record["releases"][live]["sealed"], true, "law 1: {live} is live and not sealed");
        let contents: serde_json::Value =
            serde_json::from_str(&self.read(&format!(".soll/manifests/{live}.json"))).unwrap();
        let manifest: Manifest = serde_json::from_value(contents["manifest"].clone()).unwrap();
        for (path, digest, _) in manifest.files() {
            let bytes = std::fs::read(self.path("current").join(path)).unwrap_or_else(|e| panic!("law 1: {path}: {e}"));
            assert_eq!(Digest::of(&bytes), *digest, "law 1: {path} is not what its manifest says");
        }
        if record["probation"].is_null() && record["confirmed"]["release"] != live {
            let failed = record["releases"][live]["failed"] == true;
            assert!(failed, "law 6: {live} is live, neither confirmed nor on probation nor held");
        }
    }
}

/// Asks until it is so; the deadline is for a broken program, not for a slow machine.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(Instant::now() < deadline, "it never came to pass: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Cuts and packs what a reader gives.
struct Cut<'a, R> {
    source: &'a mut R,
    packing: Packing,
    left: u64,
}

impl<R: AsyncRead + Unpin + Send> Pieces for Cut<'_, R> {
    async fn next(&mut self) -> std::io::Result<Option<Piece>> {
        let mut bytes = Vec::new();
        let most = self.left.min(self.packing.most as u64);
        (&mut *self.source).take(most).read_to_end(&mut bytes).await?;
        self.left -= bytes.len() as u64;
        if bytes.is_empty() { Ok(None) } else { self.packing.pack(bytes).map(Some) }
    }
}

/// Sends blobs from a reader.
pub async fn upload(
    client: &Client,
    root: &str,
    epoch: u64,
    wanted: Wanted,
    source: &mut (impl AsyncRead + Unpin + Send),
) -> Result<Reply, HostError> {
    let left = wanted.2;
    let mut pieces = Cut { source, packing: Packing::of(left), left };
    client.upload(root, Epoch(epoch), wanted, &mut pieces).await
}
