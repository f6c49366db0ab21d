//! Backups: which environment each is of, that its parts and targets have names of their own, and that no two write to one
//! place. What is not built yet is refused by name: a backup that is only believed in is worse than none.

use std::cmp::Ordering;

use reqwest::Url;

use super::super::backup::{
    Access, Backup, BackupTarget, Cron, Database, FileSet, Keep, Key, LOCAL, Login, Place, RestoreTest, S3Place,
    ScratchUser, SftpPlace,
};
use super::super::diagnose::{Diagnostic, Diagnostics};
use super::super::load::Tables;
use super::super::raw;
use super::super::tree::{Entry, Node, Span};
use super::seat::Seat;
use super::{Resolved, suggest};
use crate::model::backup::address::Address;
use crate::model::backup::manifest::Engine;
use crate::model::backup::name::{Compression, PartName};
use crate::model::origin::is_loopback;
use crate::model::schedule::Schedule;

/// Resolves every job and gives it to its environment.
pub(super) fn all(tables: &Tables, resolved: &mut [Resolved], out: &mut Diagnostics) {
    let mut taken: Vec<Taken> = Vec::new();
    for (name, Entry { key, node }) in &tables.backups {
        let raw = match serde_json::from_value::<raw::Backup>(node.json()) {
            Ok(raw) => raw,
            // The walk was clean, so this is a value that only its type refuses.
            Err(error) => {
                out.push(Diagnostic::error(*key, format!("the backup `{name}` cannot be read: {error}")));
                continue;
            }
        };
        let mut job = Job { name, key: *key, node, raw: &raw, out };
        let Some(backup) = job.resolve() else { continue };
        job.tried_somewhere(tables, &backup);
        let wanted = &raw.environment.0;
        match resolved.iter_mut().find(|one| one.environment.name.as_str() == wanted) {
            Some(of) => {
                job.known_files(&of.environment);
                job.apart(&backup, &of.environment, &mut taken);
                of.environment.backups.push(backup);
            }
            // One that has mistakes of its own is not there, and has been told of.
            None if tables.environments.contains_key(wanted) => {}
            None => {
                let error = Diagnostic::error(job.at("environment"), format!("there is no environment `{wanted}`"));
                let known = tables.environments.keys().map(String::as_str);
                out.push(error.label("not defined").help(suggest::help(wanted, "environments", known)));
            }
        }
    }
}

struct Job<'a> {
    name: &'a str,
    key: Span,
    node: &'a Node,
    raw: &'a raw::Backup,
    out: &'a mut Diagnostics,
}

