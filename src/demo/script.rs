//! `--once`: deploy, promote, a bad release and its rollback, the refusal of production, a revert, a backup that is proven. Each
//! act does what a person would do, waits for the loop, and then looks at the world: an act that only claims to have happened
//! fails.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use super::facts::Facts;
use super::git;
use super::timeline::{Standing, Timeline};
use super::world::{ENVIRONMENTS, World};
use crate::journal::RunResult;
use crate::model::backup::name::Kind;
use crate::model::backup::proof::Outcome;
use crate::model::ids::{EnvName, Sha};
use crate::plan::{Code, Verdict};
use crate::run::commit::{Change, commit};
use crate::run::controller::Controller;
use crate::run::pass::backup::make::{Wish, make};
use crate::run::pass::backup::prove::{Trying, prove};

/// An act that has not happened after so long will not: on a slow machine each takes about three seconds.
const PATIENCE: Duration = Duration::from_secs(40);
/// As the state file of the demo has it.
const SOAK: SignedDuration = SignedDuration::from_secs(1);

struct Play<'a> {
    facts: Facts<'a>,
    timeline: &'a Timeline,
    staging: EnvName,
    production: EnvName,
}

/// Plays all acts.
///
/// # Errors
/// The act that did not happen, and what was missing.
pub async fn play(world: &World, controller: &Arc<Controller>, timeline: &Timeline) -> Result<(), String> {
    let [staging, production] = ENVIRONMENTS.map(|name| name.parse::<EnvName>().map_err(|error| error.to_string()));
    let play = Play { facts: Facts::new(world, controller)?, timeline, staging: staging?, production: production? };
    let [v1, v2, v3] = world.versions() else {
        return Err("the demo has three versions, no more and no less".to_owned());
    };
    play.begin(&v1.name, &v1.sha).await?;
    play.deploy(&v2.name, &v2.sha).await?;
    play.promote(&v2.name, &v2.sha).await?;
    play.break_staging((&v2.name, &v2.sha), &v3.sha).await?;
    play.refuse((&v2.name, &v2.sha), &v3.sha).await?;
    play.revert((&v2.name, &v2.sha)).await?;
    play.back_up().await
}

