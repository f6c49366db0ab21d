//! `known_hosts`: which keys a host may show. Strict: a key that no line names is refused, and nothing is learned by
//! connecting. Reads what OpenSSH reads (hashed names, patterns, negation, `[host]:port`, `@revoked`, `@cert-authority`),
//! and says at which line it found what.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};
use russh::keys::{Certificate, PublicKeyBase64, parse_public_key_base64};
use sha1::Sha1;

use super::host_certificate;

/// A line of a file; line 0: somewhere in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    pub file: PathBuf,
    pub line: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// All that the files say about one host.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub keys: Vec<(PublicKey, Spot)>,
    pub revoked: Vec<(PublicKey, Spot)>,
    /// Whose certificates for this host are trusted (`@cert-authority`).
    pub authorities: Vec<(PublicKey, Spot)>,
    /// Lines about this host that cannot be read.
    pub unreadable: Vec<Spot>,
}

/// What is to be thought of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Known,
    /// No line names the host.
    Unknown,
    /// Other keys are known.
    Changed,
    Revoked(Spot),
    /// An authority that is trusted has signed a certificate that does not count here: why not, and what cures it.
    Uncertified {
        why: String,
        cure: String,
    },
}

/// What a host is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// In lines of keys: with its port, where that is another one than 22.
    pub line: String,
    /// In certificates, whose authorities think of no port.
    pub bare: String,
}

/// How a host is called in `known_hosts`.
pub fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl Known {
    /// Reads what the files say about a host. A file that is not there says nothing.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn read(files: &[PathBuf], names: &Names) -> Result<Known, (PathBuf, io::Error)> {
        let mut known = Known::default();
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => known.take(&String::from_utf8_lossy(&bytes), file, names),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((file.clone(), error)),
            }
        }
        Ok(known)
    }

    /// Only these keys, which somebody else vouches for: what the files say does not count.
    pub fn pinned(keys: &[PublicKey]) -> Known {
        let at = Spot { file: PathBuf::from("the state file"), line: 0 };
        Known { keys: keys.iter().map(|key| (key.clone(), at.clone())).collect(), ..Known::default() }
    }

    fn take(&mut self, text: &str, file: &Path, host: &Names) {
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_ascii_whitespace();
            let Some(first) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let (marker, names) =
                if first.starts_with('@') { (Some(first), words.next().unwrap_or_default()) } else { (None, first) };
            let authority = marker == Some("@cert-authority") && names_match(names, &host.bare);
            if !authority && !names_match(names, &host.line) {
                continue;
            }
            let at = Spot { file: file.to_owned(), line: index + 1 };
            let (_kind, key) = (words.next(), words.next());
            match (marker, key.map(parse_public_key_base64)) {
                (Some("@cert-authority"), Some(Ok(key))) => self.authorities.push((key, at)),
                (None, Some(Ok(key))) => self.keys.push((key, at)),
                (Some("@revoked"), Some(Ok(key))) => self.revoked.push((key, at)),
                _ => self.unreadable.push(at),
            }
        }
    }

    /// Whether a host that shows this key is the one that is meant.
    pub fn judge(&self, key: &PublicKey) -> Verdict {
        let same = |(known, _): &&(PublicKey, Spot)| known.key_data() == key.key_data();
        if let Some((_, at)) = self.revoked.iter().find(same) {
            return Verdict::Revoked(at.clone());
        }
        if self.keys.iter().any(|entry| same(&entry)) {
            return Verdict::Known;
        }
        if self.keys.is_empty() { Verdict::Unknown } else { Verdict::Changed }
    }

    /// Whether a host that shows this certificate is the one that is meant: an authority that is trusted for it says so, or
    /// the key in it is known by itself.
    pub fn judge_certificate(&self, certificate: &Certificate, bare: &str, now: u64) -> Verdict {
        let inner = PublicKey::new(certificate.public_key().clone(), "");
        let by = |(key, _): &&(PublicKey, Spot)| key.key_data() == certificate.signature_key();
        if let Some((_, at)) = self.revoked.iter().find(by) {
            return Verdict::Revoked(at.clone());
        }
        let plain = self.judge(&inner);
        let Some((authority, _)) = self.authorities.iter().find(by) else { return plain };
        match host_certificate::refusal(certificate, authority, bare, now) {
            _ if matches!(plain, Verdict::Revoked(_) | Verdict::Known) => plain,
            None => Verdict::Known,
            Some((why, cure)) => Verdict::Uncertified { why, cure },
        }
    }

    /// The kinds of key to ask the host for: those by which it is known, so that it does not show another one. Empty
    /// where it is known by none.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut kinds: Vec<Algorithm> = Vec::new();
        let usable = self.keys.iter().filter(|(key, _)| self.judge(key) == Verdict::Known);
        for kind in usable.map(|(key, _)| key.algorithm()) {
            let kinds_of = match kind {
                // Never with SHA-1.
                Algorithm::Rsa { .. } => {
                    [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).to_vec()
                }
                other => vec![other],
            };
            kinds.extend(kinds_of.into_iter().filter(|kind| !kinds.contains(kind)).collect::<Vec<_>>());
        }
        kinds
    }
}

