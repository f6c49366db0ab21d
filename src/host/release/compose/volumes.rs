//! What services keep their data in, from one release to the next (I5). No volume is ever removed or made anew, but a service
//! that mounts another one than before begins without its data, and a return would lose what it has written until then. That is
//! no change like others: it needs a person's word, in the state file, for these services.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::held;
use super::mounts::{PLACE, is_written};
use super::resolve::{Draft, is_writable};
use crate::host::disk::root::Root;
use crate::host::release::observe::current;
use crate::host::wire::HostError;
use crate::model::compose::Project;

/// Refuses a project whose services would leave behind what they keep their data in, those aside that may.
///
/// # Errors
/// The service, what it would leave, and the next move.
pub fn stay(root: &Root, draft: &Draft, project: &Project) -> Result<(), HostError> {
    let Some(live) = current(root)?.release().cloned() else { return Ok(()) };
    // Nobody knows what one had that cannot be read, or that is of no project.
    let Some(document) = held::document(root, &live) else { return Ok(()) };
    let name = document.pointer("/x-soll/project").and_then(Value::as_str).unwrap_or(&project.name);
    let Some(services) = document.get("services").and_then(Value::as_object) else { return Ok(()) };
    let before = Side { services, volumes: document.get("volumes"), project: name };
    let services = draft.services.iter().map(|(name, one)| (name.clone(), Value::Object(one.clone()))).collect();
    let after = Side { services: &services, volumes: draft.volumes(), project: &project.name };
    // Files of a release change with it, those aside that a container has written into.
    let own = root.own(PLACE).display().to_string();
    let left = left(&before, &after, &|source| source.starts_with(&own) && !is_written(root, source));
    let left: Vec<String> = left
        .into_iter()
        .filter(|(service, _)| !project.replace_volumes.contains(service))
        .map(|(service, what)| format!("the service {service} {what}"))
        .collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(HostError::Precondition(format!(
            "{}: its data would stay behind, and a return would lose what is written until then. Where that is meant, name the \
             service in `replace_volumes` of [compose] for this one change; nothing was touched",
            left.join("; ")
        ))),
    }
}

/// A project as far as its data are concerned.
struct Side<'a> {
    services: &'a Map<String, Value>,
    /// By the names that services have for them.
    volumes: Option<&'a Value>,
    project: &'a str,
}

impl Side<'_> {
    /// What can be written of what a service mounts: by the place in the container, a volume by its name on the engine or a path
    /// of the host.
    fn mounted(&self, service: &Value) -> BTreeMap<String, String> {
        let volumes = service.get("volumes").and_then(Value::as_array).into_iter().flatten();
        let one = |volume| source(volume).map(|(at, source)| (at, self.named(source)));
        volumes.filter(|volume| is_writable(volume)).filter_map(one).collect()
    }

    /// A volume is another one where its project, its name or what it is made of is.
    fn named(&self, source: &str) -> String {
        if source.starts_with(['/', '.', '~']) {
            return source.to_owned();
        }
        let table = self.volumes.and_then(|volumes| volumes.get(source));
        let text = |key: &str| table.and_then(|table| table.get(key));
        let external = text("external").filter(|one| **one != Value::Bool(false));
        let name = text("name").or_else(|| external.and_then(|one| one.get("name"))).and_then(Value::as_str);
        let name = match (name, external) {
            (Some(name), _) => name.to_owned(),
            (None, Some(_)) => source.to_owned(),
            (None, None) => format!("{}_{source}", self.project),
        };
        match text("driver_opts").filter(|options| options.as_object().is_some_and(|all| !all.is_empty())) {
            Some(options) => format!("{name} ({options})"),
            None => name,
        }
    }
}

/// By service, what it would leave: `would mount shop_other at /data, where it has had shop_data`. `passes`: what is no data.
fn left(before: &Side<'_>, after: &Side<'_>, passes: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut left = Vec::new();
    for (service, definition) in before.services {
        // One that is gone has left its volumes to whoever comes back.
        let Some(now) = after.services.get(service).map(|one| after.mounted(one)) else { continue };
        for (at, source) in before.mounted(definition) {
            let what = match now.get(&at) {
                Some(other) if *other == source => continue,
                _ if passes(&source) => continue,
                Some(other) => format!("would mount {other} at {at}, where it has had {source}"),
                None => format!("would mount nothing at {at}, where it has had {source}"),
            };
            left.push((service.clone(), what));
        }
    }
    left
}

