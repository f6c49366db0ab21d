//! The command line: one file per command, each of them a thin shell around a room. Arguments in, text or JSON and the
//! contract's exit code out (1.2); nothing is decided here.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

mod acknowledge;
mod adopt;
mod apply;
mod backup;
mod bundle;
mod chosen;
mod complete;
mod daemon;
mod demo;
mod diff;
mod doctor;
mod edits;
mod error;
mod findings;
mod global;
mod history;
mod init;
mod kind;
mod operate;
mod out;
mod plan;
mod preflight;
mod process;
mod progress;
mod provision;
mod restore;
mod restore_test;
mod rollback;
mod screen;
mod shortened;
mod status;
mod text;
mod timeline;
mod validate;
mod wait;
mod words;

pub use error::CliError;

/// What a command gives: an exit code, or an error that has one.
type Result<T = u8> = std::result::Result<T, CliError>;

/// GitOps for plain Linux servers: a Git repository states the desired release per environment, soll makes the hosts run it.
#[derive(Parser)]
#[command(name = "soll", version = version(), propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done or nothing to do, 1 error, 2 changes pending, 3 rolled back, 4 blocked, 5 locked,\n\
    6 unreachable or unknown, 7 quarantined, 8 the saved plan is stale, 64 usage."
)]
struct Cli {
    #[command(flatten)]
    global: global::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the state file: every error at once, with its place
    Validate(validate::Validate),
    /// Show what would be done, and why or why not; changes nothing
    Plan(plan::Plan),
    /// Work until the environments are what they should be, or something stops it
    Apply(apply::Apply),
    /// Follow the repository and keep the environments what they should be
    Run(daemon::Run),
    /// Show every environment: desired, observed, health, last run
    Status(status::Status),
    /// List the runs
    History(history::History),
    /// Show one run: every step, its evidence, its result
    Show(history::Show),
    /// Say in words why an environment is as it is, and the next move
    Why(status::Why),
    /// Wait until an environment runs what is desired
    Wait(wait::Wait),
    /// Show desired against observed, file by file
    Diff(diff::Diff),
    /// Commit a release for one or more environments, or for a template
    Release(edits::Release),
    /// Commit what one environment runs as the release of others
    Promote(edits::Promote),
    /// Commit an earlier release
    Rollback(rollback::Rollback),
    /// Commit that nothing is changed, with a reason
    Freeze(edits::Freeze),
    /// Commit that changes are allowed again
    Unfreeze(edits::Unfreeze),
    /// Commit that environments follow their template again
    Unpin(edits::Unpin),
    /// Approve what the plan of one or more environments would do
    Approve(words::Approve),
    /// Reject it
    Reject(words::Reject),
    /// Ask a live run to stop at its next safe point
    Cancel(operate::Cancel),
    /// Lift the quarantine of the desired release, or settle an unknown migration
    Retry(operate::Retry),
    /// Stop everything by the declared hooks: maintenance on, workers and services stopped
    Stop(operate::Stop),
    /// Start again what `stop` stopped
    Start(operate::Start),
    /// Accept a rewritten history of the state repository after looking at it
    Acknowledge(acknowledge::Acknowledge),
    /// Look for what stands between the environments and their next deployment, with the fix beside each finding
    Doctor(doctor::Doctor),
    /// Try the desired release on its hosts, beside everything that is live, and throw it away
    Preflight(preflight::Preflight),
    /// Make the directories of an environment on its hosts
    Provision(provision::ProvisionArgs),
    /// Take over a server that something else has deployed to
    Adopt(adopt::Adopt),
    /// Save data now, list and verify what was saved, say what is due, prune, try a target
    Backup(backup::Backup),
    /// Put the data of an environment back as a backup has them: tried first, saved first, everything stopped meanwhile
    Restore(restore::Restore),
    /// Restore a backup elsewhere, look whether it is what it should be, and throw it away
    RestoreTest(restore_test::RestoreTest),
    /// Make a bundle with its checksum from a built directory
    Bundle(bundle::Bundle),
    /// Print what a recipe sets
    Recipe(text::Recipe),
    /// Print the JSON Schema of the state file
    Schema,
    /// Write a first state file
    Init(init::Init),
    /// See it work: a state repository, bundles and two environments in a folder, and the real loop on them
    Demo(demo::Demo),
    /// Print shell completions
    Completions(text::Completions),
    /// Print the manual page
    Man,
    /// Print the version
    Version,
    /// Serve host operations over standard input and output
    #[command(hide = true)]
    HostAgent(HostAgent),
}

/// How an agent is started.
#[derive(Debug, Args)]
struct HostAgent {
    /// A controller whose connection was lost may come back to it within so many seconds
    #[arg(long, value_name = "SECONDS")]
    linger: Option<u64>,
    /// Be the way to the agent of this session, which lingers
    #[arg(long, value_name = "SESSION", conflicts_with = "linger")]
    attach: Option<String>,
}

/// `0.1.0 (abcdef1234)`.
fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("SOLL_COMMIT"), ")")
}

