//! Where others publish what they see (`[[observation]]` of the settings), and whom that may be believed of: who signs it,
//! for which hosts they may speak, how old it may be.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use russh::keys::ssh_key::PublicKey;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::address::redacted;
use crate::model::ids::HostName;
use crate::model::origin::is_loopback;
use crate::run::pattern::Pattern;

/// How old what was published may be where nothing is said.
pub const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// One place, and what holds for it.
#[derive(Debug, Clone)]
pub struct Source {
    /// A file, or an address.
    pub place: String,
    /// Whose signature it must carry.
    pub publisher: Option<PublicKey>,
    /// The name of the secret that is sent to it.
    pub token: Option<String>,
    /// The hosts that it may speak for; `None`: all.
    pub hosts: Option<Vec<Pattern>>,
    pub max_age: Duration,
}

/// What kind of place it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    File(PathBuf),
    Web(Url),
}

impl Source {
    /// A place of which nothing is known.
    pub fn plain(place: &str) -> Source {
        Source { place: place.to_owned(), publisher: None, token: None, hosts: None, max_age: MAX_AGE }
    }

    /// How it is read.
    ///
    /// # Errors
    /// It is neither a file, nor an address whose answer nobody on the way can change.
    pub fn way(&self) -> Result<Way, String> {
        let Some((scheme, _)) = self.place.split_once("://") else { return Ok(Way::File(PathBuf::from(&self.place))) };
        let bad = |why: &str| Err(format!("{self} {why}"));
        let Ok(url) = Url::parse(&self.place) else { return bad("is no address") };
        match url.scheme() {
            "file" => url.to_file_path().map(Way::File).or_else(|()| bad("names no file of this machine")),
            "https" => Ok(Way::Web(url)),
            "http" if url.host_str().is_some_and(is_loopback) => Ok(Way::Web(url)),
            "http" => bad(
                "is not read: over http anybody on the way may change an observation. Serve it over https (a proxy before \
                 the listener), or bring it here through a tunnel, or as a file",
            ),
            _ => Err(format!("{self} is not read: `{scheme}` is neither https nor a file")),
        }
    }

    /// Whether the settings say who publishes there: a key that signs, or a token that is asked for.
    pub fn is_pinned(&self) -> bool {
        self.publisher.is_some() || self.token.is_some()
    }

    /// Whether it may speak for this host.
    pub fn speaks_for(&self, host: &HostName) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|pattern| pattern.matches(host.as_str())))
    }

    /// What a host that looks after itself (pull mode) acts on must come from somebody who is known.
    ///
    /// # Errors
    /// Nothing says who publishes there.
    pub fn must_be_known(&self) -> Result<(), String> {
        match self.way()? {
            Way::File(_) => Ok(()),
            Way::Web(_) if self.is_pinned() => Ok(()),
            Way::Web(_) => Err(format!(
                "{self} is not believed by a host that acts on it: nothing says who publishes there. Say it in the settings: \
                 [[observation]] with `url`, `hosts`, and the public key that signs it as `publisher`, or the secret that is \
                 sent to it as `token`"
            )),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.place))
    }
}

/// `[[observation]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: String,
    /// An SSH public key, as in its `.pub` file.
    publisher: Option<String>,
    token: Option<crate::run::secrets::Name>,
    hosts: Vec<Pattern>,
    /// humantime
    max_age: Option<String>,
}

/// The place alone, or a table.
impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Source;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file or an address, or a table with `url` and `hosts`")
            }

            fn visit_str<E: Error>(self, place: &str) -> Result<Source, E> {
                Ok(Source::plain(place))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                Source::try_from(Table::deserialize(MapAccessDeserializer::new(map))?).map_err(Error::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl TryFrom<Table> for Source {
    type Error = String;

    fn try_from(table: Table) -> Result<Source, String> {
        let Table { url, publisher, token, hosts, max_age } = table;
        let key = |text: String| {
            PublicKey::from_openssh(text.trim()).map_err(|error| {
                format!(
                    "`publisher` of {} is no SSH public key ({error}): it is the line of a .pub file, which begins with \
                     ssh-ed25519 or the like",
                    redacted(&url)
                )
            })
        };
        let publisher = publisher.map(key).transpose()?;
        let age = |text: String| {
            let age = humantime::parse_duration(&text).ok().filter(|age| !age.is_zero());
            age.ok_or_else(|| format!("`max_age = \"{text}\"` is not a duration like 15m"))
        };
        let max_age = max_age.map(age).transpose()?.unwrap_or(MAX_AGE);
        Ok(Source { place: url, publisher, token: token.map(|name| name.0), hosts: Some(hosts), max_age })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Settings {
        observation: Vec<Source>,
    }

    fn read(text: &str) -> Result<Vec<Source>, String> {
        toml::from_str::<Settings>(text).map(|settings| settings.observation).map_err(|error| error.to_string())
    }

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJuHQnWlVvKgsq4V6RlQgEJx9lBcPMEKcXHPJkCz9HYw web1";

    #[test]
    fn places_stand_alone_or_with_who_publishes_there() {
        let plain = read("observation = [\"seen.json\", \"https://ctl.example.com/observation\"]").unwrap();
        assert_eq!(plain[0].way(), Ok(Way::File("seen.json".into())));
        assert!(matches!(plain[1].way(), Ok(Way::Web(_))));
        assert_eq!((plain[1].is_pinned(), plain[1].max_age), (false, MAX_AGE));
        assert!(plain[0].must_be_known().is_ok());
        assert!(plain[1].must_be_known().unwrap_err().contains("nothing says who publishes there"));
        let table = format!(
            "[[observation]]\nurl = \"https://web1.example.com/observation\"\npublisher = \"{KEY}\"\n\
             hosts = [\"web1\", \"db-*\"]\nmax_age = \"2m\""
        );
        let pinned = read(&table).unwrap().remove(0);
        assert!(pinned.must_be_known().is_ok());
        assert_eq!(pinned.max_age, Duration::from_secs(120));
        let speaks = |host: &str| pinned.speaks_for(&host.parse().unwrap());
        assert_eq!(["web1", "web2", "db-3"].map(speaks), [true, false, true]);
        for (lines, says) in [
            ("url = \"x\"", "missing field `hosts`"),
            ("url = \"x\"\nhosts = [\"*\"]\npublisher = \"ssh-rsa what\"", "is no SSH public key"),
            ("url = \"x\"\nhosts = [\"*\"]\nmax_age = \"soon\"", "is not a duration like 15m"),
            ("url = \"x\"\nhosts = [\"*\"]\nsigned = true", "unknown field `signed`"),
        ] {
            let error = read(&format!("[[observation]]\n{lines}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn nothing_is_read_that_somebody_on_the_way_may_change() {
        let way = |place: &str| Source::plain(place).way();
        for good in [
            "http://127.0.0.1:8484/observation",
            "http://127.9.9.9/x",
            "http://[::1]:1/x",
            "http://localhost:1/x",
            "https://10.0.0.1/observation",
            "file:///tmp/seen.json",
            "seen.json",
        ] {
            assert!(way(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1/observation",
            "http://127.0.0.1.evil.example/x",
            "http://127.0.0.1@evil.example/x",
            "http://evil.example/127.0.0.1",
            "ftp://127.0.0.1/x",
            "http://",
        ] {
            assert!(way(bad).is_err(), "{bad}");
        }
        let told = way("http://ann:pw@ctl.example.com/observation?token=pw").unwrap_err();
        assert!(told.starts_with("http://ctl.example.com/observation?token=*** is not read"), "{told}");
    }
}
