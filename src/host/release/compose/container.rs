//! What an engine says of containers and images, as far as releases need it. Whatever it leaves out is empty here.

use std::collections::BTreeMap;

use bollard::models;

use crate::model::compose::DIGEST_LABEL;

/// A container, as a list has it.
#[derive(Debug, Clone, Default)]
pub struct Container {
    pub id: String,
    pub names: Vec<String>,
    pub image: String,
    pub image_id: String,
    pub labels: BTreeMap<String, String>,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub state: String,
    /// `Up 3 seconds (healthy)`, `Exited (1) 2 hours ago`.
    pub status: String,
    pub ports: Vec<Port>,
}

/// A port of a container, and where it is published; 0: it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    pub ip: String,
    pub private_port: u16,
    pub public_port: u16,
    pub protocol: String,
}

/// A container in full, as far as it is judged.
#[derive(Debug, Clone, Default)]
pub struct Inspected {
    pub id: String,
    pub state: State,
    pub restart_count: u32,
}

/// What a container does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub status: String,
    pub exit_code: i64,
    pub out_of_memory: bool,
    pub error: String,
    pub started_at: String,
    pub health: Health,
}

/// What its healthcheck says; an empty status: it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    pub status: String,
    pub log: Vec<Probed>,
}

/// One run of a healthcheck.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probed {
    pub exit_code: i64,
    pub output: String,
}

/// An image that is here.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub id: String,
    /// `repo@sha256:…`, of each registry that it came from.
    pub repo_digests: Vec<String>,
    /// `repo:tag`.
    pub tags: Vec<String>,
    /// `sha256:…` of each layer, unpacked, the lowest first.
    pub layers: Vec<String>,
}

impl Container {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Without the slash before it.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", |name| name.trim_start_matches('/'))
    }

    /// The service that it is of; what names none goes by its own name.
    pub fn service(&self) -> &str {
        self.label("com.docker.compose.service").unwrap_or_else(|| self.name())
    }

    /// Of the definition that it was made from.
    pub fn digest(&self) -> Option<&str> {
        self.label(DIGEST_LABEL)
    }

    /// It was started for one command, and not to stay up.
    pub fn is_once(&self) -> bool {
        self.label("com.docker.compose.oneoff").is_some_and(|word| word.eq_ignore_ascii_case("true"))
    }
}

impl From<models::ImageInspect> for Image {
    fn from(image: models::ImageInspect) -> Image {
        Image {
            id: image.id.unwrap_or_default(),
            repo_digests: image.repo_digests.unwrap_or_default(),
            tags: image.repo_tags.unwrap_or_default(),
            layers: image.root_fs.and_then(|tree| tree.layers).unwrap_or_default(),
        }
    }
}

impl From<models::ContainerSummary> for Container {
    fn from(one: models::ContainerSummary) -> Container {
        Container {
            id: one.id.unwrap_or_default(),
            names: one.names.unwrap_or_default(),
            image: one.image.unwrap_or_default(),
            image_id: one.image_id.unwrap_or_default(),
            labels: one.labels.unwrap_or_default().into_iter().collect(),
            state: one.state.map(|state| state.to_string()).unwrap_or_default(),
            status: one.status.unwrap_or_default(),
            ports: one.ports.unwrap_or_default().into_iter().map(Port::from).collect(),
        }
    }
}

impl From<models::PortSummary> for Port {
    fn from(port: models::PortSummary) -> Port {
        Port {
            ip: port.ip.unwrap_or_default(),
            private_port: port.private_port,
            public_port: port.public_port.unwrap_or_default(),
            protocol: port.typ.map(|protocol| protocol.to_string()).unwrap_or_default(),
        }
    }
}

impl From<models::ContainerInspectResponse> for Inspected {
    fn from(one: models::ContainerInspectResponse) -> Inspected {
        Inspected {
            id: one.id.unwrap_or_default(),
            state: one.state.map(State::from).unwrap_or_default(),
            restart_count: one.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        }
    }
}

impl From<models::ContainerState> for State {
    fn from(state: models::ContainerState) -> State {
        State {
            status: state.status.map(|status| status.to_string()).unwrap_or_default(),
            exit_code: state.exit_code.unwrap_or_default(),
            out_of_memory: state.oom_killed.unwrap_or_default(),
            error: state.error.unwrap_or_default(),
            started_at: state.started_at.unwrap_or_default(),
            health: state.health.map(Health::from).unwrap_or_default(),
        }
    }
}

impl From<models::Health> for Health {
    fn from(health: models::Health) -> Health {
        let probed = |one: models::HealthcheckResult| Probed {
            exit_code: one.exit_code.unwrap_or_default(),
            output: one.output.unwrap_or_default(),
        };
        let status = health.status.map(|status| status.to_string()).unwrap_or_default();
        Health {
            // The engine's word for a container without a healthcheck.
            status: if status == "none" { String::new() } else { status },
            log: health.log.unwrap_or_default().into_iter().map(probed).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_of_any_engine_is_read() {
        let text = r#"[{"Id":"a","Names":["/p_api_1"],"Image":"x","ImageID":"sha256:1","Labels":null,"State":"running",
            "Status":"Up 3 seconds","Ports":[{"IP":"127.0.0.1","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
            {"PrivatePort":81,"Type":"tcp"}],"New":{"a":1}}]"#;
        let all: Vec<models::ContainerSummary> = serde_json::from_str(text).unwrap();
        let read: Vec<Container> = all.into_iter().map(Container::from).collect();
        assert_eq!((read[0].labels.len(), read[0].ports[0].public_port, read[0].ports[1].public_port), (0, 8080, 0));
        assert_eq!((read[0].state.as_str(), read[0].ports[0].protocol.as_str()), ("running", "tcp"));
        let text = r#"{"Id":"a","State":{"Status":"running","OOMKilled":true,"Health":null},"RestartCount":2}"#;
        let one: models::ContainerInspectResponse = serde_json::from_str(text).unwrap();
        let read = Inspected::from(one);
        assert_eq!((read.restart_count, read.state.out_of_memory, read.state.health.status.as_str()), (2, true, ""));
    }
}
