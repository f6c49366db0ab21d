//! `soll run`: the loop in the foreground, for systemd or a terminal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::global::Global;
use super::{Result, apply, progress, screen};
use crate::journal::notice::Notice;
use crate::model::ids::EnvName;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::pass::daemon::{Daemon, Report};
use crate::run::pass::outcome::Outcome;

/// Follow the repository.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll run                                    as a service: docs/tour.md has a unit
  soll run --listen 127.0.0.1:9188")]
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
        let mut signals = StopSignals::hear();
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
        let (who, wishes) = (controller.who.clone(), daemon.wishes.clone());
        let stop = async move {
            signals.next().await;
            tokio::spawn(signals.next_again(move || wishes.stop_now(&who)));
        };
        daemon.run(stop).await?;
        screen::line("soll has stopped");
        Ok(0)
    }
}

/// Signals so close to each other are one.
const ONE_WORD: Duration = Duration::from_millis(300);

/// SIGTERM and Ctrl-C. Heard from the beginning of this value on, not from the first look at it: a signal that comes
/// during the start would end the process in the middle of something.
pub struct StopSignals(Vec<Signal>);

impl StopSignals {
    /// Hears them from now on.
    pub fn hear() -> StopSignals {
        let heard = [SignalKind::terminate(), SignalKind::interrupt()].into_iter().filter_map(|kind| {
            signal(kind).inspect_err(|error| tracing::warn!(%error, "a signal cannot be heard")).ok()
        });
        StopSignals(heard.collect())
    }

    /// The next one.
    pub async fn next(&mut self) {
        let each = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        let each: Vec<_> = each.collect();
        if each.is_empty() {
            std::future::pending::<()>().await;
        }
        drop(futures_util::future::select_all(each).await);
    }

    /// The next one but the first, which is told: whoever asks again does not wait for what a host is at. `stop`: carries
    /// that out.
    pub async fn next_again(mut self, stop: impl Fn()) {
        screen::line(
            "soll: told to stop: what is under way comes to its next safe point first; once more stops what runs on the \
             hosts, and everything goes back",
        );
        // `timeout` and others signal a process and its group: what comes at once is one word.
        let first = Instant::now();
        self.next().await;
        while first.elapsed() < ONE_WORD {
            self.next().await;
        }
        screen::line(
            "soll: told again: what runs on the hosts is stopped, and everything goes back, which is waited for",
        );
        stop();
        loop {
            self.next().await;
            screen::line("soll: it goes back already: its hooks and checks are not stopped");
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
