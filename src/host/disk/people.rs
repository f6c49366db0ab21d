//! Users and groups of this host by name and number: the files first, then whatever else the host asks (`getent`).

use std::process::{Command, Stdio};

/// The name of a user; its number where nobody knows one.
pub fn user(id: u32) -> String {
    name("passwd", id)
}

/// The name of a group; its number where nobody knows one.
pub fn group(id: u32) -> String {
    name("group", id)
}

/// The number of a user, and of the group that it belongs to first.
pub fn user_id(name: &str) -> Option<(u32, u32)> {
    let line = line("passwd", name)?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The number of a group.
pub fn group_id(name: &str) -> Option<u32> {
    line("group", name)?.split(':').nth(2)?.parse().ok()
}

fn name(database: &str, id: u32) -> String {
    let id = id.to_string();
    let named = line(database, &id).and_then(|line| line.split(':').next().map(str::to_owned));
    named.filter(|name| !name.is_empty()).unwrap_or(id)
}

/// The entry with this name or number.
fn line(database: &str, key: &str) -> Option<String> {
    let is = |line: &&str| line.split(':').next() == Some(key) || line.split(':').nth(2) == Some(key);
    let text = std::fs::read_to_string(format!("/etc/{database}")).unwrap_or_default();
    if let Some(line) = text.lines().find(is) {
        return Some(line.to_owned());
    }
    // Directory services; a name that could be an option is none.
    if key.is_empty() || key.starts_with('-') {
        return None;
    }
    let asked =
        Command::new("getent").arg(database).arg(key).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    text.lines().find(is).map(str::to_owned)
}
