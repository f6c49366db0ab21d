//! Gates and hooks: names, defaults, and what a failure can mean at which phase.

use std::collections::BTreeSet;

use super::super::diagnose::Diagnostic;
use super::super::layers;
use super::super::raw;
use super::super::{Gate, GateTest, Hook, OnFailure, Phase};
use super::{Scope, TEN_MINUTES, compose};

/// A command's text serves as the hook's name up to here.
const NAME_LENGTH: usize = 40;

impl Scope<'_> {
    pub(super) fn gates(&mut self, kind: raw::Kind) -> Vec<Gate> {
        let raw = self.raw;
        let mut gates = Vec::new();
        for (index, gate) in raw.gates.iter().enumerate() {
            let at = index.to_string();
            let test = match (&gate.file, &gate.dir, &gate.run) {
                (Some(file), ..) => GateTest::File(file.0.clone()),
                (_, Some(dir), _) => GateTest::Dir(dir.0.clone()),
                (.., Some(run)) => {
                    self.command(&run.0, self.at(&["gates", &at, "run"]));
                    let service = self.service(kind, &["gates", &at, "service"], gate.service.as_ref());
                    GateTest::Run(service.map_or_else(|| run.0.clone(), |service| compose::beside(service, &run.0)))
                }
                // The schema asks for one of them.
                _ => continue,
            };
            if gate.service.is_some() && gate.run.is_none() {
                let error =
                    Diagnostic::error(self.at(&["gates", &at, "service"]), "`service` means nothing without `run`");
                self.out
                    .push(error.label("no effect").help("remove it: files and directories are those of the release"));
            }
            let own = gate.name.as_ref().map(|name| name.0.clone());
            let name = own.unwrap_or_else(|| self.item("gates", index).map(layers::default_name).unwrap_or_default());
            gates.push(Gate { name, test, timeout: gate.timeout.as_ref().map_or(TEN_MINUTES, |time| time.0) });
        }
        gates
    }

    pub(super) fn hooks(&mut self, kind: raw::Kind) -> Vec<Hook> {
        let raw = self.raw;
        let mut taken: BTreeSet<String> =
            raw.hooks.iter().filter_map(|hook| Some(hook.name.as_ref()?.0.clone())).collect();
        let mut hooks = self.once(kind, &taken);
        for (index, hook) in raw.hooks.iter().enumerate() {
            let at = index.to_string();
            self.command(&hook.run.0, self.at(&["hooks", &at, "run"]));
            let on_failure = hook.on_failure.unwrap_or(hook.phase.default_on_failure());
            if let Some(why) = impossible(hook.phase, on_failure) {
                let (phase, word) =
                    (hook.phase.as_str(), if on_failure == OnFailure::Abort { "abort" } else { "roll back" });
                let span = self.at(&["hooks", &at, "on_failure"]);
                let error = Diagnostic::error(span, format!("a {phase} hook cannot {word}")).label("not at this phase");
                self.out.push(error.help(why));
            }
            let name = match &hook.name {
                Some(name) => name.0.clone(),
                None => unique(&hook.run.0, &mut taken),
            };
            let place = ["hooks", at.as_str(), "service"];
            let service = self.service(kind, &place, hook.service.as_ref());
            if service.is_some() && hook.phase == Phase::Prepare {
                let error = Diagnostic::error(self.at(&place), "a prepare hook runs before the services are resolved");
                let help = "at the phase \"pre-switch\" or \"migrate\", or on the host, without `service`";
                self.out.push(error.label("not at this phase").help(help));
            }
            let run =
                service.map_or_else(|| hook.run.0.clone(), |service| compose::within(service, hook.phase, &hook.run.0));
            hooks.push(Hook {
                name,
                phase: hook.phase,
                run,
                on_failure,
                timeout: hook.timeout.as_ref().map_or(TEN_MINUTES, |time| time.0),
                reload: hook.reload.unwrap_or(false),
            });
        }
        hooks
    }

    /// An entry of a merged list.
    pub(super) fn item(&self, list: &str, index: usize) -> Option<&super::Node> {
        self.node.get(list)?.items().get(index)
    }
}

fn impossible(phase: Phase, on_failure: OnFailure) -> Option<&'static str> {
    match (phase, on_failure) {
        (Phase::PostSwitch | Phase::Verify | Phase::MaintenanceOff | Phase::After, OnFailure::Abort) => {
            Some("`current` is switched by then: \"rollback\" goes back, \"warn\" goes on")
        }
        (Phase::After | Phase::Rollback | Phase::Stop | Phase::Start | Phase::Restart, OnFailure::Rollback) => {
            Some("there is nothing to go back from at this phase: \"warn\"")
        }
        _ => None,
    }
}

/// The command's text, cut, and made different from the names before it.
fn unique(command: &str, taken: &mut BTreeSet<String>) -> String {
    let line = command.trim().lines().next().unwrap_or_default().trim_end();
    let cut: String = line.chars().take(NAME_LENGTH).collect();
    let cut = cut.trim_end();
    let name = (1..)
        .map(|number| if number == 1 { cut.to_owned() } else { format!("{cut}-{number}") })
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| cut.to_owned());
    taken.insert(name.clone());
    name
}
