//! Where a repository is: an allow-list grammar for addresses, so that nothing that reaches git can be an option or a
//! command, and a form for people that shows no credential. It does not look whether anything is there.

mod beside;

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::{RepoError, Result};

/// A parsed address. `Display` and `Debug` never show credentials.
#[derive(Clone)]
pub enum Location {
    /// A path on this machine, read in place: a work tree, a bare repository, or a directory inside of one.
    Local(PathBuf),
    /// Something that git fetches from.
    Remote(Address),
}

/// A remote address whose credentials, if it had any, were taken out: git never sees them as an argument.
#[derive(Clone)]
pub struct Address {
    url: String,
    login: Option<Login>,
}

/// What stood before the `@` of an http address.
#[derive(Clone)]
pub(super) struct Login {
    /// `scheme://host[:port]`, the only place that may get it.
    pub scope: String,
    pub username: Zeroizing<String>,
    /// `None`: only a name was given, the password comes from the user's own credential helper.
    pub password: Option<Zeroizing<String>>,
}

impl Location {
    /// Reads `https://`, `http://`, `ssh://`, `file://` addresses, `user@host:path`, and paths.
    ///
    /// # Errors
    /// Anything else: options (`-x`), remote helpers (`ext::…`), other schemes, control characters.
    pub fn parse(text: &str) -> Result<Location> {
        let bad = |why: &str| {
            Err(RepoError::Grammar(format!(
                "`{}` is not a repository address: {why}; use https://…, ssh://…, user@host:path, file:///… or a path",
                masked(text)
            )))
        };
        if text.is_empty() {
            return bad("it is empty");
        }
        if text.starts_with('-') {
            return bad("it begins with `-`, which git would take for an option");
        }
        if text.chars().any(char::is_control) {
            return bad("it has a control character");
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let address = match scheme {
                "https" | "http" => http(scheme, rest),
                "ssh" => ssh(rest),
                "file" if rest.starts_with('/') => Ok(plain(text)),
                "file" => Err("a file:// address needs an absolute path"),
                _ => Err("this scheme is not supported"),
            };
            return address.map(Location::Remote).or_else(bad);
        }
        let before_slash = text.split('/').next().unwrap_or_default();
        if text.contains("::") {
            return bad("`::` calls a remote helper");
        }
        if before_slash.contains(':') {
            return scp(text).map(Location::Remote).or_else(bad);
        }
        Ok(Location::Local(PathBuf::from(text)))
    }

    /// The path, where it is one.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Location::Local(path) => Some(path),
            Location::Remote(_) => None,
        }
    }

    /// Whether it is on this machine: a path, or a `file://` address.
    pub fn is_here(&self) -> bool {
        match self {
            Location::Local(_) => true,
            Location::Remote(address) => address.url.starts_with("file://"),
        }
    }

    /// What git gets as the address. A path is made absolute, so that it cannot be mistaken for anything else.
    pub(super) fn operand(&self) -> Result<String> {
        match self {
            Location::Remote(address) => Ok(address.url.clone()),
            Location::Local(path) => {
                let absolute = std::path::absolute(path).map_err(|source| RepoError::Storage {
                    what: "resolve the path",
                    path: path.clone(),
                    source,
                })?;
                absolute
                    .into_os_string()
                    .into_string()
                    .map_err(|path| RepoError::Grammar(format!("the path {} is not UTF-8", path.display())))
            }
        }
    }

    /// Whether git may start `ssh` for it; a repository on this machine may have an `origin` that wants one.
    pub(super) fn may_be_ssh(&self) -> bool {
        match self {
            Location::Remote(address) => !["http://", "https://", "file://"].iter().any(|s| address.url.starts_with(s)),
            Location::Local(_) => true,
        }
    }

    pub(super) fn login(&self) -> Option<&Login> {
        match self {
            Location::Remote(address) => address.login.as_ref(),
            Location::Local(_) => None,
        }
    }

    /// `text` (what git or a server said) without this address's credentials, or anyone's.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(login) = self.login() {
            let password = login.password.as_ref().map(|p| p.as_str());
            // A name alone may be a token.
            for secret in password.into_iter().chain([login.username.as_str()]) {
                if secret.len() >= 4 {
                    text = text.replace(secret, "***");
                }
            }
        }
        scrub(&text)
    }
}

