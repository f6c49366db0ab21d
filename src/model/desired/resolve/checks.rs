//! Health checks and watched figures: names, defaults, and which keys go together.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::diagnose::{Diagnostic, Diagnostics};
use super::super::layers;
use super::super::tree::{Node, Span};
use super::super::{
    Before, Check, From, Grade, Health, Limit, Metric, MetricSource, OnFailure, Phase, Probe, Watch, raw,
};
use super::{Scope, compose};

const FIVE_SECONDS: Duration = Duration::from_secs(5);

impl Scope<'_> {
    pub(super) fn health(&mut self, kind: raw::Kind) -> Health {
        let default = raw::Health::default();
        let raw = self.raw.health.as_ref().unwrap_or(&default);
        let time = |field: &Option<super::super::fields::Time>| field.as_ref().map_or(FIVE_SECONDS, |time| time.0);
        Health {
            before: raw.before.unwrap_or(Before::Warn),
            grace: raw.grace.as_ref().map_or(Duration::ZERO, |grace| grace.0),
            attempts: raw.attempts.unwrap_or(6),
            interval: time(&raw.interval),
            timeout: time(&raw.timeout),
            every: raw.every.as_ref().map_or(Duration::from_secs(300), |every| every.0),
            failures: raw.failures.unwrap_or(2),
            checks: raw.checks.iter().enumerate().filter_map(|(index, check)| self.check(kind, index, check)).collect(),
        }
    }

    fn check(&mut self, of: raw::Kind, index: usize, raw: &raw::Check) -> Option<Check> {
        let at = index.to_string();
        let service = self.service(of, &["health", "checks", &at, "service"], raw.service.as_ref());
        let text = |text: &super::super::fields::HttpUrl| text.0.clone();
        let probe = if let Some(url) = &raw.http {
            let (bearer, body) = (raw.bearer.as_ref(), raw.body.as_ref());
            let bearer = bearer.map(|name| name.0.clone());
            Probe::Http { url: text(url), status: raw.status.unwrap_or(200), bearer, body: body.map(|b| b.0.clone()) }
        } else if let Some(address) = &raw.tcp {
            Probe::Tcp { address: address.0.clone() }
        } else if let Some(command) = &raw.run {
            let within = |service| compose::within(service, Phase::Verify, &command.0);
            Probe::Run { command: service.map_or_else(|| command.0.clone(), within) }
        } else if let Some(unit) = &raw.systemd {
            Probe::Systemd { unit: unit.0.clone() }
        } else if let Some(address) = &raw.tls {
            Probe::Tls { address: address.0.clone(), min_days: raw.min_days.unwrap_or(7) }
        } else {
            let assets = raw.assets.as_ref()?;
            Probe::Assets { manifest: assets.manifest.0.clone(), base_url: text(&assets.base_url) }
        };
        let (kind, templated) = match &probe {
            Probe::Http { url, .. } => ("http", url.clone()),
            Probe::Tcp { address } => ("tcp", address.clone()),
            Probe::Run { .. } => ("run", String::new()),
            Probe::Systemd { unit } => ("systemd", unit.clone()),
            Probe::Tls { address, .. } => ("tls", address.clone()),
            Probe::Assets { base_url, .. } => ("assets", base_url.clone()),
        };
        let spot = |scope: &Self, key: &str| scope.at(&["health", "checks", &at, key]);
        self.template(&templated, spot(self, kind), &[]);
        if let Probe::Run { command } = &probe {
            self.command(command, spot(self, kind));
        }
        self.belongs("health", &at, "service", raw.service.is_some(), kind, &["run"]);
        self.belongs("health", &at, "status", raw.status.is_some(), kind, &["http"]);
        self.belongs("health", &at, "body", raw.body.is_some(), kind, &["http"]);
        self.belongs("health", &at, "bearer", raw.bearer.is_some(), kind, &["http"]);
        self.belongs("health", &at, "min_days", raw.min_days.is_some(), kind, &["tls"]);
        let from = raw.from.unwrap_or(From::Host);
        self.only_on_host(spot(self, "from"), from, kind);
        let on_failure = raw.on_failure.unwrap_or(OnFailure::Rollback);
        self.no_abort(spot(self, "on_failure"), on_failure);
        let node = self.node.get("health").and_then(|health| health.get("checks")?.items().get(index));
        let own = raw.name.as_ref().map(|name| name.0.clone());
        let name = own.unwrap_or_else(|| node.map(layers::default_name).unwrap_or_default());
        Some(Check { name, probe, from, on_failure })
    }

    pub(super) fn watch(&mut self) -> Option<Watch> {
        let raw = self.raw.watch.as_ref()?;
        let duration = raw.duration.as_ref().map_or(Duration::from_secs(600), |time| time.0);
        let every = raw.every.as_ref().map_or(Duration::from_secs(30), |time| time.0);
        if every > duration {
            let span = self.at(&["watch", "every"]);
            let error = Diagnostic::error(span, "`every` is longer than `for`: nothing would be sampled");
            self.out.push(error.label("longer than the watch").help("take several samples, or none: remove the table"));
        }
        let metrics = raw.metrics.iter().enumerate().filter_map(|(index, metric)| self.metric(index, metric)).collect();
        Some(Watch { duration, every, metrics })
    }

    fn metric(&mut self, index: usize, raw: &raw::Metric) -> Option<Metric> {
        let at = index.to_string();
        let spot = |scope: &Self, key: &str| scope.at(&["watch", "metrics", &at, key]);
        let bearer = raw.bearer.as_ref().map(|name| name.0.clone());
        let (kind, source) = if let Some(url) = &raw.http {
            self.template(&url.0, spot(self, "http"), &[]);
            let select = raw.select.as_ref().map(|select| select.0.clone());
            ("http", MetricSource::Http { url: url.0.clone(), select, bearer })
        } else if let Some(command) = &raw.run {
            ("run", MetricSource::Run { command: command.0.clone() })
        } else {
            let url = raw.prometheus.as_ref()?;
            self.template(&url.0, spot(self, "prometheus"), &[]);
            let Some(query) = &raw.query else {
                let error = Diagnostic::error(spot(self, "prometheus"), "a Prometheus server is asked with a query");
                self.out
                    .push(error.label("needs `query`").help("for example: query = \"sum(rate(errors_total[5m]))\""));
                return None;
            };
            ("prometheus", MetricSource::Prometheus { url: url.0.clone(), query: query.0.clone(), bearer })
        };
        self.belongs("watch", &at, "query", raw.query.is_some(), kind, &["prometheus"]);
        self.belongs("watch", &at, "select", raw.select.is_some(), kind, &["http"]);
        self.belongs("watch", &at, "bearer", raw.bearer.is_some(), kind, &["http", "prometheus"]);
        let near = if kind == "prometheus" { From::Controller } else { From::Host };
        let from = raw.from.unwrap_or(near);
        self.only_on_host(spot(self, "from"), from, kind);
        let on_failure = raw.on_failure.unwrap_or(OnFailure::Rollback);
        self.no_abort(spot(self, "on_failure"), on_failure);
        Some(Metric {
            name: raw.name.0.clone(),
            source,
            limit: raw.above.map(Limit::Above).or(raw.below.map(Limit::Below))?,
            grade: raw.grade.unwrap_or(Grade::P1),
            on_failure,
            from,
            failure_limit: raw.failure_limit.unwrap_or(0),
        })
    }

    /// A key that means something only beside certain others.
    fn belongs(&mut self, table: &str, at: &str, key: &str, present: bool, kind: &str, kinds: &[&str]) {
        if !present || kinds.contains(&kind) {
            return;
        }
        let list = if table == "health" { "checks" } else { "metrics" };
        let item = self.node.get(table).and_then(|node| node.get(list)?.items().get(at.parse::<usize>().ok()?));
        let span = item.map_or(self.key, |item| item.key(key));
        let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        let error = Diagnostic::error(span, format!("`{key}` means nothing beside `{kind}`")).label("no effect");
        self.out.push(error.help(format!("it belongs to {}: remove it", kinds.join(" and "))));
    }

    fn only_on_host(&mut self, span: Span, from: From, kind: &str) {
        if from == From::Controller && ["run", "systemd", "assets"].contains(&kind) {
            let error = Diagnostic::error(span, format!("a `{kind}` check can be made only on the host"));
            self.out.push(error.label("not from the controller").help("remove `from`, or use `http` or `tcp`"));
        }
    }

    fn no_abort(&mut self, span: Span, on_failure: OnFailure) {
        if on_failure == OnFailure::Abort {
            let error = Diagnostic::error(span, "nothing can be aborted here: `current` is switched by then");
            self.out.push(error.label("not possible").help("\"rollback\" goes back, \"warn\" goes on"));
        }
    }
}

/// Two entries of one list with one name: which of them counts would be a silent choice.
pub(super) fn duplicates(layer: &Node, out: &mut Diagnostics) {
    let lists = [
        ("gate", layer.get("gates")),
        ("hook", layer.get("hooks")),
        ("check", layer.get("health").and_then(|health| health.get("checks"))),
        ("metric", layer.get("watch").and_then(|watch| watch.get("metrics"))),
    ];
    for (what, list) in lists {
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        for item in list.map(Node::items).unwrap_or_default() {
            let own = item.get("name").and_then(|name| Some((name.text()?.to_owned(), name.span)));
            // A hook without a name gets one of its own; a gate or check is what it asks.
            let Some((name, span)) = own.or_else(|| (what != "hook").then(|| (layers::default_name(item), item.span)))
            else {
                continue;
            };
            if let Some(first) = seen.get(&name) {
                let first = out.place(*first);
                let error = Diagnostic::error(span, format!("there are two {what}s `{name}`")).label("the second one");
                out.push(error.help(format!("the first one is at {first}: remove one, or give it another `name`")));
            } else {
                seen.insert(name, span);
            }
        }
    }
}
