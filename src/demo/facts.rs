//! What is really so: what the web servers answer, where the links lead, what the hosts have on record, what the ledger
//! says. It asks nobody who claims to know.

use std::sync::Arc;
use std::time::Duration;

use super::world::World;
use crate::model::ids::{EnvName, Sha};
use crate::model::observed::HostObserved;
use crate::model::record::Record;
use crate::plan::{self, Context, EnvPlan};
use crate::run::accepted::{AcceptedSnapshot, Standing};
use crate::run::controller::{Controller, now};
use crate::run::look::observe::{Look, Scan, observe};
use crate::store::RunRow;

/// Looks at one demo.
pub struct Facts<'a> {
    pub world: &'a World,
    pub controller: &'a Arc<Controller>,
    client: reqwest::Client,
}

impl<'a> Facts<'a> {
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(world: &'a World, controller: &'a Arc<Controller>) -> Result<Self, String> {
        // A proxy of the environment would answer in place of the demo.
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build();
        let client = client.map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Facts { world, controller, client })
    }

    /// Status and body of a page.
    pub async fn page(&self, environment: &EnvName, path: &str) -> Result<(u16, String), String> {
        let url = format!("{}{path}", self.world.url(environment.as_str()));
        let failed = |error: reqwest::Error| format!("{url} does not answer: {}", error.without_url());
        let answer = self.client.get(&url).send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(failed)?))
    }

    /// What `ROOT/current` says.
    pub fn current(&self, environment: &EnvName) -> Result<String, String> {
        let link = self.world.root(environment.as_str()).join("current");
        let target = std::fs::read_link(&link).map_err(|error| format!("{}: {error}", link.display()))?;
        Ok(target.display().to_string())
    }

    /// The last run in the ledger.
    pub fn last_run(&self, environment: &EnvName) -> Result<RunRow, String> {
        let row = self.controller.store.last_run(environment).map_err(|error| error.to_string())?;
        row.ok_or_else(|| format!("the ledger has no run of {environment}"))
    }

    /// What the host has on record.
    pub async fn record(&self, environment: &EnvName) -> Result<Record, String> {
        let snapshot = self.snapshot()?;
        let look = Look { health: false, drift: Scan::Last };
        let mut seen = observe(self.controller, &snapshot, std::slice::from_ref(environment), look).await;
        let hosts = seen.environments.remove(environment).unwrap_or_default().hosts;
        match hosts.into_values().next() {
            Some(HostObserved::Reached(state)) => Ok(state.record),
            Some(HostObserved::Unreachable(why)) => Err(format!("{environment} cannot be seen: {why}")),
            None => Err(format!("{environment} has no host")),
        }
    }

    /// What `soll plan` says of an environment right now.
    pub async fn plan(&self, environment: &EnvName) -> Result<EnvPlan, String> {
        let snapshot = self.snapshot()?;
        let names = std::slice::from_ref(environment);
        let observed = observe(self.controller, &snapshot, names, Look { health: true, drift: Scan::Now }).await;
        let commit = snapshot.commit.to_string();
        let context = Context { commit: &commit, now: now(), secrets: None };
        let plan = plan::plan(&snapshot.desired, &observed, names, &context);
        plan.environments.into_iter().next().ok_or_else(|| format!("no plan for {environment}"))
    }

    /// The newest commit.
    pub fn snapshot(&self) -> Result<Arc<AcceptedSnapshot>, String> {
        let newest = self.controller.standing().and_then(Standing::newest);
        newest.map_err(|error| error.to_string())
    }

    /// Everything that makes a release live: the page, its health, the link, the record of the host.
    pub async fn runs(&self, environment: &EnvName, name: &str, sha: &Sha) -> Result<(), String> {
        let (status, body) = self.page(environment, "").await?;
        if status != 200 || !body.contains(&format!("<h1>Shop {name}</h1>")) {
            return Err(format!("{environment} does not serve {name} but: {status} {}", body.trim()));
        }
        let (status, body) = self.page(environment, "health").await?;
        if status != 200 {
            return Err(format!("/health of {environment} answers {status}: {}", body.trim()));
        }
        let current = self.current(environment)?;
        if !current.starts_with("releases/") || !current.ends_with(&format!("-{}", sha.short())) {
            return Err(format!("`current` of {environment} leads to {current}, not to a release of {}", sha.short()));
        }
        let record = self.record(environment).await?;
        let confirmed =
            record.confirmed.filter(|c| c.sha.as_ref() == Some(sha) && current.ends_with(c.release.as_str()));
        if confirmed.is_none() || record.probation.is_some() {
            return Err(format!("the host of {environment} has not confirmed {name}"));
        }
        Ok(())
    }
}
