//! The units of systemd that run a release: one way of naming them, each of them once.

use super::super::diagnose::Diagnostic;
use super::super::raw;
use super::{Scope, Span};
use crate::model::activation::Unit;
use crate::model::template;

impl Scope<'_> {
    /// All of them, and those of them that are stopped before a migration.
    pub(super) fn units(&mut self, kind: raw::Kind) -> (Vec<Unit>, Vec<Unit>) {
        let raw = self.raw;
        let named = ["unit", "units"].into_iter().find(|key| self.node.get(key).is_some());
        if let Some(key) = named.filter(|_| kind == raw::Kind::Compose) {
            let error = Diagnostic::error(self.at(&[key]), format!("`{key}` means nothing with `kind = \"compose\"`"));
            self.out.push(error.label("no effect").help("its services are run by the engine: remove it"));
            return (Vec::new(), Vec::new());
        }
        if let (Some(_), Some(_)) = (&raw.unit, &raw.units) {
            let error = Diagnostic::error(self.at(&["unit"]), "the units are named twice: in `unit` and in `units`");
            self.out.push(error.label("the first time").help("name all of them in `units`"));
        }
        let (mut units, mut drains): (Vec<Unit>, Vec<Unit>) = (Vec::new(), Vec::new());
        if let Some(name) = &raw.unit {
            self.unit(&name.0, self.at(&["unit"]));
            units.push(Unit { name: name.0.clone(), user: false });
        }
        for (index, entry) in raw.units.iter().flatten().enumerate() {
            let span = self.at(&["units", &index.to_string()]);
            let unit = match entry {
                raw::Unit::Named(name) => Unit { name: name.0.clone(), user: false },
                raw::Unit::Other(other) => Unit { name: other.name.0.clone(), user: other.user.unwrap_or_default() },
            };
            self.unit(&unit.name, span);
            if units.contains(&unit) {
                let error = Diagnostic::error(span, format!("the unit `{}` is named twice", unit.name));
                self.out.push(error.label("the second time").help("a unit is restarted once: keep one of them"));
            }
            if matches!(entry, raw::Unit::Other(other) if other.drain == Some(true)) {
                drains.push(unit.clone());
            }
            units.push(unit);
        }
        (units, drains)
    }

    fn unit(&mut self, name: &str, span: Span) {
        self.template(name, span, &[]);
        let of_release = |part: &&str| ["release", "sha", "sha8"].contains(part);
        if let Some(part) = template::names(name).into_iter().find(of_release) {
            let error = Diagnostic::error(span, format!("`{name}` would be another unit with every release"));
            let help = format!("leave out `{{{part}}}`: the unit leads through ROOT/current, and is restarted");
            self.out.push(error.label("named by a release").help(help));
        }
    }
}
