//! What is asked of the engine that runs the containers of an environment, and what is to be thought of its answers. The
//! logins go to the hosts of that environment alone, which try them and keep none.

use std::collections::BTreeMap;

use crate::host::wire::compose::{AskEngine, AskLogin, EngineFacts, EngineVersion};
use crate::host::wire::examine::Examined;
use crate::model::desired::Environment;
use crate::model::ids::Sha;
use crate::model::template::fill;
use crate::run::finding::Findings;
use crate::run::registries;
use crate::run::secrets::Store;
use crate::run::size::bytes;

/// What older engines lack is missed sooner or later.
const OLDEST: u64 = 24;
/// Images need more room than that.
const LITTLE: u64 = 2 << 30;

/// `None`: no engine runs what the environment deploys.
pub fn question(store: &Store, env: &Environment, findings: &mut Findings) -> Option<AskEngine> {
    let files = env.delivery.compose()?;
    let values = env.bundle_values();
    // No commit has it: a registry that knows no such image has let the login in all the same.
    let none: Option<Sha> = "0".repeat(40).parse().ok();
    let images = none.map(|sha| files.images_of(&sha, &values)).unwrap_or_default();
    let mut registries = BTreeMap::new();
    // Where the controller sends, no host has a login.
    for host in files.registries.keys().filter(|_| files.transfer.is_pull()) {
        let of_host = |image: &&String| crate::model::image::registry(image) == host;
        match (registries::login(store, env, host), images.values().find(of_host)) {
            (Ok(Some(login)), Some(image)) => {
                registries.insert(host.clone(), AskLogin { login, image: image.clone() });
            }
            (Ok(Some(_)), None) => findings.unknown(
                "registry",
                format!("no image of `images` comes from {host}, so that the login is not tried"),
                format!("`docker login {host}` on a host tries it"),
            ),
            (Ok(None), _) => {}
            (Err(why), _) => findings.fail("registry", why, "then the doctor tries the login"),
        }
    }
    let project = fill(&files.project, &values);
    Some(AskEngine { project, registries })
}

/// Judges what the host says of its engine.
pub fn judge(findings: &mut Findings, env: &Environment, seen: &Examined) {
    if env.delivery.compose().is_none() {
        return;
    }
    let Some(EngineFacts { socket, engine, program, registries, room, taken, platform: _, chains: _ }) = &seen.engine
    else {
        return findings.unknown(
            "engine",
            "the host says nothing of its engine",
            "deploy once: that brings the agent of this version",
        );
    };
    match engine {
        Ok(EngineVersion { version, api, store }) => {
            let said = format!("engine {version} at {socket}, API {api}, images in {store}");
            let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
            match major {
                Some(major) if major < OLDEST => findings.warn(
                    "engine",
                    format!("{said}: older than {OLDEST}"),
                    "install a newer engine: what is older gets no fixes",
                ),
                _ => findings.ok("engine", said),
            }
        }
        Err(why) => findings.fail(
            "engine",
            format!("the engine does not answer {} at {socket}: {why}", seen.user),
            format!(
                "start it (systemctl start docker), and let {} use its socket: usermod -aG docker {}",
                seen.user, seen.user
            ),
        ),
    }
    match program {
        Ok(program) if program.starts_with("docker-compose") => findings.warn(
            "compose",
            format!("{program}: a program of the first generation, which nobody maintains any more"),
            "install the plugin: apt-get install docker-compose-plugin",
        ),
        Ok(program) => findings.ok("compose", program.as_str()),
        Err(why) => findings.fail("compose", why.as_str(), "install the plugin: apt-get install docker-compose-plugin"),
    }
    for (host, refused) in registries {
        match refused {
            None => findings.ok("registry", format!("{host} takes the login")),
            Some(why) => findings.fail(
                "registry",
                format!("{host} refuses the login: {why}"),
                "put a token that may read into the secret that `registries` names",
            ),
        }
    }
    match room {
        Some(room) if room.free_bytes < LITTLE => findings.warn(
            "images",
            format!("{} are free where the engine keeps images", bytes(room.free_bytes)),
            "make room there: `docker system df` says what takes it, and `docker image prune` removes what nobody uses",
        ),
        Some(room) => {
            findings.ok("images", format!("{} are free where the engine keeps images", bytes(room.free_bytes)))
        }
        None => findings.unknown(
            "images",
            "the room where the engine keeps images cannot be seen",
            "look at `docker system df` there",
        ),
    }
    if !taken.is_empty() {
        let ports: Vec<String> = taken.iter().map(|(port, whose)| format!("{port} ({whose})")).collect();
        findings.ok("ports", format!("held by others: {}", ports.join(", ")));
    }
}
