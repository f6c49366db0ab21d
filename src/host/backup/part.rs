//! One part: from what is asked for to its source and its targets, and from what was written to its entry in the manifest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{failed, login, open};
use crate::backup::Wanted;
use crate::backup::dump::{CHANGED, Login};
use crate::backup::part::{self, Destination, Of, Source, Written, archived_name};
use crate::host::disk::root::Root;
use crate::host::release::compose;
use crate::host::wire::HostError;
use crate::host::wire::backup::{self as wire, Made, Refused};
use crate::model::backup::manifest::{DatabaseFacts, Engine, FileFacts, PartEntry};
use crate::model::desired::backup::Place;

/// Makes it. A schema that changes meanwhile is tried once more (I17).
pub fn make(root: &Root, asked: wire::Part, wanted: &dyn Wanted) -> Result<Made, HostError> {
    let first = once(root, &asked, wanted);
    let again = matches!(&first, Err(HostError::Io(why)) if why.starts_with(CHANGED));
    if again { once(root, &asked, wanted) } else { first }
}

fn once(root: &Root, asked: &wire::Part, wanted: &dyn Wanted) -> Result<Made, HostError> {
    let targets: Vec<_> = asked.targets.iter().map(|target| (target.name.clone(), open(root, target))).collect();
    let to = Destination {
        dir: asked.name.kind.as_str(),
        file: &asked.file,
        compress: asked.compress,
        encrypt: &asked.encrypt,
        limit: asked.limit,
        targets,
    };
    let (source, facts) = source(root, asked)?;
    let written = part::write(&source, to, wanted);
    if written.is_err() && !wanted.is_wanted() {
        return Err(HostError::Connection("the controller was not heard any more during the backup".into()));
    }
    let Written { of, bytes, sha256, plain_bytes, plain_sha256, targets } = written.map_err(failed)?;
    let mut entry = PartEntry {
        file: asked.file.clone(),
        name: asked.part.clone(),
        content: asked.content,
        bytes,
        sha256,
        plain_bytes: Some(plain_bytes),
        plain_sha256: Some(plain_sha256),
        unknown: BTreeMap::new(),
        database: None,
        files: None,
    };
    let warnings = match of {
        Of::Database(dumped) => {
            entry.database = Some(DatabaseFacts {
                engine: facts.engine.unwrap_or(Engine::Sqlite),
                database: facts.database,
                client: dumped.client,
                server: (!dumped.server.is_empty()).then_some(dumped.server),
                instance: facts.instance,
                schema: dumped.schema,
                position: dumped.position,
                non_transactional: dumped.loose,
                unknown: BTreeMap::new(),
                rows: dumped.tables,
            });
            dumped.warnings
        }
        Of::Files(archived) => {
            entry.files = Some(FileFacts {
                path: facts.database,
                entries: archived.entries,
                exclude: facts.exclude,
                special: archived.special,
                unknown: BTreeMap::new(),
            });
            archived.warnings
        }
    };
    let refused = targets.into_iter().filter_map(|(target, ended)| Some(Refused { target, why: ended.err()?.0 }));
    Ok(Made { entry, warnings, refused: refused.collect() })
}

/// What is said of the source, whatever is in it.
#[derive(Default)]
pub(super) struct Facts {
    engine: Option<Engine>,
    /// The database's name, or the path.
    database: String,
    instance: String,
    exclude: Vec<String>,
}

pub(super) fn source(root: &Root, asked: &wire::Part) -> Result<(Source, Facts), HostError> {
    let place = |path: &str| root.path().join(path);
    match &asked.source {
        wire::Source::EnvFile { engine, files, service } => {
            let files: Vec<PathBuf> = files.iter().map(|file| place(file)).collect();
            of_login(root, *engine, login::of_env_file(*engine, &files)?, service.as_deref())
        }
        wire::Source::Login { engine, login, service } => {
            let wire::Login { host, port, socket, user, database, password } = login;
            let password = password.as_ref().map_or_else(String::new, |secret| secret.expose().to_owned());
            let (host, socket) = (host.clone(), socket.clone());
            let (user, database, password) = (user.clone(), database.clone(), Zeroizing::new(password));
            let login = Login { host, port: *port, socket, user, password, database, ..Login::default() };
            of_login(root, *engine, login, service.as_deref())
        }
        wire::Source::Database { path } => {
            let path = place(path);
            let shown = path.display().to_string();
            let facts =
                Facts { engine: Some(Engine::Sqlite), database: shown.clone(), instance: shown, ..Facts::default() };
            root.prepare()?;
            Ok((Source::Sqlite { path, scratch: root.own("") }, facts))
        }
        wire::Source::Files { path, exclude } => {
            let path = place(path);
            let targets = asked.targets.iter().filter_map(|target| match &target.place {
                Place::Directory(path) => Some(PathBuf::from(path)),
                Place::Sftp(_) | Place::S3(_) => None,
            });
            let leave_out = targets.chain([root.own("")]).map(|path| trimmed(&path)).collect();
            let name = archived_name(&path, root.path());
            let facts = Facts { database: path.display().to_string(), exclude: exclude.clone(), ..Facts::default() };
            Ok((Source::Files { path, name, exclude: exclude.clone(), leave_out }, facts))
        }
    }
}

fn of_login(
    root: &Root,
    engine: Engine,
    mut login: Login,
    service: Option<&str>,
) -> Result<(Source, Facts), HostError> {
    let instance = match (service, &login.socket, &login.host) {
        (Some(service), ..) => format!("the service {service}"),
        (None, Some(socket), _) => socket.clone(),
        (None, None, host) => {
            let host = host.as_deref().unwrap_or("localhost");
            login.port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
        }
    };
    if let Some(service) = service {
        login.inside = Some(Arc::new(compose::enter(root, service)?));
    }
    let facts = Facts { engine: Some(engine), database: login.database.clone(), instance, ..Facts::default() };
    match engine {
        Engine::Mysql => Ok((Source::Mysql(login), facts)),
        Engine::Postgres => Ok((Source::Postgres(login), facts)),
        Engine::Sqlite => Err(HostError::Io("a database of SQLite is a file, and has no login".to_owned())),
    }
}

/// Without a `/` at the end.
fn trimmed(path: &Path) -> PathBuf {
    path.components().collect()
}
