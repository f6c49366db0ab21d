//! Settings that name a private key. People and CI give the name of a file, the key itself, or the key in a form that some
//! step on the way has bent: base64, blanks or `\n` for line ends, quotes around it. [`KeySource`] tells a name from a
//! text, so that a text is never shown, and [`tidy`] gives the text back its form or says what it is instead.
//! Pure: it knows the shapes of texts, opens no key and no file.

use std::fmt;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Base64Unpadded, Encoding};
use zeroize::Zeroizing;

/// Where a private key is. Neither its `Debug` nor [`KeySource::shown`] gives away a text.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    File(PathBuf),
    /// The value of a setting.
    Text {
        /// The setting's name, which stands for it in messages.
        setting: String,
        text: Zeroizing<String>,
    },
}

impl KeySource {
    /// From the value of this setting.
    pub fn from_setting(setting: &str, value: &str) -> KeySource {
        if may_be_a_name(value) {
            return KeySource::File(PathBuf::from(value));
        }
        KeySource::Text { setting: setting.to_owned(), text: Zeroizing::new(value.to_owned()) }
    }

    /// What stands for it in messages.
    pub fn shown(&self) -> String {
        match self {
            KeySource::File(path) => path.display().to_string(),
            KeySource::Text { setting, .. } => format!("the text in {setting}"),
        }
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            KeySource::File(path) => Some(path),
            KeySource::Text { .. } => None,
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl From<PathBuf> for KeySource {
    fn from(path: PathBuf) -> Self {
        KeySource::File(path)
    }
}

/// Why a text is no private key that can be opened. Displays as half a sentence that goes on after the key's name: "is the
/// public half: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("is empty")]
    Empty,
    #[error("is a public half ({0}): name the private one, whose first line is `-----BEGIN … PRIVATE KEY-----`")]
    Public(String),
    #[error(
        "is a certificate: name the private key that it was made for; the certificate belongs beside it as `KEY-cert.pub`"
    )]
    Certificate,
    #[error(
        "is cut off: there is no `-----END …-----` line after its `-----BEGIN …-----`; set all of its lines, in quotes"
    )]
    CutOff,
    #[error("is damaged: between its first and its last line are characters that no key has; copy it anew")]
    Damaged,
    #[error(
        "is a PuTTY key that lost its line ends: write the key with `puttygen KEY.ppk -O private-openssh -o KEY`, and give that one"
    )]
    Putty,
    #[error("is a DSA key, which servers do not take any more: make another with `ssh-keygen -t ed25519`")]
    Dsa,
    #[error("is encrypted with {0}, which is not read here: rewrite it in OpenSSH's form with `ssh-keygen -p -f KEY`")]
    Cipher(String),
    #[error("is a key in the form of ssh.com: rewrite it with `ssh-keygen -i -f KEY > NEW`")]
    Ssh2,
    #[error("is a PGP key: logging in and signing want an SSH key, made with `ssh-keygen -t ed25519`")]
    Pgp,
    #[error("is an age identity: logging in and signing want an SSH key, made with `ssh-keygen -t ed25519`")]
    Age,
    #[error("has lines of `known_hosts` where a private key belongs")]
    KnownHosts,
    #[error(
        "is no private key in a form that is known: it begins with `-----BEGIN … PRIVATE KEY-----` or `PuTTY-User-Key-File-`"
    )]
    Unknown,
}

/// How often base64 is taken off: a key in base64, and that once more.
const WRAPPINGS: usize = 2;
/// As `ssh-keygen` writes it; some readers take no other.
const WIDTH: usize = 70;
const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// No line of base64 without any other character is a file's name from this length on.
const NO_NAME: usize = 60;
/// Linux knows no longer name in a directory, and no longer path.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 4095;

/// Whether a value can be meant as the name of a file: only then may a message show it.
pub fn may_be_a_name(value: &str) -> bool {
    let shape = |value: &str| {
        !value.chars().any(char::is_control)
            && !value.contains(DASHES)
            && value.len() <= LONGEST_PATH
            && value.split('/').all(|part| part.len() <= LONGEST_NAME)
    };
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let encoded = value.len() >= NO_NAME && !value.starts_with('/') && value.chars().all(bare);
    shape(value) && !encoded && matches!(tidy(value), Err(Unfit::Unknown | Unfit::Empty))
}

