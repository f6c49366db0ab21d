//! What all runs of one process share: settings, state repository, history, bundles. Reads a commit into the desired
//! state; holds no opinion about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::artifact::origins::Rules;
use crate::artifact::store::ArtifactStore;
use crate::model::desired::Desired;
use crate::model::desired::diagnose::{Diagnostics, SourceFile};
use crate::model::desired::load::{Loaded, Sources, load_without};
use crate::model::desired::part::Part;
use crate::model::desired::sealed;
use crate::model::ids::{EnvName, HostName};
use crate::model::shown::{clean, counted, is_odd};
use crate::run::ahead::Ahead;
use crate::run::board::Board;
use crate::run::ear::Ear;
use crate::run::held::Held;
use crate::run::local_roots::LocalRoots;
use crate::run::overdue::Overdue;
use crate::run::seats::Seats;
use crate::run::settings::Settings;
use crate::ssh::pool::Pool;
use crate::state_repo::{AllowedSigners, Author, CommitId, CommitInfo, Location, NotAccepted, RepoError, StateRepo};
use crate::store::{Store, StoreError};

/// The shared parts. Cheap to clone behind an `Arc`.
pub struct Controller {
    pub settings: Settings,
    pub repo: StateRepo,
    pub store: Store,
    pub artifacts: ArtifactStore,
    pub signers: Option<AllowedSigners>,
    /// Where commits may act on this machine.
    pub local_roots: LocalRoots,
    /// The connections to hosts, shared by all runs and passes.
    pub hosts: Arc<Pool>,
    /// This program, to be started as an agent.
    pub exe: PathBuf,
    /// `user@machine`, for locks and journals.
    pub who: String,
    /// What people said, as it was heard last.
    pub ear: Ear,
    /// What passes saw last.
    pub board: Board,
    /// Bundles that are fetched before anybody asks.
    pub ahead: Ahead,
    /// What hosts that hang have not answered yet.
    pub overdue: Overdue,
    /// Where roots were when they were seen last.
    pub seats: Seats,
}

/// One commit of the state repository, read. Text and nothing more (law 11): whoever acts wants an
/// [`crate::run::accepted::AcceptedSnapshot`].
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub commit: CommitId,
    pub info: CommitInfo,
    pub desired: Desired,
    pub warnings: Diagnostics,
    /// Which file each environment is defined in.
    pub defined_in: BTreeMap<EnvName, String>,
    /// Where relative bundle paths start: the state file's directory, where the repository has a work tree.
    pub base: Option<PathBuf>,
    /// What of this commit is wrong, and what stays as an earlier one has it for that.
    pub held: Option<Held>,
}

/// A state that was read and found good.
#[derive(Debug, Clone)]
pub struct Checked {
    pub desired: Desired,
    pub warnings: Diagnostics,
}

impl Snapshot {
    /// What was read, without where it came from.
    pub fn into_checked(self) -> Checked {
        Checked { desired: self.desired, warnings: self.warnings }
    }
}

/// Why the controller cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    #[error("{} in the state file", counted(.0.iter().count() as u64, "error", "errors"))]
    Invalid(Box<Diagnostics>),
    /// A commit without a state file, or with one that is no text.
    #[error("{0}")]
    Unread(String),
    /// Somebody named an environment that this commit does not have.
    #[error("there is no environment `{name}`; there are: {known}")]
    NoEnvironment { name: EnvName, known: String },
    /// Pull mode for a host that no environment names.
    #[error("no environment runs on a host `{host}`; there are: {known}")]
    NoHost { host: HostName, known: String },
    #[error("{0}")]
    Other(String),
}

impl Controller {
    /// Opens everything. Nothing is fetched yet.
    pub fn open(settings: Settings) -> Result<Arc<Controller>, ControllerError> {
        // Before anything is put into it: what is fetched and what commands print is nobody else's.
        Store::make_private(&settings.state_dir)?;
        let caches = settings.state_dir.join("cache");
        let location = Location::parse(&settings.repo)?;
        let repo = StateRepo::open(location, &settings.branch, &caches, settings.git.clone())?;
        let store = Store::open(&settings.state_dir)?;
        let rules = Rules { named: settings.bundle_origins.clone(), work_tree: repo.work_tree(), known: None };
        let artifacts = ArtifactStore::new(caches.join("bundles"));
        let artifacts = artifacts.map_err(|e| ControllerError::Other(e.to_string()))?.under(rules);
        let signers = settings.allowed_signers.as_deref().map(AllowedSigners::load).transpose()?;
        let exe = std::env::current_exe()
            .map_err(|error| ControllerError::Other(format!("cannot find this program's own file: {error}")))?;
        let who = who();
        let local_roots =
            LocalRoots::of(settings.local_roots.clone(), repo.location().is_here(), settings.host.is_some());
        let hosts = Arc::new(Pool::new(settings.ssh.clone()));
        Ok(Arc::new(Controller {
            settings,
            repo,
            store,
            artifacts,
            signers,
            local_roots,
            hosts,
            exe,
            who,
            ear: Ear::default(),
            board: Board::default(),
            ahead: Ahead::default(),
            overdue: Overdue::default(),
            seats: Seats::default(),
        }))
    }

