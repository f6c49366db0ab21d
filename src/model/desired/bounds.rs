//! What the controller's settings say about an environment, whatever its state file says: guards that a commit can raise
//! and never lower, and hosts that it may not act on. Pure: the settings are read elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Environment, Match, Promote, ReleaseRef};
use crate::model::ids::{EnvName, HostName};

/// One table `[policy.NAME]` of the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// At least so many approvals.
    pub approvals: u32,
    /// Tags are refused.
    pub immutable: bool,
    /// Only what this environment runs well may come here.
    pub promote: Option<EnvName>,
    /// Only signed commits are acted on.
    pub signed: bool,
    /// `emergency` counts for nothing.
    pub no_emergency: bool,
}

/// What became of an environment under the settings. Empty where they say nothing about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// So many approvals are not to be skipped by an emergency.
    pub approvals: u32,
    /// Nor is the promotion.
    pub promoted: bool,
    /// What the settings demand and this environment cannot meet.
    pub unmet: Vec<Unmet>,
    /// Which guards hold although the state file says less, and from where.
    pub raised: Vec<String>,
    /// Hosts that this controller may not act on.
    pub barred: BTreeMap<HostName, Unmet>,
}

/// A demand that is not met, and the next move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    pub message: String,
    pub fix: String,
}

impl Bounds {
    /// Whether the settings say nothing.
    pub fn is_empty(&self) -> bool {
        *self == Bounds::default()
    }
}

fn from(policy: &str) -> String {
    format!("from the settings' policy \"{policy}\"")
}

impl Environment {
    /// Puts the strictest of these tables, each with its name, under what the state file says. `signers`: the controller
    /// knows whose signatures count.
    pub fn raise(&mut self, policies: &[(&str, &Guards)], signers: bool) {
        if let Some((policy, guards)) = policies.iter().rev().max_by_key(|(_, guards)| guards.approvals)
            && guards.approvals > 0
        {
            self.bounds.approvals = guards.approvals;
            if guards.approvals > self.approvals {
                let (least, said, from) = (guards.approvals, self.approvals, from(policy));
                self.bounds.raised.push(format!("approvals {least}, {from}; the state file says {said}"));
                self.approvals = least;
            }
        }
        if let Some((policy, _)) = policies.iter().find(|(_, guards)| guards.immutable)
            && !self.immutable
        {
            self.immutable = true;
            let from = from(policy);
            self.bounds.raised.push(format!("immutable, {from}; the state file allows tags"));
            if let ReleaseRef::Tag(tag) = &self.release {
                self.bounds.unmet.push(Unmet {
                    message: format!("`release = \"{tag}\"` is a tag, and tags are refused here, {from}"),
                    fix: "name the full commit id".to_owned(),
                });
            }
        }
        self.raise_promotion(policies);
        if let Some((policy, _)) = policies.iter().find(|(_, guards)| guards.signed)
            && !signers
        {
            self.bounds.unmet.push(Unmet {
                message: format!("commits must be signed, {}, and this controller knows no signers", from(policy)),
                fix: "name those who may sign: SOLL_ALLOWED_SIGNERS, or `allowed_signers` in the settings file"
                    .to_owned(),
            });
        }
        if let Some((policy, _)) = policies.iter().find(|(_, guards)| guards.no_emergency)
            && let Some(emergency) = self.emergency.take()
        {
            let (from, reason) = (from(policy), emergency.reason);
            self.bounds.raised.push(format!("`emergency` is ignored, {from}; the state file says: {reason}"));
        }
    }

    fn raise_promotion(&mut self, policies: &[(&str, &Guards)]) {
        // The environment that releases come from first is promoted from nowhere.
        let sources = policies.iter().filter_map(|(policy, guards)| Some((*policy, guards.promote.as_ref()?)));
        let sources: Vec<_> = sources.filter(|(_, source)| **source != self.name).collect();
        let Some((policy, source)) = sources.first().copied() else { return };
        let distinct: BTreeSet<&EnvName> = sources.iter().map(|(_, source)| *source).collect();
        if distinct.len() > 1 {
            let all: Vec<_> = sources.iter().map(|(policy, source)| format!("\"{policy}\" says {source}")).collect();
            self.bounds.unmet.push(Unmet {
                message: format!(
                    "the settings' policies name several environments to promote from: {}",
                    all.join(", ")
                ),
                fix: format!("let the [policy] tables that match {} name one of them", self.name),
            });
        }
        self.bounds.promoted = true;
        let said = match &self.promote {
            Some(promote) if promote.from == *source => return,
            Some(promote) => format!("from {}", promote.from),
            None => "nothing of it".to_owned(),
        };
        self.bounds.raised.push(format!("promote from {source}, {}; the state file says {said}", from(policy)));
        let (soak, by) = self.promote.as_ref().map_or((Default::default(), Match::Sha), |own| (own.soak, own.by));
        self.promote = Some(Promote { from: source.clone(), soak, by });
    }
}
