//! What is seen of the project that `current` holds: one question to the engine for all of its containers, and one more for each
//! that is being restarted.

use super::container::{Container, Port};
use super::engine::Engine;
use super::held::Held;
use crate::host::disk::root::Root;
use crate::host::wire::HostError;
use crate::model::compose::{Pinned, ServiceSeen};
use crate::model::observed::Current;

/// The services of the live release, and what else runs under its name; or why nothing is known of them.
pub fn services(root: &Root, current: &Current) -> (Vec<ServiceSeen>, Option<String>) {
    let Some(release) = current.release() else { return (Vec::new(), None) };
    let seen = Held::of(root, release).and_then(|held| held.map_or(Ok(Vec::new()), |held| look(&held)));
    match seen {
        Ok(seen) => (seen, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

fn look(held: &Held) -> Result<Vec<ServiceSeen>, HostError> {
    let engine = Engine::here()?;
    let containers = engine.containers(Some(&held.resolved.project))?;
    let mut seen = judged(held, &containers);
    // How often is worth a question only where it is still at it.
    for service in seen.iter_mut().filter(|one| one.state == "restarting") {
        let of = containers.iter().filter(|one| one.service() == service.service && one.state == "restarting");
        for container in of {
            service.restarts += engine.inspect(&container.id)?.map_or(0, |one| one.restart_count);
        }
    }
    Ok(seen)
}

/// SOLL beside IST.
pub fn judged(held: &Held, containers: &[Container]) -> Vec<ServiceSeen> {
    let of = |service: &str| -> Vec<&Container> {
        containers.iter().filter(|one| !one.is_once() && one.service() == service).collect()
    };
    let mut seen: Vec<ServiceSeen> = Vec::new();
    for (service, wanted) in held.services() {
        let pinned = held.resolved.images.get(service).cloned().unwrap_or_default();
        let digest = held.digests.get(service).map(String::as_str);
        let well = |one: &&Container| one.digest() == digest && is_of(one, &pinned);
        let of = of(service);
        let image = pinned.known_as().to_owned();
        let missing = ServiceSeen { image: image.clone(), digest_ok: true, ..told(service, &of, "missing") };
        seen.push(match of.is_empty() {
            true if wanted > 0 => ServiceSeen { wanted, ..missing },
            true => ServiceSeen { state: "running".to_owned(), ..missing },
            false => {
                let told = told(service, &of, "");
                // The engine has no better name for what came from no registry.
                let image = if told.image == pinned.pinned { image } else { told.image.clone() };
                ServiceSeen { wanted, digest_ok: of.iter().all(well), image, ..told }
            }
        });
    }
    let mut extra: Vec<&str> = containers.iter().filter(|one| !one.is_once()).map(Container::service).collect();
    extra.retain(|name| !held.digests.contains_key(*name));
    extra.sort_unstable();
    extra.dedup();
    seen.extend(extra.into_iter().map(|service| told(service, &of(service), "extra")));
    seen
}

/// A reference may lead to another image by now, and an image may have lost its name.
fn is_of(container: &Container, pinned: &Pinned) -> bool {
    container.image_id == pinned.id || container.image == pinned.pinned
}

/// The containers of one service, as they are. `state`: what there is to say of them anyhow.
fn told(service: &str, of: &[&Container], state: &str) -> ServiceSeen {
    let worst = of.iter().max_by_key(|one| rank(&one.state));
    let is = worst.map_or(String::new(), |one| match (one.state.as_str(), code(&one.status)) {
        ("exited" | "restarting", Some(code)) if one.state == "exited" => format!("exited ({code})"),
        (state, _) => state.to_owned(),
    });
    let unwell = ["unhealthy", "starting", "healthy"];
    let health = unwell.into_iter().find(|word| of.iter().any(|one| health(&one.status) == Some(word)));
    let mut ports: Vec<String> = of.iter().flat_map(|one| &one.ports).filter_map(published).collect();
    ports.sort();
    ports.dedup();
    ServiceSeen {
        service: service.to_owned(),
        running: u32::try_from(of.iter().filter(|one| one.state == "running").count()).unwrap_or(u32::MAX),
        image: worst.map(|one| one.image.clone()).unwrap_or_default(),
        state: if state.is_empty() { is } else { state.to_owned() },
        health: health.map(str::to_owned),
        ports,
        ..ServiceSeen::default()
    }
}

fn rank(state: &str) -> u8 {
    match state {
        "running" => 0,
        "created" => 1,
        "paused" => 2,
        "removing" => 3,
        "restarting" => 4,
        "exited" => 5,
        _ => 6,
    }
}

/// `1` of `Exited (1) 2 hours ago`.
fn code(status: &str) -> Option<&str> {
    let (_, rest) = status.split_once('(')?;
    rest.split_once(')').map(|(code, _)| code)
}

/// Of `Up 3 seconds (healthy)` and `Up 1 second (health: starting)`.
fn health(status: &str) -> Option<&str> {
    let word = code(status)?;
    Some(word.strip_prefix("health: ").unwrap_or(word))
}

/// Where it can be reached on this host.
fn published(port: &Port) -> Option<String> {
    let Port { ip, private_port, public_port, protocol } = port;
    (*public_port > 0).then(|| match ip.contains(':') {
        true => format!("[{ip}]:{public_port}->{private_port}/{protocol}"),
        false => format!("{ip}:{public_port}->{private_port}/{protocol}"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::model::compose::{DIGEST_LABEL, Resolved};

    fn held() -> Held {
        let pinned =
            |name: &str| Pinned { pinned: format!("{name}@sha256:1"), id: format!("id-{name}"), ..Pinned::default() };
        let text = |text: &str| text.to_owned();
        Held {
            release: "20251102_154900-f0959baf".parse().unwrap(),
            file: PathBuf::from("/x"),
            resolved: Resolved {
                project: text("shop"),
                scale: BTreeMap::from([(text("api"), 2), (text("db"), 1)]),
                once: vec![text("migrate")],
                images: BTreeMap::from([(text("api"), pinned("api")), (text("db"), pinned("db"))]),
                ..Resolved::default()
            },
            digests: BTreeMap::from([("api", "d1"), ("db", "d2"), ("migrate", "d3")].map(|(a, b)| (text(a), text(b)))),
        }
    }

    fn container(service: &str, digest: &str, state: &str, status: &str) -> Container {
        let labels = [("com.docker.compose.service", service), (DIGEST_LABEL, digest)];
        Container {
            id: format!("{service}-{status}"),
            image_id: format!("id-{service}"),
            image: format!("{service}:one"),
            labels: labels
                .into_iter()
                .filter(|(_, v)| !v.is_empty())
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect(),
            state: state.to_owned(),
            status: status.to_owned(),
            ..Container::default()
        }
    }

    fn one(seen: &[ServiceSeen], service: &str) -> ServiceSeen {
        seen.iter().find(|one| one.service == service).cloned().unwrap_or_else(|| panic!("{seen:?}"))
    }

    #[test]
    fn what_runs_as_it_should_is_well() {
        let mut containers = vec![
            container("api", "d1", "running", "Up 3 seconds (healthy)"),
            container("api", "d1", "running", "Up 4 seconds (healthy)"),
            container("db", "d2", "running", "Up 2 hours"),
            container("migrate", "d3", "exited", "Exited (0) 1 hour ago"),
        ];
        let port =
            |ip: &str| Port { ip: ip.to_owned(), private_port: 80, public_port: 8080, protocol: "tcp".to_owned() };
        containers[0].ports = vec![port("127.0.0.1"), port("::"), Port { public_port: 0, ..port("") }];
        let seen = judged(&held(), &containers);
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen.iter().all(ServiceSeen::is_well), "{seen:?}");
        assert_eq!(one(&seen, "api").health.as_deref(), Some("healthy"));
        assert_eq!(one(&seen, "api").ports, ["127.0.0.1:8080->80/tcp", "[::]:8080->80/tcp"]);
    }

    #[test]
    fn each_difference_is_seen() {
        let mut other_image = container("db", "d2", "running", "Up 2 hours");
        other_image.image_id = "id-other".to_owned();
        let containers = [
            container("api", "d1", "running", "Up 3 seconds (health: starting)"),
            container("api", "d1", "exited", "Exited (137) 2 seconds ago"),
            other_image,
            container("debug", "", "running", "Up 1 second"),
        ];
        let seen = judged(&held(), &containers);
        let api = one(&seen, "api");
        assert_eq!((api.wanted, api.running, api.state.as_str()), (2, 1, "exited (137)"));
        assert_eq!(api.health.as_deref(), Some("starting"));
        assert!(!one(&seen, "db").digest_ok);
        assert_eq!((one(&seen, "debug").wanted, one(&seen, "debug").state.as_str()), (0, "extra"));
        assert!(!seen.iter().any(ServiceSeen::is_well), "{seen:?}");

        // One too many, one made from something else, none at all.
        let api = || container("api", "d1", "running", "Up");
        let by_hand = container("db", "", "running", "Up");
        let seen = judged(&held(), &[api(), api(), api(), by_hand]);
        assert!(!one(&seen, "api").is_well() && !one(&seen, "db").is_well(), "{seen:?}");
        let none = one(&judged(&held(), &[]), "db");
        assert_eq!((none.state.as_str(), none.image.as_str(), none.is_well()), ("missing", "db@sha256:1", false));
    }
}
