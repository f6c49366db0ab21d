//! From what the program prints of a project to what a release holds of it: one document that needs no variable, no registry and
//! no file of the release any more. Pure: images and mounts are settled by whoever calls.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::ports::{self, Wanted};
use crate::model::compose::{DIGEST_LABEL, Pinned, Project, Resolved, Update};
use crate::model::ids::Digest;

/// What of a definition makes no other container.
const ASIDE: [&str; 6] = ["scale", "depends_on", "profiles", "build", "pull_policy", "develop"];

/// A project on its way: every service that a release has, by its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    document: Map<String, Value>,
    pub services: BTreeMap<String, Map<String, Value>>,
}

/// Reads what the program prints: YAML of the first generation, of which JSON is a part.
///
/// # Errors
/// It is neither; in words for people.
pub fn read(printed: &str) -> Result<Map<String, Value>, String> {
    let parsed: Result<Value, String> = match printed.trim_start().starts_with('{') {
        true => serde_json::from_str(printed).map_err(|error| error.to_string()),
        false => serde_saphyr::from_str(printed).map_err(|error| error.to_string()),
    };
    match parsed? {
        Value::Object(document) => Ok(document),
        _ => Err("it holds no project".to_owned()),
    }
}

impl Draft {
    /// Takes the services that a project says to have, each with its image.
    ///
    /// # Errors
    /// What is said of the project and what its files hold do not go together; in words for people.
    pub fn of(mut document: Map<String, Value>, project: &Project) -> Result<Draft, String> {
        let Some(Value::Object(found)) = document.remove("services") else {
            return Err("it has no services".to_owned());
        };
        let mut services = BTreeMap::new();
        for (name, service) in found {
            let Value::Object(mut service) = service else { return Err(format!("the service {name} is no table")) };
            // The first generation prints those of every profile.
            let profiles = service.remove("profiles").and_then(|all| all.as_array().cloned()).unwrap_or_default();
            let is_chosen =
                |profile: &Value| profile.as_str().is_some_and(|one| project.profiles.iter().any(|p| p == one));
            if profiles.is_empty() || profiles.iter().any(is_chosen) || project.once.contains(&name) {
                services.insert(name, service);
            }
        }
        let mut draft = Draft { document, services };
        draft.needs_no_variable()?;
        draft.agrees(project)?;
        draft.images(project)?;
        draft.start_first(project)?;
        Ok(draft)
    }

    /// A release is brought up, and gone back to, without any variable: what is read from one then is not of that release.
    fn needs_no_variable(&self) -> Result<(), String> {
        for (kind, one) in [("configs", "configuration"), ("secrets", "secret")] {
            let all = self.document.get(kind).and_then(Value::as_object).into_iter().flatten();
            if let Some((name, _)) = all.into_iter().find(|(_, table)| table.get("environment").is_some()) {
                return Err(format!(
                    "the {one} {name} is read from a variable (`environment`), which a return would not have: let it be a `file`, \
                     one of `shared_files` or a rendered one"
                ));
            }
        }
        Ok(())
    }

    /// Volumes, by the names that services have for them.
    pub fn volumes(&self) -> Option<&Value> {
        self.document.get("volumes")
    }

    /// Every service that is named is there.
    fn agrees(&self, project: &Project) -> Result<(), String> {
        let images = project.images.keys().map(|name| ("images", name));
        let scale = project.scale.keys().map(|name| ("scale", name));
        let update = project.update.keys().map(|name| ("update", name));
        let once = project.once.iter().map(|name| ("once", name));
        for (table, name) in images.chain(scale).chain(update).chain(once) {
            if !self.services.contains_key(name) {
                let known: Vec<&str> = self.services.keys().map(String::as_str).collect();
                return Err(format!(
                    "`{table}` names the service {name}, and there is none (there are {}; a service of a profile needs that \
                     in `profiles`)",
                    known.join(", ")
                ));
            }
        }
        let both =
            project.once.iter().find(|name| project.scale.contains_key(*name) || project.update.contains_key(*name));
        both.map_or(Ok(()), |name| Err(format!("the service {name} is run `once`: it has no `scale` and no `update`")))
    }

    fn images(&mut self, project: &Project) -> Result<(), String> {
        for (name, service) in &mut self.services {
            if let Some(image) = project.images.get(name) {
                service.insert("image".to_owned(), json!(image));
            }
            service.remove("build");
            // Its variables are in `environment` by now.
            service.remove("env_file");
            if service.get("image").and_then(Value::as_str).is_none_or(|image| image.trim().is_empty()) {
                return Err(format!(
                    "the service {name} has no image: nothing is built on a host, so name one in `images` or in its file"
                ));
            }
        }
        Ok(())
    }

