//! Where something is served: scheme, host and port of an address, and no more. Pure: nothing is looked at here.

use std::fmt;

use reqwest::Url;
use serde::{Deserialize, Deserializer};

/// `https://host:port`. Two origins are equal where a browser would say so: letter case and the usual port do not matter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    /// The origin of an address; `None`: the address has none, because it is not of the web.
    pub fn of(address: &str) -> Option<Origin> {
        Origin::of_url(&Url::parse(address).ok()?)
    }

    /// The origin of an address that was parsed.
    pub fn of_url(url: &Url) -> Option<Origin> {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_web.then(|| Origin(url.origin().ascii_serialization()))
    }

    /// An origin that is written alone, without a path, as in settings.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Origin, String> {
        let bad = |why: &str| Err(format!("`{}` is no origin: {why}", crate::model::address::redacted(text)));
        let Ok(url) = Url::parse(text) else { return bad("write https://host or https://host:port") };
        if !url.username().is_empty() || url.password().is_some() {
            return bad("a login has no place in it");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return bad("it ends after the host or the port");
        }
        match Origin::of_url(&url) {
            Some(origin) if !text.contains(['*', '{']) => Ok(origin),
            Some(_) => bad("each is written out, without a glob or a template"),
            None => bad("only http:// and https:// have one"),
        }
    }
}

/// Whether a host of an address is the machine that asks: what goes there goes over no wire.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_own = |address: std::net::IpAddr| address.is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(is_own)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Origin::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["127.example.com", "localhost.example.com", "10.0.0.1", "", "[::2]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (text, wanted) in [
            ("https://Api.Example.com", "https://api.example.com"),
            ("https://api.example.com:443/", "https://api.example.com"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://2130706433", "http://127.0.0.1"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(Origin::parse(text).map(|origin| origin.to_string()), Ok(wanted.to_owned()), "{text}");
        }
        for bad in [
            "",
            "api.example.com",
            "https://",
            "https://u:pw@h",
            "https://h/x",
            "https://h?x",
            "ftp://h",
            "https://*.h",
        ] {
            let said = Origin::parse(bad).unwrap_err();
            assert!(!said.contains("pw"), "{said}");
        }
        assert_eq!(
            Origin::of("https://h:8443/a/b?c#d").map(|origin| origin.to_string()),
            Some("https://h:8443".to_owned())
        );
        assert_eq!(Origin::of("file:///x"), None);
    }
}