    /// Does what waits for a disk (the store, the state repository) beside the threads that keep leases (law 6): however
    /// slow that disk is, no host goes back by itself for it.
    ///
    /// # Errors
    /// The work broke off.
    pub async fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Controller>) -> T + Send + 'static,
    ) -> Result<T, ControllerError> {
        let controller = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&controller)).await;
        done.map_err(|error| ControllerError::Other(format!("a task broke off: {error}")))
    }

    /// The desired state of one commit.
    pub fn snapshot(&self, commit: CommitId) -> Result<Snapshot, ControllerError> {
        self.prepared(commit, self.load(&commit, None)?, None)
    }

    /// What was read, under the guards of the settings.
    pub(in crate::run) fn prepared(
        &self,
        commit: CommitId,
        loaded: Loaded,
        held: Option<Held>,
    ) -> Result<Snapshot, ControllerError> {
        let Loaded { mut desired, warnings, defined_in, .. } = loaded;
        self.settings.policies.raise(&mut desired, self.signers.is_some());
        self.local_roots.bar(&mut desired);
        let desired = match &self.settings.host {
            Some(host) if desired.hosts().contains(host) => desired.pulled(host),
            Some(host) => {
                let known = desired.hosts().into_iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
                return Err(ControllerError::NoHost { host: host.clone(), known });
            }
            None => desired,
        };
        let file = &self.settings.file;
        let base = self.repo.work_tree().map(|tree| {
            let file = tree.join(file);
            file.parent().map_or(tree, |dir| dir.to_owned())
        });
        Ok(Snapshot { info: self.repo.commit_info(&commit)?, commit, desired, warnings, defined_in, base, held })
    }

    /// Reads and checks the state at a commit, with one file replaced by a text that is not committed yet.
    pub fn load(&self, commit: &CommitId, instead: Option<(&str, &str)>) -> Result<Loaded, ControllerError> {
        self.load_without(commit, instead, &BTreeSet::new())
    }

    /// The same as if these parts defined nothing.
    pub(in crate::run) fn load_without(
        &self,
        commit: &CommitId,
        instead: Option<(&str, &str)>,
        without: &BTreeSet<Part>,
    ) -> Result<Loaded, ControllerError> {
        let file = &self.settings.file;
        let read = |path: &str| -> Result<Option<String>, String> {
            if let Some((_, text)) = instead.filter(|(edited, _)| *edited == path) {
                return Ok(Some(text.to_owned()));
            }
            let Some(bytes) = self.repo.read(commit, path).map_err(|e| e.to_string())? else { return Ok(None) };
            let text = sealed::text_of(bytes);
            text.map(Some)
                .map_err(|_| format!("{path} in commit {} is not UTF-8: save it in that encoding", commit.short()))
        };
        let text = read(file).map_err(ControllerError::Unread)?.ok_or_else(|| {
            let (place, at) = (self.repo.location(), commit.short());
            ControllerError::Unread(format!(
                "{place} has no {file} in commit {at}: commit one (`soll init` writes a first one), or name it with --file"
            ))
        })?;
        let includes = |pattern: &str| {
            // A plain path is one file: nobody looks through a whole tree for it.
            let paths = match pattern.contains(['*', '?', '[', ']', '{', '}', '\\']) {
                true => self.repo.list(commit, pattern).map_err(|e| e.to_string())?,
                false => match read(pattern) {
                    Ok(None) => Vec::new(),
                    Ok(Some(_)) | Err(_) => vec![pattern.to_owned()],
                },
            };
            let source = |path: String| {
                // Git allows any name; it would be told in every error of that file.
                if path.contains(is_odd) {
                    return Err(format!(
                        "the name of the included file {} has a control character in it",
                        clean(&path)
                    ));
                }
                let text = read(&path).map(Option::unwrap_or_default);
                Ok(SourceFile::of(path, text))
            };
            paths.into_iter().map(source).collect()
        };
        let main = SourceFile::of(file.clone(), Ok(text));
        let tree = |path: &str| self.repo.tree_id(commit, path).map_err(|error| error.to_string());
        let sources = Sources { files: &includes, tree: &tree };
        load_without(main, &sources, without).map_err(|found| ControllerError::Invalid(Box::new(found)))
    }

    /// What the last accepted commit is filed under.
    pub fn accepted_key(&self) -> String {
        format!("{}#{}", self.repo.location(), self.repo.branch())
    }

    /// Who makes the commits of this program.
    pub fn author(&self) -> Author {
        let configured = self.settings.author.clone().or_else(|| self.repo.configured_author());
        configured.unwrap_or_else(|| Author { name: "soll".to_owned(), email: "soll@localhost".to_owned() })
    }
}

/// `user@machine`.
fn who() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "someone".to_owned());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{machine}")
}

/// Now, to the millisecond: what is shown and stored needs no more.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
