//! Templates of an environment, filled for one of its hosts: commands, checks, figures.

use crate::model::desired::{Environment, MetricSource, Probe, Target};
use crate::model::ids::{ReleaseName, Sha};
use crate::model::record::Command;
use crate::model::template::{Values, fill};

/// A configured command of an environment, filled for one release.
pub fn command(
    env: &Environment,
    target: &Target,
    (release, sha): (Option<&ReleaseName>, Option<&Sha>),
    name: &str,
    run: &str,
    timeout: std::time::Duration,
) -> Command {
    let values = env.values(target, release, sha);
    let text = |key: &str| values.get(key).cloned().unwrap_or_default();
    let own = [
        ("SOLL_ENV", text("env")),
        ("SOLL_SHA", text("sha")),
        ("SOLL_RELEASE", text("release")),
        ("SOLL_ROOT", text("root")),
        ("SOLL_HOST", text("host")),
    ];
    // The directory is made by the host, for whoever names it.
    let cache = ["{cache}", "SOLL_CACHE"].iter().any(|name| run.contains(name));
    let cache = cache.then(|| ("SOLL_CACHE".to_owned(), format!("{}/.soll/cache", target.root)));
    let variables = env.variables.iter().map(|(key, value)| (format!("SOLL_VAR_{key}"), value.clone()));
    let vars = own.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(variables).chain(cache).collect();
    Command { name: name.to_owned(), run: fill(run, &values), env: vars, timeout, hides: hides(env, target, release) }
}

/// The environment files of a host whose values nobody is shown (law 9).
pub fn hides(env: &Environment, target: &Target, release: Option<&ReleaseName>) -> Vec<String> {
    // What is rendered for a release that is not live yet is read through that release.
    let through = |release: &ReleaseName| {
        env.files.iter().map(|file| format!("{}/releases/{release}/{}", target.root, file.path)).collect::<Vec<_>>()
    };
    let live = env.env_file().map(|file| &file.from).into_iter().chain(env.files.iter().map(|file| &file.from));
    let mut hides: Vec<String> = live.map(|from| format!("{}/shared/{from}", target.root)).collect();
    hides.extend(release.map(through).into_iter().flatten());
    hides.sort();
    hides.dedup();
    hides
}

/// A check's question with its templates filled.
pub fn fill_probe(probe: &Probe, values: &Values) -> Probe {
    let mut probe = probe.clone();
    match &mut probe {
        Probe::Http { url, body, .. } => {
            *url = fill(url, values);
            *body = body.as_ref().map(|b| fill(b, values));
        }
        Probe::Tcp { address } | Probe::Tls { address, .. } => *address = fill(address, values),
        Probe::Run { command } => *command = fill(command, values),
        Probe::Systemd { unit } => *unit = fill(unit, values),
        Probe::Assets { manifest, base_url } => {
            *manifest = fill(manifest, values);
            *base_url = fill(base_url, values);
        }
    }
    probe
}

/// A metric's source with its templates filled.
pub fn fill_source(source: &MetricSource, values: &Values) -> MetricSource {
    let mut source = source.clone();
    match &mut source {
        MetricSource::Http { url, .. } => *url = fill(url, values),
        MetricSource::Run { command } => *command = fill(command, values),
        MetricSource::Prometheus { url, query, .. } => {
            *url = fill(url, values);
            *query = fill(query, values);
        }
    }
    source
}
