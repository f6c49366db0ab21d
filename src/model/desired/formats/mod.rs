//! The grammars of single values, each with the reason for its limits. One table serves three readers: the JSON Schema
//! names a format, the walker checks it with a place, and the typed fields parse with the same function.

pub mod backup;

use std::time::Duration;

use super::release;
use super::sealed::Form;
use super::suggest;
use crate::model::activation::{SUFFIXES, is_unit};
use crate::model::place::Places;
use crate::model::rendered;
use crate::model::template;

/// Why a text is not what its key wants. Never holds the text of something that may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    /// Just the reason.
    pub fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), help: None }
    }

    /// With the next move.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

type Checked = Result<(), Fault>;
type Format = (&'static str, fn(&str) -> Checked);

/// Every format of the schema and its check.
pub const FORMATS: &[Format] = &[
    ("soll-duration", |t| duration(t).map(drop)),
    ("soll-pause", |t| pause(t).map(drop)),
    ("soll-release", |t| release::check(t)),
    ("soll-sha", |t| release::sha(t).map(drop)),
    ("soll-branch", |t| release::branch(t)),
    ("soll-name", |t| name(t)),
    ("soll-text", |t| text(t)),
    ("soll-line", |t| line(t)),
    ("soll-path", |t| path(t).map(drop)),
    ("soll-glob", |t| glob(t)),
    ("soll-link-target", |t| link_target(t)),
    ("soll-include", |t| include(t)),
    ("soll-template", |t| template_file(t)),
    ("soll-sealed", |t| sealed_file(t)),
    ("soll-env-glob", |t| env_glob(t)),
    ("soll-mode", |t| mode(t).map(drop)),
    ("soll-owner", |t| owner(t)),
    ("soll-clock", |t| clock(t).map(drop)),
    ("soll-zone", |t| zone(t)),
    ("soll-secret-name", |t| secret_name(t)),
    ("soll-env-name", |t| env_name(t)),
    ("soll-variable", |t| variable(t)),
    ("soll-percent", |t| percent(t).map(drop)),
    ("soll-address", |t| address(t)),
    ("soll-user", |t| user(t)),
    ("soll-agent-dir", |t| agent_dir(t)),
    ("soll-endpoint", |t| endpoint(t)),
    ("soll-http", |t| http(t)),
    ("soll-bundle", |t| bundle(t)),
    ("soll-unit", |t| unit(t)),
    ("soll-service", |t| service(t)),
    ("soll-registry", |t| registry(t)),
    ("soll-repository", |t| repository(t)),
    ("soll-cron", |t| backup::cron(t)),
    ("soll-rate", |t| backup::rate(t).map(drop)),
    ("soll-backup-part", |t| backup::backup_part(t)),
    ("soll-data-path", |t| backup::data_path(t).map(drop)),
    ("soll-backup-url", |t| backup::backup_url(t)),
    ("soll-age-recipient", |t| backup::age_recipient(t)),
    ("soll-host-key", |t| backup::host_key(t)),
];

/// The check of a format of the schema; `None` for the formats of JSON Schema itself.
pub fn check(format: &str, text: &str) -> Option<Checked> {
    FORMATS.iter().find(|(name, _)| *name == format).map(|(_, check)| check(text))
}

/// Longer than this nothing here is meant to take: most likely a slip of the unit.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// More than nothing and less than 30 days.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    let duration = pause(text)?;
    if duration.is_zero() {
        return Err(Fault::new("this must take longer than nothing").help("for example \"10s\""));
    }
    Ok(duration)
}

/// Less than 30 days; may be nothing.
pub fn pause(text: &str) -> Result<Duration, Fault> {
    let parsed = humantime::parse_duration(text).map_err(|_| {
        let number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let help = if number {
            format!("give the unit: \"{text}s\", \"{text}m\" or \"{text}h\"")
        } else {
            "a number and its unit: \"30s\", \"10m\", \"1h 30m\"".to_owned()
        };
        Fault::new(format!("`{text}` is not a duration")).help(help)
    })?;
    if parsed >= LONGEST {
        return Err(Fault::new(format!("`{text}` is too long")).help("less than 30 days: is the unit right?"));
    }
    Ok(parsed)
}