impl Play<'_> {
    fn act(&self, text: &str) {
        self.timeline.print(&format!("\n── {text}\n"));
    }

    fn seen(&self, text: &str) {
        self.timeline.print(&format!("   ✓ {text}\n"));
    }

    async fn begin(&self, name: &str, sha: &Sha) -> Result<(), String> {
        self.act(&format!("Deploy: the first commit wants {name} everywhere"));
        self.deployed(&self.staging, name, sha).await?;
        self.soaked(name, sha).await
    }

    async fn deploy(&self, name: &str, sha: &Sha) -> Result<(), String> {
        self.act(&format!("Deploy: {name} is committed for staging"));
        self.commit(&self.staging, sha, &format!("Release {name} to staging"))?;
        self.deployed(&self.staging, name, sha).await
    }

    async fn promote(&self, name: &str, sha: &Sha) -> Result<(), String> {
        self.act(&format!("Promote: {name} is committed for production"));
        self.commit(&self.production, sha, &format!("Promote {name} from staging to production"))?;
        self.soaked(name, sha).await
    }

    async fn break_staging(&self, (old, old_sha): (&str, &Sha), sha: &Sha) -> Result<(), String> {
        self.act("Bad release: v3 is committed for staging; its /health answers 503");
        self.commit(&self.staging, sha, "Release v3 to staging")?;
        let name = &self.staging;
        until("the automatic rollback", async || {
            self.ledger(name, sha, RunResult::RolledBack)?;
            let record = self.facts.record(name).await?;
            if !record.quarantined.iter().any(|entry| entry.verdict && entry.key.sha == *sha) {
                return Err(format!("{} is not quarantined in {name}", sha.short()));
            }
            self.facts.runs(name, old, old_sha).await
        })
        .await?;
        self.seen(&format!("the ledger says rolled-back, v3 is quarantined, {} serves {old}", self.url(name)));
        Ok(())
    }

    async fn refuse(&self, (old, old_sha): (&str, &Sha), sha: &Sha) -> Result<(), String> {
        self.act("No way around: v3 is committed for production all the same");
        let name = &self.production;
        let before = self.facts.last_run(name)?.run;
        let commit = self.commit(name, sha, "Release v3 to production")?;
        until("the refusal by production", async || {
            match self.timeline.standing(commit, name) {
                Some(Standing::Blocked(Code::NotGreen)) => {}
                other => return Err(format!("the loop has not refused it: {other:?}")),
            }
            let plan = self.facts.plan(name).await?;
            if plan.verdict != Verdict::NoGo || plan.desired.as_ref() != Some(sha) {
                return Err(format!("the plan of {name} says {}", plan.verdict.as_str()));
            }
            self.unchanged(name, &before)?;
            self.facts.runs(name, old, old_sha).await
        })
        .await?;
        self.seen(&format!("the plan says NO-GO, nothing ran, {} serves {old}", self.url(name)));
        Ok(())
    }

    async fn revert(&self, (old, old_sha): (&str, &Sha)) -> Result<(), String> {
        self.act("Revert: a person takes both commits back, with git revert");
        let both = [&self.staging, &self.production];
        let before = both.map(|name| Ok::<_, String>((self.facts.last_run(name)?.run, self.facts.current(name)?)));
        let [staging, production] = before;
        let before = [staging?, production?];
        git::git(&self.facts.world.state(), &["revert", "--no-edit", "HEAD~2..HEAD"])?;
        let head = self.facts.snapshot()?.commit;
        for (name, (run, current)) in both.into_iter().zip(&before) {
            until("the return to sync", async || {
                match self.timeline.standing(head, name) {
                    Some(Standing::InSync { healthy: true }) => {}
                    other => return Err(format!("the loop does not say that {name} is in sync: {other:?}")),
                }
                let plan = self.facts.plan(name).await?;
                if plan.has_changes() || plan.desired.as_ref() != Some(old_sha) {
                    return Err(format!("{name} is not in sync with {old}"));
                }
                self.unchanged(name, run)?;
                if self.facts.current(name)? != *current {
                    return Err(format!("`current` of {name} was moved by a revert to what runs"));
                }
                self.facts.runs(name, old, old_sha).await
            })
            .await?;
        }
        self.seen(&format!("both are in sync with {old} again, and nothing had to be moved for it"));
        Ok(())
    }

    /// The data of production are saved, and what was saved is restored beside them and looked at.
    async fn back_up(&self) -> Result<(), String> {
        self.act("Back up: the database of production is saved, and the backup is restored on trial");
        let (controller, snapshot) = (self.facts.controller, self.facts.snapshot()?);
        let env = snapshot.desired.environments.get(&self.production);
        let job = env.and_then(|env| Some((env, env.backups.first()?)));
        let (env, job) = job.ok_or("the state file declares no backup of production any more")?;
        let reason = "the demo".to_owned();
        let wish = Wish { kind: Kind::Manual, reason: reason.clone(), patience: PATIENCE };
        let saved = Box::pin(make(controller, &snapshot, env, job, wish, &|_| ())).await;
        let saved = saved.map_err(|error| format!("the backup was not made: {error}"))?;
        self.seen(&format!("backup {}", saved.told()));
        let trying =
            Trying { backup: Some(saved.name), reason, patience: PATIENCE, only: None, keep: false, here: true };
        let report = Box::pin(prove(controller, &snapshot, (env, job), trying, &|_| ())).await;
        let report = report.map_err(|error| format!("the backup was not tried: {error}"))?;
        let checks = || report.parts.iter().flat_map(|part| &part.checks);
        if report.outcome != Outcome::Pass {
            let failed = checks().filter(|check| check.outcome != Outcome::Pass).map(|check| check.why.clone());
            return Err(format!("the backup is not proven: {}", failed.collect::<Vec<_>>().join("; ")));
        }
        let looked = checks().map(|check| check.what.clone()).collect::<Vec<_>>().join(", ");
        self.seen(&format!(
            "restored beside the real database, and looked at: {looked}: pass, in {} ms",
            report.rto_ms
        ));
        Ok(())
    }

    /// A release has come all the way.
    async fn deployed(&self, name: &EnvName, version: &str, sha: &Sha) -> Result<(), String> {
        until(&format!("the deployment to {name}"), async || {
            self.ledger(name, sha, RunResult::Succeeded)?;
            self.facts.runs(name, version, sha).await
        })
        .await?;
        let current = self.facts.current(name)?;
        self.seen(&format!("{} serves {version}, current -> {current}", self.url(name)));
        Ok(())
    }

    /// Production has it too, and not before staging had it for long enough.
    async fn soaked(&self, version: &str, sha: &Sha) -> Result<(), String> {
        self.deployed(&self.production, version, sha).await?;
        let began = self.facts.last_run(&self.production)?.started;
        let confirmed = self.facts.record(&self.staging).await?.confirmed.map(|confirmed| confirmed.at);
        let confirmed = confirmed.ok_or("staging has nothing confirmed")?;
        let after = began.duration_since(confirmed);
        if after < SOAK {
            return Err(format!("the promotion: production began {after:#} after staging, before the soak was over"));
        }
        self.seen(&format!("it waited for its soak: {:.1} s healthy in staging", after.as_secs_f64()));
        Ok(())
    }

    fn ledger(&self, name: &EnvName, sha: &Sha, wanted: RunResult) -> Result<(), String> {
        let row = self.facts.last_run(name)?;
        let to = row.deployment().map_or("", |deployment| deployment.to.as_str());
        if to == sha.as_str() && row.result == Some(wanted) {
            return Ok(());
        }
        let result = row.result.map_or("unfinished", RunResult::as_str);
        let to = to.get(..8).unwrap_or(to);
        let (short, wanted) = (sha.short(), wanted.as_str());
        Err(format!("the last run of {name} went to {to} and is {result}, not to {short} and {wanted}: {}", row.reason))
    }

    fn unchanged(&self, name: &EnvName, run: &crate::model::ids::RunId) -> Result<(), String> {
        let last = self.facts.last_run(name)?.run;
        if last == *run { Ok(()) } else { Err(format!("run {last} of {name} changed something")) }
    }

    fn commit(&self, name: &EnvName, sha: &Sha, message: &str) -> Result<crate::state_repo::CommitId, String> {
        let change = Change::Release(sha.to_string());
        commit(self.facts.controller, name, &change, message, None).map_err(|error| error.to_string())
    }

    fn url(&self, name: &EnvName) -> String {
        self.facts.world.url(name.as_str())
    }
}

/// Looks until what is looked for is there.
async fn until<F: Future<Output = Result<(), String>>>(what: &str, look: impl Fn() -> F) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let missing = match look().await {
            Ok(()) => return Ok(()),
            Err(missing) => missing,
        };
        if Instant::now() >= deadline {
            return Err(format!("{what} did not happen within {PATIENCE:?}: {missing}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
