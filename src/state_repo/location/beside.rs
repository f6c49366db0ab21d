//! Where a submodule is: an address that stands in a commit, read beside the address of the repository that has it. Whoever
//! may push to a repository could name any server there; so it must be the same one, which the accepted commit has named.

use super::{Address, Location, masked, scrub};
use crate::state_repo::error::{RepoError, Result};

impl Location {
    /// The address `url` of a submodule of the repository at this one. `./` and `../` mean what they mean to git. A login of
    /// this address goes along to the same server, and nowhere else.
    ///
    /// # Errors
    /// It is no address, or on another server: completes "the submodule `x` …".
    pub(in crate::state_repo) fn beside(&self, url: &str) -> Result<Location> {
        let own = self.operand()?;
        let shown = scrub(&masked(url));
        let refused = |why: &str| RepoError::Grammar(format!("is at `{shown}`, {why}"));
        let mut found = if url.starts_with("./") || url.starts_with("../") {
            let joined = relative(&own, url).ok_or_else(|| refused("which leads out of its server"))?;
            Location::parse(&joined)?
        } else {
            Location::parse(url).map_err(|error| refused(&format!("which cannot be used: {error}")))?
        };
        match (self, &mut found) {
            (here, Location::Local(path)) if here.is_here() && path.is_absolute() => {}
            (here, Location::Local(_)) if here.is_here() => {
                return Err(refused("which is no absolute path, and does not begin with `./` or `../`"));
            }
            (here, found) if here.is_here() && found.is_here() => {}
            (Location::Remote(parent), Location::Remote(child)) if same_server(parent, child) => {
                let own_login = parent.login.as_ref();
                if child.login.is_none() && own_login.is_some_and(|login| is_within(&child.url, &login.scope)) {
                    child.login = own_login.cloned();
                }
            }
            _ => {
                return Err(refused(
                    "and not on the server of the repository that names it: no other one is asked on the word of a commit; \
                     keep a copy of it beside that repository and name that, or deploy a bundle that a build made with it",
                ));
            }
        }
        Ok(found)
    }
}

/// As git resolves it: `../` takes away what is last, `./` nothing. `None`: there is nothing left to take away.
fn relative(base: &str, url: &str) -> Option<String> {
    let mut base = base.trim_end_matches('/').to_owned();
    let (mut rest, mut colon) = (url, false);
    loop {
        if let Some(more) = rest.strip_prefix("../") {
            let floor = base.find("://").map_or(0, |at| at + 3);
            match base[floor..].rfind('/') {
                Some(at) => base.truncate(floor + at),
                // `host:path` has a colon before the first part; a scheme has nothing before its server.
                None if floor == 0 && !colon && base.contains(':') => {
                    base.truncate(base.rfind(':')?);
                    colon = true;
                }
                None => return None,
            }
            rest = more;
        } else if let Some(more) = rest.strip_prefix("./") {
            rest = more;
        } else {
            break;
        }
    }
    let rest = rest.trim_end_matches('/');
    Some(format!("{base}{}{rest}", if colon { ':' } else { '/' }))
}

/// The same host, by https or SSH; by http only where the other is; the same port where the scheme is the same.
fn same_server(parent: &Address, child: &Address) -> bool {
    let ((scheme, host, port), (its, there, at)) = (server(&parent.url), server(&child.url));
    let known = match its {
        "http" => scheme == "http",
        "https" | "ssh" => scheme != "file",
        _ => false,
    };
    known && host.eq_ignore_ascii_case(there) && (scheme != its || port == at)
}

/// Scheme, host and port of an address that the grammar let through.
fn server(url: &str) -> (&str, &str, &str) {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest.split(['/', '?', '#']).next().unwrap_or_default()),
        None => ("ssh", url.split(':').next().unwrap_or_default()),
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let usual = match scheme {
        "https" => "443",
        "http" => "80",
        _ => "22",
    };
    match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (scheme, host, port),
        _ => (scheme, host, usual),
    }
}

/// Whether an address is on the server `scope`.
fn is_within(url: &str, scope: &str) -> bool {
    url.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(parent: &str, url: &str) -> Result<Location, String> {
        Location::parse(parent).unwrap().beside(url).map_err(|error| error.to_string())
    }

    #[test]
    fn relative_addresses_mean_what_they_mean_to_git() {
        for (parent, url, wanted) in [
            ("https://git.example.com/acme/api.git", "../lib.git", "https://git.example.com/acme/lib.git"),
            ("https://git.example.com/acme/api.git", "../../other/lib", "https://git.example.com/other/lib"),
            ("https://git.example.com/acme/api/", "./lib", "https://git.example.com/acme/api/lib"),
            ("ssh://git@host:2222/acme/api.git", "../lib.git", "ssh://git@host:2222/acme/lib.git"),
            ("git@github.com:acme/api.git", "../lib.git", "git@github.com:acme/lib.git"),
            ("git@github.com:acme/api.git", "../../other/lib.git", "git@github.com:other/lib.git"),
            ("/srv/git/api.git", "../lib.git", "/srv/git/lib.git"),
            ("file:///srv/git/api.git", "../lib.git", "file:///srv/git/lib.git"),
            ("/srv/git/api.git", "/srv/lib.git", "/srv/lib.git"),
            ("git@github.com:acme/api.git", "https://github.com/acme/lib.git", "https://github.com/acme/lib.git"),
            ("https://github.com/acme/api.git", "git@GitHub.com:acme/lib.git", "git@GitHub.com:acme/lib.git"),
            ("https://host:443/a", "https://host/b", "https://host/b"),
        ] {
            assert_eq!(beside(parent, url).unwrap().to_string(), wanted, "{url} beside {parent}");
        }
    }

    #[test]
    fn another_server_is_not_asked() {
        for (parent, url) in [
            ("https://git.example.com/acme/api.git", "https://evil.example.com/lib.git"),
            ("https://git.example.com/acme/api.git", "http://git.example.com/lib.git"),
            ("https://git.example.com/acme/api.git", "https://git.example.com:8443/lib.git"),
            ("https://git.example.com/acme/api.git", "https://git.example.com@evil.example.com/lib.git"),
            ("https://git.example.com/acme/api.git", "/etc/secrets"),
            ("https://git.example.com/acme/api.git", "file:///etc/secrets"),
            ("https://git.example.com/acme/api.git", "../../../etc"),
            ("https://git.example.com/acme/api.git", "ext::sh -c x"),
            ("https://git.example.com/acme/api.git", "--upload-pack=x"),
            ("git@github.com:acme/api.git", "../../../../lib"),
            ("/srv/git/api.git", "https://git.example.com/lib.git"),
            ("/srv/git/api.git", "lib"),
        ] {
            assert!(beside(parent, url).is_err(), "{url} beside {parent}");
        }
        let said = beside("https://h/a", "https://u:hunter2@evil/x").unwrap_err();
        assert!(said.contains("evil") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_login_goes_to_its_own_server_alone() {
        let parent = Location::parse("https://bob:hunter22@host/acme/api.git").unwrap();
        assert!(parent.beside("../lib").unwrap().login().is_some());
        assert!(parent.beside("https://host/x").unwrap().login().is_some());
        assert!(parent.beside("git@host:x").unwrap().login().is_none());
    }
}
