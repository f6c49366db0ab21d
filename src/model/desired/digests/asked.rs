//! What stands in the digests of gates, hooks, health and watch, version 1.

use std::time::Duration;

use serde::Serialize;

use super::environment::all;
use crate::model::desired::{
    Before, Check, From as Side, Gate, GateTest, Grade, Health, Hook, Limit, Metric, MetricSource, OnFailure, Phase,
    Probe, Watch,
};

/// A duration in seconds, with its fraction.
pub fn in_seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// [`Gate`].
#[derive(Serialize)]
pub struct GateV1<'a> {
    name: &'a str,
    test: TestV1<'a>,
    timeout: f64,
}

impl<'a> From<&'a Gate> for GateV1<'a> {
    fn from(live: &'a Gate) -> Self {
        let Gate { name, test, timeout } = live;
        let test = match test {
            GateTest::File(path) => TestV1::File(path),
            GateTest::Dir(path) => TestV1::Dir(path),
            GateTest::Run(command) => TestV1::Run(command),
        };
        GateV1 { name, test, timeout: in_seconds(*timeout) }
    }
}

#[derive(Serialize)]
enum TestV1<'a> {
    #[serde(rename = "file")]
    File(&'a str),
    #[serde(rename = "dir")]
    Dir(&'a str),
    #[serde(rename = "run")]
    Run(&'a str),
}

/// [`Hook`].
#[derive(Serialize)]
pub struct HookV1<'a> {
    name: &'a str,
    phase: &'static str,
    run: &'a str,
    on_failure: &'static str,
    timeout: f64,
    reload: bool,
}

impl<'a> From<&'a Hook> for HookV1<'a> {
    fn from(live: &'a Hook) -> Self {
        let Hook { name, phase, run, on_failure, timeout, reload } = live;
        let phase = match phase {
            Phase::Prepare => "prepare",
            Phase::MaintenanceOn => "maintenance-on",
            Phase::Migrate => "migrate",
            Phase::PreSwitch => "pre-switch",
            Phase::PostSwitch => "post-switch",
            Phase::MaintenanceOff => "maintenance-off",
            Phase::Verify => "verify",
            Phase::After => "after",
            Phase::Rollback => "rollback",
            Phase::Stop => "stop",
            Phase::Start => "start",
            Phase::Restart => "restart",
        };
        let timeout = in_seconds(*timeout);
        HookV1 { name, phase, run, on_failure: on_failure_v1(*on_failure), timeout, reload: *reload }
    }
}

fn on_failure_v1(live: OnFailure) -> &'static str {
    match live {
        OnFailure::Abort => "abort",
        OnFailure::Rollback => "rollback",
        OnFailure::Warn => "warn",
    }
}

fn side(live: Side) -> &'static str {
    match live {
        Side::Host => "host",
        Side::Controller => "controller",
    }
}

/// [`Health`].
#[derive(Serialize)]
pub struct HealthV1<'a> {
    before: &'static str,
    grace: f64,
    attempts: u32,
    interval: f64,
    timeout: f64,
    every: f64,
    failures: u32,
    checks: Vec<CheckV1<'a>>,
}

impl<'a> From<&'a Health> for HealthV1<'a> {
    fn from(live: &'a Health) -> Self {
        let Health { before, grace, attempts, interval, timeout, every, failures, checks } = live;
        HealthV1 {
            before: match before {
                Before::Warn => "warn",
                Before::Block => "block",
            },
            grace: in_seconds(*grace),
            attempts: *attempts,
            interval: in_seconds(*interval),
            timeout: in_seconds(*timeout),
            every: in_seconds(*every),
            failures: *failures,
            checks: all(checks),
        }
    }
}

#[derive(Serialize)]
struct CheckV1<'a> {
    name: &'a str,
    probe: ProbeV1<'a>,
    from: &'static str,
    on_failure: &'static str,
}

