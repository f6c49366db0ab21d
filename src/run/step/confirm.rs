//! The end of a run on one host: a release becomes the confirmed one, as what it was made with, or one that soll did not make is
//! taken over.

use crate::host::wire::excerpt::Excerpt;
use crate::host::wire::{Op, Reply};
use crate::model::activation::Activation;
use crate::model::desired::{Target, digests};
use crate::model::ids::{Digest, ReleaseName, Sha};
use crate::model::record::{Confirmed, Release};
use crate::plan::intent::present_files;
use crate::run::step::executor::{Executor, StepResult, StepTrouble, unexpected};
use crate::run::step::world::{Trouble, World};

impl<W: World> Executor<W> {
    /// A confirmed release that was restarted and is well: it is confirmed as what it was.
    pub(super) async fn confirm_again(&self, target: &Target, release: &ReleaseName) -> StepResult {
        let state = self.task.states.get(&target.name);
        let before = state.and_then(|state| state.record.confirmed.clone()).filter(|known| known.release == *release);
        let Some(before) = before else {
            return Err(Trouble::error(format!("{release} is not the confirmed release of {}", target.name)).into());
        };
        let confirmed = Confirmed { at: self.world.now(), ..before };
        match self.world.call(target, Op::Confirm { epoch: self.task.epoch, confirmed }).await? {
            Reply::Confirmed => Ok(format!("{release} is well again")),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes a release over that soll did not make. Gives what of it cannot be read, and is not vouched for.
    pub(super) async fn adopt(
        &self,
        target: &Target,
        name: &ReleaseName,
        sha: Option<Sha>,
    ) -> Result<Excerpt<String>, StepTrouble> {
        let env = &self.task.env;
        let release = Release {
            sha,
            bundle: None,
            tree: None,
            // What was linked by others reads the shared paths themselves.
            links: Some(digests::links(&env.shared)),
            strip: env.delivery.strip(),
            staged_at: self.task.started.at,
            sealed: false,
            confirmed_at: None,
            failed: false,
            adopted: true,
        };
        let (epoch, shared, mutable) = (self.task.epoch, env.shared.clone(), env.mutable.clone());
        match self.world.call(target, Op::Adopt { epoch, name: name.clone(), release, shared, mutable }).await? {
            Reply::Sealed { unread, .. } => Ok(unread),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a release the confirmed one. `inputs`: what it was made with, where this run knows.
    pub(super) async fn confirm(
        &self,
        target: &Target,
        release: &ReleaseName,
        sha: Option<Sha>,
        inputs: Option<Digest>,
    ) -> StepResult {
        let state = self.task.states.get(&target.name);
        let known = state.and_then(|s| s.record.releases.get(release)).and_then(|r| r.bundle);
        let confirmed = Confirmed {
            release: release.clone(),
            bundle: if *release == self.task.started.release { self.task.bundle_digest() } else { known },
            at: self.world.now(),
            inputs: inputs.or_else(|| (sha.as_ref() == Some(self.task.sha())).then(|| self.task.env.inputs_digest())),
            files: state.map(present_files).unwrap_or_default(),
            // What was only adopted was started by something else.
            activation: inputs.map_or_else(Activation::default, |_| Activation::of(&self.task.env, target)),
            sha,
        };
        match self.world.call(target, Op::Confirm { epoch: self.task.epoch, confirmed }).await? {
            Reply::Confirmed => Ok(format!("{release} is confirmed")),
            other => Err(unexpected(&other)),
        }
    }
}
