//! Who may come when: promotion, tracking, strategy, windows, emergencies.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::diagnose::{Diagnostic, Diagnostics};
use super::super::load::Tables;
use super::super::tree::Node;
use super::super::{
    Batch, Emergency, Gate, Match, Promote, ReleaseRef, Strategy, Track, Window, raw, release, suggest,
};
use super::{Resolved, Scope, Value, reference};

/// What an emergency may skip beside gates (B6).
const SKIPS: [&str; 5] = ["soak", "promotion", "window", "approval", "checks"];

impl Scope<'_> {
    pub(super) fn promote(&mut self, tables: &Tables, repository: Option<&str>) -> Option<Promote> {
        let raw = self.raw.promote.as_ref()?;
        let node = Node { span: self.at(&["promote", "from"]), value: Value::String(raw.from.0.clone()) };
        reference("environment", &node, &tables.environments, self.out)?;
        let by = raw.by.unwrap_or(Match::Sha);
        if by == Match::Tree && repository.is_none() {
            let error =
                Diagnostic::error(self.at(&["promote", "match"]), "trees are compared in the application's repository");
            self.out.push(error.label("not known which").help("add `repository = \"…\"` to the application"));
        }
        let soak = raw.soak.as_ref().map_or(Duration::from_secs(3600), |soak| soak.0);
        Some(Promote { from: raw.from.0.parse().ok()?, soak, by })
    }

    pub(super) fn track(&mut self, repository: Option<&str>) -> Option<Track> {
        let raw = self.raw.track.as_ref()?;
        if repository.is_none() {
            let error =
                Diagnostic::error(self.at(&["track", "branch"]), "nothing says in which repository this branch is");
            self.out.push(error.label("cannot be followed").help("add `repository = \"…\"` to the application"));
        }
        Some(Track { branch: raw.branch.0.clone() })
    }

    pub(super) fn strategy(&mut self) -> Strategy {
        let Some(raw) = &self.raw.strategy else { return Strategy::AllAtOnce };
        match raw.kind {
            raw::StrategyKind::Rolling => Strategy::Rolling {
                batch: match &raw.batch {
                    None => Batch::Hosts(1),
                    Some(raw::Batch::Hosts(hosts)) => Batch::Hosts(*hosts),
                    Some(raw::Batch::Percent(percent)) => Batch::Percent(percent.0),
                },
                max_failures: raw.max_failures.unwrap_or(0),
                pause: raw.pause.as_ref().map_or(Duration::ZERO, |pause| pause.0),
            },
            raw::StrategyKind::AllAtOnce => {
                for (key, present) in [
                    ("batch", raw.batch.is_some()),
                    ("max_failures", raw.max_failures.is_some()),
                    ("pause", raw.pause.is_some()),
                ] {
                    if present {
                        let span = self.node.get("strategy").map_or(self.key, |node| node.key(key));
                        let error = Diagnostic::error(span, format!("`{key}` means nothing beside \"all-at-once\""));
                        self.out.push(error.label("no effect").help("type = \"rolling\" goes batch after batch"));
                    }
                }
                Strategy::AllAtOnce
            }
        }
    }

    pub(super) fn windows(&mut self) -> Vec<Window> {
        let window = |raw: &raw::Window| Window {
            kind: raw.kind,
            days: raw.days.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
            from: raw.from.as_ref().map_or(0, |clock| clock.0),
            to: raw.to.as_ref().map_or(0, |clock| clock.0),
            zone: raw.zone.0.clone(),
            reason: raw.reason.as_ref().map(|reason| reason.0.clone()),
        };
        self.raw.windows.iter().map(window).collect()
    }

    pub(super) fn emergency(&mut self, gates: &[Gate]) -> Option<Emergency> {
        let raw = self.raw.emergency.as_ref()?;
        let known: Vec<&str> = SKIPS.into_iter().chain(gates.iter().map(|gate| gate.name.as_str())).collect();
        for (index, skip) in raw.skip.iter().enumerate().filter(|(_, skip)| !known.contains(&skip.0.as_str())) {
            let span = self.at(&["emergency", "skip", &index.to_string()]);
            let error = Diagnostic::error(span, format!("`{}` is nothing that can be skipped", skip.0));
            let help = suggest::help(&skip.0, "policies and gates of this environment", known.iter().copied());
            self.out.push(error.label("no policy and no gate").help(help));
        }
        let desired = self.raw.release.as_ref().map(|text| release::parse(&text.0));
        if let Some(ReleaseRef::Sha(sha)) = desired
            && sha != raw.release.0
        {
            let span = self.at(&["emergency", "release"]);
            let message = format!("this emergency is about another release than the one desired ({})", sha.short());
            self.out.push(Diagnostic::warning(span, message).label("no effect now").help("remove it when it is over"));
        }
        let skip = raw.skip.iter().map(|skip| skip.0.clone()).collect();
        Some(Emergency { release: raw.release.0.clone(), reason: raw.reason.0.clone(), skip })
    }
}

/// Promotions between the environments: never in a circle, never between applications.
pub(super) fn promotions(tables: &Tables, resolved: &[Resolved], out: &mut Diagnostics) {
    let from = |name: &str| {
        let of = resolved.iter().find(|other| other.environment.name.as_str() == name)?;
        of.environment.promote.as_ref().map(|promote| promote.from.as_str())
    };
    let mut told = BTreeSet::new();
    for this in resolved {
        let name = this.environment.name.as_str();
        let Some(source) = from(name) else { continue };
        let entry = tables.environments.get(name);
        let span = entry.and_then(|entry| entry.node.get("promote")).map_or(this.key, |node| node.at(&["from"]));
        let other = resolved.iter().find(|other| other.environment.name.as_str() == source);
        if let Some(other) = other
            && other.environment.app != this.environment.app
        {
            let (here, there) = (&this.environment.app, &other.environment.app);
            let error = Diagnostic::error(span, format!("`{source}` runs `{there}`, `{name}` runs `{here}`"));
            out.push(
                error
                    .label("another application")
                    .help("a release is promoted between environments of one application"),
            );
        }
        let mut circle = vec![name];
        let mut next = Some(source);
        while let Some(step) = next {
            if step == name {
                // One report for the circle, at the first of its environments.
                if circle.iter().all(|member| !told.contains(*member)) {
                    told.extend(circle.iter().copied());
                    circle.push(name);
                    let error = Diagnostic::error(span, format!("promotion goes in a circle: {}", circle.join(" <- ")));
                    out.push(error.label("leads back").help("one of them must be where releases come in"));
                }
                break;
            }
            if circle.contains(&step) {
                break;
            }
            circle.push(step);
            next = from(step);
        }
    }
}
