//! What a shell completes: commands and flags, and the names that the state file and the history have. The script of `soll
//! completions` calls the program itself with `SOLL_COMPLETE`. It reads what lies on this machine, asks nobody, changes nothing,
//! and says nothing where it cannot read: whoever presses a key wants no error.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap::{Arg, Command, CommandFactory, Parser};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;

use super::global::Global;
use super::{Cli, Result, out};
use crate::model::desired::{Desired, recipe};
use crate::run::files::load_file;
use crate::run::settings::Settings;
use crate::store::{Details, RunRow, Store};

/// Set by the script of a shell.
pub const VARIABLE: &str = "SOLL_COMPLETE";
/// So many runs are looked at, the newest.
const RUNS: usize = 200;

/// Answers a shell that asks; `true`: that was it.
pub fn answered() -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let here = std::env::current_dir().ok();
    // A closed pipe, or a shell that nobody knows, is no reason to begin a run.
    let shell = CompleteEnv::with_factory(command).var(VARIABLE);
    shell.try_complete(std::env::args_os(), here.as_deref()).unwrap_or(true)
}

/// Prints the script of a shell.
pub fn script(shell: &str) -> Result {
    let mut bytes = Vec::new();
    if let Some(known) = Shells::builtins().completer(shell) {
        known.write_registration(VARIABLE, "soll", "soll", "soll", &mut bytes)?;
    }
    out::text(&String::from_utf8_lossy(&bytes));
    Ok(0)
}

/// The names that are meant by arguments of the command line.
#[derive(Clone, Copy)]
enum Names {
    Environments,
    Hosts,
    Backups,
    Releases,
    /// What `release` takes: environments, and last a release.
    EnvironmentsOrReleases,
    Recipes,
    Runs,
    /// What `show` takes: a run, or an environment's last one.
    RunsOrEnvironments,
}

/// The command line, with what knows the names of things.
fn command() -> Command {
    with_names(Cli::command())
}

fn with_names(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| match meant(&name, arg.get_id().as_str()) {
        Some(names) => knowing(arg, names),
        None => arg,
    });
    let below: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    below.into_iter().fold(command, |command, sub| command.mut_subcommand(sub, with_names))
}

/// What an argument of a command names.
fn meant(command: &str, argument: &str) -> Option<Names> {
    match (command, argument) {
        ("init" | "demo", "environment" | "environments") => None,
        (_, "environment" | "environments") | ("promote", "from" | "to") => Some(Names::Environments),
        ("rollback", "to") => Some(Names::Releases),
        ("release", "arguments") => Some(Names::EnvironmentsOrReleases),
        ("show", "run") => Some(Names::RunsOrEnvironments),
        ("cancel", "run") => Some(Names::Runs),
        ("recipe", "name") | ("init", "recipe") => Some(Names::Recipes),
        ("now" | "list" | "verify" | "next" | "prune" | "test" | "import" | "restore-test", "names")
        | ("restore", "backup") => Some(Names::Backups),
        ("init", _) => None,
        (_, "host") => Some(Names::Hosts),
        _ => None,
    }
}

fn knowing(arg: Arg, names: Names) -> Arg {
    arg.add(ArgValueCompleter::new(move |begun: &OsStr| {
        let begun = begun.to_string_lossy();
        let all = said(names).into_iter().filter(|name| name.starts_with(begun.as_ref()));
        all.map(CompletionCandidate::new).collect::<Vec<_>>()
    }))
}

/// The names, in the order in which they are offered.
fn said(names: Names) -> Vec<String> {
    match names {
        Names::Recipes => recipe::names().map(str::to_owned).collect(),
        Names::Environments => environments(),
        Names::Hosts => {
            let named = |desired: Desired| desired.environments.into_values().flat_map(|env| env.targets);
            let all = desired().into_iter().flat_map(named).map(|target| target.name.to_string());
            unique(all)
        }
        Names::Backups => {
            let named = |desired: Desired| desired.environments.into_values().flat_map(|env| env.backups);
            unique(desired().into_iter().flat_map(named).map(|backup| backup.name))
        }
        Names::Releases => {
            let to = |row: &RunRow| match &row.details {
                Details::Deployment(moved) => Some(moved.to.clone()),
                Details::Operation { .. } => None,
            };
            unique(runs().iter().filter_map(to))
        }
        Names::EnvironmentsOrReleases => environments().into_iter().chain(said(Names::Releases)).collect(),
        Names::Runs => runs().iter().map(|row| row.run.to_string()).collect(),
        Names::RunsOrEnvironments => environments().into_iter().chain(said(Names::Runs)).collect(),
    }
}

/// Those of the state file; where it cannot be read here, those that were worked on.
fn environments() -> Vec<String> {
    match desired() {
        Some(desired) => desired.environments.keys().map(ToString::to_string).collect(),
        None => unique(runs().into_iter().filter_map(|row| row.environment).map(|name| name.to_string())),
    }
}

fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The settings of whoever presses the key: variables and files. The flags of the line are not looked at.
fn settings() -> Option<Settings> {
    #[derive(Parser)]
    struct Bare {
        #[command(flatten)]
        global: Global,
    }
    Bare::try_parse_from(["soll"]).ok()?.global.settings().ok()
}

/// The state file of a work tree, as it lies there.
fn desired() -> Option<Desired> {
    let settings = settings()?;
    let path = std::path::Path::new(&settings.repo).join(&settings.file);
    load_file(&path).ok().map(|checked| checked.desired)
}

/// The newest runs. A history that is not there yet is not made.
fn runs() -> Vec<RunRow> {
    let read = || {
        let dir = settings()?.state_dir;
        dir.join("soll.db").exists().then(|| Store::open(&dir).ok()?.runs(None, None, RUNS).ok()).flatten()
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command that gets a new argument of a name is thought of here, or its names are not completed.
    #[test]
    fn arguments_that_name_something_are_known() {
        fn all(command: &Command, into: &mut Vec<(String, String)>) {
            let name = command.get_name().to_owned();
            into.extend(command.get_arguments().map(|arg| (name.clone(), arg.get_id().to_string())));
            command.get_subcommands().for_each(|sub| all(sub, into));
        }
        let mut there = Vec::new();
        all(&Cli::command(), &mut there);
        for (command, argument) in [
            ("plan", "environments"),
            ("rollback", "environments"),
            ("rollback", "to"),
            ("promote", "from"),
            ("promote", "to"),
            ("release", "arguments"),
            ("show", "run"),
            ("recipe", "name"),
            ("init", "recipe"),
            ("verify", "names"),
            ("restore-test", "names"),
            ("restore", "backup"),
        ] {
            let is_there = there.contains(&(command.to_owned(), argument.to_owned()));
            assert!(is_there && meant(command, argument).is_some(), "{command} {argument}");
        }
        Cli::command().debug_assert();
        command().debug_assert();
    }
}
