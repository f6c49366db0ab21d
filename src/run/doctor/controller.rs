//! What the controller needs on its own machine.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::Access;

use super::bearers;
use crate::host::examine::which;
use crate::model::desired::Environment;
use crate::model::template::fill;
use crate::plan::policy::{Refused, Secrets as _};
use crate::run::accepted::Standing;
use crate::run::controller::{Controller, ControllerError};
use crate::run::finding::Findings;
use crate::state_repo::NotAccepted;

/// The state repository, git, the signers, the state directory.
pub fn controller(controller: &Controller, read: &Result<Standing, ControllerError>) -> Findings {
    let mut findings = Findings::about("controller", None);
    // "." would be true and say nothing.
    let location = controller.repo.location();
    let absolute = location.as_path().and_then(|path| std::path::absolute(path).ok());
    let place = absolute.map_or_else(|| location.to_string(), |path| path.display().to_string());
    match read {
        Ok(standing) => {
            let commit = standing.accepted.commit.short();
            let count = standing.accepted.desired.environments.len();
            findings.ok("state repository", format!("{place}, commit {commit}, {count} environment(s)"));
            if let Some(refused) = &standing.refused {
                branch(&refused.why, &mut findings);
            }
        }
        Err(ControllerError::NotAccepted(why)) => branch(why, &mut findings),
        Err(why) => findings.fail(
            "state repository",
            format!("{place}: {why}"),
            "correct the state file (`soll validate`), or the place of the repository (`--repo`, SOLL_REPO)",
        ),
    }
    let on_path =
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("git").is_file()));
    if on_path || which("git").is_some() {
        findings.ok("git", "git is there");
    } else {
        findings.fail("git", "there is no `git` on the PATH: remote repositories cannot be fetched", "install git");
    }
    match (&controller.settings.allowed_signers, &controller.signers) {
        (Some(file), Some(_)) => {
            findings.ok("signers", format!("only commits signed by {} are acted on", file.display()))
        }
        _ => findings.warn(
            "signers",
            "every commit on the branch is acted on, whoever made it",
            "name the keys that may sign with SOLL_ALLOWED_SIGNERS (`allowed_signers` in the settings file)",
        ),
    }
    let dir = &controller.settings.state_dir;
    if rustix::fs::access(dir.as_path(), Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        findings.ok("state directory", format!("{} can be written", dir.display()));
    } else {
        let fix = "make it writable for this user, or name another one with --state-dir";
        findings.fail("state directory", format!("{} cannot be written", dir.display()), fix);
    }
    if let Some(dir) = controller.settings.secrets.dir.as_deref() {
        secrets_dir(dir, &mut findings);
    }
    tables(controller, &mut findings);
    findings
}

/// Why the newest commit may not be acted on (law 10).
fn branch(why: &NotAccepted, findings: &mut Findings) {
    let fix = "look at who changed the branch; where its history was rewritten and that is meant: soll acknowledge";
    findings.fail("state branch", why.to_string(), fix);
}

fn secrets_dir(dir: &Path, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(dir) {
        Ok(meta) if meta.permissions().mode() & 0o007 != 0 => findings.warn(
            "secrets directory",
            format!("everybody on this machine may look into {}", dir.display()),
            format!("chmod o= {}", dir.display()),
        ),
        Ok(_) => findings.ok("secrets directory", dir.display().to_string()),
        Err(error) => findings.fail(
            "secrets directory",
            format!("{}: {error}", dir.display()),
            "make it, or correct SOLL_SECRETS_DIR",
        ),
    }
}

/// Secrets that any commit of a repository elsewhere may name for any purpose.
fn tables(controller: &Controller, findings: &mut Findings) {
    if controller.repo.location().is_here() {
        return;
    }
    for name in controller.settings.secrets.open() {
        findings.warn(
            "secret",
            format!("whoever commits to the state repository can send the secret {name} to any address"),
            format!(
                "narrow it in the controller's settings: [secrets.{name}] with use = [\"health\"], environments and origins"
            ),
        );
    }
}

/// The secrets that the checks of an environment send.
pub fn secrets(controller: &Controller, env: &Environment) -> Findings {
    let mut findings = Findings::about("controller", Some(&env.name));
    let known = controller.settings.secrets.known();
    let mut told: BTreeMap<&str, Option<Refused>> = BTreeMap::new();
    for ((name, url), target) in bearers(env).flat_map(|bearer| env.targets.iter().map(move |target| (bearer, target)))
    {
        let refused = known.refused(&env.name, name, &fill(url, &env.values(target, None, None)));
        let told = told.entry(name).or_default();
        *told = told.take().or(refused);
    }
    for (name, refused) in told {
        match refused {
            None => findings.ok("secret", format!("{name} is there")),
            Some(Refused { why, fix }) => {
                findings.fail("secret", format!("checks send the secret {name}, {why}"), fix);
            }
        }
    }
    findings
}
