//! One backup: begun, part after part, sealed, ended. The same for a deployment's step, for the schedule and for a person; who
//! journals its steps, and what a failure does, is theirs to say.

use std::collections::BTreeMap;

use crate::host::wire::backup::{self as wire, Answer, End, Made, Work};
use crate::host::wire::{HostError, Op, Reply, tame};
use crate::model::backup::by_hand;
use crate::model::backup::manifest::{self, Manifest};
use crate::model::backup::name::{BackupName, Content, FileName, Kind, Part, What};
use crate::model::backup::shrink::{Size, shrunk};
use crate::model::desired::backup::{Access, BackupTarget, Database, FileSet};
use crate::model::desired::{Backup, Environment, Target};
use crate::model::ids::{Epoch, ReleaseName};
use crate::model::observed::HostState;
use crate::model::record::backup::Good;
use crate::model::shown::counted;
use crate::plan::Step;
use crate::run::size::bytes;
use crate::run::step::executor::{Executor, StepResult, StepTrouble, unexpected};
use crate::run::step::prune::{self, AT_MOST};
use crate::run::step::shelf::Grounds;
use crate::run::step::world::{Trouble, World};

/// What it is about.
pub struct Job<'a> {
    pub env: &'a Environment,
    pub target: &'a Target,
    pub epoch: Epoch,
    pub backup: &'a Backup,
    pub kind: Kind,
    /// What the host was like when it was taken.
    pub state: Option<&'a HostState>,
    /// The release that comes after it, before a deployment.
    pub before: Option<ReleaseName>,
    /// What is restored after it: it keeps what was there before.
    pub of_restore: Option<BackupName>,
}

/// A backup that is being made.
pub struct Saving<'a, W> {
    world: &'a W,
    job: Job<'a>,
    name: BackupName,
    made: Vec<Made>,
    targets: Vec<BackupTarget>,
    /// Why a target is left out.
    refused: BTreeMap<String, String>,
}

/// A backup that was made.
pub struct Saved {
    pub name: BackupName,
    pub bytes: u64,
    pub rows: Option<u64>,
    /// Where it lies.
    pub targets: Vec<BackupTarget>,
    /// What people should know, targets that did not take it first.
    pub warnings: Vec<String>,
    /// It is so much smaller than the good one before it that it is held: what is to be said of that.
    pub shrunk: Option<String>,
    /// Whether every target took it.
    pub everywhere: bool,
}

