//! Commands: gates, hooks, migrations, probes by command.

use std::time::Duration;

use soll::host::disk::command;
use soll::host::wire::{CommandResult, CommandRole, Cwd, Exit, HostError, Op, Reply, Secret};
use soll::model::desired::{Gate, GateTest, MetricSource, Probe};
use soll::model::ids::Epoch;
use soll::model::observed::Verdict;
use soll::model::record::Migration;

use super::world::{Bundle, LEASE, World, name, shell};

fn run(text: &str, timeout: Duration) -> CommandResult {
    let dir = tempfile::tempdir().unwrap();
    command::run(&soll::model::record::Command { timeout, ..shell(text) }, dir.path()).unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_command_sees_its_own_environment_and_no_other() {
    let result =
        run("env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo to stderr >&2; read x || echo no input; exit 3", LONG);
    assert_eq!(result.exit, Exit::Code(3));
    let names: Vec<_> = result.output.lines().next().unwrap().split_whitespace().collect();
    let allowed = ["HOME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SOLL_ENV", "USER", "XDG_RUNTIME_DIR", "_"];
    assert!(names.contains(&"SOLL_ENV") && names.iter().all(|name| allowed.contains(name)), "{names:?}");
    assert!(result.output.contains("to stderr") && result.output.contains("no input"), "{}", result.output);
    assert_eq!(run("kill -9 $$", LONG).exit, Exit::Signal(9));
}

#[test]
fn output_is_read_to_the_end_and_kept_at_both_ends() {
    let result = run("echo first; head -c 300000000 /dev/zero | tr '\\0' x; echo; echo last", LONG);
    assert_eq!(result.exit, Exit::Code(0));
    assert!(result.output.starts_with("first\n") && result.output.ends_with("last\n"));
    assert!(result.output.len() < 2 * command::KEPT + 100, "{}", result.output.len());
    let left_out = 300_000_000 + "first\n\nlast\n".len() - 2 * command::KEPT;
    assert!(result.output.contains(&format!("… {left_out} bytes left out …")));
    assert_eq!(run("printf abc", LONG).output, "abc");
}

#[test]
fn a_command_that_takes_too_long_dies_with_all_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let text = "sleep 1000 & echo $! > child; (trap '' TERM; echo $$; sleep 1000) & wait";
    let command = soll::model::record::Command { timeout: Duration::from_millis(300), ..shell(text) };
    let result = command::run(&command, dir.path()).unwrap();
    assert_eq!(result.exit, Exit::TimedOut);
    let child = std::fs::read_to_string(dir.path().join("child")).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    // Nobody may have waited for it yet: dead is dead.
    assert!(state().is_empty() || state().contains(") Z "), "{}", state());
}

#[test]
fn a_leftover_that_keeps_the_output_does_not_keep_us() {
    let result = run("sleep 1000 & echo $!", LONG);
    assert_eq!(result.exit, Exit::Code(0));
    assert!(result.millis < 30_000, "{}", result.millis);
    let pid = result.output.trim().to_owned();
    assert_eq!(result.left, [format!("`sleep 1000` (pid {pid}, ended)")]);
    assert!(result.told().starts_with("it left `sleep 1000` (pid "), "{}", result.told());
    let gone = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let deadline = std::time::Instant::now() + LONG;
    while !gone() {
        assert!(std::time::Instant::now() < deadline, "it lives on");
        std::thread::yield_now();
    }
}