/// A name that may stand in paths, pages and commands.
pub fn name(text: &str) -> Checked {
    let parsed: Result<crate::model::ids::EnvName, _> = text.parse();
    parsed.map(drop).map_err(|error| {
        let fault = Fault::new(error.to_string());
        let fixed: String =
            text.trim_start_matches('-').chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        match fixed.trim_matches('-') {
            "" => fault,
            fixed => fault.help(format!("for example `{fixed}`")),
        }
    })
}

/// Anything but nothing.
fn text(text: &str) -> Checked {
    if text.trim().is_empty() {
        return Err(Fault::new("this must not be empty"));
    }
    if text.contains('\0') {
        return Err(Fault::new("a NUL character cannot be passed to a command"));
    }
    Ok(())
}

/// One line that is not empty.
fn line(line: &str) -> Checked {
    text(line)?;
    if line.contains(char::is_control) {
        return Err(Fault::new("this must be one line without control characters"));
    }
    Ok(())
}

/// Relative, `/`-separated, without `..`; returned without `./` and a `/` at the end.
pub fn path(text: &str) -> Result<String, Fault> {
    line(text)?;
    if text.starts_with('/') {
        return Err(Fault::new(format!("`{text}` is absolute"))
            .help(format!("paths are relative to the release: `{}`", text.trim_start_matches('/'))));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(Fault::new(format!("`{text}` leads out of the release")).help("leave out `..`"));
    }
    let parts: Vec<_> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() {
        return Err(Fault::new(format!("`{text}` names no path inside the release")));
    }
    Ok(parts.join("/"))
}

fn glob(text: &str) -> Checked {
    path(text)?;
    match globset::Glob::new(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Fault::new(format!("`{text}` is not a glob: {}", error.kind()))
                .help("for example \"bootstrap/cache/**\""))
        }
    }
}

fn link_target(text: &str) -> Checked {
    line(text)?;
    match Places::new(text) {
        Ok(_) => Ok(()),
        Err(why) => Err(Fault::new(format!("`{text}` {why}")).help("for example \"/usr/bin/python3*\"")),
    }
}

fn template_file(text: &str) -> Checked {
    let inside = "files of the state repository only, relative to the state file: \"env/production.env\"";
    let outside = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if outside || line(text).is_err() {
        return Err(Fault::new(format!("`{text}` leads out of the state repository")).help(inside));
    }
    path(text).map(drop)
}

/// What stands here by mistake may be a secret: it is not repeated.
fn sealed_file(text: &str) -> Checked {
    let help = "a file of the state repository, relative to the state file: \"production.age\", or one of SOPS that ends in .env, .yaml or .json";
    let outside = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if outside || line(text).is_err() || Form::of(text).is_none() {
        return Err(Fault::new("this is not the name of an encrypted file").help(help));
    }
    Ok(())
}

fn env_glob(text: &str) -> Checked {
    line(text)?;
    super::load::matcher(text).map(drop).map_err(|why| {
        Fault::new(format!("`{text}` is neither a name nor a glob: {why}")).help("for example \"customer-*\"")
    })
}

/// `0640`. The owner reads what is rendered: else nobody does.
pub fn mode(text: &str) -> Result<u32, Fault> {
    let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text);
    let is_octal = digits.len() == 3 && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if is_octal && mode & 0o400 != 0 => Ok(mode),
        Ok(_) if is_octal => Err(Fault::new(format!("`{text}` lets the owner of the file not read it"))
            .help("for example \"0600\" or \"0640\"")),
        _ => {
            Err(Fault::new(format!("`{text}` is not the mode of a file"))
                .help("three octal digits: \"0600\", \"0640\""))
        }
    }
}

/// `user`, or `user:group`.
fn owner(text: &str) -> Checked {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    if is_name(user) && group.is_none_or(is_name) {
        return Ok(());
    }
    Err(Fault::new(format!("`{text}` is not the owner of a file"))
        .help("\"user\" or \"user:group\", as in \"www-data:www-data\""))
}