impl<'a> From<&'a Check> for CheckV1<'a> {
    fn from(live: &'a Check) -> Self {
        let Check { name, probe, from, on_failure } = live;
        CheckV1 { name, probe: probe.into(), from: side(*from), on_failure: on_failure_v1(*on_failure) }
    }
}

#[derive(Serialize)]
enum ProbeV1<'a> {
    #[serde(rename = "http")]
    Http { url: &'a str, status: u16, bearer: Option<&'a str>, body: Option<&'a str> },
    #[serde(rename = "tcp")]
    Tcp { address: &'a str },
    #[serde(rename = "run")]
    Run { command: &'a str },
    #[serde(rename = "systemd")]
    Systemd { unit: &'a str },
    #[serde(rename = "tls")]
    Tls { address: &'a str, min_days: u32 },
    #[serde(rename = "assets")]
    Assets { manifest: &'a str, base_url: &'a str },
}

impl<'a> From<&'a Probe> for ProbeV1<'a> {
    fn from(live: &'a Probe) -> Self {
        match live {
            Probe::Http { url, status, bearer, body } => {
                ProbeV1::Http { url, status: *status, bearer: bearer.as_deref(), body: body.as_deref() }
            }
            Probe::Tcp { address } => ProbeV1::Tcp { address },
            Probe::Run { command } => ProbeV1::Run { command },
            Probe::Systemd { unit } => ProbeV1::Systemd { unit },
            Probe::Tls { address, min_days } => ProbeV1::Tls { address, min_days: *min_days },
            Probe::Assets { manifest, base_url } => ProbeV1::Assets { manifest, base_url },
        }
    }
}

/// [`Watch`].
#[derive(Serialize)]
pub struct WatchV1<'a> {
    r#for: f64,
    every: f64,
    metrics: Vec<MetricV1<'a>>,
}

impl<'a> From<&'a Watch> for WatchV1<'a> {
    fn from(live: &'a Watch) -> Self {
        let Watch { duration, every, metrics } = live;
        WatchV1 { r#for: in_seconds(*duration), every: in_seconds(*every), metrics: all(metrics) }
    }
}

#[derive(Serialize)]
struct MetricV1<'a> {
    name: &'a str,
    source: SourceV1<'a>,
    limit: LimitV1,
    grade: &'static str,
    on_failure: &'static str,
    from: &'static str,
    failure_limit: u32,
}

impl<'a> From<&'a Metric> for MetricV1<'a> {
    fn from(live: &'a Metric) -> Self {
        let Metric { name, source, limit, grade, on_failure, from, failure_limit } = live;
        MetricV1 {
            name,
            source: source.into(),
            limit: match limit {
                Limit::Above(limit) => LimitV1::Above(*limit),
                Limit::Below(limit) => LimitV1::Below(*limit),
            },
            grade: match grade {
                Grade::P0 => "P0",
                Grade::P1 => "P1",
                Grade::P2 => "P2",
            },
            on_failure: on_failure_v1(*on_failure),
            from: side(*from),
            failure_limit: *failure_limit,
        }
    }
}

#[derive(Serialize)]
enum SourceV1<'a> {
    #[serde(rename = "http")]
    Http { url: &'a str, select: Option<&'a str>, bearer: Option<&'a str> },
    #[serde(rename = "run")]
    Run { command: &'a str },
    #[serde(rename = "prometheus")]
    Prometheus { url: &'a str, query: &'a str, bearer: Option<&'a str> },
}

impl<'a> From<&'a MetricSource> for SourceV1<'a> {
    fn from(live: &'a MetricSource) -> Self {
        match live {
            MetricSource::Http { url, select, bearer } => {
                SourceV1::Http { url, select: select.as_deref(), bearer: bearer.as_deref() }
            }
            MetricSource::Run { command } => SourceV1::Run { command },
            MetricSource::Prometheus { url, query, bearer } => {
                SourceV1::Prometheus { url, query, bearer: bearer.as_deref() }
            }
        }
    }
}

#[derive(Serialize)]
enum LimitV1 {
    #[serde(rename = "above")]
    Above(f64),
    #[serde(rename = "below")]
    Below(f64),
}
