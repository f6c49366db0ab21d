//! What is asked of a running release: checks, their rhythm, and the figures that are watched after a switch. Data only;
//! how a probe is made is not known here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{OnFailure, seconds};

/// Health checks and their rhythm (C1, C2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub before: Before,
    #[serde(with = "seconds")]
    pub grace: Duration,
    pub attempts: u32,
    #[serde(with = "seconds")]
    pub interval: Duration,
    #[serde(with = "seconds")]
    pub timeout: Duration,
    /// Between deployments (C6); also what soak samples are measured against.
    #[serde(with = "seconds")]
    pub every: Duration,
    /// Bad samples in a row between deployments until the restart hooks run (C6).
    pub failures: u32,
    pub checks: Vec<Check>,
}

/// What an unhealthy target does to a deployment before it starts (A4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    Warn,
    Block,
}

/// One health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub probe: Probe,
    pub from: From,
    pub on_failure: OnFailure,
}

impl Check {
    /// Whether `plan` may run it: it runs no configured command (contract 1.2).
    pub fn is_passive(&self) -> bool {
        !matches!(self.probe, Probe::Run { .. } | Probe::Assets { .. })
    }
}

/// From where a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    Host,
    Controller,
}

/// What a check asks (C1, C3, C4). Texts are templates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    Http {
        url: String,
        status: u16,
        /// The name of a secret of the controller, never its value.
        bearer: Option<String>,
        /// Text that the body must contain.
        body: Option<String>,
    },
    Tcp {
        address: String,
    },
    Run {
        command: String,
    },
    Systemd {
        unit: String,
    },
    /// The certificate of `host:port` is valid for at least so many days (C4: under 7 is critical).
    Tls {
        address: String,
        min_days: u32,
    },
    /// A Vite manifest in the live release and every asset that it names, below `base_url` (C3).
    Assets {
        manifest: String,
        base_url: String,
    },
}

impl Probe {
    /// The secret that it sends, and where to.
    pub fn bearer(&self) -> Option<(&str, &str)> {
        match self {
            Probe::Http { url, bearer: Some(name), .. } => Some((name, url)),
            _ => None,
        }
    }
}

/// How a deployment is watched before it is confirmed (C8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    #[serde(rename = "for", with = "seconds")]
    pub duration: Duration,
    #[serde(with = "seconds")]
    pub every: Duration,
    pub metrics: Vec<Metric>,
}

/// A figure that is watched after a switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub source: MetricSource,
    pub limit: Limit,
    pub grade: Grade,
    /// `rollback` or `warn`.
    pub on_failure: OnFailure,
    pub from: From,
    /// So many samples over the limit are forgiven.
    pub failure_limit: u32,
}

/// Where a figure comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricSource {
    /// A number in a response: the whole body, a JSON pointer (`/queue/size`), or a sample of a Prometheus text
    /// (`name{label="x"}`).
    Http { url: String, select: Option<String>, bearer: Option<String> },
    /// The last line that a command prints is a number.
    Run { command: String },
    /// An instant query against a Prometheus server.
    Prometheus { url: String, query: String, bearer: Option<String> },
}

impl MetricSource {
    /// The secret that is sent for it, and where to.
    pub fn bearer(&self) -> Option<(&str, &str)> {
        match self {
            MetricSource::Http { url, bearer: Some(name), .. }
            | MetricSource::Prometheus { url, bearer: Some(name), .. } => Some((name, url)),
            _ => None,
        }
    }
}

/// When a figure is bad.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    Above(f64),
    Below(f64),
}

/// How grave a blocker or a watched figure is: P0 and P1 block, P2 is shown (B3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Grade {
    P0,
    P1,
    P2,
}