fn include(text: &str) -> Checked {
    let inside = "files of the state repository only, relative to the state file: \"environments/*.toml\"";
    let outside = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if outside || line(text).is_err() {
        return Err(Fault::new(format!("`{text}` leads out of the state repository")).help(inside));
    }
    glob(text)
}

/// Minutes after midnight.
pub fn clock(text: &str) -> Result<u16, Fault> {
    let two = |part: &str| (part.len() == 2).then(|| part.parse::<u16>().ok()).flatten();
    let parsed = text.split_once(':').and_then(|(hours, minutes)| Some((two(hours)?, two(minutes)?)));
    match parsed {
        Some((hours @ 0..=23, minutes @ 0..=59)) => Ok(hours * 60 + minutes),
        Some((24, 0)) => Err(Fault::new("`24:00` is the next day's midnight").help("write \"00:00\"")),
        _ => Err(Fault::new(format!("`{text}` is not a time of day")).help("from \"00:00\" to \"23:59\"")),
    }
}

fn zone(text: &str) -> Checked {
    let known = jiff::tz::TimeZoneDatabase::bundled();
    if known.get(text).is_ok() {
        return Ok(());
    }
    let fault = Fault::new(format!("`{text}` is not a time zone"));
    let names: Vec<String> = known.available().map(|name| name.to_string()).collect();
    // People remember the city more often than the region.
    let city = names.iter().find(|name| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text)));
    let near = city.map(String::as_str).or_else(|| suggest::closest(text, names.iter().map(String::as_str)));
    Err(match near {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help("IANA names such as \"Europe/Berlin\" or \"UTC\": they know daylight saving time"),
    })
}

fn secret_name(text: &str) -> Checked {
    if rendered::secret(text).is_some() {
        return Ok(());
    }
    // What stands here may be the secret itself: it is not repeated.
    Err(Fault::new("this is not the name of a secret")
        .help("the name of a secret of the controller, never its value: capitals, digits and `_`, as in \"HEALTHCHECK_TOKEN\""))
}

fn env_name(text: &str) -> Checked {
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if good {
        return Ok(());
    }
    let fault = Fault::new(format!("`{}` is not the name of a variable", text.split('=').next().unwrap_or_default()));
    Err(fault.help("the name alone, as it stands in the environment file: letters, digits and `_`"))
}

/// Names that every environment has: `{name}` in URLs and commands.
pub const BUILT_IN: [&str; 6] = ["sha", "sha8", "release", "root", "env", "host"];

fn variable(text: &str) -> Checked {
    if BUILT_IN.contains(&text) || text == "url" {
        return Err(Fault::new(format!("`{{{text}}}` has a meaning already")).help("choose another name"));
    }
    let good = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if good {
        return Ok(());
    }
    let fixed = text.to_ascii_lowercase().replace(['-', '.', ' '], "_");
    Err(Fault::new(format!("`{text}` is not the name of a variable"))
        .help(format!("lower-case letters, digits and `_`, starting with a letter: `{fixed}`")))
}

/// `25%`.
pub fn percent(text: &str) -> Result<u32, Fault> {
    match text.strip_suffix('%').and_then(|number| number.trim().parse::<u32>().ok()) {
        Some(percent @ 1..=100) => Ok(percent),
        _ => Err(Fault::new(format!("`{text}` is no percentage"))
            .help("\"1%\" to \"100%\"; a number of hosts stands without quotes: 2")),
    }
}

fn address(text: &str) -> Checked {
    let bad = || Fault::new(format!("`{text}` is not the address of a host"));
    if let Some((user, host)) = text.split_once('@') {
        return Err(bad().help(format!("the user has a key of its own: user = \"{user}\", address = \"{host}\"")));
    }
    if let Some((host, port)) = text.split_once(':')
        && !port.contains(':')
    {
        return Err(bad().help(format!("the port has a key of its own: address = \"{host}\", port = {port}")));
    }
    let good = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-_%".contains(&b));
    if good {
        Ok(())
    } else {
        Err(bad().help("a host name, an IP address, a name of the SSH configuration, or \"local\""))
    }
}

fn user(text: &str) -> Checked {
    let good = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good { Ok(()) } else { Err(Fault::new(format!("`{text}` is not the name of a user"))) }
}

