//! What stands between an environment and its next deployment, as far as looking can tell. Reads only: no configured
//! command is run, no root is held. `controller` looks here, `host` judges what a host said of itself.

mod controller;
mod engine;
pub mod host;
mod sudo;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::host::disk::token::token;
use crate::host::wire::examine::{Examine, Examined};
use crate::host::wire::{HostError, Lost, Op, Reply, Secret};
use crate::link::settings::Accepted;
use crate::model::activation::Activation;
use crate::model::calls::{Call, calls};
use crate::model::desired::{Environment, FetchFrom, GateTest, MetricSource, Probe, Target};
use crate::model::epochs::{self, Exhausted};
use crate::model::ids::{EnvName, Epoch, HostName};
use crate::model::rendered;
use crate::model::template::fill;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;
use crate::run::finding::Findings;
use crate::run::look::reach::{self, ask};
use crate::run::width::Width;

pub use controller::{controller, forge, repository, secrets};

/// So many hosts are looked at at once, those aside that do not answer.
const WIDTH: usize = 32;

/// Looks at every host of these environments, and at what they need of the controller.
pub async fn doctor(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    names: &[EnvName],
) -> Vec<Findings> {
    let environments = names.iter().filter_map(|name| snapshot.desired.environments.get(name));
    let mut all: Vec<_> = environments.clone().map(|env| secrets(snapshot, env)).collect();
    let mut asked = BTreeSet::new();
    // Each repository is asked once, however many environments it has.
    let first =
        environments.clone().filter(|env| env.delivery.checkout().is_some() && asked.insert(env.repository.clone()));
    let repositories: Vec<_> = first.map(|env| repository(controller, env)).collect();
    all.extend(Width::new(WIDTH).all(repositories).await);
    let forges: Vec<_> = environments.clone().map(|env| forge(controller, snapshot, env)).collect();
    all.extend(Width::new(WIDTH).all(forges).await);
    let looks: Vec<_> = environments
        .flat_map(|env| env.targets.iter().map(move |target| (env, target)))
        .map(|(env, target)| {
            let (controller, snapshot) = (controller.clone(), snapshot.clone());
            let (env, target) = (env.clone(), target.clone());
            async move {
                let (findings, examined) = look(&controller, &snapshot, &env, &target).await;
                (env.name, target.name, findings, examined.and_then(|examined| examined.epoch))
            }
        })
        .collect();
    let mut epochs: BTreeMap<EnvName, Vec<(HostName, Epoch)>> = BTreeMap::new();
    for (env, host, findings, epoch) in Width::new(WIDTH).all(looks).await {
        all.push(findings);
        epochs.entry(env).or_default().extend(epoch.map(|epoch| (host, epoch)));
    }
    all.extend(epochs.iter().flat_map(|(env, epochs)| counted(env, epochs)));
    all.push(believed(controller));
    all
}

/// The hosts of an environment whose epoch cannot be true.
fn counted(env: &EnvName, epochs: &[(HostName, Epoch)]) -> Vec<Findings> {
    let fail = |host: &HostName, why: String| {
        let mut findings = Findings::about(host.as_str(), Some(env));
        findings.fail("epoch", why, format!("soll acknowledge --host {host}"));
        findings
    };
    let above = epochs::implausible(epochs.iter().map(|(host, epoch)| (host, *epoch)));
    let (highest, above) = above.unwrap_or_default();
    let far = above.iter().map(|(host, epoch)| fail(host, epochs::disbelieved(host, *epoch, highest)));
    let ended = epochs.iter().filter(|(host, epoch)| epoch.next().is_none() && !above.iter().any(|(a, _)| a == &host));
    let ended = ended.map(|(host, epoch)| fail(host, Exhausted { host: host.clone(), epoch: epoch.0 }.to_string()));
    far.chain(ended).collect()
}