/// The text of a private key as its readers want it: `-----BEGIN …`, lines of 70 characters, `-----END …`, or PuTTY's form.
///
/// # Errors
/// The text is no private key; the error says what it is instead.
pub fn tidy(text: &str) -> Result<Zeroizing<String>, Unfit> {
    unwrap(text, WRAPPINGS)
}

fn unwrap(text: &str, wrappings: usize) -> Result<Zeroizing<String>, Unfit> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let quoted = ['"', '\'', '`'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
    let text = quoted.unwrap_or(text).trim();
    if text.is_empty() {
        return Err(Unfit::Empty);
    }
    let lines = Zeroizing::new(if text.contains('\n') { text.replace('\r', "") } else { with_line_ends(text) });
    match known(&lines) {
        Err(Unfit::Unknown) if wrappings > 0 => encoded(&lines, wrappings - 1),
        known => known,
    }
}

/// `\n` and `\r`, with any number of backslashes, as line ends.
fn with_line_ends(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\r' {
            out.push('\n');
            continue;
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        while chars.next_if_eq(&'\\').is_some() {}
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => {}
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

fn known(text: &str) -> Result<Zeroizing<String>, Unfit> {
    if let Some(pem) = private_part(text) {
        return pem;
    }
    let has = |part: &str| text.contains(part);
    if text.starts_with("PuTTY-User-Key-File-") {
        return if text.lines().count() > 4 { Ok(Zeroizing::new(format!("{text}\n"))) } else { Err(Unfit::Putty) };
    }
    if has("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY") {
        return Err(Unfit::Ssh2);
    }
    if has("BEGIN CERTIFICATE-----") || has("-cert-v01@openssh.com ") {
        return Err(Unfit::Certificate);
    }
    if has("BEGIN PUBLIC KEY-----") || has("BEGIN RSA PUBLIC KEY-----") || has("BEGIN SSH2 PUBLIC KEY") {
        return Err(Unfit::Public("in PEM".to_owned()));
    }
    if text.lines().any(|line| line.trim().starts_with("AGE-SECRET-KEY-")) {
        return Err(Unfit::Age);
    }
    if text.starts_with(BEGIN) {
        return Err(if has("-----END") { Unfit::Unknown } else { Unfit::CutOff });
    }
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    let words: Vec<_> = line.split_ascii_whitespace().take(4).collect();
    match words.as_slice() {
        [kind, key, ..] if is_kind(kind) && key.starts_with("AAAA") => Err(Unfit::Public((*kind).to_owned())),
        [_, kind, key, ..] | [_, _, kind, key] if is_kind(kind) && key.starts_with("AAAA") => Err(Unfit::KnownHosts),
        _ => Err(Unfit::Unknown),
    }
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start))
}

/// The private key of a PEM text, with whatever else stands around it left out.
fn private_part(text: &str) -> Option<Result<Zeroizing<String>, Unfit>> {
    let mut from = 0;
    let (label, body) = loop {
        let begin = from + text[from..].find(BEGIN)? + BEGIN.len();
        let (label, body) = text[begin..].split_once(DASHES)?;
        if label.contains("PRIVATE KEY") {
            break (label, body);
        }
        from = begin;
    };
    match label {
        "OPENSSH PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => {}
        "DSA PRIVATE KEY" => return Some(Err(Unfit::Dsa)),
        label if label.starts_with("PGP") => return Some(Err(Unfit::Pgp)),
        _ => return Some(Err(Unfit::Unknown)),
    }
    let Some((body, _)) = body.split_once("-----END") else { return Some(Err(Unfit::CutOff)) };
    let mut words = body.split_ascii_whitespace();
    let (mut headers, mut key) = (String::new(), Zeroizing::new(String::with_capacity(body.len())));
    while let Some(word) = words.next() {
        match word {
            "Proc-Type:" => headers.push_str(&format!("Proc-Type: {}\n", words.next().unwrap_or_default())),
            "DEK-Info:" => {
                let cipher = words.next().unwrap_or_default();
                if !(label == "RSA PRIVATE KEY" && cipher.starts_with("AES-128-CBC,")) {
                    let name = cipher.split(',').next().unwrap_or_default();
                    let known = name.len() <= 20 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                    return Some(Err(Unfit::Cipher(if known { name } else { "a cipher of PEM" }.to_owned())));
                }
                headers.push_str(&format!("DEK-Info: {cipher}\n\n"));
            }
            word => key.push_str(word),
        }
    }
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    if key.is_empty() || !key.chars().all(base64) {
        return Some(Err(Unfit::Damaged));
    }
    Some(Ok(armor(label, &headers, &key)))
}

