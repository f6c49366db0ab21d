//! The types of single fields: text with a grammar, which the schema shows as `format` and `pattern`, and which is
//! parsed by the same function that checked it.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::formats;
use super::release;
use crate::model::ids::Sha;
use crate::model::rate::Rate;

macro_rules! field {
    ($($(#[doc = $doc:expr])* $name:ident($inner:ty), $format:literal, $pattern:expr, $example:expr, $parse:expr;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!({ "type": "string", "format": $format, "examples": [$example] });
                let pattern: Option<&str> = $pattern;
                if let Some(pattern) = pattern {
                    schema.insert("pattern".to_owned(), pattern.into());
                }
                schema
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                if let Some(Err(fault)) = formats::check($format, &text) {
                    return Err(serde::de::Error::custom(fault));
                }
                #[allow(clippy::redundant_closure_call)]
                $parse(text).map($name).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

type Taken = Result<String, formats::Fault>;
fn take(text: String) -> Taken {
    Ok(text)
}

field! {
    /// A duration longer than nothing.
    Time(Duration), "soll-duration", Some(r"^([0-9]+ *[a-zA-Z]+ *)+$"), "10m", |t: String| formats::duration(&t);
    /// A duration that may be nothing.
    Pause(Duration), "soll-pause", Some(r"^(0|([0-9]+ *[a-zA-Z]+ *)+)$"), "15s", |t: String| formats::pause(&t);
    /// A full commit id or a tag.
    Release(String), "soll-release", None, "f0959bafdeadbeeff0959bafdeadbeeff0959baf", take;
    /// A full commit id.
    FullSha(Sha), "soll-sha", Some("^[0-9a-f]{40}$"), "f0959bafdeadbeeff0959bafdeadbeeff0959baf", |t: String| release::sha(&t);
    /// The name of a branch.
    Branch(String), "soll-branch", None, "main", take;
    /// A name of the state file: an app, a host, an environment, a template.
    Name(String), "soll-name", Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), "production", take;
    /// Some text, over several lines if it likes.
    Text(String), "soll-text", Some(r"\S"), "php artisan migrate --force", take;
    /// One line of text.
    Line(String), "soll-line", Some(r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$"), "incident 4711", take;
    /// A path inside the release.
    RelPath(String), "soll-path", Some("^[^/]"), "public/uploads", |t: String| formats::path(&t);
    /// A glob inside the release.
    Glob(String), "soll-glob", Some("^[^/]"), "bootstrap/cache/**", take;
    /// A glob of places outside the release: absolute, or above the release's top directory.
    LinkTarget(String), "soll-link-target", Some(r"^(/|\.\.(/|$))"), "/usr/bin/python3*", take;
    /// A template beside the state file.
    Template(String), "soll-template", Some("^[^/]"), "env/production.env", |t: String| formats::path(&t);
    /// An encrypted file beside the state file.
    SealedFile(String), "soll-sealed", Some(r"^[^/].*\.(age|env|dotenv|ya?ml|json)$"), "production.age", |t: String| formats::path(&t);
    /// The name of an environment, or a glob over the names.
    EnvGlob(String), "soll-env-glob", Some(r"\S"), "customer-*", take;
    /// The permissions of a file, in octal digits.
    FileMode(u32), "soll-mode", Some("^0?[0-7]{3}$"), "0640", |t: String| formats::mode(&t);
    /// A user of a host, with a group of it where that matters.
    Owner(String), "soll-owner", Some("^[A-Za-z0-9_][A-Za-z0-9._-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?$"), "www-data", take;
    /// A glob of state files.
    Include(String), "soll-include", Some("^[^/]"), "environments/*.toml", take;
    /// Minutes after midnight, written as `09:00`.
    Clock(u16), "soll-clock", Some("^([01][0-9]|2[0-3]):[0-5][0-9]$"), "09:00", |t: String| formats::clock(&t);
    /// An IANA time zone.
    Zone(String), "soll-zone", None, "Europe/Berlin", take;
    /// The name of a secret of the controller, never its value; `NAME@2` is its second version.
    SecretName(String), "soll-secret-name", Some("^[A-Z][A-Z0-9_]*(@[1-9][0-9]*)?$"), "HEALTHCHECK_TOKEN", take;
    /// The name of a variable of an environment file.
    EnvVar(String), "soll-env-name", Some("^[A-Za-z_][A-Za-z0-9_]*$"), "APP_KEY", take;
    /// A part of the hosts.
    Percent(u32), "soll-percent", Some("^([1-9][0-9]?|100) *%$"), "25%", |t: String| formats::percent(&t);
    /// The address of a host.
    HostAddress(String), "soll-address", None, "api.example.com", take;
    /// A user of a host.
    User(String), "soll-user", Some("^[A-Za-z0-9_][A-Za-z0-9._-]*$"), "deploy", take;
    /// A directory on a host, for programs.
    AgentDir(String), "soll-agent-dir", Some("^(/|~/)[A-Za-z0-9/._+=@,-]+$"), "/opt/soll", take;
    /// Host and port; a template.
    Endpoint(String), "soll-endpoint", None, "127.0.0.1:6379", take;
    /// A URL that is fetched with HTTP; a template.
    HttpUrl(String), "soll-http", None, "http://127.0.0.1:8080/health", take;
    /// Where a bundle is; a template.
    BundleUrl(String), "soll-bundle", None, "https://artifacts.example.com/api/deployment-bundle-{sha}.tar.gz", take;
    /// The name of a unit of systemd; a template.
    UnitName(String), "soll-unit", None, "storage-api.service", take;
    /// The name of a service of Docker Compose.
    ServiceName(String), "soll-service", Some("^[A-Za-z0-9][A-Za-z0-9._-]*$"), "api", take;
    /// A line of cron.
    Cron(String), "soll-cron", None, "0 2 * * *", take;
    /// Bytes in a second.
    ByteRate(Rate), "soll-rate", Some(r"^[0-9]+(\.[0-9]+)? *([kKMG]B|[KMG]iB|B)/s$"), "20MB/s", |t: String| formats::backup::rate(&t);
    /// The name of a part of a backup.
    BackupPart(String), "soll-backup-part", Some("^[a-z][a-z0-9_-]{0,39}$"), "main", take;
    /// A path below ROOT, or an absolute one.
    DataPath(String), "soll-data-path", None, "shared", |t: String| formats::backup::data_path(&t);
    /// Where backups go.
    BackupUrl(String), "soll-backup-url", None, "file:///mnt/backups/shop", take;
    /// The key of an SSH server.
    HostKey(String), "soll-host-key", Some("^(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+$"), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHXjsc652ClvNsgaaEhpCBplgzYNDiBhPPrwYAxnivZe", take;
    /// A recipient of age.
    AgeRecipient(String), "soll-age-recipient", Some("^age1[0-9a-z]+$"), "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", take;
    /// A Git repository.
    Repository(String), "soll-repository", None, "https://git.example.com/acme/api.git", take;
}
