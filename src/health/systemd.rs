//! Whether a unit is active (C4, E2): one `systemctl is-active`, no shell, nothing of the caller's environment.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::net::Deadline;
use super::{Finding, span};

/// Present exactly where systemd is the running init (`sd_booted(3)`); the tool alone proves nothing.
const BOOTED: &str = "/run/systemd/system";

/// Asks for the state of one unit.
pub(super) async fn is_active(unit: &str, timeout: Duration) -> Result<Finding, Finding> {
    if !is_unit(unit) {
        return Err(Finding::unsure(format!("`{unit}` is not the name of a unit: letters, digits and `:-_.\\@` only")));
    }
    if !Path::new(BOOTED).exists() {
        return Err(Finding::unsure(format!("systemd does not run here, so nothing is known about {unit}")));
    }
    let mut command = Command::new("systemctl");
    command
        .args(["is-active", "--", unit])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let late = |_| Finding::unsure(format!("systemctl did not answer within {}", span(timeout)));
    let output = Deadline::after(timeout).within(command.output(), late).await?;
    let output = output.map_err(|error| Finding::unsure(format!("systemctl cannot be run here: {error}")))?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(judge(unit, output.status.success(), stdout.trim(), stderr.trim()))
}

/// Exit 0 is the verdict (`reloading` is active, too); otherwise only a state that systemd itself names is evidence.
fn judge(unit: &str, success: bool, state: &str, stderr: &str) -> Finding {
    const STATES: [&str; 7] =
        ["inactive", "failed", "activating", "deactivating", "maintenance", "refreshing", "unknown"];
    match (success, state) {
        (true, state) => Finding::pass(format!("{unit} is {state}")),
        (false, state) if STATES.contains(&state) => Finding::fail(format!("{unit} is {state}, not active")),
        _ => {
            let said = stderr.lines().next().unwrap_or("it printed nothing");
            Finding::unsure(format!("systemctl gave no state of {unit}: {said}"))
        }
    }
}

/// No glob: `php*` would be active as soon as any of its units is.
fn is_unit(unit: &str) -> bool {
    (1..=255).contains(&unit.len())
        && !unit.starts_with('-')
        && unit.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observed::Verdict;

    #[test]
    fn only_a_named_state_is_evidence() {
        let of = |success, state, stderr| judge("nginx.service", success, state, stderr);
        assert_eq!(of(true, "active", "").verdict, Verdict::Pass);
        assert_eq!(of(true, "reloading", "").verdict, Verdict::Pass);
        let failed = of(false, "failed", "");
        assert_eq!((failed.verdict, failed.evidence.as_str()), (Verdict::Fail, "nginx.service is failed, not active"));
        let bus = of(false, "", "Failed to connect to bus: Host is down");
        assert_eq!(bus.verdict, Verdict::Inconclusive);
        assert!(bus.evidence.ends_with("Failed to connect to bus: Host is down"), "{}", bus.evidence);
    }

    #[test]
    fn unit_names_are_no_options_and_no_globs() {
        for good in ["nginx", "php8.2-fpm.service", "queue@1.service", r"dev-disk\x2d1.mount"] {
            assert!(is_unit(good), "{good}");
        }
        for bad in ["", "-H", "--host=x", "php*", "a b", "a/b", "a;b", "[ab]", "a\n"] {
            assert!(!is_unit(bad), "{bad}");
        }
    }
}