    /// Two of it can run beside each other.
    fn start_first(&self, project: &Project) -> Result<(), String> {
        let wanted = project.update.iter().filter(|(_, update)| **update == Update::StartFirst);
        for (name, service) in wanted.filter_map(|(name, _)| Some((name, self.services.get(name)?))) {
            let why = if service.contains_key("container_name") {
                "it has a fixed name (`container_name`)"
            } else if service.get("ports").and_then(Value::as_array).is_some_and(|ports| ports.iter().any(is_fixed)) {
                "it holds a port of the host (`ports`)"
            } else if service.get("network_mode").and_then(Value::as_str) == Some("host") {
                "it is in the network of the host (`network_mode`)"
            } else {
                continue;
            };
            return Err(format!(
                "the service {name} cannot be updated start-first: {why}, and two of it cannot run beside each other"
            ));
        }
        Ok(())
    }

    /// The image that a service names.
    pub fn image(&self, service: &str) -> String {
        let image = self.services.get(service).and_then(|service| service.get("image"));
        image.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The ports of this host that are named, each with the service that wants it.
    pub fn ports(&self) -> Vec<(String, Wanted)> {
        let mut wanted = Vec::new();
        for (name, service) in &self.services {
            let ports =
                service.get("ports").and_then(Value::as_array).into_iter().flatten().filter(|port| is_fixed(port));
            wanted.extend(ports.filter_map(ports::wanted).map(|port| (name.clone(), port)));
        }
        wanted
    }

    /// The paths of the host that are mounted, of services and of files that they read as configuration or secret.
    /// `change` gives the path that stands there from now on; `who` is for words about it, and the last word says whether a
    /// container may write there.
    pub fn mounts<E>(
        &mut self,
        mut change: impl FnMut(&str, &str, bool) -> Result<Option<String>, E>,
    ) -> Result<(), E> {
        // What one service may write, others may mount to read.
        let volumes = self.services.values().filter_map(|service| service.get("volumes")?.as_array()).flatten();
        let written = volumes.filter(|volume| is_writable(volume)).filter_map(bound);
        let written: BTreeSet<String> = written.map(str::to_owned).collect();
        for (name, service) in &mut self.services {
            let who = format!("the service {name}");
            for volume in service.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
                let Some(source) = bound(volume).map(str::to_owned) else { continue };
                let writable = written.contains(&source);
                let changed = source.starts_with('/').then(|| change(&who, &source, writable)).transpose()?.flatten();
                let Some(other) = changed else { continue };
                match volume {
                    Value::String(text) => *text = format!("{other}{}", &text[source.len()..]),
                    other_form => other_form["source"] = json!(other),
                }
            }
        }
        for (kind, one) in [("configs", "configuration"), ("secrets", "secret")] {
            let all = self.document.get_mut(kind).and_then(Value::as_object_mut);
            for (name, table) in all.into_iter().flatten() {
                let Some(file) = table.get("file").and_then(Value::as_str).map(str::to_owned) else { continue };
                if let Some(other) = change(&format!("the {one} {name}"), &file, written.contains(&file))? {
                    table["file"] = json!(other);
                }
            }
        }
        Ok(())
    }

    /// The whole of it, ready for the program.
    pub fn finish(mut self, project: &Project, images: BTreeMap<String, Pinned>, mounts: BTreeSet<String>) -> Value {
        let mut scale = BTreeMap::new();
        let mut services = Map::new();
        for (name, mut service) in std::mem::take(&mut self.services) {
            if let Some(pinned) = images.get(&name) {
                service.insert("image".to_owned(), json!(pinned.pinned));
            }
            if !project.once.contains(&name) {
                scale.insert(name.clone(), project.scale.get(&name).copied().unwrap_or_else(|| replicas(&service)));
            }
            let digest = self.digest(&service);
            let labels = labels(service.remove("labels"));
            let own = [(DIGEST_LABEL.to_owned(), json!(digest.to_string()))];
            service.insert("labels".to_owned(), Value::Object(labels.into_iter().chain(own).collect()));
            services.insert(name, Value::Object(service));
        }
        let resolved = Resolved {
            project: project.name.clone(),
            scale,
            once: project.once.clone(),
            update: project.update.clone(),
            images,
            mounts: mounts.into_iter().collect(),
        };
        self.document.insert("services".to_owned(), Value::Object(services));
        self.document.insert("x-soll".to_owned(), json!(resolved));
        Value::Object(self.document)
    }

