//! What one seed means: an environment, how its releases behave, and which faults strike when.

use std::collections::BTreeMap;
use std::time::Duration;

use soll::model::activation::Unit;
use soll::model::desired::{
    Address, Batch, Before, Bundle, Check, Checkout, ComposeFiles, Delivery, DriftPolicy, EnvFailure, Environment,
    FetchFrom, File, FilesFrom, From, Gate, GateTest, Grade, Health, Hook, Limit, Metric, MetricSource, OnFailure,
    Phase, Probe, ReleaseRef, Shared, Strategy, Target, Unreachable, Watch,
};
use soll::model::ids::{Digest, Sha};

use super::dice::Dice;

/// The commits that a schedule may ask for; the last one is what adopted roots run.
pub fn sha(n: u64) -> Sha {
    format!("{:08x}{}", 0xa0_0000 + n * 0x11, "0".repeat(32)).parse().unwrap()
}

/// What a command or a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    Yes,
    No,
    /// It hangs until it is killed: no verdict of its own.
    Hangs,
}

/// How a release feels when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feels {
    Well,
    Sick,
    /// Sick so many times per host, then well.
    SickFirst(u32),
    /// Nothing can be said so many times per host, then it is well.
    BlindFirst(u32),
    /// Well everywhere but on the last host.
    SickOnLast,
    /// It answers well, and its figures are bad.
    Leaky,
    /// It answers well, and its figures cannot be had.
    Opaque,
}

/// How one commit behaves, whoever deploys it.
#[derive(Debug, Clone)]
pub struct Conduct {
    pub gate: Say,
    pub hooks: BTreeMap<Phase, Say>,
    pub feels: Feels,
}

impl Conduct {
    pub fn good() -> Self {
        Conduct { gate: Say::Yes, hooks: BTreeMap::new(), feels: Feels::Well }
    }

    fn drawn(dice: &mut Dice) -> Self {
        let mut conduct = Conduct::good();
        match dice.below(16) {
            0 => conduct.gate = Say::No,
            1 => drop(conduct.hooks.insert(Phase::Prepare, Say::No)),
            2 => drop(conduct.hooks.insert(Phase::Migrate, *dice.pick(&[Say::No, Say::Hangs]))),
            3 => drop(conduct.hooks.insert(Phase::PreSwitch, Say::No)),
            4 => drop(conduct.hooks.insert(Phase::PostSwitch, Say::No)),
            5 => drop(conduct.hooks.insert(*dice.pick(&[Phase::Verify, Phase::After]), Say::No)),
            6 | 7 => conduct.feels = Feels::Sick,
            8 => conduct.feels = Feels::SickOnLast,
            9 => conduct.feels = Feels::SickFirst(1 + u32::try_from(dice.below(3)).unwrap()),
            10 => conduct.feels = Feels::BlindFirst(1 + u32::try_from(dice.below(4)).unwrap()),
            12 => conduct.feels = *dice.pick(&[Feels::Leaky, Feels::Opaque]),
            11 if dice.percent(30) => drop(conduct.hooks.insert(Phase::Rollback, Say::No)),
            _ => {}
        }
        conduct
    }
}

/// What goes wrong. Each is armed with a count of chances to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Before or after any journal write or host call.
    ControllerKilled,
    /// It hangs for a while and goes on as if nothing had happened.
    ControllerPaused,
    /// Between two durable effects of one operation.
    AgentKilled,
    RequestLost,
    /// The effect happened, nobody was told.
    ReplyLost,
    Unreachable,
    DiskFull,
    JournalFails,
    FetchFails,
    /// The bundle does not match its digest.
    BundleWrong,
    /// What arrived on the host does not.
    UploadWrong,
    /// A newer commit while a run is under way.
    Commit,
    Cancel,
    /// A person touches a host while a run is under way.
    Meddle,
}

const FAULTS: [(Fault, u64); 14] = [
    (Fault::ControllerKilled, 160),
    (Fault::ControllerPaused, 160),
    (Fault::AgentKilled, 40),
    (Fault::RequestLost, 50),
    (Fault::ReplyLost, 50),
    (Fault::Unreachable, 60),
    (Fault::DiskFull, 8),
    (Fault::JournalFails, 80),
    (Fault::FetchFails, 2),
    (Fault::BundleWrong, 2),
    (Fault::UploadWrong, 4),
    (Fault::Commit, 120),
    (Fault::Cancel, 160),
    (Fault::Meddle, 160),
];

