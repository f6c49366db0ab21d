//! Who the host is: its key, or its certificate, is judged by what is known here. What is not believed is told with the line
//! that would make it known. Knows no connection.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::client;
use russh::keys::{Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::error::{Phase, SshError};
use super::host_certificate;
use super::keys::fingerprint;
use super::known_hosts::{self, Known, Spot, Verdict, line};
use super::settings::{Accepted, SshHost};

/// What a host has shown, and what was thought of it.
pub struct Shown {
    pub key: PublicKey,
    pub certificate: Option<Certificate>,
    pub verdict: Verdict,
}

/// Decides on the host's key, and remembers one that it did not know.
pub struct Gatekeeper {
    pub known: Known,
    pub place: Arc<SshHost>,
    pub seen: Arc<Mutex<Option<Shown>>>,
    /// A host that nobody knows is believed: a person asked for that. One that is known by another key never is.
    pub accepts: bool,
    /// What the host has to say to who logs in.
    pub banner: Arc<Mutex<String>>,
}

/// Of a banner so many bytes are kept: its end.
const BANNER: usize = 4096;

impl client::Handler for Gatekeeper {
    type Error = russh::Error;

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), russh::Error> {
        let mut kept = self.banner.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_str(banner);
        let mut surplus = kept.len().saturating_sub(BANNER);
        while !kept.is_char_boundary(surplus) {
            surplus += 1;
        }
        kept.drain(..surplus);
        Ok(())
    }

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let (key, certificate) = (shown.public_key(), shown.certificate().cloned());
        let verdict = match (&certificate, &self.place.withdrawn) {
            (certificate, Some(file)) => match withdrawn(file, certificate.as_ref(), &key).await {
                Some(verdict) => verdict,
                None => self.judge(certificate.as_ref(), &key),
            },
            (certificate, None) => self.judge(certificate.as_ref(), &key),
        };
        if verdict == Verdict::Known {
            return Ok(true);
        }
        let believed = self.accepts && verdict == Verdict::Unknown;
        let shown = Shown { key, certificate, verdict };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(believed)
    }
}

impl Gatekeeper {
    fn judge(&self, certificate: Option<&Certificate>, key: &PublicKey) -> Verdict {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        match certificate {
            Some(one) => self.known.judge_certificate(one, &self.place.called.bare, now),
            None => self.known.judge(key),
        }
    }
}

/// The verdict of `RevokedHostKeys`, where it has one.
async fn withdrawn(file: &Path, certificate: Option<&Certificate>, key: &PublicKey) -> Option<Verdict> {
    let (asked, at) = (file.to_owned(), Spot { file: file.to_owned(), line: 0 });
    let (key, certificate) = (key.clone(), certificate.cloned());
    let ask = move || host_certificate::is_withdrawn(&asked, &key, certificate.as_ref());
    let found = tokio::task::spawn_blocking(ask).await;
    match found.map_err(|error| error.to_string()).flatten() {
        Ok(false) => None,
        Ok(true) => Some(Verdict::Revoked(at)),
        Err(why) => Some(Verdict::Uncertified {
            why: format!("{} (RevokedHostKeys) cannot be read: {why}", file.display()),
            cure: "write it with `ssh-keygen -k -f FILE KEY…`, or leave that setting out".to_owned(),
        }),
    }
}

/// Makes the key of a new host known.
pub fn introduce(place: &SshHost, key: &PublicKey) -> Result<Accepted, SshError> {
    let failed = |what: String| {
        SshError::new(place, Phase::HostKey, what, "name a file that can be written with SOLL_KNOWN_HOSTS")
    };
    let file =
        place.known_hosts.first().ok_or_else(|| failed("there is no known_hosts to add the key to".to_owned()))?;
    known_hosts::add(file, &place.called.line, key)
        .map_err(|error| failed(format!("the key cannot be added to {}: {error}", file.display())))?;
    let kind = key.algorithm().as_str().to_owned();
    Ok(Accepted { name: place.called.line.clone(), kind, fingerprint: fingerprint(key), file: file.clone() })
}

/// The host is not the one that is meant, as far as anybody knows.
pub fn stranger(place: &SshHost, known: &Known, seen: &Shown) -> SshError {
    let Shown { key, certificate, verdict } = seen;
    let kind = key.algorithm();
    let signed = certificate
        .as_ref()
        .map(|one| format!(" with a certificate that {} has signed", one.signature_key().fingerprint(HashAlg::Sha256)));
    let shown = format!("{} {}{}", kind.as_str(), fingerprint(key), signed.unwrap_or_default());
    let files: Vec<_> = place.known_hosts.iter().map(|file| file.display().to_string()).collect();
    let compare =
        "compare the fingerprint with `ssh-keygen -lf` of /etc/ssh/ssh_host_*_key.pub on the host's own console";
    let (what, cure) = match verdict {
        Verdict::Uncertified { why, cure } => (format!("the host shows the key {shown}, but {why}"), cure.clone()),
        Verdict::Revoked(at) => (
            format!("the host shows the key {shown}, which {at} revokes"),
            "give the host a new key; until then nobody must log in there".to_owned(),
        ),
        Verdict::Changed => {
            let keys = known.keys.iter().map(|(key, at)| format!("{} ({at})", fingerprint(key)));
            let old: Vec<_> = keys.collect();
            (
                format!(
                    "the host shows the key {shown}, but is known by {}: it was set up anew, or somebody is in between",
                    old.join(", ")
                ),
                format!("{compare}; if it is right, replace the line by `{}`", line(&place.called.line, key)),
            )
        }
        Verdict::Unknown | Verdict::Known => {
            let mut what =
                format!("the host shows the key {shown}, and {} know no `{}`", files.join(", "), place.called.line);
            if let Some((authority, at)) = known.authorities.first() {
                let authority = fingerprint(authority);
                what.push_str(&match certificate {
                    None => format!("; {at} (@cert-authority) trusts {authority}, but the host shows no certificate"),
                    Some(_) => format!("; {at} (@cert-authority) trusts another authority, {authority}"),
                });
            }
            if let Some(at) = known.unreadable.first() {
                what.push_str(&format!("; {at} names it, but cannot be read"));
            }
            let file = files.first().map_or("known_hosts", String::as_str);
            let mut cure = format!("{compare}; if it is right, add to {file}: {}", line(&place.called.line, key));
            if !known.authorities.is_empty() && certificate.is_none() {
                cure.push_str("; or give its sshd the certificate: `HostCertificate /etc/ssh/ssh_host_KEY-cert.pub`");
            }
            (what, cure)
        }
    };
    SshError::new(place, Phase::HostKey, what, cure)
}
