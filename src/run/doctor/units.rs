//! What is to be thought of the units of an environment on one host: they are there, may be restarted, and run what `current`
//! leads to. Pure.

use super::sudo::{Answer, ask, parse};
use crate::host::wire::examine::{Examined, UnitFact, UnitState};
use crate::model::activation::{Activation, Unit};
use crate::model::desired::Target;
use crate::run::finding::Findings;

/// Judges each of them. `drained`: those that are stopped before a migration.
pub fn judge(findings: &mut Findings, target: &Target, drained: &Activation, seen: &Examined) {
    for UnitFact { unit, state } in &seen.units {
        match state {
            Err(why) => {
                findings.fail("unit", why.as_str(), "correct what is named, or leave the unit out of the state file")
            }
            Ok(state) => {
                found(findings, target, unit, state, &seen.user);
            }
        }
        if seen.uid != 0 && !unit.user {
            permissions(findings, unit, drained.units.contains(unit), seen);
        }
    }
}

fn found(findings: &mut Findings, target: &Target, unit: &Unit, state: &UnitState, user: &str) {
    let name = &unit.name;
    let manager = format!("systemctl{}", unit.manager());
    let current = format!("{}/current", target.root);
    match state.load.as_str() {
        "loaded" => {}
        "not-found" => {
            let fix = format!("install its file, then `{manager} daemon-reload`; or correct `unit` in the state file");
            return findings.fail("unit", format!("there is no unit {name}"), fix);
        }
        "masked" => {
            return findings.fail(
                "unit",
                format!("{name} is masked: nobody starts it"),
                format!("{manager} unmask {name}"),
            );
        }
        other => {
            let message = format!("systemd cannot read {name} ({other})");
            return findings.fail(
                "unit",
                message,
                format!("`systemd-analyze{} verify {name}` there says more", unit.manager()),
            );
        }
    }
    match (&state.pinned, name.ends_with(".service")) {
        (Some(path), _) => findings.warn(
            "unit",
            format!("{name} names {path}: it would run that release for ever, and no deployment gets past it"),
            format!("let WorkingDirectory and ExecStart in {} lead through {current}, then `{manager} daemon-reload`", state.file),
        ),
        (None, true) if !state.follows => findings.warn(
            "unit",
            format!("neither WorkingDirectory nor ExecStart of {name} leads through {current}: nothing shows that it runs a release"),
            format!("let them lead through {current} in {}, then `{manager} daemon-reload`", state.file),
        ),
        (None, true) => findings.ok("unit", format!("{name} is {}, and leads through {current}", state.state)),
        (None, false) => findings.ok("unit", format!("{name} is {}", state.state)),
    }
    if state.stale {
        let message = format!("the file of {name} was changed since systemd has read it");
        findings.warn("unit", message, format!("`{manager} daemon-reload`; the next restart by soll does it as well"));
    }
    if !state.lingers {
        findings.warn(
            "unit",
            format!("{user} does not linger: {name} ends when {user} logs out, and does not start with the machine"),
            format!("as root: loginctl enable-linger {user}"),
        );
    }
    if !state.journal {
        findings.warn(
            "unit",
            format!("{user} may not read what {name} writes to the journal: why it fails would not be told"),
            format!("as root: usermod -aG systemd-journal {user}"),
        );
    }
}

/// What soll calls for each unit, and what sudo allows of it. Without the first two no deployment gets past the switch; where
/// it `drains`, none gets past its migration without the third.
fn permissions(findings: &mut Findings, unit: &Unit, drains: bool, seen: &Examined) {
    // Why nothing is known is told once, with the commands.
    let Some(Ok(text)) = &seen.sudo else { return };
    let allowed = parse(text);
    let name = unit.name.as_str();
    for (verb, is_needed) in [
        (vec!["reset-failed", name], true),
        (vec!["restart", name], true),
        (vec!["stop", name], drains),
        (vec!["daemon-reload"], false),
    ] {
        let words: Vec<String> = ["systemctl"].iter().chain(&verb).map(|word| (*word).to_owned()).collect();
        let command = words.join(" ");
        let line = format!("{} ALL=(root) NOPASSWD: /usr/bin/{command}  # in a file of /etc/sudoers.d", seen.user);
        let why = match ask(&allowed, &words) {
            Answer::Yes => {
                findings.ok("sudo", format!("unit {name}: `{command}` is allowed"));
                continue;
            }
            Answer::Password => format!("unit {name}: `{command}` wants a password"),
            Answer::No(_) => format!("unit {name}: `{command}` is not allowed to {}", seen.user),
        };
        match (is_needed, verb[0]) {
            (true, _) => findings.fail("sudo", why, line),
            (false, "stop") => findings.warn("sudo", format!("{why}: `soll stop` cannot stop it"), line),
            (false, _) => {
                findings.warn(
                    "sudo",
                    format!("{why}: a changed unit file is an error until somebody has done that"),
                    line,
                );
            }
        }
    }
}
