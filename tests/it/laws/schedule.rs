//! One schedule: rounds of people, faults and controllers; then quiet, in which everything must come to rest; then a
//! cure, after which everything must run what is desired.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use soll::journal::RunResult;
use soll::model::ids::Digest;
use soll::model::observed::{EnvObserved, HostObserved, Resolved};
use soll::model::record::Migration;

use super::controller::{Outcome, pass, plan};
use super::dice::Dice;
use super::host::ENV_GOOD;
use super::scenario::{Conduct, Scenario, sha};
use super::sim::{Mutation, Shared, Sim};

/// What came of a seed.
pub struct Report {
    pub broken: Option<String>,
    pub seen: BTreeMap<&'static str, u64>,
    pub trace: Vec<String>,
}

/// Plays the schedule of one seed in virtual time.
pub fn play(seed: u64, mutation: Option<Mutation>, traced: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::drawn(&mut dice);
        let rounds = scenario.rounds;
        let sim: Shared = Arc::new(Mutex::new(Sim::new(scenario, dice, mutation, traced)));
        storm(&sim, rounds).await;
        // That rest is rest, and that two plans are one, costs as much as the rest of a schedule: some are enough.
        let thorough = seed.is_multiple_of(4);
        calm(&sim, thorough).await;
        cure(&sim, thorough).await;
        let mut sim = sim.lock().unwrap();
        Report {
            broken: sim.laws.broken.take(),
            seen: std::mem::take(&mut sim.seen),
            trace: sim.trace.take().unwrap_or_default(),
        }
    })
}

fn broken(sim: &Shared) -> bool {
    sim.lock().unwrap().laws.broken.is_some()
}

async fn storm(sim: &Shared, rounds: u64) {
    for _ in 0..rounds {
        if broken(sim) {
            return;
        }
        let (rival, delay, pause) = {
            let mut sim = sim.lock().unwrap();
            for _ in 0..*sim.dice.pick(&[0, 0, 1, 1, 2]) {
                person(&mut sim);
            }
            let pause = *sim.dice.pick(&[3, 30, 110, 130, 900, 20_000]);
            (sim.dice.percent(40), sim.dice.below(400), pause)
        };
        let second = async {
            if rival {
                tokio::time::sleep(Duration::from_secs(delay)).await;
                let outcome = pass(sim).await;
                note(sim, &outcome);
            }
        };
        let (outcome, ()) = tokio::join!(pass(sim), second);
        note(sim, &outcome);
        tokio::time::sleep(Duration::from_secs(pause)).await;
        tick(sim);
    }
}

fn note(sim: &Shared, outcome: &Outcome) {
    use soll::plan::Code;
    let mut sim = sim.lock().unwrap();
    match outcome {
        Outcome::Ran(result) => sim.saw(result.as_str()),
        Outcome::Blocked(codes) => {
            for (code, name) in [
                (Code::Quarantined, "blocked: quarantined"),
                (Code::MigrationUnknown, "blocked: migration unknown"),
                (Code::Frozen, "blocked: frozen"),
                (Code::Unreachable, "blocked: unreachable"),
            ] {
                if codes.contains(&code) {
                    sim.saw(name);
                }
            }
        }
        Outcome::InSync => sim.saw("in sync"),
        Outcome::Broke => sim.saw("journal failed"),
        Outcome::NotAcquired | Outcome::Killed => {}
    }
}

fn tick(sim: &Shared) {
    let mut sim = sim.lock().unwrap();
    let now = sim.now();
    for i in 0..sim.hosts.len() {
        sim.tick(i);
        let Sim { laws, hosts, .. } = &mut *sim;
        laws.silence(&hosts[i], now);
    }
}

/// Somebody does something between two passes.
fn person(sim: &mut Sim) {
    match sim.dice.below(12) {
        0..4 => {
            let to = sha(sim.dice.below(4));
            sim.commit(to);
        }
        4 => {
            let frozen = sim.env.frozen.take().is_none();
            sim.say(|| format!("person: frozen {frozen}"));
            sim.env.frozen = frozen.then(|| "incident".to_owned());
        }
        5 => {
            let word = if sim.dice.percent(50) { Migration::Done } else { Migration::Failed };
            retry(sim, word);
        }
        6 => {
            let value = sim.dice.below(2).to_string();
            sim.say(|| format!("person: variables = {value}"));
            sim.env.variables.insert("tenant".to_owned(), value);
        }
        _ => sim.meddle(),
    }
}

