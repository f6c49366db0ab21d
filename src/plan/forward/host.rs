//! One host of a plan: what it runs, what becomes of it, and which directories that is about.

use crate::model::desired::Target;
use crate::model::ids::{HostName, ReleaseName, Sha};
use crate::model::observed::HostState;
use crate::model::record::Probation;
use crate::plan::intent::Intent;
use crate::plan::step::ReleaseDir;

/// One host that takes part.
pub struct Host<'a> {
    pub target: &'a Target,
    pub state: &'a HostState,
    pub intent: Intent,
}

impl Host<'_> {
    pub(super) fn name(&self) -> &HostName {
        &self.target.name
    }

    pub(super) fn live(&self) -> ReleaseDir {
        ReleaseDir::Live { sha: self.state.current.release().and_then(|r| self.state.sha_of(r)).cloned() }
    }

    /// Where the host will be afterwards.
    pub(super) fn goal(&self, sha: &Sha) -> ReleaseDir {
        // What stands for a commit is none: no hook is told of it, and no record.
        let sha_of = |release: &ReleaseName| match sha.is_unknown() {
            true => self.state.sha_of(release).cloned(),
            false => Some(sha.clone()),
        };
        let existing = |release: &ReleaseName| ReleaseDir::Existing { release: release.clone(), sha: sha_of(release) };
        match &self.intent {
            Intent::Deploy { .. } | Intent::Nothing => ReleaseDir::New { sha: sha.clone() },
            Intent::SwitchTo { release, .. }
            | Intent::Reconfigure { release, .. }
            | Intent::Resume { release, .. }
            | Intent::Restart { release, .. }
            | Intent::Revive { release, .. }
            | Intent::Adopt { release, .. } => existing(release),
        }
    }

    pub(super) fn deploys(&self) -> bool {
        matches!(self.intent, Intent::Deploy { .. })
    }

    pub(super) fn switches(&self) -> bool {
        matches!(self.intent, Intent::Deploy { .. } | Intent::SwitchTo { .. })
    }

    /// The probation that an earlier run left, where this one goes on with it.
    pub(super) fn resumed(&self) -> Option<&Probation> {
        let probation = self.state.record.probation.as_ref()?;
        matches!(&self.intent, Intent::Resume { release, .. } if *release == probation.release).then_some(probation)
    }

    /// Whether figures are watched before it is confirmed: a release that is new here, also where an earlier run switched
    /// to it and its watch did not come to its end.
    pub(super) fn is_watched(&self) -> bool {
        let record = &self.state.record;
        match &self.intent {
            Intent::Resume { release, .. } => record.releases.get(release).is_none_or(|r| r.confirmed_at.is_none()),
            intent => self.switches() && !intent.is_return(record),
        }
    }
}