/// What is saved of a part: a database, or files.
enum Of<'a> {
    Database(&'a Database),
    Files(&'a FileSet),
}

impl<'a, W: World> Saving<'a, W> {
    /// Notes on the host that it is begun, and when.
    ///
    /// # Errors
    /// Those of the host.
    pub async fn begin(world: &'a W, job: Job<'a>) -> Result<Saving<'a, W>, StepTrouble> {
        let name = BackupName::new(job.kind, world.now());
        let targets = world.doors(job.env, job.backup.places(&job.target.root));
        let mut saving = Saving { world, job, name, made: Vec::new(), targets, refused: BTreeMap::new() };
        let begin = Work::Begin { job: saving.job.backup.name.clone(), name, targets: saving.live() };
        let Answer::Begun { name, room } = saving.work(begin).await? else { return Err(strange()) };
        saving.name = name;
        let backed = saving.job.state.and_then(|state| state.record.backups.get(&saving.job.backup.name));
        let last = backed.and_then(|backed| backed.good.as_ref()).map(|good| good.bytes);
        for (target, free) in room {
            saving.refused.extend(too_little(last, free).map(|why| (target, why)));
        }
        Ok(saving)
    }

    /// The names of its parts, in their order: `db-main`, `app`.
    pub fn parts(&self) -> Vec<String> {
        let databases = self.job.backup.databases.iter().map(|database| format!("db-{}", database.name));
        databases.chain(self.job.backup.files.iter().map(|files| files.name.clone())).collect()
    }

    /// Makes one of them. Gives what there is to say of it.
    ///
    /// # Errors
    /// It cannot be read to its end, or no target takes it.
    pub async fn part(&mut self, index: usize) -> StepResult {
        self.must_lie_somewhere()?;
        let backup = self.job.backup;
        let of = match backup.databases.get(index) {
            Some(database) => Of::Database(database),
            None => match backup.files.get(index.saturating_sub(backup.databases.len())) {
                Some(files) => Of::Files(files),
                None => return Err(Trouble::error(format!("the backup {} has no such part", backup.name)).into()),
            },
        };
        let (content, name, source) = match of {
            Of::Database(database) => {
                (Content::Database, database.part.clone(), source_of(self.world, self.job.env, database)?)
            }
            Of::Files(FileSet { part, path, exclude, .. }) => {
                let source = wire::Source::Files { path: path.clone(), exclude: exclude.clone() };
                (Content::Files, part.clone(), source)
            }
        };
        let encrypted = !backup.encrypt.is_empty();
        let what = What::Part(Part { content, name: name.clone(), compression: backup.compress, encrypted });
        let part = wire::Part {
            name: self.name,
            part: name,
            content,
            file: FileName { at: self.name.at, what, checksum: false }.to_string(),
            source,
            compress: backup.compress,
            encrypt: backup.encrypt.clone(),
            limit: backup.limit,
            targets: self.live(),
        };
        let Answer::Part(made) = self.work(Work::Part(Box::new(part))).await? else { return Err(strange()) };
        let note = told(&made);
        for refused in &made.refused {
            self.refused.insert(refused.target.clone(), refused.why.clone());
        }
        self.made.push(*made);
        self.must_lie_somewhere()?;
        Ok(note)
    }

    /// Writes the manifest: from here on it is a backup.
    ///
    /// # Errors
    /// No target takes it.
    pub async fn seal(&mut self) -> Result<Saved, StepTrouble> {
        let Job { env, target, backup, state, before, of_restore, .. } = &self.job;
        let mut warnings: Vec<String> = self.made.iter().flat_map(|made| made.warnings.clone()).collect();
        let mut manifest = Manifest {
            format: manifest::FORMAT,
            name: self.name,
            job: backup.name.clone(),
            environment: env.name.clone(),
            host: target.name.clone(),
            release: state.and_then(|state| state.current.release().cloned()),
            before: before.clone(),
            of_restore: *of_restore,
            started: self.name.at.at(),
            ended: self.world.now(),
            soll: env!("CARGO_PKG_VERSION").to_owned(),
            imported: false,
            warnings: Vec::new(),
            unknown: BTreeMap::new(),
            parts: self.made.iter().map(|made| made.entry.clone()).collect(),
        };
        let shrunk = self.shrunk(&manifest);
        warnings.extend(shrunk.clone());
        warnings.iter_mut().for_each(tame::tame);
        manifest.warnings = warnings.clone();
        let text = manifest.to_text();
        let text = text.map_err(|error| Trouble::error(format!("the manifest cannot be written: {error}")))?;
        let seal = Work::Seal { targets: self.live(), name: self.name, manifest: text, by_hand: by_hand::everywhere() };
        let Answer::Sealed { refused } = self.work(seal).await? else { return Err(strange()) };
        for refused in refused {
            self.refused.insert(refused.target, refused.why);
        }
        self.must_lie_somewhere()?;
        let left_out = self.refused.iter().map(|(target, why)| format!("it is not on {target}: {why}"));
        let warnings = left_out.chain(warnings).collect();
        let (bytes, rows) = (manifest.bytes(), manifest.rows());
        let everywhere = self.refused.is_empty();
        Ok(Saved { name: self.name, bytes, rows, targets: self.live(), warnings, shrunk, everywhere })
    }

    /// Notes on the host how it ended. A host that cannot be told only remembers less.
    pub async fn end(&self, saved: &Result<Saved, StepTrouble>) {
        let job = &self.job.backup.name;
        let at = self.world.now();
        let end = match saved {
            Ok(saved) => End::Made {
                good: Good { name: saved.name, at, bytes: saved.bytes, rows: saved.rows },
                shrunk: saved.shrunk.is_some(),
                refused: self.refused.keys().cloned().collect(),
                why: saved.warnings.first().filter(|_| !saved.everywhere).cloned(),
            },
            Err(trouble) => End::Failed { at, why: trouble.message.clone() },
        };
        if let Err(trouble) = self.work(Work::End { job: job.clone(), end }).await {
            tracing::warn!(job, why = trouble.message, "how a backup ended could not be noted on its host");
        }
    }

    fn live(&self) -> Vec<BackupTarget> {
        self.targets.iter().filter(|target| !self.refused.contains_key(&target.name)).cloned().collect()
    }

    fn must_lie_somewhere(&self) -> Result<(), StepTrouble> {
        if !self.live().is_empty() {
            return Ok(());
        }
        let why: Vec<_> = self.refused.iter().map(|(target, why)| format!("{target}: {why}")).collect();
        Err(Trouble::error(format!("no target took {}: {}", self.name, why.join("; "))).into())
    }

    /// What is much smaller than it was is held, and told: most of it may be missing (I20).
    fn shrunk(&self, manifest: &Manifest) -> Option<String> {
        let Good { name, bytes, rows, .. } =
            self.job.state?.record.backups.get(&self.job.backup.name)?.good.as_ref()?.clone();
        shrunk(manifest.size(), (name, Size { bytes, rows }), self.job.backup.max_shrink)
    }

    async fn work(&self, work: Work) -> Result<Answer, StepTrouble> {
        let op = Op::Backup { epoch: self.job.epoch, work: Box::new(work) };
        match self.world.call(self.job.target, op).await {
            Ok(Reply::Backup(answer)) => Ok(*answer),
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(StepTrouble::from(named(self.job.target, error))),
        }
    }
}

