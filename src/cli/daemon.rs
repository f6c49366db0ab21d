//! `soll run`: the loop in the foreground, for systemd or a terminal.

use std::sync::Arc;

use clap::Args;

use super::global::Global;
use super::{Result, apply, progress, screen};
use crate::journal::notice::Notice;
use crate::model::ids::EnvName;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::pass::daemon::{Daemon, Report};
use crate::run::pass::outcome::Outcome;

/// Follow the repository.
#[derive(Args)]
pub struct Run {
    /// Serve health, observation and webhook on this address, for example 127.0.0.1:8484
    #[arg(long, env = "SOLL_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// Pull mode: where others publish what they see (may be repeated)
    #[arg(long, value_name = "FILE|URL")]
    observation: Vec<String>,
}

impl Run {
    /// Loops until it is told to stop.
    pub async fn run(self, global: &Global) -> Result {
        let stop = stop_signal();
        let controller = global.controller_with(&self.observation)?;
        apply::interrupt_dead(&controller.store);
        let daemon = Daemon::new(controller.clone(), Arc::new(Lines), Some(progress::listener()?));
        let listen = self.listen.or_else(|| controller.settings.listen.clone());
        if let Some(address) = listen {
            crate::web::serve(&address, controller.clone(), daemon.nudge.clone())
                .await
                .map_err(super::CliError::plain)?;
        }
        let alone = controller.settings.host.as_ref().map_or_else(String::new, |host| format!(", for {host} alone"));
        screen::line(&format!("soll follows {} ({}){alone}", controller.repo.location(), controller.repo.branch()));
        daemon.run(stop).await?;
        screen::line("soll has stopped");
        Ok(0)
    }
}

/// Resolves at SIGTERM or Ctrl-C. Heard from this call on, not from the first look at the future: a signal that comes
/// during the start would end the process in the middle of something.
pub fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    async fn heard(signal: std::io::Result<Signal>) {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::warn!(%error, "a signal cannot be heard");
                std::future::pending().await
            }
        }
    }
    let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    async move {
        tokio::select! {
            () = heard(terminate) => {}
            () = heard(interrupt) => {}
        }
    }
}

/// One line per notice. A run tells its own story.
pub struct Lines;

impl Report for Lines {
    fn accepted(&self, _: &AcceptedSnapshot) {}

    fn passed(&self, _: &EnvName, _: &Outcome) {}

    fn notice(&self, notice: &Notice) {
        screen::line(&notice.text());
    }
}
