//! What may stand for us at a login: private keys, public halves whose other half an agent holds, and certificates. Reads
//! them from files and settings; offers nothing to anybody.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Certificate, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::settings::{Settings, SshHost};
use crate::model::key_text::{KeySource, Unfit, tidy};
use crate::model::secret::Secret;

/// One key that is configured, as far as it is to be had here.
pub struct Identity {
    /// What stands for it in messages.
    pub name: String,
    pub public: PublicKey,
    /// `None`: an agent may hold it.
    pub private: Option<Arc<PrivateKey>>,
}

/// A certificate for a key, valid now.
pub struct Vouched {
    pub name: String,
    pub certificate: Certificate,
}

/// All that is configured for one place.
#[derive(Default)]
pub struct Identities {
    pub keys: Vec<Identity>,
    pub certificates: Vec<Vouched>,
    /// What is there and cannot be used, with the reason and the next move.
    pub unusable: Vec<String>,
}

impl Identities {
    /// Reads what the settings and the SSH configuration name. Files that only the defaults name may be missing.
    pub fn read(place: &SshHost, settings: &Settings) -> Identities {
        let mut all = Identities::default();
        let named = settings.key.is_some();
        for source in &place.identities {
            let identity = match open(source, settings.passphrase.as_ref()) {
                Ok(private) => Some((private.public_key().clone(), Some(Arc::new(private)))),
                Err(Closed { public, why, missing }) => {
                    if !missing || named {
                        all.unusable.push(format!("{} {why}", source.shown()));
                    }
                    public.map(|public| (*public, None))
                }
            };
            if let Some((public, private)) = identity {
                all.keys.push(Identity { name: source.shown(), public, private });
            }
            // As ssh does: beside `key` and beside `key.pub` lies `key-cert.pub`.
            if let Some(path) = source.file() {
                let stem = path.to_string_lossy();
                let stem = stem.strip_suffix(".pub").unwrap_or(&stem);
                all.certificate(Path::new(&format!("{stem}-cert.pub")), false);
            }
        }
        for path in &place.certificates {
            all.certificate(path, true);
        }
        all
    }

    fn certificate(&mut self, path: &Path, named: bool) {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return,
            Err(error) => return self.unusable.push(format!("{shown} ({error})")),
        };
        match Certificate::from_openssh(text.trim()) {
            Ok(certificate) => match unsuitable(&certificate) {
                None => self.certificates.push(Vouched { name: shown.to_string(), certificate }),
                Some(why) => self.unusable.push(format!("{shown} ({why})")),
            },
            Err(error) => self.unusable.push(format!("{shown} (it is no certificate of OpenSSH: {error})")),
        }
    }
}

/// Why nobody lets this certificate in: its kind or its time.
pub fn unsuitable(certificate: &Certificate) -> Option<String> {
    if certificate.cert_type() != CertType::User {
        return Some("it is a certificate for hosts: sign the key without `-h`".to_owned());
    }
    out_of_time(certificate).map(|why| format!("{why}: have the key signed anew"))
}

/// Whether a certificate is valid at this time, and if not, since when or from when on.
pub fn out_of_time(certificate: &Certificate) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let time = |seconds: u64| {
        let at = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        at.map_or_else(|| "long ago".to_owned(), |at| at.to_string())
    };
    if now < certificate.valid_after() {
        return Some(format!("the certificate is valid only from {} on", time(certificate.valid_after())));
    }
    (now >= certificate.valid_before())
        .then(|| format!("the certificate expired at {}", time(certificate.valid_before())))
}

/// A private key that is not to be had, and what is.
pub struct Closed {
    /// Its public half, where that is known.
    pub public: Option<Box<PublicKey>>,
    /// Half a sentence that goes on after the key's name.
    pub why: String,
    /// There is no such file.
    pub missing: bool,
}

/// Opens a private key.
///
/// # Errors
/// Why it is not to be had, with the next move; never with any of its text.
pub fn open(source: &KeySource, passphrase: Option<&Secret>) -> Result<PrivateKey, Closed> {
    let closed = |public: Option<PublicKey>, why: String| Closed { public: public.map(Box::new), why, missing: false };
    let text = match source {
        KeySource::Text { text, .. } => text.clone(),
        KeySource::File(path) => match read(path) {
            Ok(text) => text,
            Err(error) => {
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                return Err(Closed { public: public_half(path).map(Box::new), why: format!("({error})"), missing });
            }
        },
    };
    let beside = || source.file().and_then(public_half);
    let text = match tidy(&text) {
        Ok(text) => text,
        Err(unfit @ Unfit::Public(_)) => {
            let public = public_of(&text);
            let why =
                match source.file().map(Path::to_string_lossy).as_deref().and_then(|path| path.strip_suffix(".pub")) {
                    Some(private) if Path::new(private).exists() => {
                        format!("is a public half: name {private}, or load that one into ssh-agent")
                    }
                    _ => format!("{unfit}, or load that one into ssh-agent"),
                };
            return Err(closed(public, why));
        }
        Err(unfit) => return Err(closed(beside(), unfit.to_string())),
    };
    let key = source.file().map_or_else(|| "KEY".to_owned(), |path| path.display().to_string());
    let first = match russh::keys::decode_secret_key(&text, None) {
        Ok(private) => return usable(private, &key),
        Err(error) => error,
    };
    if !(is_closed(&text) || matches!(first, russh::keys::Error::KeyIsEncrypted)) {
        let putty = text.starts_with("PuTTY");
        let cure =
            if putty { format!("puttygen {key} -O private-openssh -o NEW") } else { format!("ssh-keygen -p -f {key}") };
        return Err(closed(beside(), format!("cannot be read ({first}): rewrite it with `{cure}`")));
    }
    let Some(passphrase) = passphrase else {
        let why = "(encrypted: set SOLL_SSH_PASSPHRASE, or load the key into ssh-agent)";
        return Err(closed(beside(), why.to_owned()));
    };
    match russh::keys::decode_secret_key(&text, Some(passphrase.expose())) {
        Ok(private) => usable(private, &key),
        Err(_) => Err(closed(beside(), "(SOLL_SSH_PASSPHRASE does not open it)".to_owned())),
    }
}

/// A key whose secret half lies in a device is only a handle: the device is asked by an agent.
fn usable(private: PrivateKey, key: &str) -> Result<PrivateKey, Closed> {
    match private.key_data() {
        KeypairData::SkEd25519(_) | KeypairData::SkEcdsaSha2NistP256(_) => Err(Closed {
            public: Some(Box::new(private.public_key().clone())),
            why: format!("is the handle of a security key, which ssh-agent speaks to: `ssh-add {key}`"),
            missing: false,
        }),
        _ => Ok(private),
    }
}

fn is_closed(text: &str) -> bool {
    let pem = text.contains("ENCRYPTED");
    let putty = text.starts_with("PuTTY") && !text.lines().any(|line| line.trim() == "Encryption: none");
    pem || putty
}

/// The text of a file, whatever its encoding; UTF-16 as some editors write it included.
fn read(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(std::fs::read(path)?);
    Ok(Zeroizing::new(match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => {
            let pairs: Zeroizing<Vec<u16>> =
                Zeroizing::new(rest.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect());
            String::from_utf16_lossy(&pairs)
        }
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }))
}

fn public_half(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    public_of(&std::fs::read_to_string(PathBuf::from(name)).ok()?)
}

fn public_of(text: &str) -> Option<PublicKey> {
    text.lines().find_map(|line| PublicKey::from_openssh(line.trim()).ok())
}
