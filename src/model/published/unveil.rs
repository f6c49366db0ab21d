//! From what somebody published to what a planner reads. What was not published is said to be so, or left at nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    AilingV2, ArtifactV2, CaseV2, CheckV2, ConfirmedV2, CurrentV2, DriftKindV2, DriftReportV2, DriftV2, EnvironmentV2,
    FactV2, GreenV2, HealedV2, HostV2, MigrationV2, OtherMachineV2, ProbationV2, QuarantineV2, ReleaseV2, ResolvedV2,
    ReturnedV2, RootV2, ServiceV2, VerdictV2, WatchedV2, WordV2,
};
use crate::model::activation::Activation;
use crate::model::approval::Reviewed;
use crate::model::compose::ServiceSeen;
use crate::model::ids::Epoch;
use crate::model::machine::{self, Machine, NotedBy, OtherMachine};
use crate::model::observed::{
    Approval, ArtifactFacts, CheckResult, Current, Drift, DriftKind, DriftReport, EnvObserved, Fact, Foreign,
    HostObserved, HostState, Misplaced, Remark, Resolved, Unasked, Verdict,
};
use crate::model::record::{
    Ailing, Closed, Confirmed, Green, Healed, Holder, Migration, Probation, Quarantine, QuarantineKey, Record, Release,
    Returned, Stopped, Suspect, Watched,
};

/// Instead of a reason.
const UNSAID: &str = "the reason is not published";

impl EnvironmentV2 {
    /// As a planner reads it.
    pub fn unveil(self) -> EnvObserved {
        let EnvironmentV2 { commit: _, at: _, hosts, resolved, artifact, health, words, remarks, tree, live_trees } =
            self;
        let mut other_machines = BTreeMap::new();
        let hosts: BTreeMap<_, _> = hosts
            .into_iter()
            .map(|(name, host)| {
                let host = match host {
                    HostV2::OtherMachine(OtherMachineV2 { known, since, by_record, found }) => {
                        let by = if by_record { NotedBy::Record } else { NotedBy::Controller };
                        let other = OtherMachine { known: Machine { id: known, since }, by, found };
                        let why = machine::refused(&name, &other);
                        other_machines.insert(name.clone(), other);
                        HostObserved::Unreachable(why)
                    }
                    HostV2::Reached(root) => HostObserved::Reached(Box::new(state(*root))),
                    HostV2::Unreachable => {
                        HostObserved::Unreachable("whoever publishes this could not reach it".to_owned())
                    }
                };
                (name, host)
            })
            .collect();
        let remark = Remark {
            message: "a word about this plan does not count; who said it is not published".to_owned(),
            fix: "ask where the daemon is: soll why ENV".to_owned(),
        };
        EnvObserved {
            hosts,
            other_machines,
            cures: BTreeMap::new(),
            elsewhere: Default::default(),
            resolved: match resolved {
                ResolvedV2::Sha(sha) => Resolved::Sha(sha),
                ResolvedV2::Unknown => Resolved::Unknown(UNSAID.to_owned()),
                ResolvedV2::NotAsked => Resolved::NotAsked,
            },
            artifact: artifact
                .map(|ArtifactV2 { sha256, checks }| ArtifactFacts { sha256: fact(sha256), checks: fact(checks) }),
            health: health.into_iter().map(check).collect(),
            approvals: words.into_iter().map(approval).collect(),
            // Nobody publishes more of them than there are people.
            remarks: vec![remark; remarks.min(64)],
            tree,
            live_trees,
            unasked: Unasked::default(),
            astray: None,
            veiled: true,
        }
    }
}

