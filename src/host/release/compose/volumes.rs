//! What services keep their data in, from one release to the next (I5). No volume is ever removed or made anew, but a service that
//! mounts another one than before begins without its data, and a return would lose what it has written until then. That is no
//! change like others: it needs a person's word, in the state file, for these services.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::held;
use super::mounts::PLACE;
use super::resolve::Draft;
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
    let before = held::services(root, &live).unwrap_or_default();
    let own = root.own(PLACE).display().to_string();
    let left = left(&before, &draft.services, &own);
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

/// By service, what it would leave: `would mount other at /data, where it has had data`. `own`: the place of files of a release,
/// which change with it.
fn left(before: &Map<String, Value>, after: &BTreeMap<String, Map<String, Value>>, own: &str) -> Vec<(String, String)> {
    let mut left = Vec::new();
    for (service, definition) in before {
        // One that is gone has left its volumes to whoever comes back.
        let Some(now) = after.get(service).map(mounted) else { continue };
        for (at, source) in definition.as_object().map(mounted).unwrap_or_default() {
            let what = match now.get(&at) {
                _ if source.starts_with(own) => continue,
                Some(other) if *other == source => continue,
                Some(other) => format!("would mount {other} at {at}, where it has had {source}"),
                None => format!("would mount nothing at {at}, where it has had {source}"),
            };
            left.push((service.clone(), what));
        }
    }
    left
}

/// What can be written of what a service mounts: by the place in the container, a volume by its name or a path of the host.
fn mounted(service: &Map<String, Value>) -> BTreeMap<String, String> {
    let volumes = service.get("volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.filter_map(one).collect()
}

fn one(volume: &Value) -> Option<(String, String)> {
    match volume {
        Value::String(text) => {
            let mut parts = text.split(':');
            let (source, at) = (parts.next()?, parts.next()?);
            let is_read = parts.next().is_some_and(|modes| modes.split(',').any(|mode| mode == "ro"));
            (!is_read).then(|| (at.to_owned(), source.to_owned()))
        }
        Value::Object(long) => {
            let text = |key: &str| long.get(key).and_then(Value::as_str);
            let is_kept = matches!(text("type"), Some("volume" | "bind"))
                && long.get("read_only").and_then(Value::as_bool) != Some(true);
            // One without a name is another one with each container anyhow.
            is_kept.then(|| Some((text("target")?.to_owned(), text("source")?.to_owned())))?
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
        let after = services(after).into_iter().filter_map(|(name, one)| Some((name, one.as_object()?.clone())));
        left(&services(before), &after.collect(), "/srv/.soll/mounts").into_iter().map(|(_, what)| what).collect()
    }

    #[test]
    fn data_that_would_stay_behind_are_seen_in_every_form() {
        let long = |source: &str| json!([{ "type": "volume", "source": source, "target": "/data" }]);
        assert!(what(json!(["data:/data"]), long("data")).is_empty());
        assert!(what(json!(["data:/data:rw"]), json!(["more:/more", "data:/data"])).is_empty());
        assert_eq!(what(long("data"), long("other")), ["would mount other at /data, where it has had data"]);
        assert_eq!(what(json!(["/var/db:/data"]), json!(["/mnt/db:/data"])).len(), 1);
        assert_eq!(what(json!(["data:/data"]), json!([])), ["would mount nothing at /data, where it has had data"]);
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
