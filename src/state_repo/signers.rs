//! The people whose signatures count: an OpenSSH `allowed_signers` file. It lives with the controller, never in the
//! repository that it guards. Pure: parsing and matching, no clock and no Git.

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use russh::keys::ssh_key::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use super::error::{RepoError, Result};
use crate::model::ids::Digest;

/// What a signature was made for. One that was made for another purpose says nothing about this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Commits and tags, as git signs them.
    Commit,
    /// Approvals and rejections.
    Word,
    /// What a daemon publishes of its environments.
    Observation,
}

impl Purpose {
    /// The namespace of its signatures (`ssh-keygen -Y sign -n NAMESPACE`).
    pub fn namespace(self) -> &'static str {
        match self {
            Purpose::Commit => "git",
            Purpose::Word => "soll-approval",
            Purpose::Observation => "soll-observation",
        }
    }
}

/// A parsed `allowed_signers` file.
#[derive(Debug, Clone)]
pub struct AllowedSigners {
    entries: Vec<Entry>,
    digest: Digest,
}

#[derive(Debug, Clone)]
struct Entry {
    principals: String,
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
    key: KeyData,
}

/// When a key must be valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// What the commit or tag claims.
    pub signed: Timestamp,
    /// When it is accepted, where that is asked.
    pub accepted: Option<Timestamp>,
}

impl AllowedSigners {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<AllowedSigners> {
        let text = std::fs::read_to_string(path).map_err(|source| RepoError::Storage {
            what: "read the allowed signers",
            path: path.to_owned(),
            source,
        })?;
        AllowedSigners::parse(&text, path)
    }

    /// Parses the text of a file; `path` is for errors.
    ///
    /// # Errors
    /// Every line must be understood: one that is skipped would be a person who silently cannot sign, or a limit that
    /// silently does not hold. `cert-authority` is not supported and refused.
    pub fn parse(text: &str, path: &Path) -> Result<AllowedSigners> {
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry =
                entry(line).map_err(|why| RepoError::Signers { file: path.to_owned(), line: number + 1, why })?;
            entries.push(entry);
        }
        if entries.is_empty() {
            let why = "there is no signer in this file, so that no commit could ever be accepted".to_owned();
            return Err(RepoError::Signers { file: path.to_owned(), line: 1, why });
        }
        Ok(AllowedSigners { entries, digest: Digest::of(text.as_bytes()) })
    }

    /// Of the text: what was verified by another file must be verified anew.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The principal that `key` speaks for at the time of the commit, as `git verify-commit` decides it: any line with
    /// this key, the purpose's namespace and a validity that covers the times will do. Where the line allows `email`, that is the
    /// principal; else its first name. A wildcard line lets its key speak for everyone whom it matches.
    pub(super) fn principal(
        &self,
        key: &KeyData,
        email: &str,
        times: Times,
        purpose: Purpose,
    ) -> Result<String, String> {
        let mut why = "the key is not among the allowed signers".to_owned();
        for entry in self.entries.iter().filter(|entry| entry.key == *key) {
            match entry.check(times, purpose) {
                Ok(()) if matches_list(&entry.principals, email) => return Ok(email.to_owned()),
                Ok(()) => {
                    let first = entry.principals.split(',').find(|pattern| !pattern.starts_with('!'));
                    return Ok(first.unwrap_or(&entry.principals).to_owned());
                }
                Err(reason) => why = format!("the key of {} {reason}", entry.principals),
            }
        }
        Err(why)
    }
}

impl Entry {
    fn check(&self, times: Times, purpose: Purpose) -> Result<(), String> {
        let namespace = purpose.namespace();
        if let Some(namespaces) = &self.namespaces
            && !matches_list(namespaces, namespace)
        {
            return Err(format!("is allowed for {namespaces} only, not for {namespace}"));
        }
        let signed = times.signed;
        match (self.valid_after, self.valid_before) {
            (Some(after), _) if signed < after => Err(format!("is valid from {after} on, the commit is of {signed}")),
            (_, Some(before)) if signed > before => Err(format!("was valid until {before}, the commit is of {signed}")),
            (_, Some(before)) if times.accepted.is_some_and(|now| now > before) => Err(format!(
                "was valid until {before}, which is over: a commit that was not accepted by then may claim any date"
            )),
            _ => Ok(()),
        }
    }
}