/// Where it is in the container, and what is mounted. One without a name is another one with each container anyhow.
fn source(volume: &Value) -> Option<(String, &str)> {
    match volume {
        Value::String(text) => {
            let mut parts = text.split(':');
            let (source, at) = (parts.next()?, parts.next()?);
            Some((at.to_owned(), source))
        }
        Value::Object(long) => {
            let text = |key: &str| long.get(key).and_then(Value::as_str);
            let is_kept = matches!(text("type"), Some("volume" | "bind"));
            is_kept.then(|| Some((text("target")?.to_owned(), text("source")?)))?
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn services(volumes: Value) -> Map<String, Value> {
        Map::from_iter([("db".to_owned(), json!({ "volumes": volumes }))])
    }

    fn what(before: Value, after: Value) -> Vec<String> {
        between((before, json!({}), "shop"), (after, json!({}), "shop"))
    }

    fn between(before: (Value, Value, &str), after: (Value, Value, &str)) -> Vec<String> {
        let (old, new) = (services(before.0), services(after.0));
        let old = Side { services: &old, volumes: Some(&before.1), project: before.2 };
        let new = Side { services: &new, volumes: Some(&after.1), project: after.2 };
        let left = left(&old, &new, &|source| source.starts_with("/srv/.soll/mounts"));
        left.into_iter().map(|(_, what)| what).collect()
    }

    #[test]
    fn a_volume_is_the_one_that_the_engine_has() {
        let data = || json!(["data:/data"]);
        assert_eq!(
            between((data(), json!({ "data": {} }), "shop"), (data(), json!({ "data": {} }), "shop-prod")),
            ["would mount shop-prod_data at /data, where it has had shop_data"]
        );
        // The first generation says nothing where the second one says the name.
        let said = || json!({ "data": { "name": "shop_data" } });
        assert!(between((data(), json!({ "data": {} }), "shop"), (data(), said(), "shop")).is_empty());
        assert!(between((data(), said(), "shop"), (data(), said(), "shop-prod")).is_empty());
        assert_eq!(between((data(), said(), "shop"), (data(), json!({ "data": { "name": "real" } }), "shop")).len(), 1);
        let external = || json!({ "data": { "external": true } });
        assert_eq!(
            between((data(), said(), "shop"), (data(), external(), "shop")),
            ["would mount data at /data, where it has had shop_data"]
        );
        assert!(between((data(), external(), "shop"), (data(), external(), "other")).is_empty());
        let on = |device: &str| json!({ "data": { "driver_opts": { "device": device } } });
        assert_eq!(between((data(), on("/mnt/a"), "shop"), (data(), on("/mnt/b"), "shop")).len(), 1);
    }

    #[test]
    fn data_that_would_stay_behind_are_seen_in_every_form() {
        let long = |source: &str| json!([{ "type": "volume", "source": source, "target": "/data" }]);
        assert!(what(json!(["data:/data"]), long("data")).is_empty());
        assert!(what(json!(["data:/data:rw"]), json!(["more:/more", "data:/data"])).is_empty());
        assert_eq!(what(long("data"), long("other")), ["would mount shop_other at /data, where it has had shop_data"]);
        assert_eq!(what(json!(["/var/db:/data"]), json!(["/mnt/db:/data"])).len(), 1);
        assert_eq!(
            what(json!(["data:/data"]), json!([])),
            ["would mount nothing at /data, where it has had shop_data"]
        );
        assert_eq!(what(json!(["data:/data"]), json!(["data:/data:ro"])).len(), 1);
    }

    #[test]
    fn files_of_a_release_and_what_is_only_read_may_change() {
        for before in [
            json!(["/srv/.soll/mounts/0123/conf:/conf"]),
            json!(["/etc/ssl:/ssl:ro,z"]),
            json!([{ "type": "bind", "source": "/etc/ssl", "target": "/ssl", "read_only": true }]),
            json!([{ "type": "volume", "target": "/scratch" }, { "type": "tmpfs", "target": "/tmp" }]),
            json!(["/scratch"]),
        ] {
            assert!(what(before.clone(), json!([])).is_empty(), "{before}");
        }
    }
}
