//! Where an environment runs: its hosts, ROOT on each, and that no two environments share one.

use std::collections::BTreeMap;

use super::super::diagnose::{Diagnostic, Diagnostics};
use super::super::load::Tables;
use super::super::tree::Node;
use super::super::{Address, Target, raw, suggest};
use super::{Resolved, Scope, reference};
use crate::model::ids::HostName;
use crate::model::template;

/// The name of the only target of an environment without `hosts`.
const THIS_MACHINE: &str = "local";

impl Scope<'_> {
    pub(super) fn targets(&mut self, tables: &Tables) -> Option<Vec<Target>> {
        let Some(root) = &self.raw.root else {
            let message = format!("the environment `{}` does not say where on its hosts it lives", self.name);
            let error = Diagnostic::error(self.key, message).label("needs `root`");
            self.out.push(error.help("for example: root = \"/var/www/api\""));
            return None;
        };
        let Some(hosts) = &self.raw.hosts else {
            let host: HostName = THIS_MACHINE.parse().ok()?;
            let root = self.root(&root.0, &host)?;
            let (name, address) = (host, Address::Local);
            return Some(vec![Target { name, address, user: None, port: None, agent_dir: None, root }]);
        };
        let mut targets: Vec<Target> = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            let span = self.at(&["hosts", &index.to_string()]);
            let node = Node { span, value: super::Value::String(host.0.clone()) };
            let entry = reference("host", &node, &tables.hosts, self.out)?;
            let name: HostName = host.0.parse().ok()?;
            if targets.iter().any(|target| target.name == name) {
                let error = Diagnostic::error(span, format!("the host `{name}` is listed twice"));
                self.out.push(error.label("the second time").help("keep one of them"));
                continue;
            }
            let raw: raw::Host = serde_json::from_value(entry.node.json()).ok()?;
            let address = match raw.address.0.as_str() {
                "local" => Address::Local,
                address => Address::Remote(address.to_owned()),
            };
            let root = self.root(&root.0, &name)?;
            let (user, agent_dir) = (raw.user.map(|user| user.0), raw.agent_dir.map(|dir| dir.0));
            targets.push(Target { name, address, user, port: raw.port, agent_dir, root });
        }
        Some(targets)
    }

    /// ROOT on one host. The release is not known there: the root is where releases come to.
    fn root(&mut self, text: &str, host: &HostName) -> Option<String> {
        let span = self.at(&["root"]);
        let mut values = self.raw.variables.clone();
        values.insert("env".to_owned(), self.name.to_owned());
        values.insert("host".to_owned(), host.to_string());
        if let Some(name) = template::names(text).into_iter().find(|name| !values.contains_key(*name)) {
            let message = format!("`{{{name}}}` is not known in a root");
            let help = suggest::help(name, "known", values.keys().map(String::as_str));
            self.out.push(Diagnostic::error(span, message).label("this path").help(help));
            return None;
        }
        let filled = template::fill(text, &values);
        let parts: Vec<_> = filled.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let why = if !filled.starts_with('/') {
            Some("it must be absolute, as in \"/var/www/api\"")
        } else if parts.contains(&"..") {
            Some("leave out `..`: what it leads to depends on links")
        } else if parts.is_empty() {
            Some("a directory of its own: releases, links and records are kept there")
        } else if filled.contains(char::is_control) {
            Some("no control characters")
        } else {
            None
        };
        if let Some(why) = why {
            let error = Diagnostic::error(span, format!("`{filled}` cannot be the root of `{}`", self.name));
            self.out.push(error.label("this path").help(why));
            return None;
        }
        Some(format!("/{}", parts.join("/")))
    }
}

/// Two environments in one root would overwrite each other's `current`.
pub(super) fn collisions(tables: &Tables, resolved: &[Resolved], out: &mut Diagnostics) {
    let mut seen: BTreeMap<(String, u16, &str), (&Resolved, &Target)> = BTreeMap::new();
    for this in resolved {
        for target in &this.environment.targets {
            let (address, port) = match &target.address {
                Address::Local => ("this machine".to_owned(), 0),
                Address::Remote(address) => (address.to_ascii_lowercase(), target.port.unwrap_or(22)),
            };
            let place = (address.clone(), port, target.root.as_str());
            let Some((other, first)) = seen.get(&place) else {
                seen.insert(place, (this, target));
                continue;
            };
            let entry = tables.environments.get(this.environment.name.as_str());
            let span = entry.map_or(this.key, |entry| entry.node.get("root").map_or(entry.key, |root| root.span));
            let (message, part) = if other.environment.name == this.environment.name {
                let (one, two, name) = (&first.name, &target.name, &this.environment.name);
                (format!("the hosts `{one}` and `{two}` of `{name}` are one and the same: {address}"), "host")
            } else {
                let (one, two) = (&other.environment.name, &this.environment.name);
                (format!("`{one}` and `{two}` share the root {} on {address}", target.root), "env")
            };
            let error = Diagnostic::error(span, message).label("the same place").beside(other.key);
            out.push(error.help(format!("each needs a root of its own, for example with `{{{part}}}` in it")));
        }
    }
}