/// `soll retry`, as its transitions on every host.
fn retry(sim: &mut Sim, word: Migration) {
    let sha = sim.desired();
    sim.say(|| format!("person: retry {} --migration {word:?}", sha.short()));
    for i in 0..sim.hosts.len() {
        sim.hosts[i].ill = false;
        let record = &mut sim.hosts[i].record;
        record.retry(&sha);
        record.settle(&sha, word);
        sim.laws.lifted(i, &sha, Some(word));
    }
}

/// No more faults: it must come to rest, and then the plan must say the same twice (law 7).
async fn calm(sim: &Shared, thorough: bool) {
    {
        let mut sim = sim.lock().unwrap();
        sim.say(|| "CALM".to_owned());
        sim.faults.clear();
        sim.hosts.iter_mut().for_each(|h| (h.unreachable_until, h.ill) = (None, false));
    }
    let mut last = None;
    for _ in 0..20 {
        if broken(sim) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(900)).await;
        tick(sim);
        let outcome = pass(sim).await;
        note(sim, &outcome);
        // `before = "block"`: a target that is ill is not touched, and each attempt ends in an error (contract 1.2).
        let rests = match outcome {
            Outcome::InSync | Outcome::Blocked(_) => true,
            Outcome::Ran(RunResult::Error) => {
                let sim = sim.lock().unwrap();
                sim.kept_out_by_illness() || sim.kept_from_its_verdict()
            }
            _ => false,
        };
        if rests && !thorough {
            return;
        }
        if rests && last.as_ref() == Some(&outcome) {
            return twice(sim).await;
        }
        last = Some(outcome);
    }
    let mut sim = sim.lock().unwrap();
    sim.laws.assert(false, || format!("law 7: it does not come to rest: {last:?}"));
}

async fn twice(sim: &Shared) {
    let show = || {
        let sim = sim.lock().unwrap();
        let now = sim.now();
        let hosts = sim.hosts.iter().map(|h| (h.name.clone(), HostObserved::Reached(Box::new(h.state(now)))));
        let resolved = Resolved::Sha(sim.desired());
        let mut seen = EnvObserved { hosts: hosts.collect(), resolved, ..EnvObserved::default() };
        serde_json::to_string(&plan(&sim, &sim.env, &mut seen)).unwrap()
    };
    let first = show();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = show();
    let mut sim = sim.lock().unwrap();
    sim.laws.assert(first == second, || format!("law 7: two plans differ:\n{first}\n{second}"));
    for i in 0..sim.hosts.len() {
        let Sim { laws, hosts, .. } = &mut *sim;
        let probation = hosts[i].record.probation.is_some();
        laws.assert(!probation, || format!("law 6: web{} is at rest on probation", i + 1));
        laws.assert(!hosts[i].closed, || format!("law 6: web{} is at rest closed for maintenance", i + 1));
        laws.assert(!hosts[i].resting, || format!("law 6: web{} is at rest, and so are its workers", i + 1));
    }
}

/// Everything is put right: then every host must come to run what is desired, and stay there.
async fn cure(sim: &Shared, thorough: bool) {
    {
        let mut sim = sim.lock().unwrap();
        sim.say(|| "CURE".to_owned());
        sim.conduct.values_mut().for_each(|c| *c = Conduct::good());
        sim.env.frozen = None;
        for host in &mut sim.hosts {
            host.files.insert(".env".to_owned(), Some(Digest::of(ENV_GOOD)));
        }
        retry(&mut sim, Migration::Done);
    }
    let mut last = None;
    for _ in 0..8 {
        if broken(sim) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(900)).await;
        tick(sim);
        let outcome = pass(sim).await;
        note(sim, &outcome);
        let rests = outcome == Outcome::InSync && (last == Some(Outcome::InSync) || !thorough);
        last = Some(outcome);
        if rests {
            break;
        }
    }
    let mut sim = sim.lock().unwrap();
    let desired = sim.desired();
    sim.laws.assert(last == Some(Outcome::InSync), || format!("law 7: cured, and it comes to {last:?}"));
    for i in 0..sim.hosts.len() {
        let host = &sim.hosts[i];
        let confirmed = host.record.confirmed.as_ref();
        let good = confirmed.is_some_and(|c| Some(&c.release) == host.live() && c.sha.as_ref() == Some(&desired));
        let state = format!("{:?}, {:?}", host.current, confirmed);
        sim.laws.assert(good, || format!("law 7: in sync, and web{} is {state}", i + 1));
        let closed = sim.hosts[i].closed;
        sim.laws.assert(!closed, || format!("law 7: in sync, and web{} is closed for maintenance", i + 1));
    }
}