impl Address {
    /// The address without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(path) => write!(f, "{}", path.display()),
            Location::Remote(address) => fmt::Display::fmt(address, f),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// A branch name, checked: it ends up in refspecs.
pub(super) fn branch_ref(branch: &str) -> Result<String> {
    let refname = format!("refs/heads/{branch}");
    if ref_text(branch) && git2::Reference::is_valid_name(&refname) {
        return Ok(refname);
    }
    Err(RepoError::Grammar(format!(
        "`{branch}` is not a branch name: letters, digits and `._/+@#=-`, not starting with `-`"
    )))
}

/// A tag name, checked.
pub(super) fn tag_ref(tag: &str) -> Result<String> {
    let refname = format!("refs/tags/{tag}");
    if ref_text(tag) && git2::Reference::is_valid_name(&refname) {
        return Ok(refname);
    }
    Err(RepoError::Grammar(format!("`{tag}` is not a tag name: letters, digits and `._/+@#=-`, not starting with `-`")))
}

/// The characters of ref names that can be neither an option, a pattern, a refspec nor a shell word.
pub(super) fn ref_text(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.len() <= 250
        && name.chars().all(|c| c.is_alphanumeric() || "._/+@#=-".contains(c))
}

/// `text` with everything that could be a credential in an address replaced.
pub(super) fn scrub(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(['/', ' ', '\t', '\n', '\'', '"', '`', '<', '>']).unwrap_or(tail.len());
        let authority = &tail[..end];
        match authority.rsplit_once('@') {
            // A bare name before an ssh host is no secret, and the reader needs it.
            Some((name, _)) if head.ends_with("ssh://") && !name.contains(':') => out.push_str(authority),
            Some((_, host)) => {
                out.push_str("***@");
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = &tail[end..];
    }
    out.push_str(rest);
    // `name:password@host:path` without a scheme.
    match out.split_once('@') {
        Some((login, host)) if !out.contains(char::is_whitespace) && !out.contains("://") && login.contains(':') => {
            format!("***@{host}")
        }
        _ => out,
    }
}

/// An address that could not be understood: all that stands before its last `@` may be a credential.
fn masked(text: &str) -> String {
    let scheme = text.find("://").map_or(0, |at| at + 3);
    match text.rfind('@') {
        Some(at) if at >= scheme => format!("{}***{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    }
}

type Parsed = std::result::Result<Address, &'static str>;

fn plain(url: &str) -> Address {
    Address { url: url.to_owned(), login: None }
}

fn http(scheme: &str, rest: &str) -> Parsed {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    host_and_port(host)?;
    if !path.chars().all(|c| c.is_alphanumeric() || "/._~-+%@:,=&?!$()*".contains(c)) {
        return Err("its path has a character that must be percent-encoded");
    }
    let scope = format!("{scheme}://{host}");
    let decoded = |text: &str| {
        let text = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| "its login is not UTF-8")?;
        if text.chars().any(char::is_control) {
            return Err("its login has a control character");
        }
        Ok(Zeroizing::new(text.into_owned()))
    };
    let login = match userinfo.map(|info| info.split_once(':').map_or((info, None), |(name, word)| (name, Some(word))))
    {
        None | Some(("", None)) => None,
        Some((name, word)) => {
            Some(Login { scope: scope.clone(), username: decoded(name)?, password: word.map(decoded).transpose()? })
        }
    };
    Ok(Address { url: format!("{scope}{path}"), login })
}

fn ssh(rest: &str) -> Parsed {
    let (authority, path) = rest.split_at(rest.find('/').ok_or("it has no path")?);
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            user_name(user)?;
            host
        }
        None => authority,
    };
    host_and_port(host)?;
    ssh_path(path.trim_start_matches('/'))?;
    Ok(plain(&format!("ssh://{rest}")))
}

fn scp(text: &str) -> Parsed {
    let (user, rest) = text.split_once('@').ok_or("a path with `:` needs `./` before it, and a host needs `user@`")?;
    let (host, path) = rest.split_once(':').ok_or("there is no `:` after the host")?;
    user_name(user)?;
    host_and_port(host)?;
    ssh_path(path)?;
    Ok(plain(text))
}

fn user_name(user: &str) -> Result<(), &'static str> {
    let good = !user.is_empty()
        && !user.starts_with('-')
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    // SSH has no password in an address: the key is a setting.
    if good { Ok(()) } else { Err("the user is not a plain name (a password has no place here)") }
}

fn host_and_port(text: &str) -> Result<(), &'static str> {
    let (host, port) = match text.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, port)) if v6.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)) => ("v6", port),
        Some(_) => return Err("the host is not an address"),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let good = host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let is_port =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|n| n > 0);
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    if good && port { Ok(()) } else { Err("the host is not a plain host name with an optional port") }
}

