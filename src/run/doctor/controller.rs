//! What the controller needs on its own machine.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::Access;

use super::bearers;
use crate::host::examine::which;
use crate::model::address::redacted;
use crate::model::desired::{Checkout, Environment, FetchFrom, ReleaseRef};
use crate::model::key_text::KeySource;
use crate::model::observed::Fact;
use crate::model::rendered;
use crate::model::shown::counted;
use crate::model::template::fill;
use crate::plan::policy::{Refused, Secrets as _};
use crate::run::accepted::{AcceptedSnapshot, Standing};
use crate::run::controller::{Controller, ControllerError};
use crate::run::finding::Findings;
use crate::run::look::build::git::Commit;
use crate::run::look::grounds::Grounds;
use crate::run::secrets::{Purpose, Store, Use};
use crate::seal;
use crate::state_repo::{AppRepo, GitSettings, NotAccepted};

/// How long a repository may take to say which branches it has.
const ANSWER: Duration = Duration::from_secs(30);

/// The state repository, git, the signers, the state directory.
pub fn controller(controller: &Controller, read: &Result<Standing, ControllerError>) -> Findings {
    let mut findings = Findings::about("controller", None);
    // "." would be true and say nothing.
    let location = controller.repo.location();
    let absolute = location.as_path().and_then(|path| std::path::absolute(path).ok());
    let place = absolute.map_or_else(|| location.to_string(), |path| path.display().to_string());
    match read {
        Ok(standing) => {
            let (accepted, commit) = (&standing.accepted, standing.accepted.commit.short());
            let count = counted(accepted.desired.environments.len() as u64, "environment", "environments");
            let good = || format!("{place}, commit {commit}, {count}");
            let refused = standing.refused.as_ref().map(|refused| &refused.why);
            match (refused, &accepted.held) {
                (Some(ControllerError::NotAccepted(why)), _) => {
                    findings.ok("state repository", good());
                    branch(why, &mut findings);
                }
                (Some(why), _) => unread(&place, why, &mut findings),
                (None, Some(held)) => {
                    let what = format!("{}: {}", held.told(&accepted.commit), held.found);
                    findings.fail("state repository", what, "correct what is named (`soll validate`) and commit it");
                }
                (None, None) => findings.ok("state repository", good()),
            }
        }
        Err(ControllerError::NotAccepted(why)) => branch(why, &mut findings),
        Err(why) => unread(&place, why, &mut findings),
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
    let secrets = read.as_ref().map_or(&controller.settings.secrets, |standing| standing.accepted.secrets());
    if let Some(source) = &secrets.identity {
        identity(source, &mut findings);
    }
    tables(controller, secrets, &mut findings);
    findings
}

/// The newest commit cannot be read.
fn unread(place: &str, why: &ControllerError, findings: &mut Findings) {
    let fix = "correct the state file (`soll validate`), or the place of the repository (`--repo`, SOLL_REPO)";
    findings.fail("state repository", format!("{place}: {why}"), fix);
}

/// Why the newest commit may not be acted on (law 10).
fn branch(why: &NotAccepted, findings: &mut Findings) {
    let fix = "look at who changed the branch; where its history was rewritten and that is meant: soll acknowledge";
    findings.fail("state branch", why.to_string(), fix);
}

fn secrets_dir(dir: &Path, findings: &mut Findings) {
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

/// What opens encrypted files of the state repository.
fn identity(source: &KeySource, findings: &mut Findings) {
    let count = match seal::usable(source) {
        Ok(count) => count,
        Err(why) => {
            let fix = "name a file of `age-keygen` with SOLL_AGE_IDENTITY (`age_identity` in the settings file)";
            return findings.fail("age identity", format!("encrypted files stay as they are: {why}"), fix);
        }
    };
    let mode = source.file().and_then(|path| Some((path, std::fs::metadata(path).ok()?.permissions().mode())));
    match mode {
        Some((path, mode)) if mode & 0o007 != 0 => findings.warn(
            "age identity",
            format!("everybody on this machine may read {}", path.display()),
            format!("chmod o= {}", path.display()),
        ),
        _ => findings.ok("age identity", format!("{} can be used: {count} in it", source.shown())),
    }
}

/// Secrets that any commit of a repository elsewhere may name for any purpose.
fn tables(controller: &Controller, secrets: &Store, findings: &mut Findings) {
    if controller.repo.location().is_here() {
        return;
    }
    for name in secrets.open() {
        findings.warn(
            "secret",
            format!("whoever commits to the state repository can send the secret {name} to any address"),
            format!(
                "narrow it in the controller's settings: [secrets.{name}] with use = [\"health\"], environments and origins"
            ),
        );
    }
}

/// Whether the repository answers that this controller fetches the releases of an environment from.
pub async fn repository(controller: &Controller, env: &Environment) -> Findings {
    let mut findings = Findings::about("controller", Some(&env.name));
    let Some(checkout) = env.delivery.checkout() else { return findings };
    if checkout.fetch_from == FetchFrom::Host {
        return findings;
    }
    let (address, git) = (checkout.repository.clone(), controller.settings.git.clone());
    let git = GitSettings { timeout: git.timeout.min(ANSWER), ..git };
    let asked =
        tokio::task::spawn_blocking(move || AppRepo::new(&address, git)?.ls_remote(&["refs/heads/*", "refs/tags/*"]));
    let place = redacted(&checkout.repository);
    match asked.await.map_err(|error| error.to_string()).and_then(|said| said.map_err(|error| error.to_string())) {
        Ok(refs) => findings.ok("repository", format!("{place} answers: {} branches and tags", refs.len())),
        Err(why) => findings.fail(
            "repository",
            why,
            format!("give this controller a key for it (SOLL_SSH_KEY, or a login in the address), or correct `repository` of {}", env.app),
        ),
    }
    findings
}

/// Whether the forge tells how the checks of the desired commit came out; not how: that is the plan's to say.
pub async fn forge(controller: &Controller, word: &AcceptedSnapshot, env: &Environment) -> Findings {
    let mut findings = Findings::about("controller", Some(&env.name));
    let (ReleaseRef::Sha(sha), Some(checkout)) = (&env.release, env.delivery.checkout()) else { return findings };
    let Some(from) = checkout.checks_from.as_ref().filter(|_| !env.checks.is_empty()) else { return findings };
    let commit = match Commit::of(checkout, env, sha, word.base.as_deref()) {
        Ok(commit) => commit,
        Err(why) => {
            findings.fail("forge", why, "correct `checkout`");
            return findings;
        }
    };
    match commit.statuses(controller, Grounds::Accepted(word), env, from).await {
        Fact::Known(said) => {
            let (place, count) = (from.place(), env.checks.len());
            findings.ok("forge", format!("{place} tells of {} of {count} checks of {}", said.len(), sha.short()));
        }
        Fact::Unknown(why) => {
            findings.fail("forge", why, "until it answers, nothing is deployed that needs these checks")
        }
        Fact::Missing | Fact::NotAsked => {}
    }
    findings
}

/// The secrets that the checks of an environment send, and those that its rendered files hold.
pub fn secrets(word: &AcceptedSnapshot, env: &Environment) -> Findings {
    let mut findings = Findings::about("controller", Some(&env.name));
    let known = word.secrets().known();
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
    if let Some(Checkout { checks_from: Some(from), .. }) = env.delivery.checkout()
        && let Some(name) = &from.token
    {
        let purpose = Purpose { wanted: Use::Fetch, environment: Some(&env.name), url: Some(&from.api) };
        match word.secrets().get(name, &purpose) {
            Ok(_) => findings.ok("secret", format!("{name} is there for {}", from.place())),
            Err(Refused { why, fix }) => {
                findings.fail(
                    "secret",
                    format!("{} is asked for checks with the secret {name}, {why}", from.place()),
                    fix,
                );
            }
        }
    }
    for (path, read) in word.secrets().opened().iter().flat_map(|opened| opened.each(&env.name)) {
        match read {
            Ok(held) => {
                findings.ok("secrets", format!("{path} can be opened: {} in it", held.len()));
                for name in held.keys().filter(|name| word.secrets().has(name)) {
                    findings.warn(
                        "secrets",
                        format!("{name} of {path} is not used: this controller has a secret of that name itself, which goes before"),
                        "remove one of the two",
                    );
                }
            }
            Err(why) => {
                findings.fail("secrets", why, "put that right: what is rendered or sent with secrets of it waits")
            }
        }
    }
    for file in &env.files {
        for name in rendered::secrets(&file.text) {
            match known.withheld(&env.name, name) {
                None => findings.ok("secret", format!("{name} is there for {}", file.path)),
                Some(Refused { why, fix }) => {
                    findings.fail("secret", format!("{} is rendered with the secret {name}, {why}", file.path), fix);
                }
            }
        }
    }
    findings
}
