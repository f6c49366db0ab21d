//! A new server, from nothing to a deployment that may be tried: `provision`, `doctor`, `preflight`, on roots of this
//! machine and over an sshd of the test's own.

mod looking;
mod preflight;
mod provision;
mod remote;

use crate::support::world::Ran;

/// The findings of one check, as `verdict: message`.
pub fn found(ran: &Ran, check: &str) -> Vec<String> {
    let all = ran.json();
    let all = all.as_array().expect("an array");
    for finding in all {
        let keys: Vec<_> = finding.as_object().expect("objects").keys().map(String::as_str).collect();
        for key in ["host", "check", "verdict", "message", "fix"] {
            assert!(keys.contains(&key), "{finding} has no {key}");
        }
        let fails = finding["verdict"] == "fail";
        assert!(!fails || finding["fix"] != "", "a failure without a fix: {finding}");
    }
    let of_check = all.iter().filter(|finding| finding["check"] == check);
    of_check.map(|f| format!("{}: {}", f["verdict"].as_str().unwrap(), f["message"].as_str().unwrap())).collect()
}

/// Asserts that a check says exactly one thing, and that it holds this.
#[track_caller]
pub fn one(ran: &Ran, check: &str, wanted: &str) {
    let all = found(ran, check);
    assert!(matches!(all.as_slice(), [one] if one.contains(wanted)), "{check}: {wanted}: {all:?}");
}
