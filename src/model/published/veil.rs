//! From what was seen to what is published of it.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use jiff::Timestamp;

use super::{
    AilingV2, ArtifactV2, CaseV2, CheckV2, ConfirmedV2, CurrentV2, DriftKindV2, DriftReportV2, DriftV2, EnvironmentV2,
    FactV2, GreenV2, HealedV2, HostV2, MigrationV2, OtherMachineV2, ProbationV2, QuarantineV2, ReleaseV2, ResolvedV2,
    ReturnedV2, RootV2, ServiceV2, VerdictV2, WatchedV2, WordV2, label, shown,
};
use crate::model::approval::Reviewed;
use crate::model::compose::ServiceSeen;
use crate::model::desired::{Environment, digests};
use crate::model::ids::{Digest, EnvName, HostName};
use crate::model::machine::{Machine, NotedBy, OtherMachine};
use crate::model::observed::{
    Approval, ArtifactFacts, CheckResult, Current, Drift, DriftKind, DriftReport, EnvObserved, Fact, HostObserved,
    HostState, Resolved, Verdict,
};
use crate::model::record::{
    Ailing, Confirmed, Green, Healed, Migration, Probation, Quarantine, QuarantineKey, Record, Release, Returned,
    Watched,
};

/// Makes tokens of digests that would let one guess a value: the digest of a small `.env` is found by trying what may be in
/// it. A token is an HMAC of it under a key that nobody else has, and that ends with its process. Within what one process
/// publishes, tokens for one file of one host are equal where its contents are.
pub struct Veil(hmac::Key);