/// Adds a key of a host that no line names yet: what a person decides who has compared its fingerprint.
///
/// # Errors
/// The file cannot be written.
pub fn add(file: &Path, name: &str, key: &PublicKey) -> io::Result<()> {
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let before =
        std::fs::read(file).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(e) })?;
    let gap = if before.last().is_some_and(|last| *last != b'\n') { "\n" } else { "" };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    file.write_all(format!("{gap}{}\n", line(name, key)).as_bytes())?;
    file.sync_all()
}

/// The line that makes a key known.
pub fn line(name: &str, key: &PublicKey) -> String {
    format!("{name} {} {}", key.algorithm().as_str(), key.public_key_base64())
}

/// A comma-separated list of patterns, or one hashed name. One that is negated wins over all others.
fn names_match(names: &str, name: &str) -> bool {
    if let Some(hashed) = names.strip_prefix("|1|") {
        return hash_matches(hashed, name).unwrap_or(false);
    }
    let mut found = false;
    for pattern in names.split(',').filter(|pattern| !pattern.is_empty()) {
        match pattern.strip_prefix('!') {
            Some(pattern) if wild(pattern, name) => return false,
            Some(_) => {}
            None => found |= wild(pattern, name),
        }
    }
    found
}

/// `salt|HMAC-SHA1(salt, name)`, both in base64.
fn hash_matches(hashed: &str, name: &str) -> Option<bool> {
    let (salt, digest) = hashed.split_once('|')?;
    let (salt, digest) = (Base64::decode_vec(salt).ok()?, Base64::decode_vec(digest).ok()?);
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&digest).is_ok())
}