fn armor(label: &str, headers: &str, base64: &str) -> Zeroizing<String> {
    // With room for everything: a text that grows leaves copies behind that nobody wipes.
    let mut out = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / 32 + headers.len() + 128));
    out.push_str(&format!("{BEGIN}{label}{DASHES}\n{headers}"));
    let mut rest = base64;
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(WIDTH));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}{DASHES}\n"));
    out
}

/// A key in base64: its text, or its bytes without their armor.
fn encoded(text: &str, wrappings: usize) -> Result<Zeroizing<String>, Unfit> {
    let bare = text.split_ascii_whitespace().map(|word| word.replace('-', "+").replace('_', "/"));
    let bare = Zeroizing::new(bare.collect::<String>());
    let bytes = Base64::decode_vec(&bare).or_else(|_| Base64Unpadded::decode_vec(&bare));
    let bytes = Zeroizing::new(bytes.map_err(|_| Unfit::Unknown)?);
    if bytes.starts_with(MAGIC) {
        return Ok(armor("OPENSSH PRIVATE KEY", "", &Base64::encode_string(&bytes)));
    }
    if let Some(label) = der_label(&bytes) {
        return Ok(armor(label, "", &Base64::encode_string(&bytes)));
    }
    match std::str::from_utf8(&bytes) {
        Ok(inner) => unwrap(inner, wrappings),
        Err(_) => Err(Unfit::Unknown),
    }
}