#[test]
fn who_left_the_group_is_named_and_goes_on() {
    // With what a daemon does: a session of its own, and nobody waits for it.
    let result =
        run("setsid sleep 1000 & echo $!; until test \"$(ps -o sid= -p $! | tr -d ' ')\" = $!; do :; done", LONG);
    let pid = result.output.trim().to_owned();
    assert_eq!(result.left, [format!("`sleep 1000` (pid {pid}, goes on)")]);
    let alive = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert!(alive, "it was said to go on");
    // Whose output went elsewhere is in nobody's way.
    let result = run("sleep 1000 > /dev/null 2>&1 & echo $!", LONG);
    assert_eq!(result.left, [] as [String; 0]);
    let pid = rustix::process::Pid::from_raw(result.output.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_ask_about_the_release() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    world.extract(1, "r1", 'a', &Bundle::new(&[("public/index.php", "x")])).await.unwrap();
    let ask = async |test: GateTest, text: Option<&str>| {
        let gate = Gate { name: "g".to_owned(), test, timeout: LONG };
        let op = Op::Gate { epoch: Epoch(1), name: name("r1"), gate, command: text.map(shell) };
        match world.call(op).await {
            Ok(Reply::Gate(result)) => Ok((result.pass, result.evidence)),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        }
    };
    let file = |path: &str| GateTest::File(path.to_owned());
    assert_eq!(
        ask(file("public/index.php"), None).await.unwrap(),
        (true, "file `public/index.php` is there".to_owned())
    );
    assert!(!ask(file("public"), None).await.unwrap().0);
    assert!(ask(GateTest::Dir("public".to_owned()), None).await.unwrap().0);
    assert!(!ask(file("vendor/autoload.php"), None).await.unwrap().0);
    assert!(ask(file("../../../../etc/passwd"), None).await.is_err());
    let command = || GateTest::Run("unused: the filled one counts".to_owned());
    assert!(ask(command(), Some("test -f public/index.php")).await.unwrap().0);
    assert_eq!(ask(command(), Some("echo why; exit 7")).await.unwrap(), (false, "exit code 7: why".to_owned()));
    assert!(matches!(ask(command(), None).await, Err(HostError::Precondition(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_noted_before_and_after() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    world.extract(1, "r1", 'a', &Bundle::new(&[("x", "x")])).await.unwrap();
    let sha = "a".repeat(40);
    let key = format!("{sha}/hook");
    let migrate = async |text: &str| {
        let cwd = Cwd::Release(name("r1"));
        let op = Op::Hook {
            epoch: Epoch(1),
            cwd,
            command: shell(text),
            means: CommandRole::Migration { key: key.clone(), case: None },
        };
        let done = world.call(op).await;
        (done, world.state().await.record.migrations.get(&key).copied())
    };
    // It sees itself begun while it runs.
    let (done, after) = migrate("grep -q '\"begun\"' ../../.soll/record.json").await;
    assert!(matches!(done, Ok(Reply::Command(result)) if result.ok()));
    assert_eq!(after, Some(Migration::Done));
    assert_eq!(migrate("exit 1").await.1, Some(Migration::Failed));
    assert_eq!(migrate("kill -9 $$").await.1, Some(Migration::Begun), "killed is no verdict");
    let (refused, _) = migrate("true").await;
    assert!(matches!(&refused, Err(HostError::Precondition(text)) if text.contains("--migration done")), "{refused:?}");
    let retry =
        Op::Retry { epoch: Epoch(1), sha: sha.parse().unwrap(), migration: Some(Migration::Failed), done: Vec::new() };
    world.call(retry).await.unwrap();
    assert_eq!(migrate("true").await.1, Some(Migration::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_from_the_host_run_where_current_leads() {
    let world = World::new().await;
    world.acquire(1, LEASE).await.unwrap();
    world.deploy(1, "r1", 'a', &Bundle::new(&[("x", "42.5")])).await;
    let probe = async |probe: Probe, text: Option<&str>, secret: Option<&str>| {
        let secret = secret.map(|value| Secret::new(value.to_owned()));
        let op = Op::Probe { cwd: Cwd::Current, probe, command: text.map(shell), secret, timeout: LONG };
        match world.call(op).await.unwrap() {
            Reply::Attempt(attempt) => (attempt.verdict, attempt.evidence),
            other => panic!("{other:?}"),
        }
    };
    let run = || Probe::Run { command: String::new() };
    assert_eq!(probe(run(), Some("grep -q 42 x"), None).await, (Verdict::Pass, "exit code 0".to_owned()));
    assert_eq!(probe(run(), Some("exit 2"), None).await.0, Verdict::Fail);
    assert_eq!(probe(run(), None, None).await.0, Verdict::Inconclusive);
    let (verdict, evidence) = probe(Probe::Tcp { address: "db:1".to_owned() }, None, Some("token")).await;
    assert!(verdict == Verdict::Pass && evidence.contains("db:1") && evidence.ends_with("with token"), "{evidence}");
    let measure = async |source: MetricSource, text: &str| {
        let op = Op::Measure { cwd: Cwd::Current, source, command: Some(shell(text)), secret: None, timeout: LONG };
        match world.call(op).await.unwrap() {
            Reply::Figure(figure) => figure,
            other => panic!("{other:?}"),
        }
    };
    let run = || MetricSource::Run { command: String::new() };
    assert_eq!(measure(run(), "echo text; cat x").await, Ok(42.5));
    assert!(measure(run(), "echo none").await.is_err());
    assert!(measure(run(), "echo 1; exit 1").await.is_err());
    let http = MetricSource::Http { url: "http://x".to_owned(), select: None, bearer: None };
    assert_eq!(measure(http, "").await, Ok(4.5));
}