fn ssh_path(path: &str) -> Result<(), &'static str> {
    let good = !path.is_empty()
        && !path.starts_with('-')
        && path.chars().all(|c| c.is_alphanumeric() || "/._~-+%@,= ".contains(c));
    if good { Ok(()) } else { Err("the path on the host is not a plain path") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses() {
        for good in [
            "https://git.example.com/acme/api.git",
            "http://localhost:8080/x",
            "https://[::1]:8443/x.git",
            "ssh://git@host:2222/srv/x.git",
            "ssh://host/~me/x.git",
            "git@github.com:acme/api.git",
            "file:///srv/git/with space.git",
        ] {
            let location = Location::parse(good).unwrap();
            assert!(matches!(location, Location::Remote(_)), "{good}");
            assert_eq!(location.to_string(), good);
        }
        for path in [".", "../x", "/srv/x.git", "./a:b", "user@host", "dir/a:b"] {
            assert!(matches!(Location::parse(path).unwrap(), Location::Local(_)), "{path}");
        }
    }

    #[test]
    fn what_could_run_something_is_refused() {
        for bad in [
            "",
            "-x",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c 'touch /tmp/x'",
            "fd::17",
            "ssh://-oProxyCommand=x/y",
            "ssh://-oProxyCommand=x@host/y",
            "ssh://host/-x",
            "ssh://user:secret@host/x",
            "git@-oProxyCommand=x:y",
            "-oProxyCommand=x@host:y",
            "git@host:-x",
            "git@host:$(x)",
            "host:path",
            "git://host/x",
            "javascript://x",
            "file://host/x",
            "https://",
            "https://ho st/x",
            "https://host:port/x",
            "https://host:99999/x",
            "https://host/\nx",
            "https://a%0ab:secret@host/x",
            "https://user:se/secret@host/x",
            "user:secret@host:x",
        ] {
            let error = Location::parse(bad).err().unwrap_or_else(|| panic!("{bad} was taken")).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn credentials_are_taken_out_and_never_shown() {
        let location = Location::parse("https://bob:hunter%402@host:8443/x.git").unwrap();
        assert_eq!(format!("{location} {location:?}"), "https://host:8443/x.git Location(https://host:8443/x.git)");
        assert_eq!(location.operand().unwrap(), "https://host:8443/x.git");
        let login = location.login().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_ref().unwrap().as_str()), ("bob", "hunter@2"));
        assert_eq!(login.scope, "https://host:8443");
        assert_eq!(location.redact("password hunter@2 wrong"), "password *** wrong");
        assert_eq!(scrub("fatal: 'https://u:p@h/x' and ssh://git@h/x"), "fatal: 'https://***@h/x' and ssh://git@h/x");
        assert_eq!(scrub("u:p@host:x"), "***@host:x");
        let token = Location::parse("https://ghp_abcdef@host/x").unwrap();
        assert_eq!(token.redact("no password for ghp_abcdef"), "no password for ***");
    }

    #[test]
    fn names_of_branches_and_tags() {
        assert_eq!(branch_ref("release/1.x").unwrap(), "refs/heads/release/1.x");
        for bad in ["", "-x", "a..b", "a b", "a:b", "a*", "a.lock", "/a", "a^{}", "@{u}", "a\nb"] {
            assert!(branch_ref(bad).is_err(), "{bad}");
            assert!(tag_ref(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]
        /// Whatever stands in a state file, reading it ends with an answer, and shows no login.
        #[test]
        fn any_text_is_read_without_a_panic(
            scheme in "(https?://|ssh://|file://|git@|ext::|)",
            login in "(|u@|u:hunter2@|\\PC{0,3}@)",
            host in "(\\[[0-9a-f:]{0,6}\\]|\\PC{0,8}|[a-z.é\u{301}]{0,6})",
            rest in "(:\\PC{0,4}|)(/\\PC{0,8}|\\PC{0,4})",
        ) {
            let text = format!("{scheme}{login}{host}{rest}");
            let said = match Location::parse(&text) {
                Ok(location) => format!("{location} {:?}", location.operand()),
                Err(error) => error.to_string(),
            };
            let _ = (branch_ref(&text), tag_ref(&text), scrub(&text), masked(&text));
            if login == "u:hunter2@" && scheme.ends_with("://") && !rest.contains('@') && !host.contains(['/', '@', '?', '#']) {
                proptest::prop_assert!(!said.contains("hunter2"), "{}", said);
            }
        }
    }

    #[test]
    fn what_follows_an_address_of_version_6_is_a_port_or_nothing() {
        for bad in [
            "https://[fe80:1]é/x",
            "https://[::1]x/x",
            "https://[::1]:/x",
            "https://[::1]:+80/x",
            "ssh://[::1]é/x",
            "git@[::1]é:x",
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }
}
