//! `soll demo`: everything that is real, in one folder: a state repository, an application with its history, bundles, two
//! environments, a web server for each, and the loop that `soll run` is. It may use every room and knows no secret one:
//! what it shows is what the program does.
//!
//! Reading order: [`world`] (the folder), [`app`] (three versions and their bundles), [`server`] (who serves them),
//! [`timeline`] (the loop, told to a person), [`script`] (`--once`: what must happen, from the first deployment to a backup
//! that restores, each act looked for on the disk and on the wire through [`facts`]), [`guide`] (what a person may try by hand).

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::run::controller::{Controller, ControllerError};
use crate::run::pass::daemon::Daemon;
use crate::run::settings::Settings;
use crate::state_repo::GitSettings;

mod app;
mod facts;
mod git;
mod guide;
mod script;
mod server;
mod timeline;
mod world;

use timeline::Timeline;
use world::World;

/// The loop of the demo looks so often: what a soak of a second needs.
const POLL: Duration = Duration::from_millis(250);

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where; `None`: a fresh folder that goes away at the end.
    pub dir: Option<PathBuf>,
    /// Play every act of the script, then end.
    pub once: bool,
    /// Of staging; production gets the next one. `None`: free ones.
    pub port: Option<u16>,
    /// Whether the timeline is read on a terminal.
    pub colour: bool,
}

/// Why the demo did not do what it should: the message names the place and the next move.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{0}")]
    World(String),
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// `--once`, and one of its acts did not happen.
    #[error("the demo did not happen as it should.\n  {missing}\n  the folder is kept for a look: {}", dir.display())]
    Missing { missing: String, dir: PathBuf },
    /// `--once` was told to end before its last act.
    #[error("stopped before the last act")]
    Stopped,
}

/// Runs the demo until `stop` resolves, or, with `once`, until the last act is over.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), DemoError> {
    let began = Instant::now();
    let mut world = World::open(&options).await?;
    let controller = Controller::open(settings(&world))?;
    let timeline = Arc::new(Timeline::new(&world, options.colour));
    for (environment, listener) in world.take_listeners() {
        server::serve(listener, &world.root(environment), environment);
    }
    timeline.print(&guide::welcome(&world, options.once));
    let daemon = Daemon::new(controller.clone(), timeline.clone(), Some(timeline.listener()));
    let (end, ended) = oneshot::channel::<()>();
    let looping = tokio::spawn(daemon.run(async {
        // Nobody can say "end" any more: that is an end too.
        let _ = ended.await;
    }));
    let outcome = match options.once {
        true => tokio::select! {
            played = script::play(&world, &controller, &timeline) => played.map_err(Some),
            () = stop => Err(None),
        },
        false => {
            stop.await;
            Ok(())
        }
    };
    drop(end);
    let looped =
        looping.await.unwrap_or_else(|error| Err(ControllerError::Other(format!("the loop broke off: {error}"))));
    match outcome {
        Ok(()) => looped?,
        Err(None) => return Err(DemoError::Stopped),
        Err(Some(missing)) => return Err(DemoError::Missing { missing, dir: world.keep() }),
    }
    timeline.print(&guide::farewell(&world, options.once, began.elapsed()));
    Ok(())
}

/// The settings of a controller that lives in the folder alone: nothing of this machine's own configuration counts.
fn settings(world: &World) -> Settings {
    Settings {
        repo: world.state().display().to_string(),
        branch: "main".to_owned(),
        file: "desired-state.toml".to_owned(),
        state_dir: world.controller(),
        git: GitSettings::default(),
        ssh: crate::link::settings::Settings::default(),
        allowed_signers: None,
        trust_since: None,
        signing_key: None,
        secrets: Default::default(),
        policies: Default::default(),
        local_roots: None,
        bundle_origins: None,
        approval_ttl: crate::run::settings::APPROVAL_TTL,
        poll: POLL,
        push: false,
        author: None,
        listen: None,
        host: None,
        observation: Vec::new(),
        observation_key: None,
    }
}