/// The C library gives each of many threads a heap of its own, and keeps what was freed there: a controller that sends to many
/// hosts, and an agent beside an application, would be larger by a third, and slower for all the pages.
#[cfg(target_env = "gnu")]
fn keep_small() {
    // SAFETY: it sets two numbers of the allocator; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}

/// Other allocators do it by themselves.
#[cfg(not(target_env = "gnu"))]
fn keep_small() {}

/// Runs the program.
pub fn main() -> ExitCode {
    keep_small();
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    process::close();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // A closed pipe is nobody's mistake.
            let _ = error.print();
            return ExitCode::from(if usage { 64 } else { 0 });
        }
    };
    if let Command::HostAgent(how) = &cli.command {
        return agent(how);
    }
    cli.global.init_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("soll: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let exit = match runtime.block_on(run(cli)) {
        Ok(exit) => exit,
        Err(error) => {
            error.print();
            error.exit
        }
    };
    // A blocking look-up that hangs must not hold the exit up.
    runtime.shutdown_background();
    ExitCode::from(exit)
}

fn agent(how: &HostAgent) -> ExitCode {
    let done = match &how.attach {
        Some(session) => crate::host::serve::reattach::bridge(session),
        None => {
            let prober = std::sync::Arc::new(crate::health::prober::HealthProber);
            crate::host::serve::agent::serve_stdio(prober, how.linger.map(Duration::from_secs))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soll host-agent: {error}");
            ExitCode::from(1)
        }
    }
}

async fn run(cli: Cli) -> Result {
    let global = &cli.global;
    match cli.command {
        Command::Validate(command) => command.run(global),
        Command::Plan(command) => command.run(global).await,
        Command::Apply(command) => command.run(global).await,
        Command::Run(command) => command.run(global).await,
        Command::Status(command) => command.run(global).await,
        Command::History(command) => command.run(global),
        Command::Show(command) => command.run(global).await,
        Command::Why(command) => command.run(global).await,
        Command::Wait(command) => command.run(global).await,
        Command::Diff(command) => command.run(global).await,
        Command::Release(command) => command.run(global).await,
        Command::Promote(command) => command.run(global).await,
        Command::Rollback(command) => command.run(global).await,
        Command::Freeze(command) => command.run(global).await,
        Command::Unfreeze(command) => command.run(global).await,
        Command::Unpin(command) => command.run(global).await,
        Command::Approve(command) => command.run(global).await,
        Command::Reject(command) => command.run(global).await,
        Command::Cancel(command) => command.run(global).await,
        Command::Retry(command) => command.run(global).await,
        Command::Stop(command) => command.run(global).await,
        Command::Start(command) => command.run(global).await,
        Command::Acknowledge(command) => command.run(global).await,
        Command::Doctor(command) => command.run(global).await,
        Command::Preflight(command) => command.run(global).await,
        Command::Provision(command) => command.run(global).await,
        Command::Adopt(command) => command.run(global).await,
        Command::Backup(command) => command.run(global).await,
        Command::Restore(command) => command.run(global).await,
        Command::RestoreTest(command) => command.run(global).await,
        Command::Bundle(command) => command.run(global),
        Command::Recipe(command) => command.run(),
        Command::Schema => text::schema(),
        Command::Init(command) => command.run(global),
        Command::Demo(command) => command.run(global).await,
        Command::Completions(command) => command.run(),
        Command::Man => text::man(Cli::command()),
        Command::Version => text::version(global, env!("CARGO_PKG_VERSION"), env!("SOLL_COMMIT")),
        Command::HostAgent(_) => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of a command and of those below it, each with the command that has it.
    fn examples(command: &clap::Command, into: &mut Vec<(String, String)>) {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if let Some((_, lines)) = text.split_once("Examples:\n") {
            into.extend(lines.lines().map(|line| (command.get_name().to_owned(), line.to_owned())));
        }
        command.get_subcommands().for_each(|sub| examples(sub, into));
    }

    #[test]
    fn every_example_is_a_line_that_is_taken_and_fits_a_terminal() {
        let mut all = Vec::new();
        examples(&Cli::command(), &mut all);
        assert!(all.len() > 40, "{}", all.len());
        for (command, line) in all {
            // What is said of it stands after two blanks, or in a line of its own.
            let said = line.strip_prefix("  ").unwrap_or_else(|| panic!("{command}: {line}"));
            assert!(line.chars().count() <= 100, "{command}: {line}");
            if said.starts_with(' ') {
                continue;
            }
            let words = said.split("  ").next().and_then(|said| said.split(" > ").next()).unwrap_or_default();
            if let Err(error) = Cli::try_parse_from(words.split_whitespace()) {
                panic!("{command}: {line}: {error}");
            }
        }
    }

    /// Own options come first, and those that every command has stand in a part of their own.
    #[test]
    fn help_has_its_parts_in_order() {
        let mut command = Cli::command();
        command.build();
        for name in ["plan", "rollback", "restore", "init"] {
            let sub = command.find_subcommand_mut(name).expect("a command");
            let help = sub.render_help().to_string();
            let parts = ["Usage:", "\nOptions:\n", "\nOptions of every command:\n", "\nExamples:\n"];
            let places: Vec<_> = parts.iter().map(|part| help.find(part)).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{name}: {places:?}\n{help}");
            assert!(help.find("--repo <") > places[2], "{help}");
        }
    }
}