/// `principals [options] keytype base64 [comment]`.
fn entry(line: &str) -> Result<Entry, String> {
    let (principals, rest) = word(line)?;
    if principals.is_empty() {
        return Err("the line begins with an empty name".to_owned());
    }
    let rest = rest.trim_start();
    let is_key = |text: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| text.starts_with(prefix));
    let (options, key) = if is_key(rest) { ("", rest) } else { raw_word(rest)? };
    let key = key.trim_start();
    if !is_key(key) {
        return Err(format!("there is no public key after `{principals}`"));
    }
    let key = PublicKey::from_openssh(key).map_err(|error| format!("the public key of `{principals}`: {error}"))?;
    let mut entry = Entry {
        principals: principals.replace('"', ""),
        namespaces: None,
        valid_after: None,
        valid_before: None,
        key: key.key_data().clone(),
    };
    for option in split_options(options)? {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.trim_matches('"'))),
            None => (option.as_str(), None),
        };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("cert-authority", _) => {
                return Err("cert-authority is not supported: list the people's keys themselves".to_owned());
            }
            ("namespaces", Some(value)) if !value.is_empty() => entry.namespaces = Some(value.to_owned()),
            ("valid-after", Some(value)) => entry.valid_after = Some(time(value)?),
            ("valid-before", Some(value)) => entry.valid_before = Some(time(value)?),
            _ => {
                return Err(format!(
                    "`{option}` is not an option of allowed_signers: namespaces=\"…\", valid-after=\"…\" or valid-before=\"…\""
                ));
            }
        }
    }
    if let (Some(after), Some(before)) = (entry.valid_after, entry.valid_before)
        && after >= before
    {
        return Err(format!("the key of `{principals}` is never valid: valid-after is not before valid-before"));
    }
    Ok(entry)
}

/// The first word, without the quotes that may surround it.
fn word(text: &str) -> Result<(&str, &str), String> {
    match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or_else(|| "a quote is not closed".to_owned()),
        None => text.split_once([' ', '\t']).ok_or_else(|| "there is nothing after the name".to_owned()),
    }
}

/// The first word, in which quoted parts may hold spaces.
fn raw_word(text: &str) -> Result<(&str, &str), String> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok(text.split_at(at)),
            _ => {}
        }
    }
    Err(if quoted { "a quote is not closed".to_owned() } else { "there is no public key".to_owned() })
}

fn split_options(text: &str) -> Result<Vec<String>, String> {
    let (mut options, mut option, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                option.push(c);
            }
            ',' if !quoted => options.push(std::mem::take(&mut option)),
            _ => option.push(c),
        }
    }
    if !text.is_empty() {
        options.push(option);
    }
    Ok(options)
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with `Z` for UTC, else in the zone of this machine, as OpenSSH has it.
fn time(text: &str) -> Result<Timestamp, String> {
    let bad = || format!("`{text}` is not a time: YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC");
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let full = format!("{digits:0<14}");
    let civil = DateTime::strptime("%Y%m%d%H%M%S", full).map_err(|_| bad())?;
    zone.to_timestamp(civil).map_err(|_| bad())
}

/// OpenSSH's pattern list: comma-separated, `*` and `?`, a match with `!` excludes.
fn matches_list(list: &str, text: &str) -> bool {
    let mut found = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => found |= matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
    found
}

/// One pattern, in time linear in the product of the lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn parse(text: &str) -> Result<AllowedSigners, String> {
        AllowedSigners::parse(text, Path::new("signers")).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_of_every_shape() {
        let text = format!(
            "# people\n\nanna@x {KEY} a comment\n\"b@x,*@y\" namespaces=\"git,file\",valid-after=\"20240101Z\" {KEY}\n\
             c@x VALID-BEFORE=\"202501011200\",namespaces=\"git\" {KEY}\n"
        );
        let signers = parse(&text).unwrap();
        assert_eq!(signers.entries.len(), 3);
        assert_eq!(signers.entries[1].principals, "b@x,*@y");
        assert_eq!(signers.entries[1].valid_after.unwrap().to_string(), "2024-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (line, why) in [
            (format!("a@x cert-authority {KEY}"), "signers:2: cert-authority is not supported"),
            (format!("a@x no-such {KEY}"), "`no-such` is not an option"),
            (format!("a@x valid-after=\"tomorrow\" {KEY}"), "`tomorrow` is not a time"),
            (format!("a@x valid-after=\"20250101Z\",valid-before=\"20240101Z\" {KEY}"), "never valid"),
            (format!("a@x namespaces=\"git {KEY}"), "a quote is not closed"),
            ("a@x".to_owned(), "nothing after the name"),
            ("a@x ssh-ed25519 AAAA".to_owned(), "the public key of `a@x`"),
        ] {
            let error = parse(&format!("# x\n{line}\n")).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(parse("# nobody\n").unwrap_err().contains("no signer"));
    }

    #[test]
    fn patterns_as_openssh_has_them() {
        for (list, text, is) in [
            ("a@x", "a@x", true),
            ("*@x", "a@x", true),
            ("*@x,!eve@x", "eve@x", false),
            ("!eve@x,*@x", "bob@x", true),
            ("?@x", "ab@x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("", "x", false),
        ] {
            assert_eq!(matches_list(list, text), is, "{list} {text}");
        }
    }
}