/// The directory becomes a part of a command line on the host, so letters that mean something to a shell have no place in it.
fn agent_dir(text: &str) -> Checked {
    let bad = || Fault::new(format!("`{text}` is not a directory that agents can be kept in"));
    let Some(path) = text.strip_prefix("~/").or_else(|| text.strip_prefix('/')).filter(|path| !path.is_empty()) else {
        return Err(bad().help("an absolute path, or one below the user's home: \"/opt/soll\", \"~/.soll\""));
    };
    if path.split('/').any(|part| part == "..") {
        return Err(bad().help("leave out `..`"));
    }
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._+=@,-".contains(&b)) {
        return Err(bad().help("letters, digits and `/._+=@,-` only"));
    }
    Ok(())
}

/// `host:port`, where both may be templates.
fn endpoint(text: &str) -> Checked {
    line(text)?;
    let bad =
        || Fault::new(format!("`{text}` is not an address to connect to")).help("host and port: \"127.0.0.1:6379\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let good_port = port.starts_with('{') || port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || host.contains('/') || !good_port { Err(bad()) } else { Ok(()) }
}

fn http(text: &str) -> Checked {
    line(text)?;
    if text.starts_with('{') || ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(());
    }
    Err(Fault::new(format!("`{text}` is not a URL that can be fetched")).help("http:// or https://, with the host"))
}

fn bundle(text: &str) -> Checked {
    line(text)?;
    let Some((scheme, _)) = text.split_once("://") else {
        let option = text.starts_with('-');
        return if option { Err(Fault::new(format!("`{text}` could be taken for an option"))) } else { Ok(()) };
    };
    match scheme {
        "https" | "http" | "file" => Ok(()),
        _ if scheme.starts_with('{') => Ok(()),
        _ => Err(Fault::new(format!("this version does not fetch bundles over `{scheme}://`"))
            .help("https://, http://, file://, or a path relative to the state file")),
    }
}

/// One unit, with its suffix; what `{name}` stands for is any letter here.
fn unit(text: &str) -> Checked {
    line(text)?;
    let names = template::names(text).into_iter().map(|name| (name.to_owned(), "x".to_owned()));
    if is_unit(&template::fill(text, &names.collect())) {
        return Ok(());
    }
    let fault = Fault::new(format!("`{text}` is not the name of a unit that can be restarted"));
    let bare = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_@{}".contains(&b));
    Err(fault.help(match bare {
        true => format!("with its suffix: \"{text}.service\""),
        false => format!("letters, digits and `:-_.\\@`, then one of {}", SUFFIXES.join(" ")),
    }))
}

/// A service of a compose file. It becomes a word of commands.
fn service(text: &str) -> Checked {
    let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let fault = || {
        Fault::new(format!("`{text}` is not the name of a service"))
            .help("as it stands under `services:` in the compose file")
    };
    if good { Ok(()) } else { Err(fault()) }
}

/// What the references of images begin with.
fn registry(text: &str) -> Checked {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let good = host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let fault = || {
        Fault::new(format!("`{text}` is not the host of a registry"))
            .help("as images begin with it: \"ghcr.io\", \"registry.example.com:5000\"; \"docker.io\" is Docker Hub")
    };
    if good { Ok(()) } else { Err(fault()) }
}

/// An allow-list: a URL that Git would take for an option or a helper program never gets there.
fn repository(text: &str) -> Checked {
    line(text)?;
    let bad = |why: &str| Err(Fault::new(format!("this is no repository to fetch from: {why}")));
    if text.starts_with('-') {
        return bad("it could be taken for an option");
    }
    if text.contains("::") {
        return bad("`::` would start a helper program");
    }
    match text.split_once("://") {
        Some(("https" | "http" | "ssh" | "file" | "git", rest)) => {
            let user = rest.split('/').next().and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
            if user.is_some_and(|user| user.contains(':')) {
                return Err(Fault::new("this URL carries a password")
                    .help("credentials belong to the controller, never into the state repository"));
            }
            Ok(())
        }
        Some((scheme, _)) => bad(&format!("`{scheme}://` is not known; https://, ssh://, file:// or a path")),
        None => Ok(()),
    }
}
