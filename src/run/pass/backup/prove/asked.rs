//! What a host is asked to try: the part, what opens it, and where it may be restored beside what is live.

use super::{Bench, Trying};
use crate::host::wire::Secret;
use crate::host::wire::backup::{Login, Prove, ScratchPlace};
use crate::model::backup::manifest::{Engine, Manifest, PartEntry};
use crate::model::backup::name::Content;
use crate::model::desired::backup::{Access, BackupTarget, Database, ScratchUser};
use crate::run::secrets::Purpose;

impl Bench<'_> {
    /// With the secrets that it needs.
    ///
    /// # Errors
    /// One of them is not given for this.
    pub(super) fn asked(
        &self,
        place: &BackupTarget,
        manifest: &Manifest,
        entry: &PartEntry,
        trying: &Trying,
    ) -> Result<Prove, String> {
        let secrets = self.snapshot.secrets();
        let get = |name: &str, purpose: &Purpose<'_>, what: &str| {
            let got = secrets.get(name, purpose);
            got.map_err(|refused| format!("{what} with the secret {name}, {}: {}", refused.why, refused.fix))
        };
        let identity = self.backup.identity.as_ref().filter(|_| entry.file.ends_with(".age"));
        let identities = identity
            .map(|name| get(name, &Purpose::backup(&self.env.name, None), "encrypted files are opened"))
            .transpose()?;
        let engine = entry.database.as_ref().map(|facts| facts.engine);
        let test = self.backup.restore_test.as_ref();
        let scratch = test.and_then(|test| test.scratch.as_ref());
        let scratch_place = match (engine, scratch) {
            (Some(Engine::Mysql | Engine::Postgres), Some(user)) => {
                let password = get(&user.password, &Purpose::database(&self.on.name), "a database is restored")?;
                self.server(user, password, entry)
            }
            _ => ScratchPlace::Own,
        };
        Ok(Prove {
            job: self.backup.name.clone(),
            target: place.clone(),
            name: manifest.name,
            part: entry.clone(),
            window: (manifest.started, manifest.ended),
            identities,
            place: scratch_place,
            // They are about the first database.
            queries: match entry.content {
                Content::Database if entry.name.is_none() => test.map(|test| test.queries.clone()).unwrap_or_default(),
                _ => Vec::new(),
            },
            keep: trying.keep,
        })
    }

    /// Where the server is: as the state file says, or as the application's own file says on that host.
    fn server(&self, user: &ScratchUser, password: Secret, entry: &PartEntry) -> ScratchPlace {
        let login = |host: Option<String>, port: Option<u16>, socket: Option<String>, password| {
            let (user, database) = (user.user.clone(), String::new());
            ScratchPlace::Server(Login { host, port, socket, user, database, password: Some(password) })
        };
        if user.host.is_some() || user.port.is_some() || user.socket.is_some() {
            return login(user.host.clone(), user.port, user.socket.clone(), password);
        }
        let database: Option<&Database> = self.backup.databases.iter().find(|database| database.part == entry.name);
        match database.map(|database| &database.access) {
            Some(Access::EnvFile(from)) => {
                let files = crate::run::step::backup::env_files(self.on, from);
                ScratchPlace::Beside { files, user: user.user.clone(), password }
            }
            Some(Access::Login(of)) if self.on.name == self.env.name => {
                login(of.host.clone(), of.port, of.socket.clone(), password)
            }
            _ => login(None, None, None, password),
        }
    }
}
