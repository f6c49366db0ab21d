//! The JSON Schema of the state file, made from the structs of `raw`: what `soll schema` prints, what editors use for
//! completion, and what the walker holds against a file.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json};

use super::raw::StateFile;

/// The schema of a state file (JSON Schema 2020-12).
pub fn schema() -> &'static Json {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
        let generator = schemars::generate::SchemaSettings::draft2020_12().for_deserialize().into_generator();
        let mut schema = generator.into_root_schema_for::<StateFile>().to_value();
        without_null(&mut schema);
        if let Some(root) = schema.as_object_mut() {
            root.insert("title".to_owned(), Json::from("desired-state.toml"));
        }
        schema
    });
    &SCHEMA
}

/// The definition that a schema refers to, or the schema itself, and the description nearest to the key.
pub(super) fn resolve(part: &'static Json) -> &'static Json {
    let reference = part.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix('#'));
    reference.and_then(|pointer| schema().pointer(pointer)).unwrap_or(part)
}

/// TOML has no null: an optional key is one that may be absent.
fn without_null(part: &mut Json) {
    match part {
        Json::Object(object) => {
            object.values_mut().for_each(without_null);
            if let Some(Json::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Json::Array(values)) = object.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            without_null_branch(object);
            // The widths of our integers are no concern of a file's author; the limits are written out.
            let ours = object.get("format").and_then(Json::as_str).is_some_and(|format| format.starts_with("soll-"));
            if !ours && object.get("type").is_some_and(|kind| kind == "integer" || kind == "number") {
                object.remove("format");
            }
            if object.get("default").is_some_and(|default| default.is_null() || *default == Json::Array(Vec::new())) {
                object.remove("default");
            }
            if object.get("default").is_some_and(|default| default.as_object().is_some_and(Map::is_empty)) {
                object.remove("default");
            }
        }
        Json::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn without_null_branch(object: &mut Map<String, Json>) {
    let Some(Json::Array(branches)) = object.get_mut("anyOf") else { return };
    branches.retain(|branch| branch.get("type").is_none_or(|kind| kind != "null"));
    let [Json::Object(only)] = branches.as_slice() else { return };
    let only = only.clone();
    object.remove("anyOf");
    for (key, value) in only {
        object.entry(key).or_insert(value);
    }
}
