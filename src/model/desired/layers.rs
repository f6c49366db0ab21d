//! Layer over layer: recipe, application, template, environment. One rule for all: what is said later wins; tables of
//! settings merge key by key; lists whose entries have names grow, and an entry replaces the inherited one of its name.
//! Works on spanned trees, so that every merged value still knows the file it came from.

use super::tree::{Node, Table, Value};

/// Tables that merge key by key. The others (`bundle`, `strategy`, `promote`, …) are one decision and are replaced whole.
const MERGED: [&str; 8] = ["health", "variables", "watch", "compose", "images", "registries", "scale", "update"];

/// Two ways of saying one thing: whoever says it later says all of it.
const ALIKE: [&str; 2] = ["unit", "units"];

/// One whole layer on top of the ones below it.
pub fn layer(base: &Node, over: &Node) -> Node {
    let mut base = base.clone();
    if let (Value::Table(below), Some(above)) = (&mut base.value, over.table())
        && ALIKE.iter().any(|key| above.contains_key(*key))
    {
        below.retain(|key, _| !ALIKE.contains(&key.as_str()));
    }
    merge(&base, over)
}

/// `over` on top of `base`, both tables.
pub fn merge(base: &Node, over: &Node) -> Node {
    let (Value::Table(below), Value::Table(above)) = (&base.value, &over.value) else { return over.clone() };
    let mut table: Table = below.clone();
    for (key, entry) in above {
        let mut entry = entry.clone();
        if let Some(inherited) = below.get(key) {
            if MERGED.contains(&key.as_str()) {
                entry.node = merge(&inherited.node, &entry.node);
            } else if let (Value::Array(old), Value::Array(new)) = (&inherited.node.value, &entry.node.value)
                && let Some(items) = merge_named(key, old, new)
            {
                entry.node.value = Value::Array(items);
            }
        }
        table.insert(key.clone(), entry);
    }
    Node { span: over.span, value: Value::Table(table) }
}

fn merge_named(list: &str, old: &[Node], new: &[Node]) -> Option<Vec<Node>> {
    let mut items = old.to_vec();
    for item in new {
        let identity = identity(list, item)?;
        // Only what is inherited is replaced: two entries of one layer stand beside each other.
        match (0..old.len()).find(|at| self::identity(list, &old[*at]).as_deref() == Some(&*identity)) {
            Some(at) => items[at] = item.clone(),
            None => items.push(item.clone()),
        }
    }
    Some(items)
}

/// By what an entry of a list is recognised in another layer; `None` for lists that are replaced whole.
fn identity(list: &str, item: &Node) -> Option<String> {
    let named = matches!(list, "gates" | "hooks" | "checks" | "metrics" | "files") && item.table().is_some();
    if !named {
        return None;
    }
    if list == "files" {
        return item.get("path").and_then(Node::text).map(str::to_owned);
    }
    if let Some(name) = item.get("name").and_then(Node::text) {
        return Some(name.to_owned());
    }
    if list == "hooks" {
        // The same command at another phase is another hook.
        let part = |key| item.get(key).and_then(Node::text).unwrap_or_default();
        return Some(format!("{}\n{}", part("phase"), part("run")));
    }
    Some(default_name(item))
}

/// The name of a gate or check that has none: what it asks.
pub fn default_name(item: &Node) -> String {
    let keys = ["file", "dir", "http", "tcp", "systemd", "tls", "run"];
    let text = keys.iter().find_map(|key| item.get(key)?.text());
    let text = text.or_else(|| item.get("assets")?.get("manifest")?.text());
    text.unwrap_or_default().trim_end_matches('/').to_owned()
}