impl Veil {
    /// With a key, which must be random and kept.
    pub fn new(key: &[u8; 32]) -> Veil {
        Veil(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    fn token(&self, of: &[&str], digest: &Digest) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for part in of {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.update(digest.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        Digest::from_bytes(bytes)
    }

    /// What is published of an environment that was looked at as this commit has it, its words aside ([`Veil::words`]).
    pub fn environment(&self, env: &Environment, commit: String, at: Timestamp, seen: &EnvObserved) -> EnvironmentV2 {
        // What others publish of themselves they publish themselves. An accepted commit leaves nothing unasked, and the loop
        // shows nothing of hosts that it does not follow.
        let EnvObserved {
            hosts,
            other_machines,
            // The words are for whoever keeps the hosts.
            cures: _,
            elsewhere: _,
            resolved,
            artifact,
            health,
            approvals: _,
            remarks,
            tree,
            live_trees,
            unasked: _,
            astray: _,
            veiled: _,
        } = seen;
        let host = |(name, host): (&HostName, &HostObserved)| {
            let host = match host {
                HostObserved::Reached(state) => HostV2::Reached(Box::new(self.root(env, name, state))),
                HostObserved::Unreachable(_) => other_machines.get(name).map_or(HostV2::Unreachable, other_machine),
            };
            (name.clone(), host)
        };
        EnvironmentV2 {
            commit,
            at,
            hosts: hosts.iter().map(host).collect(),
            resolved: match resolved {
                Resolved::Sha(sha) => ResolvedV2::Sha(sha.clone()),
                Resolved::Unknown(_) => ResolvedV2::Unknown,
                Resolved::NotAsked => ResolvedV2::NotAsked,
            },
            artifact: artifact
                .as_ref()
                .map(|ArtifactFacts { sha256, checks }| ArtifactV2 { sha256: fact(sha256), checks: fact(checks) }),
            health: checks(env, health),
            words: Vec::new(),
            remarks: remarks.len(),
            tree: tree.clone(),
            live_trees: live_trees.clone(),
        }
    }

    /// The words about what the daemon would do. `live`: what it would do; `veiled`: the same as a plan of the published
    /// view says it.
    pub fn words(&self, env: &EnvName, said: &[Approval], live: &Reviewed, veiled: &Reviewed) -> Vec<WordV2> {
        let mut people: Vec<&str> = Vec::new();
        let mut words = Vec::new();
        for Approval { by, at, approve, note: _, reviewed, trusted } in said {
            let Some(reviewed) = reviewed.as_ref().filter(|_| *trusted) else { continue };
            let by = people.iter().position(|known| known == by).unwrap_or_else(|| {
                people.push(by);
                people.len() - 1
            });
            let host = |(name, digest): (&HostName, &Digest)| {
                let now = veiled.hosts.get(name).filter(|_| live.hosts.get(name) == Some(digest));
                let other = || self.token(&[env.as_str(), name.as_str(), "reviewed"], digest);
                (name.clone(), now.copied().unwrap_or_else(other))
            };
            words.push(WordV2 {
                by: by + 1,
                at: *at,
                approve: *approve,
                scope: reviewed.scope,
                hosts: reviewed.hosts.iter().map(host).collect(),
                irreversible: reviewed.irreversible.iter().map(|step| Digest::of(step.as_bytes())).collect(),
                unnamed: reviewed.unnamed,
            });
        }
        words
    }

    fn root(&self, env: &Environment, host: &HostName, state: &HostState) -> RootV2 {
        // Which machine and which directory it is its reader has nothing to compare with. Leftovers are for whoever is at the
        // host: paths and names of its users.
        let HostState {
            record,
            current,
            releases,
            files,
            unreadable,
            rendered,
            // Names of variables are for whoever keeps them.
            rerendered: _,
            missing_env,
            drift,
            leftovers: _,
            foreign,
            misplaced,
            revisions,
            holder,
            lease_over: _,
            health,
            machine: _,
            seat: _,
            services,
            services_unseen,
        } = state;
        let Record {
            format: _,
            epoch: _,
            confirmed,
            probation,
            closed,
            releases: known,
            quarantined,
            migrations,
            migrated: _,
            green,
            ailing,
            healed,
            accepted: _,
            stopped,
            suspect,
            returned,
            cancel: _,
            machine: _,
            tenant: _,
            // When data were saved is nobody's business who only reads plans.
            backups: _,
            scratch: _,
            restoring: _,
        } = record;
        let place = [env.name.as_str(), host.as_str()];
        let file = |path: &str, digest: &Digest| self.token(&[place[0], place[1], "file", path], digest);
        let veiled: BTreeMap<String, Option<Digest>> =
            files.iter().map(|(path, digest)| (path.clone(), digest.map(|digest| file(path, &digest)))).collect();
        // A verdict is held against the files that are there: whether it was about these is all that is asked.
        let tokens: BTreeMap<String, Digest> =
            rendered.iter().map(|(path, version)| (path.clone(), file(path, version))).collect();
        let now = all(files, rendered);
        let instead = all(&veiled, &tokens);
        // Links name the versions of rendered files: likewise.
        let linked = (digests::links(&env.linked(rendered)), digests::links(&env.linked(&tokens)));
        let links = |links: &Digest| match (env.files.is_empty(), *links == linked.0) {
            (true, _) => *links,
            (false, true) => linked.1,
            (false, false) => self.token(&[place[0], place[1], "links"], links),
        };
        let case = |key: &QuarantineKey| {
            let QuarantineKey { sha, bundle, config, files } = key;
            let files = match *files == now {
                true => instead,
                false => self.token(&[place[0], place[1], "files"], files),
            };
            CaseV2 { sha: sha.clone(), bundle: *bundle, config: *config, files }
        };
        RootV2 {
            current: match current {
                Current::Missing => CurrentV2::Missing,
                Current::Release(release) => CurrentV2::Release(release.clone()),
                Current::Elsewhere(target) => CurrentV2::Elsewhere(target.clone()),
                Current::NotALink => CurrentV2::NotALink,
            },
            confirmed: confirmed.as_ref().map(
                |Confirmed { release, sha, bundle, at, inputs, files, activation: _ }| ConfirmedV2 {
                    release: release.clone(),
                    sha: sha.clone(),
                    bundle: *bundle,
                    at: *at,
                    inputs: *inputs,
                    files: files.iter().map(|(path, digest)| (path.clone(), file(path, digest))).collect(),
                },
            ),
            probation: probation.as_ref().map(|probation| {
                let Probation {
                    release,
                    sha,
                    back_to,
                    epoch: _,
                    armed_at,
                    lease: _,
                    key,
                    rollback: _,
                    // What a host does to go back is its own.
                    activation: _,
                    returning: _,
                    watched,
                } = probation;
                ProbationV2 {
                    release: release.clone(),
                    sha: sha.clone(),
                    back_to: back_to.clone(),
                    armed_at: *armed_at,
                    key: case(key),
                    watched: watched
                        .as_ref()
                        .map(|Watched { time, broken }| WatchedV2 { time: time.as_secs(), broken: broken.clone() }),
                }
            }),
            closed: closed.as_ref().map(|closed| closed.at),
            known: known.iter().map(|(name, release)| (name.clone(), release_of(release, &links))).collect(),
            releases: releases.clone(),
            quarantined: quarantined
                .iter()
                .map(|Quarantine { key, reason: _, at, verdict, alone }| QuarantineV2 {
                    key: case(key),
                    at: *at,
                    verdict: *verdict,
                    alone: *alone,
                })
                .collect(),
            migrations: migrations
                .iter()
                .map(|(key, migration)| (key.clone(), MigrationV2::from(*migration)))
                .collect(),
            green: green.as_ref().map(|Green { release, since, last, samples }| GreenV2 {
                release: release.clone(),
                since: *since,
                last: *last,
                samples: *samples,
            }),
            ailing: ailing.as_ref().map(|Ailing { release, since, samples }| AilingV2 {
                release: release.clone(),
                since: *since,
                samples: *samples,
            }),
            healed: healed.as_ref().map(|Healed { release, at, times }| HealedV2 {
                release: release.clone(),
                at: *at,
                times: *times,
            }),
            stopped: stopped.as_ref().map(|stopped| stopped.at),
            suspect: suspect.as_ref().map(|suspect| suspect.at),
            returned: returned.as_ref().map(|Returned { from, to, at, reason: _ }| ReturnedV2 {
                from: from.clone(),
                to: to.clone(),
                at: *at,
            }),
            held: holder.as_ref().map(|holder| holder.since),
            files: veiled,
            rendered: tokens,
            unreadable: unreadable.clone(),
            misplaced: misplaced.len() as u64,
            missing_env: missing_env.clone(),
            drift: drift.as_ref().map(drift_of),
            health: checks(env, health),
            foreign: foreign.count,
            revisions: revisions.clone(),
            services: services.iter().map(service).collect(),
            // Why is for whoever is at the host.
            services_unseen: services_unseen.is_some(),
        }
    }
}

fn service(seen: &ServiceSeen) -> ServiceV2 {
    // Where a service listens is for whoever may reach it.
    let ServiceSeen { service, wanted, running, image, digest_ok, state, health, restarts, ports: _ } = seen;
    ServiceV2 {
        service: service.clone(),
        wanted: *wanted,
        running: *running,
        image: image.clone(),
        as_released: *digest_ok,
        state: state.clone(),
        health: health.clone(),
        restarts: *restarts,
    }
}

fn other_machine(other: &OtherMachine) -> HostV2 {
    let OtherMachine { known: Machine { id, since }, by, found } = other;
    let by_record = match by {
        NotedBy::Controller => false,
        NotedBy::Record => true,
    };
    HostV2::OtherMachine(OtherMachineV2 { known: *id, since: *since, by_record, found: *found })
}

/// The digest of all files that are there.
fn all(files: &BTreeMap<String, Option<Digest>>, rendered: &BTreeMap<String, Digest>) -> Digest {
    let present = files.iter().filter_map(|(path, digest)| Some((path.clone(), (*digest)?)));
    let rendered = rendered.iter().map(|(path, version)| (path.clone(), *version));
    digests::files(&present.chain(rendered).collect())
}

fn fact<T: Clone>(fact: &Fact<T>) -> FactV2<T> {
    match fact {
        Fact::Known(known) => FactV2::Known(known.clone()),
        Fact::Missing => FactV2::Missing,
        Fact::Unknown(_) => FactV2::Unknown,
        Fact::NotAsked => FactV2::NotAsked,
    }
}

fn checks(env: &Environment, results: &[CheckResult]) -> Vec<CheckV2> {
    let one = |CheckResult { check, verdict, attempts: _ }: &CheckResult| {
        let known = env.health.checks.iter().find(|known| known.name == *check);
        let verdict = match verdict {
            Verdict::Pass => VerdictV2::Pass,
            Verdict::Fail => VerdictV2::Fail,
            Verdict::Inconclusive => VerdictV2::Inconclusive,
        };
        CheckV2 { check: known.map_or_else(|| label(check), shown), verdict }
    };
    results.iter().map(one).collect()
}

fn release_of(release: &Release, veiled: &dyn Fn(&Digest) -> Digest) -> ReleaseV2 {
    // The digest of its manifest is over files that hooks wrote, too, which may hold secrets.
    let Release { sha, bundle, tree: _, links, strip, staged_at, sealed, confirmed_at, failed, adopted } = release;
    ReleaseV2 {
        sha: sha.clone(),
        bundle: *bundle,
        links: links.as_ref().map(veiled),
        strip: *strip,
        staged_at: *staged_at,
        sealed: *sealed,
        confirmed_at: *confirmed_at,
        failed: *failed,
        adopted: *adopted,
    }
}

fn drift_of(report: &DriftReport) -> DriftReportV2 {
    let DriftReport { release, at, looked, age, entries, more } = report;
    // Who wrote a file is for whoever is at the host: names of its users.
    let entry = |Drift { path, kind, touched: _ }: &Drift| {
        let kind = match kind {
            DriftKind::Changed => DriftKindV2::Changed,
            DriftKind::Missing => DriftKindV2::Missing,
            DriftKind::Added => DriftKindV2::Added,
            DriftKind::Mode => DriftKindV2::Mode,
            DriftKind::Unreadable => DriftKindV2::Unreadable,
            DriftKind::Link => DriftKindV2::Link,
        };
        DriftV2 { path: path.clone(), kind }
    };
    DriftReportV2 {
        release: release.clone(),
        at: *at,
        looked: *looked,
        age: *age,
        entries: entries.iter().map(entry).collect(),
        more: *more,
    }
}

impl From<Migration> for MigrationV2 {
    fn from(live: Migration) -> Self {
        match live {
            Migration::Begun => MigrationV2::Begun,
            Migration::Done => MigrationV2::Done,
            Migration::Failed => MigrationV2::Failed,
        }
    }
}
