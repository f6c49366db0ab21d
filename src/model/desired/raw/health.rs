//! Health checks and watched figures as they are written. No defaults are applied here.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::fields::*;
use super::super::{Before, From, Grade, OnFailure};

/// Health checks and their rhythm.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What an unhealthy target does to a deployment before it starts. Default: warn.
    pub before: Option<Before>,
    /// Waited after the switch, before the first attempt. Default: 0s.
    pub grace: Option<Pause>,
    /// Default: 6.
    #[schemars(range(min = 1, max = 100), example = 6)]
    #[schemars(extend("x-why" = "without an attempt there is no verdict, and after a hundred nobody waits any more"))]
    pub attempts: Option<u32>,
    /// Between two attempts. Default: 5s.
    pub interval: Option<Time>,
    /// Of one attempt. Default: 5s.
    pub timeout: Option<Time>,
    /// Between deployments. Default: 5m.
    pub every: Option<Time>,
    /// Bad looks in a row, between deployments, until the `restart` hooks run. Default: 2.
    #[schemars(range(min = 1, max = 100), example = 2)]
    #[schemars(extend("x-why" = "a service is restarted after it was seen to fail, and not after a hundred times"))]
    pub failures: Option<u32>,
    /// The checks; one of the same name in a recipe or application is replaced.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// One health check.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["http", "tcp", "run", "systemd", "tls", "assets"]]))]
#[schemars(extend("oneOf" = [{ "required": ["http"] }, { "required": ["tcp"] }, { "required": ["run"] },
    { "required": ["systemd"] }, { "required": ["tls"] }, { "required": ["assets"] }]))]
pub struct Check {
    /// Default: what is checked.
    pub name: Option<Line>,
    /// This URL answers with `status`.
    pub http: Option<HttpUrl>,
    /// This address accepts connections.
    pub tcp: Option<Endpoint>,
    /// This command succeeds, in `current` on the host.
    pub run: Option<Text>,
    /// With `kind = "compose"` and `run`: inside this service.
    pub service: Option<ServiceName>,
    /// This systemd unit is active.
    #[schemars(example = &"nginx.service")]
    pub systemd: Option<Line>,
    /// The certificate at this address is valid for `min_days` at least.
    #[schemars(example = &"api.example.com:443")]
    pub tls: Option<Endpoint>,
    /// A Vite manifest and every asset that it names.
    pub assets: Option<Assets>,
    /// With `http`. Default: 200.
    #[schemars(range(min = 100, max = 599), example = 200)]
    #[schemars(extend("x-why" = "HTTP has no other status codes"))]
    pub status: Option<u16>,
    /// With `http`: the body must contain this.
    pub body: Option<Text>,
    /// With `http`: the name of a secret of the controller, never its value.
    pub bearer: Option<SecretName>,
    /// With `tls`. Default: 7.
    #[schemars(range(min = 0, max = 3650), example = 7)]
    pub min_days: Option<u32>,
    /// From where the check is made. Default: host.
    pub from: Option<From>,
    /// Default: rollback.
    pub on_failure: Option<OnFailure>,
}

/// A Vite manifest and where its assets are served.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assets {
    /// In the release.
    #[schemars(example = &"public/build/manifest.json")]
    pub manifest: RelPath,
    /// Every asset is fetched below this URL.
    #[schemars(example = &"http://127.0.0.1:8080/build/")]
    pub base_url: HttpUrl,
}

/// How a deployment is watched before it is confirmed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Default: 10m.
    #[serde(rename = "for")]
    pub duration: Option<Time>,
    /// Between two samples. Default: 30s.
    pub every: Option<Time>,
    /// The figures that are watched.
    #[serde(default)]
    pub metrics: Vec<Metric>,
}

/// A figure that is watched after a switch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-one-of" = [["http", "run", "prometheus"], ["above", "below"]]))]
#[schemars(extend("allOf" = [
    { "oneOf": [{ "required": ["http"] }, { "required": ["run"] }, { "required": ["prometheus"] }] },
    { "oneOf": [{ "required": ["above"] }, { "required": ["below"] }] }]))]
pub struct Metric {
    /// How the figure is called.
    #[schemars(example = &"error rate")]
    pub name: Line,
    /// A URL that answers with a number, JSON, or Prometheus text; `select` picks the figure.
    #[schemars(example = &"http://127.0.0.1:9110/metrics")]
    pub http: Option<HttpUrl>,
    /// A command whose last line is a number.
    pub run: Option<Text>,
    /// The URL of a Prometheus server, asked with `query`.
    #[schemars(example = &"http://prometheus.example.com:9090")]
    pub prometheus: Option<HttpUrl>,
    /// With `prometheus`: an instant query with one result.
    pub query: Option<Text>,
    /// With `http`: a JSON pointer (`/queue/size`) or a sample of a Prometheus text (`name{label="x"}`).
    #[schemars(example = &"/queue/size")]
    pub select: Option<Line>,
    /// With `http` and `prometheus`: the name of a secret of the controller, never its value.
    pub bearer: Option<SecretName>,
    /// Bad above this.
    #[schemars(example = 0.05)]
    pub above: Option<f64>,
    /// Bad below this.
    #[schemars(example = 0.995)]
    pub below: Option<f64>,
    /// Default: P1.
    pub grade: Option<Grade>,
    /// Default: rollback.
    pub on_failure: Option<OnFailure>,
    /// From where it is asked. Default: host, for `prometheus` the controller.
    pub from: Option<From>,
    /// So many bad samples are forgiven. Default: 0.
    #[schemars(range(min = 0, max = 1000), example = 0)]
    pub failure_limit: Option<u32>,
}