impl Job<'_> {
    fn at(&self, key: &str) -> Span {
        self.node.get(key).map_or(self.key, |node| node.span)
    }

    fn entry(&self, list: &str, index: usize, key: &str) -> Span {
        let entry = self.node.get(list).and_then(|node| node.items().get(index));
        entry.map_or(self.key, |entry| entry.get(key).map_or(entry.span, |node| node.span))
    }

    fn refuse(&mut self, span: Span, message: String, label: &str, help: impl Into<String>) {
        self.out.push(Diagnostic::error(span, message).label(label).help(help.into()));
    }

    fn resolve(&mut self) -> Option<Backup> {
        let raw = self.raw;
        let zone = raw.zone.as_ref().map_or_else(|| "UTC".to_owned(), |zone| zone.0.clone());
        let schedule = raw.schedule.as_ref().map(|cron| Cron { line: cron.0.clone(), zone: zone.clone() });
        if let Some(cron) = &schedule
            && let Err(why) = Schedule::parse(&cron.line, &cron.zone)
        {
            self.refuse(
                self.at("schedule"),
                why.to_string(),
                "never due",
                "for example \"0 2 * * *\": every night at two",
            );
        }
        if raw.ping.is_some() && schedule.is_none() {
            let message = format!("`ping` hears of what is made by the schedule, and `{}` has none", self.name);
            self.refuse(self.at("ping"), message, "hears nothing", "add `schedule`, or remove it");
        }
        let restore_test = self.restore_test(&zone);
        let own = raw.keep.as_ref();
        let default = Keep::default();
        let kept = |of: fn(&raw::Keep) -> Option<u32>, default: u32| own.and_then(of).unwrap_or(default);
        let keep = Keep {
            daily: kept(|keep| keep.daily, default.daily),
            weekly: kept(|keep| keep.weekly, default.weekly),
            monthly: kept(|keep| keep.monthly, default.monthly),
            pre_deploy: kept(|keep| keep.pre_deploy, default.pre_deploy),
            local: kept(|keep| keep.local, default.local),
        };
        let databases: Vec<Database> = (0..raw.databases.len()).filter_map(|index| self.database(index)).collect();
        let files: Vec<FileSet> = (0..raw.files.len()).filter_map(|index| self.file_set(index)).collect();
        let targets: Vec<BackupTarget> = (0..raw.targets.len()).filter_map(|index| self.target(index)).collect();
        for list in ["databases", "files", "targets"] {
            self.doubles(list);
        }
        if raw.databases.is_empty() && raw.files.is_empty() {
            let message = format!("the backup `{}` saves nothing", self.name);
            let help = format!("add `[[backups.{}.databases]]` or `[[backups.{0}.files]]`", self.name);
            self.refuse(self.key, message, "needs something to save", help);
        }
        if raw.targets.is_empty() && keep.local == 0 {
            let message = format!("the backup `{}` goes nowhere", self.name);
            let help = format!("add `[[backups.{}.targets]]`, best on another machine", self.name);
            self.refuse(self.key, message, "needs a target", help);
        }
        if schedule.is_none() && raw.pre_deploy != Some(true) {
            let message = format!("the backup `{}` is made by hand alone", self.name);
            let help = "schedule = \"0 2 * * *\" for every night, or pre_deploy = true";
            self.out.push(Diagnostic::warning(self.key, message).label("never due").help(help));
        }
        Some(Backup {
            name: self.name.to_owned(),
            schedule,
            zone,
            pre_deploy: raw.pre_deploy.unwrap_or(false),
            keep,
            max_shrink: raw.max_shrink.as_ref().map_or(50, |percent| percent.0),
            compress: match raw.compress {
                None | Some(raw::Packing::Gzip) => Compression::Gzip,
                Some(raw::Packing::Zstd) => Compression::Zstd,
            },
            encrypt: raw.encrypt.iter().map(|recipient| recipient.0.clone()).collect(),
            limit: raw.limit.as_ref().map(|limit| limit.0),
            ping: raw.ping.as_ref().map(|name| name.0.clone()),
            databases,
            files,
            targets,
            identity: raw.identity.as_ref().map(|name| name.0.clone()),
            restore_test,
        })
    }

    /// The restore that is tried. Whether its environment is there is settled when all are.
    fn restore_test(&mut self, zone: &str) -> Option<RestoreTest> {
        let raw = self.raw;
        let test = raw.restore_test.as_ref()?;
        let at = |job: &Self, key: &str| {
            let node = job.node.get("restore_test");
            node.map_or(job.key, |node| node.get(key).map_or(node.span, |node| node.span))
        };
        let schedule = test.schedule.as_ref().map(|cron| Cron { line: cron.0.clone(), zone: zone.to_owned() });
        if let Some(cron) = &schedule
            && let Err(why) = Schedule::parse(&cron.line, &cron.zone)
        {
            let help = "for example \"0 3 * * SUN#1\": the first Sunday of each month at three";
            self.refuse(at(self, "schedule"), why.to_string(), "never due", help);
        }
        let has_server = raw.databases.iter().any(|database| database.engine != raw::BackupEngine::Sqlite);
        if has_server && test.database.is_none() {
            let message = format!("nothing says who restores the databases of `{}` when that is tried", self.name);
            let help = "database = { user = \"soll_scratch\", password = \"SCRATCH\" }: a user that may touch \
                        `soll\\_scratch\\_%` and nothing else";
            self.refuse(at(self, "database"), message, "needs `database`", help);
        }
        let user = test.database.as_ref();
        let has_place = user.is_some_and(|user| user.host.is_some() || user.port.is_some() || user.socket.is_some());
        for (index, database) in raw.databases.iter().enumerate() {
            let (key, what) = match database.engine {
                raw::BackupEngine::Postgres => ("engine", "of PostgreSQL"),
                // The dump is as any other; a server is what is missing.
                _ if database.service.is_some() && !has_place => ("service", "that runs in a service"),
                _ => continue,
            };
            let (name, job) = (&database.name.0, self.name);
            let message = format!("the restore of `{job}` cannot be tried: `{name}` is a database {what}");
            let help = match key {
                "engine" => "remove `restore_test`, and try by hand what the manifest says",
                _ => "name another server: restore_test.database = { user, password, host }, or remove `restore_test`",
            };
            self.refuse(self.entry("databases", index, key), message, "not in this version", help);
        }
        let on = test.on.as_ref().map_or(&raw.environment.0, |on| &on.0);
        Some(RestoreTest {
            schedule,
            // The format was checked by the walk.
            on: on.parse().ok()?,
            scratch: test.database.as_ref().map(|scratch| ScratchUser {
                user: scratch.user.0.clone(),
                password: scratch.password.0.clone(),
                host: scratch.host.as_ref().map(|host| host.0.clone()),
                port: scratch.port,
                socket: scratch.socket.as_ref().map(|socket| socket.0.clone()),
            }),
            queries: test.queries.iter().map(|query| query.0.clone()).collect(),
        })
    }

    /// It is tried on an environment that is there.
    fn tried_somewhere(&mut self, tables: &Tables, backup: &Backup) {
        let Some(on) = backup.restore_test.as_ref().map(|test| test.on.as_str()) else { return };
        if tables.environments.contains_key(on) {
            return;
        }
        let span = self.node.get("restore_test").and_then(|node| node.get("on")).map_or(self.key, |node| node.span);
        let error = Diagnostic::error(span, format!("there is no environment `{on}`"));
        let known = tables.environments.keys().map(String::as_str);
        self.out.push(error.label("not defined").help(suggest::help(on, "environments", known)));
    }

    fn part(name: &super::super::fields::BackupPart, index: usize) -> Option<PartName> {
        // The format was checked by the walk.
        if index == 0 { None } else { name.0.parse().ok() }
    }

    fn database(&mut self, index: usize) -> Option<Database> {
        let raw = &self.raw.databases[index];
        let at = |job: &Self, key: &str| job.entry("databases", index, key);
        if raw.service.is_some() {
            let placed = [
                ("host", raw.host.is_some()),
                ("port", raw.port.is_some()),
                ("socket", raw.socket.is_some()),
                ("path", raw.path.is_some()),
            ];
            if let Some((key, _)) = placed.into_iter().find(|(_, is)| *is) {
                let message =
                    format!("`{key}` means nothing inside a service: a database is reached there by its own socket");
                self.refuse(at(self, key), message, "without effect", "remove it, or remove `service`");
            }
        }
        let spelt = [
            ("host", raw.host.is_some()),
            ("port", raw.port.is_some()),
            ("socket", raw.socket.is_some()),
            ("user", raw.user.is_some()),
            ("database", raw.database.is_some()),
            ("password", raw.password.is_some()),
        ];
        let spelt = spelt.into_iter().find(|(_, is)| *is).map(|(key, _)| key);
        let server = match raw.engine {
            raw::BackupEngine::Postgres => Engine::Postgres,
            raw::BackupEngine::Mysql | raw::BackupEngine::Sqlite => Engine::Mysql,
        };
        let (engine, access) = match (raw.engine, &raw.path, &raw.from, spelt) {
            (raw::BackupEngine::Sqlite, Some(path), None, None) => (Engine::Sqlite, Access::Path(path.0.clone())),
            (raw::BackupEngine::Sqlite, None, None, None) => {
                let help = "path = \"shared/database.sqlite\"";
                self.refuse(at(self, "engine"), "which file is it?".to_owned(), "needs `path`", help);
                return None;
            }
            (raw::BackupEngine::Sqlite, _, _, spelt) => {
                let key = spelt.unwrap_or("from");
                let message = format!("`{key}` means nothing with `engine = \"sqlite\"`");
                self.refuse(
                    at(self, key),
                    message,
                    "no effect",
                    "a file needs no login: remove it, and name the `path`",
                );
                return None;
            }
            (_, Some(_), ..) => {
                let message = "`path` is the file of a database of SQLite, and this is a server's".to_owned();
                self.refuse(at(self, "path"), message, "no effect", "from = \".env\" names the file with its login");
                return None;
            }
            (_, None, Some(from), None) => (server, Access::EnvFile(from.0.clone())),
            (_, None, Some(_), Some(key)) => {
                let message = format!("`from` and `{key}` both say how the database is reached");
                self.refuse(at(self, key), message, "one too many", "keep `from`, or spell all of it out");
                return None;
            }
            (_, None, None, _) => {
                let (Some(user), Some(database)) = (&raw.user, &raw.database) else {
                    let help = "from = \".env\" (the shared file with DB_HOST, …), or `user` and `database`";
                    let message = "nothing says how the database is reached".to_owned();
                    self.refuse(at(self, "engine"), message, "needs a login", help);
                    return None;
                };
                let login = Login {
                    host: raw.host.as_ref().map(|host| host.0.clone()),
                    port: raw.port,
                    socket: raw.socket.as_ref().map(|socket| socket.0.clone()),
                    user: user.0.clone(),
                    database: database.0.clone(),
                    password: raw.password.as_ref().map(|name| name.0.clone()),
                };
                (server, Access::Login(login))
            }
        };
        let service = raw.service.as_ref().map(|service| service.0.clone());
        Some(Database { part: Self::part(&raw.name, index), name: raw.name.0.clone(), engine, access, service })
    }

    fn file_set(&mut self, index: usize) -> Option<FileSet> {
        let raw = &self.raw.files[index];
        Some(FileSet {
            part: Self::part(&raw.name, index),
            name: raw.name.0.clone(),
            path: raw.path.0.clone(),
            exclude: raw.exclude.iter().map(|glob| glob.0.clone()).collect(),
        })
    }

    fn target(&mut self, index: usize) -> Option<BackupTarget> {
        let raw = &self.raw.targets[index];
        let span = self.entry("targets", index, "url");
        if raw.name.0 == LOCAL {
            let message = format!("`{LOCAL}` is the target in ROOT/backups");
            let span = self.entry("targets", index, "name");
            self.refuse(
                span,
                message,
                "taken",
                "give it another name; `keep.local` says how many are kept on the server",
            );
        }
        let place = match raw.url.0.parse::<Address>() {
            Ok(Address::Directory(path)) => Place::Directory(path),
            Ok(Address::Sftp { user, host, port, path }) => {
                let host_key = raw.host_key.as_ref().map(|key| key.0.clone());
                Place::Sftp(SftpPlace { user, host, port, path, host_key })
            }
            Ok(Address::S3 { bucket, prefix }) => Place::S3(self.bucket(index, bucket, prefix)?),
            Err(why) => {
                self.refuse(span, why.what, "no place for backups", why.cure);
                return None;
            }
        };
        if raw.host_key.is_some() && !matches!(place, Place::Sftp(_)) {
            let message = format!("`{}` shows no key of SSH", raw.url.0);
            let span = self.entry("targets", index, "host_key");
            self.refuse(span, message, "without effect", "remove it, or name a server: sftp://…");
        }
        let of_buckets = [
            ("endpoint", raw.endpoint.is_some()),
            ("region", raw.region.is_some()),
            ("access_key", raw.access_key.is_some()),
            ("secret_key", raw.secret_key.is_some()),
        ];
        if let Some((key, _)) = of_buckets.into_iter().find(|(_, is)| *is)
            && !matches!(place, Place::S3(_))
        {
            let message = format!("`{key}` means nothing for `{}`, which is no bucket", raw.url.0);
            let span = self.entry("targets", index, key);
            self.refuse(span, message, "without effect", "remove it, or name a bucket: s3://…");
        }
        Some(BackupTarget { name: raw.name.0.clone(), place })
    }

    fn bucket(&mut self, index: usize, bucket: String, prefix: String) -> Option<S3Place> {
        let raw = &self.raw.targets[index];
        let (Some(access), Some(secret)) = (&raw.access_key, &raw.secret_key) else {
            let message = format!("nothing says with which key `{}` is opened", raw.url.0);
            let help = "access_key = \"S3_ACCESS_KEY\" and secret_key = \"S3_SECRET_KEY\": names of secrets with the use `backup`";
            self.refuse(self.entry("targets", index, "url"), message, "needs `access_key` and `secret_key`", help);
            return None;
        };
        let endpoint = raw.endpoint.as_ref().map(|endpoint| endpoint.0.clone());
        let goes_open = |url: &Url| url.scheme() == "http" && !url.host_str().is_some_and(is_loopback);
        let url = endpoint.as_ref().and_then(|endpoint| Url::parse(endpoint).ok());
        if self.raw.encrypt.is_empty() && url.as_ref().is_some_and(goes_open) {
            let message = "what goes to this endpoint can be read on its way".to_owned();
            let span = self.entry("targets", index, "endpoint");
            let help = "write https://, or `encrypt` for somebody";
            self.out.push(Diagnostic::warning(span, message).label("not encrypted").help(help));
        }
        let key = Key::Named { access: access.0.clone(), secret: secret.0.clone() };
        Some(S3Place { bucket, prefix, endpoint, region: raw.region.as_ref().map(|region| region.0.clone()), key })
    }

    /// A login is read from a file that the environment has.
    fn known_files(&mut self, env: &super::super::Environment) {
        for (index, database) in self.raw.databases.iter().enumerate() {
            if database.service.is_some() && env.delivery.compose().is_none() {
                let message = format!("`{}` is no project of Compose: it has no services", env.name);
                let help = "remove `service`, and say with `from` or `host` how the database is reached";
                let span = self.entry("databases", index, "service");
                self.refuse(span, message, "without effect", help);
            }
            let Some(from) = &database.from else { continue };
            if !env.shared.iter().any(|shared| !shared.directory && (shared.path == from.0 || shared.from == from.0)) {
                let message = format!("`{}` is no shared file of `{}`", from.0, env.name);
                let files = env.shared.iter().filter(|shared| !shared.directory).map(|shared| shared.path.as_str());
                let help = suggest::help(&from.0, "its shared files", files);
                let span = self.entry("databases", index, "from");
                self.refuse(span, message, "not one of `shared_files`", help);
            }
        }
    }

    /// Two parts of one name would overwrite each other.
    fn doubles(&mut self, list: &'static str) {
        let items = self.node.get(list).map(Node::items).unwrap_or_default();
        let mut seen: Vec<&str> = Vec::new();
        for item in items {
            let Some(node) = item.get("name") else { continue };
            let name = node.text().unwrap_or_default();
            if seen.contains(&name) {
                let message = format!("`{name}` is there twice in `{list}` of the backup `{}`", self.name);
                let error = Diagnostic::error(node.span, message);
                self.out.push(error.label("the second one").help("give it another name: lists and files go by it"));
            }
            seen.push(name);
        }
    }

    /// Two jobs in one directory, or in two of which one lies in the other, would prune each other's backups.
    fn apart(&mut self, backup: &Backup, env: &super::super::Environment, taken: &mut Vec<Taken>) {
        let Some(host) = env.targets.first() else { return };
        for (index, place) in backup.places(&host.root).into_iter().enumerate() {
            let is_local = place.name == LOCAL && index >= backup.targets.len();
            let mine = Taken { job: self.name.to_owned(), seat: Seat::of(&place.place, host.name.as_str()), is_local };
            // Copies on the server share a directory: they have names of their own, and their manifests say whose they are.
            let other = taken.iter().find(|one| !(one.is_local && is_local) && one.seat.meets(&mine.seat));
            if let Some(other) = other {
                let shown = place.place.address();
                let how = match (other.seat.path.len()).cmp(&mine.seat.path.len()) {
                    Ordering::Equal => "is",
                    Ordering::Less => "lies in",
                    Ordering::Greater => "lies around",
                };
                let of = if other.is_local { "the copies on the server (`keep.local`)" } else { "a target" };
                let message = format!("{shown} {how} {of} of `{}`", other.job);
                let span = if is_local { self.at("keep") } else { self.entry("targets", index, "url") };
                let help =
                    "one would prune the other's: name a directory that is neither in the other one nor around it";
                self.refuse(span, message, "the same place", help);
            }
            taken.push(mine);
        }
    }
}

/// A place that a job writes to.
struct Taken {
    job: String,
    seat: Seat,
    /// ROOT/backups.
    is_local: bool,
}
