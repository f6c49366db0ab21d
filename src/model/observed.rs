//! What the hosts really run, as one observation. Facts only: no opinion, no secret, nothing that was not seen.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::approval::Reviewed;
use super::compose::ServiceSeen;
use super::ids::{Digest, EnvName, HostName, ReleaseName, Sha};
use super::machine::OtherMachine;
use super::record::{Holder, Record};
use super::shown::shell_word;

/// One observation of everything that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub environments: BTreeMap<EnvName, EnvObserved>,
}

/// One environment as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EnvObserved {
    pub hosts: BTreeMap<HostName, HostObserved>,
    /// In pull mode: what the environment's other hosts publish of themselves. Nothing is planned for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub elsewhere: BTreeMap<HostName, HostObserved>,
    /// The hosts that count as unreachable because another machine answers under their name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_machines: BTreeMap<HostName, OtherMachine>,
    /// The next move for each host that is unreachable for another reason than that it is away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cures: BTreeMap<HostName, String>,
    /// What `release = "…"` means at this commit.
    pub resolved: Resolved,
    /// Seen only where a fetch is likely, or a policy asks for it.
    pub artifact: Option<ArtifactFacts>,
    /// Health of the live release from the controller's checks; the hosts carry their own.
    pub health: Vec<CheckResult>,
    pub approvals: Vec<Approval>,
    /// What is to be told about words that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// The Git tree of the desired commit, where promotion matches by tree (B2).
    pub tree: Option<String>,
    /// The trees of what this environment runs, where another one is promoted from it by tree.
    #[serde(default)]
    pub live_trees: BTreeMap<Sha, String>,
    #[serde(default, skip_serializing_if = "Unasked::is_empty")]
    pub unasked: Unasked,
    /// Its hosts acted on a commit that does not lead to this one, so that nothing is done there (law 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub astray: Option<Remark>,
    /// The observation was published by a daemon: in place of the digests of shared files there are tokens, which are equal where
    /// the digests are, and steps that were approved are named by the digests of their names (`model::published`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub veiled: bool,
}

/// What a commit that is not accepted adds to an environment, or changes of it: nobody looked at that (law 11).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unasked {
    /// Hosts, and why: half a sentence.
    pub hosts: BTreeMap<HostName, String>,
    /// The names of checks.
    pub checks: Vec<String>,
    /// Shared files, and variables of the environment file.
    pub files: Vec<String>,
    /// Files that it would render otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rendered: Vec<String>,
}

impl Unasked {
    /// Nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.checks.is_empty() && self.files.is_empty() && self.rendered.is_empty()
    }
}

/// What a `release` came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolved {
    Sha(Sha),
    /// The tag could not be resolved, and why.
    Unknown(String),
    #[default]
    NotAsked,
}

/// What stands at the place of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFacts {
    pub sha256: Fact<Digest>,
    /// Check name → conclusion, from the record beside the bundle (B8).
    pub checks: Fact<BTreeMap<String, String>>,
}

/// Something that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact<T> {
    Known(T),
    /// Somebody looked, and it is certainly not there.
    Missing,
    /// Somebody looked, and could not see it: the reason.
    Unknown(String),
    NotAsked,
}

/// One host of an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostObserved {
    Reached(Box<HostState>),
    Unreachable(String),
}

/// One root on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostState {
    pub record: Record,
    pub current: Current,
    /// The directories in `releases/`, by name.
    pub releases: Vec<ReleaseName>,
    /// The commits that directories of `releases/` say of themselves, which the record does not know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revisions: BTreeMap<ReleaseName, Sha>,
    /// The shared files that the environment names: `from` → digest, or `None` where it is missing.
    pub files: BTreeMap<String, Option<Digest>>,
    /// The shared files that are not regular, or too large to be one: `from` → why nothing was read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, String>,
    /// The versions that rendered files have on this host by what is desired: `from` → version. Said by the controller, and
    /// never by the host; one that could not be rendered is not among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rendered: BTreeMap<String, Digest>,
    /// How those differ from what the live release reads, for people: names of variables, never a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rerendered: Vec<String>,
    /// The names of `required_env` that the environment file lacks.
    pub missing_env: Vec<String>,
    pub drift: Option<DriftReport>,
    /// What the last run could not remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
    /// What lies in ROOT and is not soll's, where nothing was deployed yet.
    #[serde(default, skip_serializing_if = "Foreign::is_empty")]
    pub foreign: Foreign,
    /// Places of the root that are not such that a release could be made and linked there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misplaced: Vec<Misplaced>,
    /// Someone holds this root right now.
    pub holder: Option<Holder>,
    /// A probation whose lease has run out, with nobody left to act on it.
    pub lease_over: bool,
    pub health: Vec<CheckResult>,
    /// The machine that it is on, by a digest of its id; `None`: it has none, or was seen by a program that did not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Digest>,
    /// Which directory of which running machine it is: equal for two names of one place. `None`: that cannot be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<Digest>,
    /// The services of the live release, where it is a project of containers, and what else runs under its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceSeen>,
    /// Why nothing is known of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services_unseen: Option<String>,
}

