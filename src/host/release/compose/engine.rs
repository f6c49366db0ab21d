//! The engine that runs containers, as far as releases need it: what is there, and the few deeds that the program does not do as
//! we want them. Blocking, as everything else that a host does. `exec`: programs inside containers.
//! `images`: those that it has, and how it gets more.

mod exec;
mod images;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters as query;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::container::{Container, Inspected};
use crate::host::disk::people;
use crate::host::wire::HostError;
use crate::host::wire::compose::EngineVersion;
use crate::model::causes;

/// Where an engine listens unless DOCKER_HOST of the user says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// A question is answered at once, or the engine hangs: two of them are part of every observation, for which nobody waits longer
/// than half a minute.
const ANSWER: Duration = Duration::from_secs(12);
/// A container is given its own time to stop, which nobody knows here.
const STOP: Duration = Duration::from_secs(600);

/// The engine of this host.
#[derive(Clone)]
pub struct Engine {
    pub socket: PathBuf,
    docker: Docker,
    /// Requests are asynchronous, and whoever makes them here waits.
    runtime: Arc<Runtime>,
}

impl Engine {
    /// The one that DOCKER_HOST of this user names, or the usual one.
    ///
    /// # Errors
    /// Nobody listens there, or this user may not speak to it: what to do about it is in the words.
    pub fn here() -> Result<Engine, HostError> {
        let socket = socket()?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| HostError::Io(format!("no request can be made of an engine: {error}")))?;
        let docker = Docker::connect_with_unix(&socket.display().to_string(), STOP.as_secs(), API_DEFAULT_VERSION);
        let docker = docker.map_err(|error| unanswered(&socket, &error))?;
        let mut engine = Engine { socket, docker, runtime: Arc::new(runtime) };
        // An engine refuses an API that is too old for it, as it does one that it does not know.
        engine.docker = engine.wait("version", ANSWER, engine.docker.clone().negotiate_version())?;
        Ok(engine)
    }

    /// The API that is spoken with it: the newest that both sides know.
    pub fn api(&self) -> (usize, usize) {
        let version = self.docker.client_version();
        (version.major_version, version.minor_version)
    }

    /// Where it keeps images, containers and volumes; empty: it does not say.
    pub fn home(&self) -> Result<String, HostError> {
        let info = self.wait("info", ANSWER, self.docker.info())?;
        Ok(info.docker_root_dir.unwrap_or_default())
    }

    /// What it says of itself, and where it keeps everything.
    pub fn version(&self) -> Result<(EngineVersion, String), HostError> {
        let info = self.wait("info", ANSWER, self.docker.info())?;
        let known = self.wait("version", ANSWER, self.docker.version())?;
        let version = EngineVersion {
            version: info.server_version.unwrap_or_default(),
            api: known.api_version.unwrap_or_else(|| "unknown".to_owned()),
            store: info.driver.unwrap_or_default(),
        };
        Ok((version, info.docker_root_dir.unwrap_or_default()))
    }

    /// The containers of a project, also those that do not run; of all projects without a name.
    pub fn containers(&self, project: Option<&str>) -> Result<Vec<Container>, HostError> {
        let mut options = query::ListContainersOptionsBuilder::new().all(true);
        if let Some(name) = project {
            let label = vec![format!("com.docker.compose.project={name}")];
            options = options.filters(&HashMap::from([("label".to_owned(), label)]));
        }
        let all = self.wait("the list of containers", ANSWER, self.docker.list_containers(Some(options.build())))?;
        Ok(all.into_iter().map(Container::from).collect())
    }

    /// One in full; `None`: it is gone.
    pub fn inspect(&self, id: &str) -> Result<Option<Inspected>, HostError> {
        let asked = self.docker.inspect_container(id, None::<query::InspectContainerOptions>);
        Ok(self.found(&format!("container {id}"), asked)?.map(Inspected::from))
    }

    /// The last lines that a container wrote.
    pub fn log(&self, container: &Inspected, lines: usize) -> Result<String, HostError> {
        let options = query::LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let mut pieces = self.docker.logs(&container.id, Some(options));
        let whole = async {
            let mut text = Vec::new();
            while let Some(piece) = pieces.next().await {
                text.extend_from_slice(&piece?.into_bytes());
            }
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        self.wait(&format!("the log of container {}", container.id), ANSWER, whole)
    }

    /// Stops a container in its own time.
    pub fn stop(&self, id: &str) -> Result<(), HostError> {
        self.deed(&format!("to stop container {id}"), STOP, self.docker.stop_container(id, None))
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &str, name: &str) -> Result<(), HostError> {
        let options = query::RenameContainerOptionsBuilder::new().name(name).build();
        self.deed(&format!("to rename container {id}"), ANSWER, self.docker.rename_container(id, options))
    }

    /// Removes a container, and no volume of it: `v` is never said.
    pub fn remove(&self, id: &str) -> Result<(), HostError> {
        let options = query::RemoveContainerOptionsBuilder::new().force(true).build();
        self.deed(&format!("to remove container {id}"), STOP, self.docker.remove_container(id, Some(options)))
    }

    /// Waits for whatever is answered.
    fn ask<T>(
        &self,
        patience: Duration,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, HostError> {
        self.runtime.block_on(async { timeout(patience, asked).await }).map_err(|_| {
            let socket = self.socket.display();
            HostError::Io(format!("the container engine at {socket} has not answered for {patience:?}: it hangs"))
        })
    }

    /// Waits for an answer that is what was asked for.
    fn wait<T>(
        &self,
        what: &str,
        patience: Duration,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, HostError> {
        self.ask(patience, asked)?.map_err(|error| self.refused(what, &error))
    }

    /// The same where there may be no such thing.
    fn found<T>(&self, what: &str, asked: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, HostError> {
        match self.ask(ANSWER, asked)? {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.refused(what, &error)),
        }
    }

    /// What is so already counts as done.
    fn deed(
        &self,
        what: &str,
        patience: Duration,
        asked: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), HostError> {
        match self.ask(patience, asked)? {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => Ok(()),
            Err(error) => Err(self.refused(what, &error)),
        }
    }

    fn refused(&self, what: &str, error: &Error) -> HostError {
        match error {
            Error::DockerResponseServerError { message, .. } => HostError::Io(format!(
                "the container engine at {} refuses {what}: {}",
                self.socket.display(),
                message.trim()
            )),
            error => unanswered(&self.socket, error),
        }
    }
}

/// Where the engine of this user listens.
pub fn socket() -> Result<PathBuf, HostError> {
    let Some(host) = std::env::var_os("DOCKER_HOST").filter(|host| !host.is_empty()) else {
        return Ok(PathBuf::from(SOCKET));
    };
    let host = host.to_string_lossy().into_owned();
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(HostError::Precondition(format!(
            "DOCKER_HOST is {host}, and the engine of a host is spoken to on its own socket only: unix:///path/docker.sock"
        ))),
    }
}

/// Why an engine does not answer, with the next move.
fn unanswered(socket: &std::path::Path, error: &Error) -> HostError {
    let socket = socket.display();
    let kind = match error {
        Error::SocketNotFoundError(_) => Some(io::ErrorKind::NotFound),
        error => cause(error),
    };
    HostError::Io(match kind {
        Some(io::ErrorKind::PermissionDenied) => {
            let user = people::user(rustix::process::geteuid().as_raw());
            format!(
                "{user} may not speak to the container engine at {socket}; as root: usermod -aG docker {user} (whoever may do \
                 that is root there)"
            )
        }
        Some(io::ErrorKind::NotFound) => format!(
            "no container engine listens at {socket}: install one (Debian: docker.io, docker-compose) and start it, or set \
             DOCKER_HOST for the user that deploys"
        ),
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("the container engine at {socket} does not run: start it there (systemctl start docker)")
        }
        _ => format!("the container engine at {socket} does not answer: {}", words(error)),
    })
}

/// The kind of the failure of the system that an error is about, however deep that lies.
fn cause(error: &Error) -> Option<io::ErrorKind> {
    causes::causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// An error in the words of the engine, or with all of its causes.
fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        error => causes::in_one_line(error),
    }
}