/// What a DER structure of a private key is called in PEM: PKCS#1 and SEC1 begin with their version and go on with a
/// number or a string of bytes, PKCS#8 with an algorithm, and an encrypted one begins with that.
fn der_label(bytes: &[u8]) -> Option<&'static str> {
    let (0x30, body) = (*bytes.first()?, &bytes[1..]) else { return None };
    let first = *body.first()?;
    let (size, body) = match first {
        size @ 0..=0x7f => (usize::from(size), &body[1..]),
        0x81 => (usize::from(*body.get(1)?), &body[2..]),
        0x82 => (usize::from(*body.get(1)?) << 8 | usize::from(*body.get(2)?), &body[3..]),
        _ => return None,
    };
    if size != body.len() {
        return None;
    }
    match body {
        [0x02, 0x01, 0x00, 0x02, ..] => Some("RSA PRIVATE KEY"),
        [0x02, 0x01, 0x01, 0x04, ..] => Some("EC PRIVATE KEY"),
        [0x02, 0x01, _, 0x30, ..] => Some("PRIVATE KEY"),
        [0x30, ..] if body.windows(8).take(4).any(|oid| oid == b"\x2a\x86\x48\x86\xf7\x0d\x01\x05") => {
            Some("ENCRYPTED PRIVATE KEY")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACBJ7ezc8qNdRAq6EJ3Aeh/MXgfAO0dKMmQKA4jQcnZFPw==\n";

    fn key() -> String {
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}-----END OPENSSH PRIVATE KEY-----\n")
    }

    #[test]
    fn a_key_is_read_in_every_form_that_a_step_on_the_way_makes_of_it() {
        let key = key();
        let wanted = tidy(&key).unwrap();
        let base64 = Base64::encode_string(key.as_bytes());
        let wrapped = base64.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>();
        for bent in [
            key.trim_end().to_owned(),
            key.replace('\n', "\r\n"),
            key.replace('\n', "\r"),
            key.replace('\n', " "),
            key.replace('\n', ""),
            key.replace('\n', "\\n"),
            key.replace('\n', "\\\\n"),
            key.replace('\n', "\\r\\n"),
            format!("\"{}\"", key.replace('\n', "\\n")),
            format!("\u{feff}{key}"),
            format!("\n\n  {}", key.replace('\n', "\n  ")),
            format!("a comment\n{key}\nand more"),
            base64.clone(),
            wrapped.join("\n"),
            wrapped.join(" "),
            base64.trim_end_matches('=').to_owned(),
            Base64::encode_string(base64.as_bytes()),
            BODY.replace('\n', ""),
            BODY.to_owned(),
        ] {
            assert_eq!(tidy(&bent).as_ref(), Ok(&wanted), "{bent}");
            assert!(!may_be_a_name(&bent), "{bent}");
            let source = KeySource::from_setting("SOLL_SSH_KEY", &bent);
            assert_eq!((source.shown(), format!("{source:?}")), {
                let shown = "the text in SOLL_SSH_KEY".to_owned();
                (shown.clone(), shown)
            });
        }
    }

    #[test]
    fn what_is_no_private_key_is_told_apart_and_never_taken_for_a_name() {
        let ed = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEnt7Nzyo11ECroQncB6H8xeB8A7R0oyZAoDiNBydkU/ me@here";
        for (text, wanted) in [
            (ed, Unfit::Public("ssh-ed25519".to_owned())),
            (&format!("web1 {ed}"), Unfit::KnownHosts),
            (&format!("@cert-authority * {ed}"), Unfit::KnownHosts),
            ("ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1l me", Unfit::Certificate),
            ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", Unfit::Certificate),
            ("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", Unfit::Public("in PEM".to_owned())),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", Unfit::CutOff),
            (&key()[..120], Unfit::CutOff),
            (&key().replace("AAAAC3", "AAA…C3").replace("none", "no*e").replace("bm9", "***"), Unfit::Damaged),
            ("-----BEGIN DSA PRIVATE KEY-----\nMIIB\n-----END DSA PRIVATE KEY-----", Unfit::Dsa),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nMIIB\n-----END PGP PRIVATE KEY BLOCK-----", Unfit::Pgp),
            ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nMIIB\n---- END SSH2 ENCRYPTED PRIVATE KEY ----", Unfit::Ssh2),
            ("PuTTY-User-Key-File-3: ssh-ed25519 Encryption: none Comment: x", Unfit::Putty),
            ("# created: 2026\nAGE-SECRET-KEY-1QQQQ", Unfit::Age),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,AB\n\nMIIB\n-----END RSA PRIVATE KEY-----",
                Unfit::Cipher("DES-EDE3-CBC".to_owned()),
            ),
        ] {
            assert_eq!(tidy(text), Err(wanted), "{text}");
            assert!(!may_be_a_name(text), "{text}");
        }
    }

    #[test]
    fn names_stay_names_and_what_only_looks_like_a_secret_is_not_shown() {
        for name in [
            "/home/ann/.ssh/id_ed25519",
            "id_ed25519",
            "./keys/PRIVATE KEY of ann",
            "C:\\keys\\new",
            "/var/lib/overlay2/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/key",
            "~/.ssh/key.pub",
            "/nix/store/b3BlbnNzaC1rZXktdjE",
        ] {
            assert_eq!(KeySource::from_setting("S", name), KeySource::File(PathBuf::from(name)), "{name}");
        }
        let line = BODY.lines().next().unwrap();
        for secret in [line, &"A".repeat(300), "two\nlines", &format!("/{}", "a".repeat(300))] {
            assert!(!may_be_a_name(secret), "{secret}");
        }
    }

    #[test]
    fn the_bytes_of_a_key_without_their_armor_get_the_right_one() {
        let der = |bytes: &[u8]| {
            let mut all = vec![0x30, u8::try_from(bytes.len()).unwrap()];
            all.extend(bytes);
            tidy(&Base64::encode_string(&all)).map(|text| text.lines().next().unwrap().to_owned())
        };
        let is = |label: &str| Ok(format!("-----BEGIN {label}-----"));
        assert_eq!(der(&[2, 1, 0, 2, 1, 5, 9, 9, 9, 9]), is("RSA PRIVATE KEY"));
        assert_eq!(der(&[2, 1, 1, 4, 1, 5, 9, 9, 9, 9]), is("EC PRIVATE KEY"));
        assert_eq!(der(&[2, 1, 0, 0x30, 1, 5, 9, 9, 9, 9]), is("PRIVATE KEY"));
        assert_eq!(der(&[4, 1, 0, 0x30, 1, 5, 9, 9, 9, 9]), Err(Unfit::Unknown));
    }
}