impl HostState {
    /// The commit that a release directory was made from, as far as that is known: by the record, or by what lies in it.
    pub fn sha_of(&self, release: &ReleaseName) -> Option<&Sha> {
        let noted = self.record.releases.get(release).and_then(|known| known.sha.as_ref());
        noted.or_else(|| self.revisions.get(release))
    }

    /// Whether a release is of this commit, or the one that it stands for.
    pub fn is_of(&self, release: &ReleaseName, sha: &Sha) -> bool {
        match self.sha_of(release) {
            _ if sha.is_unknown() => *sha == Sha::unknown_of(release),
            Some(known) => known == sha,
            None => release.names(sha),
        }
    }
}

/// Entries of ROOT that nobody has who only prepares one: an application is live there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// The first of them; none where they are not told.
    pub names: Vec<String>,
    pub count: usize,
}

impl Foreign {
    /// There is nothing of the kind.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `index.php, public and 3 more`.
    pub fn told(&self) -> String {
        let more = self.count.saturating_sub(self.names.len());
        match (self.names.is_empty(), more) {
            (true, 1) => "something".to_owned(),
            (true, more) => format!("{more} entries"),
            (false, 0) => self.names.join(", "),
            (false, more) => format!("{} and {more} more", self.names.join(", ")),
        }
    }
}

/// A place of a root that a deployment cannot use as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misplaced {
    /// Which place it is, and what is wrong with it.
    pub what: String,
    /// What to do about it.
    pub cure: String,
}

/// Something in `.soll/` that was to go and that the agent's user may not remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// On the host: what is in the way itself, not what lies below it.
    pub path: String,
    /// Owner, group and mode, as `ls` says them.
    pub is: String,
    pub owner: String,
    /// What the host's system said.
    pub why: String,
}

impl Leftover {
    /// What it is and what is wrong with it.
    pub fn what(&self) -> String {
        format!("{} ({}) cannot be removed: {}", self.path, self.is, self.why)
    }

    /// The command that removes it.
    pub fn cure(&self) -> String {
        format!("as root: rm -rf {}", shell_word(&self.path))
    }
}

/// What `ROOT/current` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Current {
    /// Nothing there: a fresh root.
    Missing,
    /// A link to a directory of `releases/`.
    Release(ReleaseName),
    /// A link to somewhere else, or to nothing: its text.
    Elsewhere(String),
    /// A real file or directory.
    NotALink,
}

impl Current {
    /// The release, where it is one.
    pub fn release(&self) -> Option<&ReleaseName> {
        match self {
            Current::Release(name) => Some(name),
            _ => None,
        }
    }
}

/// How the contents of a release compare with what was released (A7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    pub release: ReleaseName,
    /// When every byte was read last, or the release was sealed, or verified before a return. The period of full scans
    /// counts from here.
    pub at: Timestamp,
    /// When files were compared by their looks, where that was later and found something else than the scan before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Timestamp>,
    /// How old it was when the host gave it, in seconds by the host's own clock; 0: it was made for that answer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub age: u64,
    pub entries: Vec<Drift>,
    /// So many more paths differ: nobody reads thousands of them, and an answer has room for some.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

impl DriftReport {
    /// How many paths differ.
    pub fn count(&self) -> u64 {
        self.entries.len() as u64 + self.more
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One difference between a sealed release and its manifest, or a broken shared link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drift {
    /// Relative to the release.
    pub path: String,
    pub kind: DriftKind,
    /// Of the first paths that are there; not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<Touched>,
}

impl Drift {
    /// Without who wrote it.
    pub fn untold(&self) -> Drift {
        Drift { touched: None, ..self.clone() }
    }
}

/// What a file tells of who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Touched {
    /// A user of the host; a number where nobody knows its name.
    pub owner: String,
    /// When it was changed last, by the host's clock: its `ctime`, which nobody can set.
    pub at: Timestamp,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKind {
    Changed,
    Missing,
    Added,
    /// The mode differs, the contents do not.
    Mode,
    /// The agent's user may not read it.
    Unreadable,
    /// A shared path is no link, or leads elsewhere, or to nothing.
    Link,
}

/// The result of one check, with every attempt (C2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    pub check: String,
    pub verdict: Verdict,
    pub attempts: Vec<Attempt>,
}

/// Three outcomes, never two: no evidence is not bad evidence (law 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Pass,
    /// The target answered, and the answer is bad, or refused the connection.
    Fail,
    /// Nothing can be said: the secret is missing, the prober itself failed.
    Inconclusive,
}

/// One attempt of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    pub verdict: Verdict,
    /// `200 in 12 ms`, `connection refused`: evidence for people, never a secret.
    pub evidence: String,
    pub millis: u64,
}

/// Something that people should hear beside a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// A person's word on the plan that would be made here (B3). They stand in the order in which they were said, which is that
/// of the history, whatever times they claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub by: String,
    pub at: Timestamp,
    pub approve: bool,
    pub note: Option<String>,
    /// What was reviewed. A plan that is made anew under the lock is held against it again.
    pub reviewed: Option<Reviewed>,
    /// Its signature was made by an allowed key. Where none is required, unsigned words count.
    pub trusted: bool,
}
