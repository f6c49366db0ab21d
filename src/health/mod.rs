//! Probes and verdicts: one attempt at one check or figure, and what many of them mean together (C1-C4, C8).
//!
//! The same code runs on the controller and inside the host agent. It runs no configured command (`run` belongs to
//! whoever has the release directory and its environment), knows no environment and no plan, and what it hands back
//! never holds a secret: a token is masked even where a server echoes it.

pub mod metric;
pub mod probe;
pub mod prober;
pub mod verdict;
pub mod watch;

mod assets;
mod exposition;
mod http;
mod net;
mod page;
mod systemd;
mod tls;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::host::wire::Secret;
use crate::model::observed::Verdict;

pub use tls::judge as judge_certificate;

/// What an attempt needs beside the probe itself.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The value behind the probe's `bearer`. A probe that names none never sends it.
    pub secret: Option<&'a Secret>,
    /// The live release, or `current`: where asset manifests are.
    pub dir: Option<&'a Path>,
    /// For one whole attempt, name resolution included; for an asset check, for each asset.
    pub timeout: Duration,
    /// The clock that stamps attempts and that certificates are measured against. Durations are measured apart.
    pub now: fn() -> Timestamp,
}

/// What one look at a target found, before it is stamped.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    evidence: String,
}

impl Finding {
    fn pass(evidence: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Pass, evidence: evidence.into() }
    }
    fn fail(evidence: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Fail, evidence: evidence.into() }
    }
    /// Nothing can be said about the target (law 4: that is no bad verdict).
    fn unsure(evidence: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Inconclusive, evidence: evidence.into() }
    }
}

/// The secret that a probe names, or why there is nothing to send.
fn bearer<'a>(name: Option<&str>, ctx: &Context<'a>) -> Result<Option<&'a Secret>, Finding> {
    match (name, ctx.secret) {
        (None, _) => Ok(None),
        (Some(_), Some(secret)) if !secret.expose().is_empty() => Ok(Some(secret)),
        (Some(name), Some(_)) => Err(Finding::unsure(format!("the secret {name} is empty: give it a value"))),
        (Some(name), None) => Err(Finding::unsure(format!(
            "the controller has no secret {name}: set SOLL_SECRET_{name}, or put it into the secrets directory"
        ))),
    }
}

/// Runs one future for a caller without a runtime (the host agent). Not for use inside a runtime, which tokio refuses.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the prober on this machine: {error}"))?;
    let value = runtime.block_on(future);
    // A name lookup that hangs in the C library cannot be cancelled; waiting for it would outlive the timeout.
    runtime.shutdown_background();
    Ok(value)
}

/// `5 s`, `250 ms`: a configured duration, for people.
fn span(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{} ms", duration.as_millis()),
    }
}

/// `text` without the token that was sent (law 9).
fn mask(text: &str, secret: Option<&Secret>) -> String {
    secret.map_or_else(|| text.to_owned(), |secret| crate::model::mask::mask(text, secret.expose()))
}