/// How a database of an environment is reached from its host.
///
/// # Errors
/// The secret that it needs is not given for this.
pub fn source_of<W: World>(world: &W, env: &Environment, database: &Database) -> Result<wire::Source, StepTrouble> {
    let engine = database.engine;
    Ok(match &database.access {
        Access::Path(path) => wire::Source::Database { path: path.clone() },
        Access::EnvFile(from) => {
            wire::Source::EnvFile { engine, files: env_files(env, from), service: database.service.clone() }
        }
        Access::Login(login) => {
            let password = login.password.as_ref().map(|name| world.password(env, name)).transpose()?;
            let login = wire::Login {
                host: login.host.clone(),
                port: login.port,
                socket: login.socket.clone(),
                user: login.user.clone(),
                database: login.database.clone(),
                password,
            };
            wire::Source::Login { engine, login, service: database.service.clone() }
        }
    })
}

/// Where the file may lie that says how an environment reaches its database, relative to ROOT.
pub fn env_files(env: &Environment, from: &str) -> Vec<String> {
    let shared = env.shared.iter().find(|shared| shared.path == *from || shared.from == *from);
    // What is rendered belongs to a release: the live one reads it by its own link.
    match shared {
        Some(shared) => vec![format!("current/{}", shared.path), format!("shared/{}", shared.from)],
        None => vec![format!("shared/{from}")],
    }
}

/// A step of a deployment (A4).
pub async fn step<W: World>(executor: &Executor<W>, step: &Step, target: &Target, backup: &Backup) -> StepResult {
    let task = &executor.task;
    let job = Job {
        env: &task.env,
        target,
        epoch: task.epoch,
        backup,
        kind: Kind::PreDeploy,
        state: step.host.as_ref().and_then(|host| task.states.get(host)),
        before: Some(task.started.release.clone()),
        of_restore: None,
    };
    let state = job.state;
    let mut saving = Saving::begin(&*executor.world, job).await?;
    let saved = whole(&mut saving).await;
    saving.end(&saved).await;
    let saved = saved?;
    let mut told = vec![saved.told()];
    let (world, now) = (&*executor.world, executor.world.now());
    let grounds = Grounds { backup, state, now, still: None, at_most: Some(AT_MOST) };
    let rows = Box::pin(prune::shelves(world, &task.env, target, &grounds)).await;
    for place in &saved.targets {
        // An old backup that stays stops no deployment: it is told.
        match Box::pin(prune::prune(world, (target, task.epoch), &rows, place, &grounds)).await {
            Ok(pruned) => told.push(pruned.told(&place.name)),
            Err(trouble) => told.push(format!("nothing was pruned on {}: {}", place.name, trouble.message)),
        }
    }
    told.retain(|line| !line.is_empty());
    Ok(told.join("; "))
}

async fn whole<W: World>(saving: &mut Saving<'_, W>) -> Result<Saved, StepTrouble> {
    for index in 0..saving.parts().len() {
        saving.part(index).await?;
    }
    saving.seal().await
}

impl Saved {
    /// What people read of it.
    pub fn told(&self) -> String {
        let rows = self.rows.map_or_else(String::new, |rows| format!(", {}", counted(rows, "row", "rows")));
        let places: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        let warned: String = self.warnings.iter().map(|warning| format!("; {warning}")).collect();
        format!("{}: {}{rows}, on {}, read back{warned}", self.name, bytes(self.bytes), places.join(", "))
    }
}

fn told(made: &Made) -> String {
    let entry = &made.entry;
    let of = match (&entry.database, &entry.files) {
        (Some(database), _) => {
            let (tables, rows) = (database.rows.len(), database.rows.values().sum::<u64>());
            format!("{}, {}", counted(tables as u64, "table", "tables"), counted(rows, "row", "rows"))
        }
        (None, Some(files)) => counted(files.entries, "entry", "entries"),
        (None, None) => String::new(),
    };
    let plain = entry.plain_bytes.map_or_else(String::new, |plain| format!(" of {}", bytes(plain)));
    let refused: String = made.refused.iter().map(|not| format!("; not on {}: {}", not.target, not.why)).collect();
    format!("{}: {of}, {}{plain}{refused}", entry.file, bytes(entry.bytes))
}

/// A target that has less room than the last backup took, and a fifth: nothing is begun there that would fill it, and leave no
/// room for whatever else lives on that disk.
fn too_little(last: Option<u64>, free: u64) -> Option<String> {
    let last = last?;
    let need = last.saturating_add(last / 5);
    (free < need).then(|| {
        let (need, free, last) = (bytes(need), bytes(free), bytes(last));
        format!("it needs about {need} (the last one took {last}), and {free} are free there: make room, or keep fewer")
    })
}

fn named(target: &Target, error: HostError) -> HostError {
    match error {
        HostError::Io(why) => HostError::Io(format!("{}: {why}", target.name)),
        error => error,
    }
}

fn strange() -> StepTrouble {
    Trouble::error("the host gave an answer about a backup that does not fit its question").into()
}
