//! What the doctor asks about the engine of a host. Reads only; the one thing that it sends is a login that is to be tried.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::container::Container;
use super::engine::{self, Engine};
use super::program::Program;
use crate::host::wire::HostError;
use crate::host::wire::compose::{AskEngine, EngineFacts};
use crate::host::wire::examine::Room;

/// Looks. `room`: of the file system of a directory.
pub fn facts(ask: &AskEngine, room: &dyn Fn(&Path) -> Option<Room>) -> EngineFacts {
    let program = Program::here().map(|program| program.told()).map_err(|error| error.to_string());
    let socket = engine::socket().map(|path| path.display().to_string()).unwrap_or_default();
    let silent = |error: HostError| EngineFacts {
        socket: socket.clone(),
        engine: Err(error.to_string()),
        program: program.clone(),
        registries: BTreeMap::new(),
        room: None,
        taken: BTreeMap::new(),
        platform: None,
        chains: BTreeSet::new(),
    };
    let (engine, said) = match Engine::here().and_then(|engine| Ok((engine.version()?, engine))) {
        Ok((said, engine)) => (engine, said),
        Err(error) => return silent(error),
    };
    let (version, home) = said;
    let tried =
        ask.registries.iter().map(|(registry, ask)| (registry.clone(), engine.login(&ask.image, &ask.login).err()));
    EngineFacts {
        socket: socket.clone(),
        registries: tried.collect(),
        room: (!home.is_empty()).then(|| room(Path::new(&home))).flatten(),
        taken: taken(&engine.containers(None).unwrap_or_default(), &ask.project),
        platform: engine.platform().ok(),
        chains: engine.chains().unwrap_or_default(),
        engine: Ok(version),
        program: program.clone(),
    }
}

/// The ports that containers of other projects hold, and whose they are.
fn taken(containers: &[Container], project: &str) -> BTreeMap<String, String> {
    let mut taken = BTreeMap::new();
    for container in containers {
        let of = container.label("com.docker.compose.project");
        if of == Some(project) {
            continue;
        }
        let whose = match of {
            Some(of) => format!("{} of the project {of}", container.name()),
            None => format!("the container {}", container.name()),
        };
        for port in container.ports.iter().filter(|port| port.public_port > 0) {
            taken.insert(format!("{}:{}/{}", port.ip, port.public_port, port.protocol), whose.clone());
        }
    }
    taken
}
