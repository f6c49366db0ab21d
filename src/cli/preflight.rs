//! `soll preflight ENV`: tries the desired release on the hosts, beside everything that is live, and throws it away.

use clap::Args;

use super::Result;
use super::findings::print;
use super::global::Global;
use crate::model::ids::EnvName;
use crate::run::commit::known;
use crate::run::doctor::merged;
use crate::run::operate::preflight;

/// Try the desired release.
#[derive(Args)]
pub struct Preflight {
    environment: EnvName,
}

impl Preflight {
    /// Tries and prints.
    pub async fn run(self, global: &Global) -> Result {
        let (controller, snapshot) = global.accepted().await?;
        let env = known(&snapshot, &self.environment)?;
        let (findings, unreachable) = merged(preflight::preflight(&controller, &snapshot, env).await?);
        Ok(print(global, &findings, unreachable))
    }
}
