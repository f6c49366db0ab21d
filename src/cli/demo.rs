//! `soll demo`: see it work, without a server of your own.

use std::path::PathBuf;

use clap::Args;

use super::global::Global;
use super::{CliError, Result, daemon, out};
use crate::demo::{self, DemoError, Options};

/// See it work.
#[derive(Args)]
pub struct Demo {
    /// Make it in this folder and keep it, or go on with the one there [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Play the whole story, check each act of it, and end: deploy, promote, a bad release and its rollback, a refusal, revert,
    /// and a backup that is restored on trial
    #[arg(long)]
    once: bool,
    /// Serve staging on this port of 127.0.0.1 and production on the next one [default: free ports]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=65534))]
    port: Option<u16>,
}

impl Demo {
    /// Runs it to its end.
    pub async fn run(self, _: &Global) -> Result {
        let options = Options { dir: self.dir, once: self.once, port: self.port, colour: out::colour() };
        let mut signals = daemon::StopSignals::hear();
        demo::run(options, async move { signals.next().await }).await?;
        Ok(0)
    }
}

impl From<DemoError> for CliError {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Controller(error) => error.into(),
            other => CliError::plain(other.to_string()),
        }
    }
}
