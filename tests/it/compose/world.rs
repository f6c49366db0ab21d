//! A root whose releases are projects, and an agent that speaks to the engine of the tests.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use soll::host::call::client::Client;
use soll::host::wire::activate::{Activated, Deed};
use soll::host::wire::compose::{Pull, Pulled};
use soll::host::wire::{HostError, Op, Reply};
use soll::model::activation::Activation;
use soll::model::compose::{Project, ServiceSeen};
use soll::model::ids::Epoch;
use tokio::process::{Child, Command};

use crate::host::world::{Bundle, LEASE, World, name, temp};
use crate::support::docker::Docker;
use crate::support::engines::Pair;

/// A service that runs until it is told to end.
pub const STAYS: &str = r#"["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]"#;

pub struct Site {
    pub world: World,
    pub project: Project,
    pub settle: Duration,
    pub docker: &'static Docker,
    pub child: Child,
    _temp: tempfile::TempDir,
}

impl Site {
    /// A root that is held, with a project of this name, of which nothing runs.
    pub async fn new(on: &'static Pair, project: &str) -> Site {
        Site::dying(on, project, None).await
    }

    /// The same; its agent dies at a place.
    pub async fn dying(on: &'static Pair, project: &str, fault: Option<&str>) -> Site {
        Site::with(on.docker(), project, fault).await
    }

    /// On this engine.
    pub async fn with(docker: &'static Docker, project: &str, fault: Option<&str>) -> Site {
        let temp = temp();
        let root = temp.path().join("app").display().to_string();
        docker.clear(project);
        let (client, child) = agent(docker, &docker.host(), fault).await;
        let site = Site {
            world: World::with(&root, client),
            project: Project { name: project.to_owned(), files: vec!["compose.yml".to_owned()], ..Project::default() },
            settle: Duration::from_millis(600),
            docker,
            child,
            _temp: temp,
        };
        site.world.acquire(1, LEASE).await.unwrap();
        site
    }

    /// Another agent; the one before hears nobody any more, and is given back.
    pub async fn again(&mut self) -> Child {
        let (client, child) = agent(self.docker, &self.docker.host(), None).await;
        self.world.client = client;
        std::mem::replace(&mut self.child, child)
    }

    pub fn activation(&self) -> Activation {
        Activation { project: Some(self.project.name.clone()), settle: self.settle, ..Activation::default() }
    }

    /// Staged and linked; not resolved.
    pub async fn stage(&self, epoch: u64, to: &str, digit: char, files: &[(&str, &str)]) {
        self.world.extract(epoch, to, digit, &Bundle::new(files)).await.unwrap();
        self.world.link(epoch, to, &[]).await.unwrap();
    }

    pub async fn pull(&self, epoch: u64, to: &str) -> Result<Pulled, HostError> {
        let pull = Pull {
            project: self.project.clone(),
            variables: BTreeMap::from([("SOLL_SHA".to_owned(), "abc".to_owned())]),
            registries: BTreeMap::new(),
            hides: Vec::new(),
            brought: None,
        };
        match self.world.call(Op::Pull { epoch: Epoch(epoch), name: name(to), pull: Box::new(pull) }).await? {
            Reply::Pulled(pulled) => Ok(pulled),
            other => panic!("{other:?}"),
        }
    }

    pub async fn activate(&self, epoch: u64, deed: Deed) -> Result<Activated, HostError> {
        let op = Op::Activate { epoch: Epoch(epoch), activation: self.activation(), deed };
        match self.world.call(op).await? {
            Reply::Activated(activated) => Ok(activated),
            other => panic!("{other:?}"),
        }
    }

    /// Up to the switch, and what came of the start.
    pub async fn start(&self, epoch: u64, to: &str, digit: char, files: &[(&str, &str)]) -> Activated {
        self.stage(epoch, to, digit, files).await;
        self.pull(epoch, to).await.unwrap();
        self.world.seal(epoch, to, &[], &[]).await.unwrap();
        let mut probation = self.world.probation(epoch, to, digit, LEASE, "");
        probation.activation = self.activation();
        self.world.call(Op::Switch { epoch: Epoch(epoch), probation }).await.unwrap();
        self.activate(epoch, Deed::Restart).await.unwrap()
    }

    /// A whole deployment that is well. Gives what is told of its start.
    pub async fn deploy(&self, epoch: u64, to: &str, digit: char, files: &[(&str, &str)]) -> Vec<String> {
        let done = self.start(epoch, to, digit, files).await;
        assert_eq!(done.failed, None, "{to}");
        self.world.confirm(epoch, to, digit).await.unwrap();
        self.world.laws();
        done.told
    }

    /// Back to what is confirmed, and what came of that.
    pub async fn back(&self, epoch: u64) -> Activated {
        self.world.call(Op::Return { epoch: Epoch(epoch), verdict: None }).await.unwrap();
        self.activate(epoch, Deed::Back).await.unwrap()
    }

    pub async fn services(&self) -> BTreeMap<String, ServiceSeen> {
        let state = self.world.state().await;
        assert_eq!(state.services_unseen, None);
        state.services.into_iter().map(|one| (one.service.clone(), one)).collect()
    }

    /// Everything runs as the release says.
    pub async fn assert_well(&self) {
        let seen = self.services().await;
        assert!(!seen.is_empty() && seen.values().all(ServiceSeen::is_well), "{seen:#?}");
    }

    /// The name of the first container of a service.
    pub fn name(&self, service: &str) -> String {
        self.docker.pair.container(&self.project.name, service, 1)
    }

    /// What runs in the first container of a service, and ends well.
    #[track_caller]
    pub fn exec(&self, service: &str, words: &[&str]) -> String {
        self.docker.run(&[&["exec", &self.name(service)], words].concat())
    }

    /// Name and id of each container; `_` in the name, whatever the program has between its words.
    pub fn containers(&self) -> BTreeMap<String, String> {
        let all = self.docker.containers(&self.project.name).into_iter();
        all.map(|(name, id)| (name.replace('-', "_"), id)).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.docker.clear(&self.project.name);
    }
}

/// An agent on the host of an engine, whose user has this DOCKER_HOST.
pub async fn agent(docker: &Docker, host: &str, fault: Option<&str>) -> (Client, Child) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soll"));
    command.arg("host-agent").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.env("DOCKER_HOST", host).env("HOME", docker.home());
    if let Some(fault) = fault {
        command.env("SOLL_FAULT", fault);
    }
    let mut child = command.spawn().unwrap();
    let (output, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    (Client::over(output, input, false).await.unwrap(), child)
}

/// A file of a project, of services with their image and further lines.
pub fn file(services: &[(&str, &str, &str)]) -> String {
    let mut text = "services:\n".to_owned();
    for (name, image, more) in services {
        text.push_str(&format!("  {name}:\n    image: {image}\n    network_mode: none\n    stop_grace_period: 1s\n"));
        if !more.contains("command:") {
            text.push_str(&format!("    command: {STAYS}\n"));
        }
        for line in more.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}