    /// Of the definition of a service, and of the configurations and secrets that it reads: their contents are in their paths.
    fn digest(&self, service: &Map<String, Value>) -> Digest {
        let mut definition: Map<String, Value> = service
            .iter()
            .filter(|(key, _)| !ASIDE.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if let Some(deploy) = definition.get_mut("deploy").and_then(Value::as_object_mut) {
            deploy.remove("replicas");
        }
        for kind in ["configs", "secrets"] {
            let used = service.get(kind).and_then(Value::as_array).into_iter().flatten();
            let names = used.filter_map(|one| one.as_str().or_else(|| one.get("source").and_then(Value::as_str)));
            let all = self.document.get(kind);
            let read: BTreeMap<&str, Option<&Value>> =
                names.map(|name| (name, all.and_then(|all| all.get(name)))).collect();
            if !read.is_empty() {
                definition.insert(format!("x-soll-{kind}"), json!(read));
            }
        }
        // Keys in one order, whatever the order of the map is.
        Digest::of(sorted(Value::Object(definition)).to_string().as_bytes())
    }
}

/// The same with the keys of every table in their order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Labels are a table, or a list of `name=value`.
fn labels(found: Option<Value>) -> Map<String, Value> {
    match found {
        Some(Value::Object(labels)) => labels,
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(|text| text.split_once('=').unwrap_or((text, "")))
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect(),
        _ => Map::new(),
    }
}

/// How many containers the files want of a service.
fn replicas(service: &Map<String, Value>) -> u32 {
    let deploy = service.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let number = deploy.or_else(|| service.get("scale")).and_then(Value::as_u64);
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(1)
}

/// The path that a mount has on the host; `None`: it is of another kind.
fn bound(volume: &Value) -> Option<&str> {
    match volume {
        Value::String(text) => text.split(':').next(),
        Value::Object(long) if long.get("type").and_then(Value::as_str) == Some("bind") => {
            long.get("source").and_then(Value::as_str)
        }
        _ => None,
    }
}

/// Whether a container may write into what it mounts.
pub fn is_writable(volume: &Value) -> bool {
    match volume {
        Value::String(text) => !text.split(':').nth(2).is_some_and(|modes| modes.split(',').any(|mode| mode == "ro")),
        long => long.get("read_only").and_then(Value::as_bool) != Some(true),
    }
}

/// Whether a published port is one of the host that is named, and not any.
fn is_fixed(port: &Value) -> bool {
    match port {
        Value::String(text) => text.contains(':'),
        Value::Object(long) => match long.get("published") {
            Some(Value::String(text)) => !text.is_empty() && text != "0",
            Some(Value::Number(number)) => number.as_u64() != Some(0),
            _ => false,
        },
        _ => false,
    }
}

/// What a release holds of its project.
///
/// # Errors
/// It is not what was written there.
pub fn held(text: &[u8]) -> Result<(Resolved, BTreeMap<String, String>), String> {
    let document: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let resolved = serde_json::from_value(document.get("x-soll").cloned().unwrap_or_default());
    let resolved: Resolved = resolved.map_err(|error| format!("`x-soll`: {error}"))?;
    let services = document.get("services").and_then(Value::as_object).into_iter().flatten();
    let digests = services.filter_map(|(name, service)| {
        Some((name.clone(), service.get("labels")?.get(DIGEST_LABEL)?.as_str()?.to_owned()))
    });
    Ok((resolved, digests.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = include_str!("../../../../fixtures/compose/config-1.29.yml");
    const SECOND: &str = include_str!("../../../../fixtures/compose/config-2.27.json");

    fn project() -> Project {
        Project {
            name: "shop".to_owned(),
            images: BTreeMap::from([("api".to_owned(), "api:new".to_owned())]),
            once: vec!["migrate".to_owned()],
            ..Project::default()
        }
    }

    fn draft(printed: &str, project: &Project) -> Result<Draft, String> {
        Draft::of(read(printed).unwrap(), project)
    }

    /// As a release holds it: each file of the release lies at `/kept/<suffix>/…`.
    fn finished(printed: &str, project: &Project, suffix: &str) -> Value {
        let mut draft = draft(printed, project).unwrap();
        let change = |_: &str, path: &str, _: bool| -> Result<Option<String>, String> {
            let rest = path.strip_prefix("/srv/app/releases/20251102_154900-f0959baf/");
            Ok(rest.map(|rest| format!("/kept/{suffix}/{rest}")))
        };
        draft.mounts(change).unwrap();
        let images = draft.services.keys().map(|name| {
            let reference = draft.image(name);
            let pinned = format!("{reference}@sha256:1");
            (name.clone(), Pinned { reference, pinned, id: "sha256:2".to_owned(), from: None })
        });
        let images = images.collect();
        draft.finish(project, images, BTreeSet::new())
    }

    fn digests(document: &Value) -> BTreeMap<String, String> {
        held(document.to_string().as_bytes()).unwrap().1
    }

    #[test]
    fn what_both_generations_print_is_held() {
        for printed in [FIRST, SECOND] {
            let document = finished(printed, &project(), "a");
            let (resolved, digests) = held(document.to_string().as_bytes()).unwrap();
            assert_eq!(resolved.scale, BTreeMap::from([("api".to_owned(), 2), ("web".to_owned(), 1)]));
            assert_eq!(digests.keys().collect::<Vec<_>>(), ["api", "migrate", "web"], "no service of another profile");
            let api = &document["services"]["api"];
            assert_eq!(api["image"], "api:new@sha256:1");
            assert_eq!(api["labels"]["team"], "core");
            // As it was printed: whoever reads it fills in variables once more.
            assert_eq!((&api["environment"]["D"], &api["environment"]["A"]), (&json!("x$$y"), &json!("yes")));
            let volumes = api["volumes"].to_string();
            assert!(volumes.contains("/kept/a/Caddyfile") && volumes.contains("/var/run/docker.sock"), "{volumes}");
            assert!(!document.to_string().contains("/releases/"), "{document}");
            assert_eq!(document["configs"]["site"]["file"], "/kept/a/site.conf");
        }
        let first = finished(FIRST, &project(), "a");
        assert_eq!(first["services"]["api"]["environment"]["B"], "1:30");
        assert_eq!(first["services"]["api"]["environment"]["C"], 10);
        assert_eq!(first["services"]["api"]["volumes"][0], "/kept/a/Caddyfile:/etc/Caddyfile:ro");
    }

    #[test]
    fn only_what_makes_other_containers_is_in_a_digest() {
        let plain = digests(&finished(SECOND, &project(), "a"));
        assert_eq!(plain, digests(&finished(SECOND, &project(), "a")));
        let with = |change: &dyn Fn(&mut Project)| {
            let mut project = project();
            change(&mut project);
            digests(&finished(SECOND, &project, "a"))
        };
        let scaled = with(&|project| {
            project.scale.insert("api".to_owned(), 5);
        });
        assert_eq!(plain, scaled);
        let other_image = with(&|project| {
            project.images.insert("api".to_owned(), "api:newer".to_owned());
        });
        assert_ne!(plain["api"], other_image["api"]);
        assert_eq!(plain["web"], other_image["web"]);
        // What it mounts, and what it reads as configuration.
        let other_file = digests(&finished(SECOND, &project(), "b"));
        assert_ne!(plain["api"], other_file["api"]);
        assert_eq!(plain["web"], other_file["web"]);
        let text = SECOND.replace("/site.conf\"", "/other.conf\"");
        assert_ne!(plain["api"], digests(&finished(&text, &project(), "a"))["api"]);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let refused = |change: &dyn Fn(&mut Project)| {
            let mut project = project();
            change(&mut project);
            draft(SECOND, &project).unwrap_err()
        };
        let why = refused(&|project| {
            project.scale.insert("wrker".to_owned(), 1);
        });
        assert!(why.contains("`scale` names the service wrker") && why.contains("api, migrate, web"), "{why}");
        let why = refused(&|project| {
            project.update.insert("web".to_owned(), Update::StartFirst);
        });
        assert!(why.contains("web cannot be updated start-first: it holds a port of the host"), "{why}");
        let why = refused(&|project| {
            project.scale.insert("migrate".to_owned(), 2);
        });
        assert!(why.contains("`once`"), "{why}");
        let built = r#"{"services":{"api":{"build":{"context":"."}},"migrate":{"image":"x"}}}"#;
        let without = Project { images: BTreeMap::new(), ..project() };
        let why = draft(built, &without).unwrap_err();
        assert!(why.contains("nothing is built on a host"), "{why}");
        assert!(read("- a\n- b\n").is_err() && read("a: [").is_err() && read("").is_err());
    }

    /// Data that one service writes are not laid out anew because another one reads them.
    #[test]
    fn what_one_service_may_write_is_written_for_all() {
        for (one, other) in [("/data", "/data:ro"), ("/data:ro", "/data")] {
            let service =
                |mode: &str| format!("{{image: a, volumes: ['/srv/app/data:{mode}', '/srv/app/read:/read:ro']}}");
            let text = format!("services: {{a: {}, b: {}}}", service(one), service(other));
            let mut draft = draft(&text, &Project::default()).unwrap();
            let mut seen = BTreeSet::new();
            let see = |_: &str, path: &str, writable: bool| -> Result<Option<String>, String> {
                seen.insert((path.to_owned(), writable));
                Ok(None)
            };
            draft.mounts(see).unwrap();
            let seen: Vec<_> = seen.into_iter().collect();
            assert_eq!(seen, [("/srv/app/data".to_owned(), true), ("/srv/app/read".to_owned(), false)]);
        }
    }
}