/// `*` stands for any text, `?` for one character; letters of either case are the same.
fn wild(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` was, and what of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || c.eq_ignore_ascii_case(&name[n]) => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIEnt7Nzyo11ECroQncB6H8xeB8A7R0oyZAoDiNBydkU/";
    const ED2: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAS/KxVArGWqI4+onAIpEFL3+uOrTGONnQRd9Peq4mLN";
    const EC: &str = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEnWJLse+MLp05L65d3mkf/f6YjfTdTdxZAhwzLZv/RMGBckDFxSrxxhKIylodNdS66rJXneijnOPLayQ12zFag=";

    fn key(text: &str) -> PublicKey {
        parse_public_key_base64(text).unwrap()
    }

    fn names(name: &str) -> Names {
        let bare = name.trim_start_matches('[').split(']').next().unwrap().to_owned();
        Names { line: name.to_owned(), bare }
    }

    fn known(text: &str, name: &str) -> Known {
        let text = text.replace("$ED2", ED2).replace("$ED", ED).replace("$EC", EC);
        let mut known = Known::default();
        known.take(&text, Path::new("/k"), &names(name));
        known
    }

    #[track_caller]
    fn judged(text: &str, name: &str) -> Verdict {
        known(text, name).judge(&key(ED))
    }

    #[test]
    fn a_name_is_found_in_every_form_that_openssh_writes() {
        for line in [
            "web1 ssh-ed25519 $ED",
            "web1 ssh-ed25519 $ED root@web1 with a comment",
            "other,web1,third ssh-ed25519 $ED",
            "\t web1\tssh-ed25519\t$ED\t",
            "WEB1 ssh-ed25519 $ED\r",
            "web? ssh-ed25519 $ED",
            "w*1 ssh-ed25519 $ED",
            "* ssh-ed25519 $ED",
            "# a comment\n\nweb1 ssh-ed25519 $ED2\nweb1 ssh-ed25519 $ED",
            "web1 ecdsa-sha2-nistp256 $EC\nweb1 ssh-ed25519 $ED",
        ] {
            assert_eq!(judged(line, "web1"), Verdict::Known, "{line}");
        }
        for line in ["web10 ssh-ed25519 $ED", "[web1]:2222 ssh-ed25519 $ED", "#web1 ssh-ed25519 $ED", "web1", ""] {
            assert_eq!(judged(line, "web1"), Verdict::Unknown, "{line}");
        }
    }

    #[test]
    fn a_port_is_part_of_the_name() {
        assert_eq!((name_of("Web1", 22), name_of("Web1", 2222)), ("web1".to_owned(), "[web1]:2222".to_owned()));
        assert_eq!(judged("[web1]:2222 ssh-ed25519 $ED", "[web1]:2222"), Verdict::Known);
        assert_eq!(judged("[web1]:* ssh-ed25519 $ED", "[web1]:2222"), Verdict::Known);
        assert_eq!(judged("web1 ssh-ed25519 $ED", "[web1]:2222"), Verdict::Unknown);
    }

    #[test]
    fn what_is_negated_is_not_meant() {
        let lines = "*.example.com,!bad.example.com ssh-ed25519 $ED";
        assert_eq!(judged(lines, "good.example.com"), Verdict::Known);
        assert_eq!(judged(lines, "bad.example.com"), Verdict::Unknown);
        assert_eq!(judged("!bad.example.com ssh-ed25519 $ED", "good.example.com"), Verdict::Unknown);
    }

    #[test]
    fn a_hashed_name_is_found_and_another_is_not() {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"twenty bytes of salt").unwrap();
        mac.update(b"[web1]:2222");
        let hash = Base64::encode_string(&mac.finalize().into_bytes());
        let line = format!("|1|{}|{hash} ssh-ed25519 $ED", Base64::encode_string(b"twenty bytes of salt"));
        assert_eq!(judged(&line, "[web1]:2222"), Verdict::Known);
        assert_eq!(judged(&line, "web1"), Verdict::Unknown);
        assert_eq!(judged("|1|nonsense|& ssh-ed25519 $ED", "web1"), Verdict::Unknown);
        // As `ssh-keygen -H` wrote it for `web1`.
        let line = "|1|MfLzFufr0Kxi1NT2dP91L2Foh0U=|FWgBU3Ce2ZJG57pV1ItTYpqPLDc= ssh-ed25519 $ED";
        assert_eq!((judged(line, "web1"), judged(line, "web2")), (Verdict::Known, Verdict::Unknown));
    }

    #[test]
    fn another_key_is_a_change_and_a_revoked_one_is_refused_whatever_else_is_said() {
        assert_eq!(judged("web1 ssh-ed25519 $ED2", "web1"), Verdict::Changed);
        assert_eq!(judged("web1 ecdsa-sha2-nistp256 $EC", "web1"), Verdict::Changed);
        let revoked = "web1 ssh-ed25519 $ED\n@revoked * ssh-ed25519 $ED";
        assert_eq!(judged(revoked, "web1"), Verdict::Revoked(Spot { file: "/k".into(), line: 2 }));
        assert_eq!(known(revoked, "web1").algorithms(), []);
        assert_eq!(judged("@revoked other ssh-ed25519 $ED\nweb1 ssh-ed25519 $ED", "web1"), Verdict::Known);
    }

    #[test]
    fn what_cannot_be_used_is_remembered_for_the_error() {
        let known =
            known("@cert-authority * ssh-ed25519 $ED\nweb1 ssh-ed25519 rubbish\n@new web1 ssh-ed25519 $ED", "web1");
        assert_eq!(known.judge(&key(ED)), Verdict::Unknown);
        assert_eq!(known.unreadable.iter().map(|spot| spot.line).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(known.authorities.iter().map(|(_, spot)| spot.line).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn an_authority_is_named_with_and_without_the_port() {
        for line in ["@cert-authority *.example.com ssh-ed25519 $ED", "@cert-authority [web.example.com]:2222 x $ED"] {
            assert_eq!(known(line, "[web.example.com]:2222").authorities.len(), 1, "{line}");
            assert_eq!(known(line, "[other.org]:2222").authorities.len(), 0, "{line}");
        }
    }

    #[test]
    fn the_host_is_asked_for_the_kinds_that_are_known() {
        let known = known("web1 ecdsa-sha2-nistp256 $EC\nweb1 ssh-ed25519 $ED\nweb1 ssh-ed25519 $ED2", "web1");
        let names: Vec<_> = known.algorithms().iter().map(|a| a.as_str().to_owned()).collect();
        assert_eq!(names, ["ecdsa-sha2-nistp256", "ssh-ed25519"]);
    }

    #[test]
    fn an_added_key_is_known_and_spoils_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/known_hosts");
        add(&file, "web1", &key(ED)).unwrap();
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap().trim_end()).unwrap();
        add(&file, "[web1]:2222", &key(ED2)).unwrap();
        let read = |name: &str| Known::read(std::slice::from_ref(&file), &names(name)).unwrap();
        assert_eq!(read("web1").judge(&key(ED)), Verdict::Known);
        assert_eq!(read("[web1]:2222").judge(&key(ED2)), Verdict::Known);
        assert_eq!(read("web1").judge(&key(ED2)), Verdict::Changed);
    }
}