fn state(root: RootV2) -> HostState {
    let RootV2 {
        current,
        confirmed,
        probation,
        closed,
        known,
        releases,
        quarantined,
        migrations,
        green,
        ailing,
        healed,
        stopped,
        suspect,
        returned,
        held,
        files,
        unreadable,
        rendered,
        misplaced,
        missing_env,
        drift,
        health,
        foreign,
        revisions,
        services,
        services_unseen,
    } = root;
    let record = Record {
        confirmed: confirmed.map(|ConfirmedV2 { release, sha, bundle, at, inputs, files }| Confirmed {
            release,
            sha,
            bundle,
            at,
            inputs,
            files,
            activation: Default::default(),
        }),
        probation: probation.map(|ProbationV2 { release, sha, back_to, armed_at, key, watched }| Probation {
            release,
            sha,
            back_to,
            epoch: Epoch::default(),
            armed_at,
            lease: Duration::ZERO,
            key: case(key),
            rollback: Vec::new(),
            activation: Default::default(),
            returning: false,
            watched: watched.map(|WatchedV2 { time, broken }| Watched { time: Duration::from_secs(time), broken }),
        }),
        closed: closed.map(|at| Closed {
            epoch: Epoch::default(),
            at,
            lease: Duration::ZERO,
            open: Vec::new(),
            start: Activation::default(),
        }),
        releases: known.into_iter().map(|(name, release)| (name, release_of(release))).collect(),
        quarantined: quarantined
            .into_iter()
            .map(|QuarantineV2 { key, at, verdict, alone }| Quarantine {
                key: case(key),
                reason: UNSAID.to_owned(),
                at,
                verdict,
                alone,
            })
            .collect(),
        migrations: migrations.into_iter().map(|(key, migration)| (key, migration.into())).collect(),
        green: green.map(|GreenV2 { release, since, last, samples }| Green { release, since, last, samples }),
        ailing: ailing.map(|AilingV2 { release, since, samples }| Ailing { release, since, samples }),
        healed: healed.map(|HealedV2 { release, at, times }| Healed { release, at, times }),
        stopped: stopped.map(|at| Stopped { reason: UNSAID.to_owned(), by: "a person".to_owned(), at }),
        suspect: suspect.map(|at| Suspect { reason: UNSAID.to_owned(), at }),
        returned: returned.map(|ReturnedV2 { from, to, at }| Returned { from, to, at, reason: UNSAID.to_owned() }),
        ..Record::default()
    };
    HostState {
        record,
        current: match current {
            CurrentV2::Missing => Current::Missing,
            CurrentV2::Release(release) => Current::Release(release),
            CurrentV2::Elsewhere(target) => Current::Elsewhere(target),
            CurrentV2::NotALink => Current::NotALink,
        },
        releases,
        files,
        unreadable,
        rendered,
        rerendered: Vec::new(),
        missing_env,
        drift: drift.map(drift_of),
        leftovers: Vec::new(),
        revisions,
        foreign: Foreign { names: Vec::new(), count: foreign },
        // Of each the same would be said, and how many there are is a word of somebody else.
        misplaced: (misplaced > 0).then(unsaid).into_iter().collect(),
        holder: held.map(|since| Holder { who: "another run".to_owned(), since, epoch: Epoch::default(), pid: 0 }),
        lease_over: false,
        machine: None,
        seat: None,
        services: services.into_iter().map(service).collect(),
        services_unseen: services_unseen.then(|| UNSAID.to_owned()),
        health: health.into_iter().map(check).collect(),
    }
}

fn service(published: ServiceV2) -> ServiceSeen {
    let ServiceV2 { service, wanted, running, image, as_released, state, health, restarts } = published;
    ServiceSeen { service, wanted, running, image, digest_ok: as_released, state, health, restarts, ports: Vec::new() }
}

/// Where it is and how it is mended is for whoever is at the host.
fn unsaid() -> Misplaced {
    let (what, cure) =
        ("a place of the root cannot be used as it is", "ask the daemon that published this, or `soll doctor`");
    Misplaced { what: what.to_owned(), cure: cure.to_owned() }
}

fn case(key: CaseV2) -> QuarantineKey {
    let CaseV2 { sha, bundle, config, files } = key;
    QuarantineKey { sha, bundle, config, files }
}

fn fact<T>(fact: FactV2<T>) -> Fact<T> {
    match fact {
        FactV2::Known(known) => Fact::Known(known),
        FactV2::Missing => Fact::Missing,
        FactV2::Unknown => Fact::Unknown(UNSAID.to_owned()),
        FactV2::NotAsked => Fact::NotAsked,
    }
}

fn check(result: CheckV2) -> CheckResult {
    let CheckV2 { check, verdict } = result;
    let verdict = match verdict {
        VerdictV2::Pass => Verdict::Pass,
        VerdictV2::Fail => Verdict::Fail,
        VerdictV2::Inconclusive => Verdict::Inconclusive,
    };
    CheckResult { check, verdict, attempts: Vec::new() }
}

fn approval(word: WordV2) -> Approval {
    let WordV2 { by, at, approve, scope, hosts, irreversible, unnamed } = word;
    let irreversible = irreversible.iter().map(ToString::to_string).collect();
    let reviewed = Some(Reviewed { scope, hosts, irreversible, unnamed });
    Approval { by: format!("person {by}"), at, approve, note: None, reviewed, trusted: true }
}

fn release_of(release: ReleaseV2) -> Release {
    let ReleaseV2 { sha, bundle, links, strip, staged_at, sealed, confirmed_at, failed, adopted } = release;
    Release { sha, bundle, tree: None, links, strip, staged_at, sealed, confirmed_at, failed, adopted }
}

fn drift_of(report: DriftReportV2) -> DriftReport {
    let DriftReportV2 { release, at, looked, age, entries, more } = report;
    let entry = |DriftV2 { path, kind }: DriftV2| {
        let kind = match kind {
            DriftKindV2::Changed => DriftKind::Changed,
            DriftKindV2::Missing => DriftKind::Missing,
            DriftKindV2::Added => DriftKind::Added,
            DriftKindV2::Mode => DriftKind::Mode,
            DriftKindV2::Unreadable => DriftKind::Unreadable,
            DriftKindV2::Link => DriftKind::Link,
        };
        Drift { path, kind, touched: None }
    };
    DriftReport { release, at, looked, age, entries: entries.into_iter().map(entry).collect(), more }
}

impl From<MigrationV2> for Migration {
    fn from(published: MigrationV2) -> Self {
        match published {
            MigrationV2::Begun => Migration::Begun,
            MigrationV2::Done => Migration::Done,
            MigrationV2::Failed => Migration::Failed,
        }
    }
}