/// The faults that are still to come.
#[derive(Debug, Default)]
pub struct Faults(Vec<(Fault, u64)>);

impl Faults {
    pub fn drawn(dice: &mut Dice) -> Self {
        let n = *dice.pick(&[0, 1, 1, 1, 2, 2, 3, 4]);
        let mut armed = || {
            let (fault, within) = *dice.pick(&FAULTS);
            (fault, dice.below(within))
        };
        Faults((0..n).map(|_| armed()).collect())
    }

    /// One chance for `fault` to strike.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        let Some(at) = self.0.iter().position(|(f, _)| *f == fault) else { return false };
        if self.0[at].1 == 0 {
            self.0.remove(at);
            return true;
        }
        self.0[at].1 -= 1;
        false
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Everything that a seed decides before the first event.
pub struct Scenario {
    pub env: Environment,
    pub conduct: BTreeMap<Sha, Conduct>,
    pub faults: Faults,
    /// Hosts start with a release that someone else made.
    pub adopted: bool,
    pub rounds: u64,
}

impl Scenario {
    pub fn drawn(dice: &mut Dice) -> Self {
        let conduct = (0..4).map(|n| (sha(n), Conduct::drawn(dice))).collect();
        let faults = Faults::drawn(dice);
        Scenario { env: environment(dice), conduct, faults, adopted: dice.percent(25), rounds: 2 + dice.below(4) }
    }
}

fn hook(phase: Phase, on_failure: OnFailure) -> Hook {
    let name = phase.as_str().to_owned();
    Hook { run: format!("do {name}"), name, phase, on_failure, timeout: Duration::from_secs(60), reload: false }
}

fn check(name: &str, on_failure: OnFailure) -> Check {
    let url = format!("http://app/{name}");
    Check {
        name: name.to_owned(),
        probe: Probe::Http { url, status: 200, bearer: None, body: None },
        from: From::Host,
        on_failure,
    }
}

fn watch() -> Watch {
    let source = MetricSource::Http { url: "http://app/errors".to_owned(), select: None, bearer: None };
    let metric = Metric {
        name: "errors".to_owned(),
        source,
        limit: Limit::Above(5.0),
        grade: Grade::P1,
        on_failure: OnFailure::Rollback,
        from: From::Host,
        failure_limit: 1,
    };
    Watch { duration: Duration::from_secs(40), every: Duration::from_secs(10), metrics: vec![metric] }
}

/// Rendered beside the environment file, which people edit; of those that keep one release and have no hooks.
fn rendered() -> File {
    File {
        path: "app.ini".to_owned(),
        from: "app.ini".to_owned(),
        template: "app.ini".to_owned(),
        text: "env = {env}".to_owned(),
        mode: 0o600,
        owner: None,
    }
}

/// The versions of what is rendered in an environment.
pub fn versions(env: &Environment) -> BTreeMap<String, Digest> {
    let store = soll::run::secrets::Store::default();
    let files = soll::run::rendered::render(&store, env, &env.targets[0], &sha(0)).unwrap();
    files.iter().map(|file| (file.from.clone(), file.digest())).collect()
}

fn environment(dice: &mut Dice) -> Environment {
    use OnFailure::{Abort, Rollback, Warn};
    let mut hooks = Vec::new();
    let phases: [(Phase, &[OnFailure]); 9] = [
        (Phase::Prepare, &[Abort, Warn]),
        (Phase::MaintenanceOn, &[Abort]),
        (Phase::Migrate, &[Rollback, Abort]),
        (Phase::PreSwitch, &[Abort, Rollback]),
        (Phase::PostSwitch, &[Rollback, Rollback, Warn]),
        (Phase::MaintenanceOff, &[Rollback]),
        (Phase::Verify, &[Rollback]),
        (Phase::After, &[Warn, Rollback]),
        (Phase::Rollback, &[Warn, Abort]),
    ];
    let maintenance = dice.percent(25);
    for (phase, choices) in phases {
        let wanted = match phase {
            Phase::MaintenanceOn | Phase::MaintenanceOff => maintenance,
            Phase::Migrate => dice.percent(45),
            _ => dice.percent(30),
        };
        if wanted {
            hooks.push(hook(phase, *dice.pick(choices)));
        }
    }
    let mut checks = vec![check("health", Rollback)];
    if dice.percent(20) {
        checks.push(check("deep", *dice.pick(&[Rollback, Warn])));
    }
    let gate =
        Gate { name: "gate".to_owned(), test: GateTest::Run("gate".to_owned()), timeout: Duration::from_secs(9) };
    let hosts = *dice.pick(&[1, 1, 1, 2, 2, 3]);
    let targets = (1..=hosts).map(|n| Target {
        name: format!("web{n}").parse().unwrap(),
        address: Address::Remote(format!("web{n}")),
        user: None,
        port: None,
        agent_dir: None,
        root: "/srv".to_owned(),
    });
    let rolling = Strategy::Rolling {
        batch: Batch::Hosts(1),
        max_failures: u32::try_from(dice.below(2)).unwrap(),
        pause: Duration::from_secs(*dice.pick(&[0, 30])),
    };
    let text = String::new;
    let keep_releases = 1 + u32::try_from(dice.below(3)).unwrap();
    // Not drawn: every seed keeps its meaning.
    let fetch_from = if keep_releases == 3 { FetchFrom::Host } else { FetchFrom::Controller };
    // Likewise not drawn; where there are hooks every schedule stays what it was.
    let renders = keep_releases == 1 && hooks.is_empty();
    // A unit works through a migration nowhere.
    let migrates = hooks.iter().any(|hook| hook.phase == Phase::Migrate);
    let unit = Unit { name: "app.service".to_owned(), user: false };
    // Of those that would have units otherwise: every other schedule stays what it was.
    let services = keep_releases == 2 && hosts != 2;
    let from = FilesFrom::Directory { path: "app".to_owned(), tree: "7".repeat(40) };
    let files = ComposeFiles { project: "app".to_owned(), from, ..ComposeFiles::default() };
    let drains = if keep_releases == 2 && migrates && !services { vec![unit.clone()] } else { Vec::new() };
    let delivery = match hosts == 2 && keep_releases > 1 {
        true => Delivery::Git(Checkout {
            repository: text(),
            directory: text(),
            submodules: false,
            fetch_from,
            checks: text(),
            checks_from: None,
        }),
        false if services => Delivery::Compose(Box::new(files)),
        false => Delivery::Bundle(Bundle { url: text(), sha256: text(), checks: text(), fetch_from, strip: 0 }),
    };
    Environment {
        name: "prod".parse().unwrap(),
        app: "app".parse().unwrap(),
        recipe: text(),
        release: ReleaseRef::Sha(sha(0)),
        targets: targets.collect(),
        backups: Vec::new(),
        repository: None,
        delivery,
        shared: [".env", "app.ini"]
            .iter()
            .filter(|path| **path == ".env" || renders)
            .map(|path| Shared { path: (*path).to_owned(), from: (*path).to_owned(), directory: false })
            .collect(),
        files: if renders { vec![rendered()] } else { Vec::new() },
        sealed: Vec::new(),
        mutable: Vec::new(),
        links_out: Vec::new(),
        units: if keep_releases == 2 && !services { vec![unit] } else { Vec::new() },
        drains,
        settle: soll::model::activation::SETTLE,
        keep_releases,
        required_env: Vec::new(),
        gates: if dice.percent(50) { vec![gate] } else { Vec::new() },
        hooks,
        checks: Vec::new(),
        variables: BTreeMap::new(),
        health: Health {
            before: if dice.percent(20) { Before::Block } else { Before::Warn },
            grace: Duration::from_secs(*dice.pick(&[0, 15])),
            attempts: 1 + u32::try_from(dice.below(3)).unwrap(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            every: Duration::from_secs(300),
            failures: 2,
            checks,
        },
        watch: dice.percent(15).then(watch),
        drift: *dice.pick(&[DriftPolicy::Report, DriftPolicy::Heal]),
        drift_every: Duration::from_secs(600),
        on_failure: if dice.percent(20) { EnvFailure::Hold } else { EnvFailure::Rollback },
        revert_commit: dice.percent(20),
        frozen: None,
        promote: None,
        approvals: 0,
        approvals_for_rollback: None,
        not_author: false,
        immutable: false,
        track: None,
        strategy: if dice.percent(40) { rolling } else { Strategy::AllAtOnce },
        deadline: Duration::from_secs(120),
        unreachable: if dice.percent(35) { Unreachable::Skip } else { Unreachable::Block },
        windows: Vec::new(),
        emergency: None,
        pull: None,
        bounds: Default::default(),
    }
}
