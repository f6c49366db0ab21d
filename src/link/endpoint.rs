//! Where a host is, as people write it: in the state file, or in a `ProxyJump`.

use std::fmt;

/// One place to log in to. What is not said here, the SSH configuration or its defaults say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// A host name, an address, or a name of the SSH configuration.
    pub address: String,
    pub user: Option<String>,
    pub port: Option<u16>,
    /// Where agents are kept on this host; without it in the user's cache.
    pub agent_dir: Option<String>,
}

impl Endpoint {
    /// From `[ssh://][user@]host[:port]`, one hop of a `ProxyJump`.
    pub fn parse(text: &str) -> Option<Endpoint> {
        let text = text.trim();
        let text = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, text),
        };
        let (address, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (address, port.strip_prefix(':'))
            }
            None if place.matches(':').count() == 1 => {
                let (address, port) = place.split_once(':')?;
                (address, Some(port))
            }
            None => (place, None),
        };
        let port = port.map(str::parse::<u16>).transpose().ok()?;
        let good = |word: &str| !word.is_empty() && !word.starts_with('-') && !word.contains(char::is_whitespace);
        if !good(address) || !user.as_deref().is_none_or(good) {
            return None;
        }
        Some(Endpoint { address: address.to_owned(), user, port, agent_dir: None })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.address)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_read_in_every_form() {
        let hop = |text| Endpoint::parse(text).map(|e| (e.user.unwrap_or_default(), e.address, e.port));
        let is = |user: &str, address: &str, port| Some((user.to_owned(), address.to_owned(), port));
        assert_eq!(hop("gate"), is("", "gate", None));
        assert_eq!(hop("ann@gate:2222"), is("ann", "gate", Some(2222)));
        assert_eq!(hop("ssh://ann@gate:2222/"), is("ann", "gate", Some(2222)));
        assert_eq!(hop("[::1]:22"), is("", "::1", Some(22)));
        assert_eq!(hop("fe80::1"), is("", "fe80::1", None));
        for bad in ["", "gate:x", "gate:99999", "-oProxyCommand=x", "a b", "@gate"] {
            assert_eq!(Endpoint::parse(bad), None, "{bad}");
        }
    }
}