/// The hosts that were not known before, jump hosts among them.
fn believed(controller: &Controller) -> Findings {
    let mut findings = Findings::about("controller", None);
    for Accepted { name, kind, fingerprint, file } in controller.hosts.accepted() {
        findings.warn(
            "host key",
            format!("{kind} {fingerprint} is accepted for {name} and added to {}", file.display()),
            "compare it with `ssh-keygen -lf` of /etc/ssh/ssh_host_*_key.pub on the host's own console; if it is another one, remove the line",
        );
    }
    findings
}

/// One host of one environment, and what it said of itself.
pub async fn look(
    controller: &Controller,
    word: &AcceptedSnapshot,
    env: &Environment,
    target: &Target,
) -> (Findings, Option<Box<Examined>>) {
    let mut findings = Findings::about(target.name.as_str(), Some(&env.name));
    if !connect(controller, target, &mut findings).await {
        return (findings, None);
    }
    let mut question = question(env, target);
    question.engine = engine::question(word.secrets(), env, &mut findings);
    let before = crate::run::controller::now();
    let answer = ask(controller, word, target, Op::Examine(Box::new(question.clone()))).await;
    let after = crate::run::controller::now();
    match answer {
        Ok(Reply::Examined(examined)) => {
            host::clock(&mut findings, before, &examined, after);
            match controller.store.machines(&controller.hosts_key(), [&target.name]) {
                Ok(known) => host::machine(&mut findings, target, known.get(&target.name), &examined),
                Err(error) => findings.unknown("machine", error.to_string(), "mend the state directory"),
            }
            host::judge(&mut findings, env, target, &examined);
            engine::judge(&mut findings, env, &examined);
            host::tokens(&mut findings, word, env, &question, &examined);
            (findings, Some(examined))
        }
        Ok(other) => {
            findings.fail("agent", format!("the host answered an examination with {other:?}"), "report this");
            (findings, None)
        }
        Err(HostError::Connection(Lost { why, cure })) => {
            findings.unreachable = true;
            let fix = cure.unwrap_or_else(|| "try again; look at the host and at its sshd".to_owned());
            findings.fail("connection", why, fix);
            (findings, None)
        }
        Err(error) => {
            findings.fail("root", error.to_string(), "correct what is named");
            (findings, None)
        }
    }
}

/// Whether the host answers: its key, the login, the agent.
async fn connect(controller: &Controller, target: &Target, findings: &mut Findings) -> bool {
    let Some(endpoint) = reach::endpoint(target) else {
        findings.ok("connection", "this machine");
        return true;
    };
    let hello = controller.hosts.hello(&endpoint).await;
    match hello {
        Ok(hello) => {
            let digest = hello.binary.rsplit("soll-").next().map(|digest| digest.chars().take(12).collect::<String>());
            findings.ok("connection", format!("{endpoint}: the host key is known, the login works"));
            findings.ok(
                "agent",
                format!("{}, protocol {}, sha256 {}", hello.version, hello.protocol, digest.unwrap_or_default()),
            );
            true
        }
        Err(error) => {
            findings.unreachable = true;
            let cure = match error.phase {
                crate::link::error::Phase::HostKey if error.what.contains(" know no ") => {
                    format!("{}; or `soll doctor --accept-new-host-keys` after comparing", error.cure)
                }
                _ => error.cure,
            };
            findings.fail("connection", format!("{}: {}: {}", error.place, error.phase, error.what), cure);
            false
        }
    }
}

/// What an examination of this environment's root looks at.
pub fn question(env: &Environment, target: &Target) -> Examine {
    let commands = commands(env, target);
    let calls = || commands.iter().flat_map(|(_, calls)| calls);
    let mut tools: Vec<_> = calls().flat_map(Call::programs).map(str::to_owned).collect();
    // Where the controller fetches, no host needs to reach the repository.
    let fetched = env.delivery.checkout().filter(|checkout| checkout.fetch_from == FetchFrom::Host);
    let repository = fetched.map(|checkout| checkout.repository.clone());
    tools.extend(repository.iter().map(|_| "git".to_owned()));
    tools.sort();
    tools.dedup();
    Examine {
        // What is rendered comes with a deployment, and is looked at where it is rendered.
        shared: env.kept(),
        env_file: env.env_file().map(|file| file.from.clone()),
        required_env: match env.env_file().and_then(|file| env.rendered(&file.from)) {
            Some(_) => Vec::new(),
            None => env.required_env.clone(),
        },
        owners: env.files.iter().filter_map(|file| file.owner.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
        sudo: calls().any(|call| call.behind_sudo().is_some()),
        tools,
        activation: Activation::of(env, target),
        engine: None,
        tokens: tokens(env),
        repository: repository.map(Secret::new),
        nonce: nonce(),
    }
}

/// Every configured command of an environment that a host runs, by what it is for.
pub fn commands(env: &Environment, target: &Target) -> Vec<(String, Vec<Call>)> {
    let values = env.values(target, None, None);
    let hooks = env.hooks.iter().map(|hook| (format!("{} hook `{}`", hook.phase.as_str(), hook.name), &hook.run));
    let gates = env.gates.iter().filter_map(|gate| match &gate.test {
        GateTest::Run(run) => Some((format!("gate `{}`", gate.name), run)),
        GateTest::File(_) | GateTest::Dir(_) => None,
    });
    let checks = env.health.checks.iter().filter_map(|check| match &check.probe {
        Probe::Run { command } => Some((format!("check `{}`", check.name), command)),
        _ => None,
    });
    let metrics = env.watch.iter().flat_map(|watch| &watch.metrics).filter_map(|metric| match &metric.source {
        MetricSource::Run { command } => Some((format!("figure `{}`", metric.name), command)),
        _ => None,
    });
    hooks.chain(gates).chain(checks).chain(metrics).map(|(name, run)| (name, calls(&fill(run, &values)))).collect()
}

/// The secrets that checks and figures send, each with the address that it is sent to, templates unfilled.
pub fn bearers(env: &Environment) -> impl Iterator<Item = (&str, &str)> {
    let checks = env.health.checks.iter().filter_map(|check| check.probe.bearer());
    checks.chain(env.watch.iter().flat_map(|watch| &watch.metrics).filter_map(|metric| metric.source.bearer()))
}

/// Their names, each once, as an application calls them: versions are the controller's.
fn tokens(env: &Environment) -> Vec<String> {
    let base = |name| rendered::secret(name).map_or(name, |(base, _)| base);
    let names: BTreeSet<_> = bearers(env).map(|(name, _)| base(name).to_owned()).collect();
    names.into_iter().collect()
}

/// New for every question.
fn nonce() -> String {
    // Without random numbers the digests are as good as unkeyed: then none is asked to be anything else than unequal.
    token().unwrap_or_else(|_| format!("{:?}{}", std::time::Instant::now(), std::process::id()))
}

/// The findings of one host are told once, however many environments it has.
pub fn merged(all: Vec<Findings>) -> (Vec<crate::run::finding::Finding>, bool) {
    let unreachable = all.iter().any(|findings| findings.unreachable);
    let mut told: BTreeMap<(String, String, String), ()> = BTreeMap::new();
    let of_host = ["connection", "agent", "host key", "clock", "machine"];
    let mut once = |finding: &crate::run::finding::Finding| {
        let key = (finding.host.clone(), finding.check.clone(), finding.message.clone());
        !of_host.contains(&finding.check.as_str()) || told.insert(key, ()).is_none()
    };
    (all.into_iter().flat_map(|findings| findings.all).filter(|finding| once(finding)).collect(), unreachable)
}

/// Clocks further apart than this are told.
pub const SKEW: Duration = Duration::from_secs(2);
/// Clocks further apart than this make leases and soak times wrong.
pub const TOO_MUCH: Duration = Duration::from_secs(30);
