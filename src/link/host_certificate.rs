//! Certificates of hosts: whether what an authority has signed counts for this host now. Who is an authority is said in
//! `known_hosts`; which certificates are withdrawn, in `RevokedHostKeys`, which OpenSSH itself reads.

use std::path::Path;
use std::process::{Command, Stdio};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use super::error::quote;
use super::identity::out_of_time;
use super::settings::without_ours;

/// The kinds that a host may be asked to show a certificate of; RSA never with SHA-1.
pub fn kinds() -> Vec<Algorithm> {
    use russh::keys::EcdsaCurve::{NistP256, NistP384, NistP521};
    let ecdsa = [NistP256, NistP384, NistP521].map(|curve| Algorithm::Ecdsa { curve });
    let rsa = [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) });
    [Algorithm::Ed25519].into_iter().chain(ecdsa).chain(rsa).collect()
}

/// Why a certificate by this authority does not count for the host that is called `name`, and what cures it.
pub fn refusal(certificate: &Certificate, authority: &PublicKey, name: &str, now: u64) -> Option<(String, String)> {
    let sign =
        format!("have the host's key signed anew: `ssh-keygen -s AUTHORITY -h -I {name} -n {name} ssh_host_KEY.pub`");
    if certificate.cert_type() != CertType::Host {
        return Some(("it is a certificate for users".to_owned(), sign));
    }
    // Without any it counts for every host of the authority.
    let principals = certificate.valid_principals();
    if !principals.is_empty() && !principals.iter().any(|principal| principal == name) {
        let why = format!("it is for {}, not for {name}", principals.join(", "));
        let cure = format!("{sign}; or address the host by a name of the certificate (`HostName`, `HostKeyAlias`)");
        return Some((why, cure));
    }
    if let Some(why) = out_of_time(certificate) {
        return Some((why, format!("{sign}; is the clock of this machine right?")));
    }
    if let Some(option) = certificate.critical_options().keys().next() {
        return Some((format!("it has the critical option `{option}`, which nobody knows here"), sign));
    }
    let trusted = authority.fingerprint(HashAlg::Sha256);
    let why = certificate.validate_at(now, [&trusted]).err()?;
    Some((format!("its signature is not good ({why}; SHA-1 never is)"), sign))
}

/// Whether `RevokedHostKeys` withdraws what a host shows: a list of keys, or a KRL, which OpenSSH itself reads.
///
/// # Errors
/// It cannot be found out: then the host is not believed.
pub fn is_withdrawn(file: &Path, key: &PublicKey, certificate: Option<&Certificate>) -> Result<bool, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    if bytes.starts_with(KRL) {
        let shown = certificate.map_or_else(|| key.to_openssh(), Certificate::to_openssh);
        return asked(file, &shown.map_err(|error| error.to_string())?);
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let shown = [Some(key.key_data()), certificate.map(Certificate::signature_key)];
    let mut withdrawn = false;
    for line in lines {
        let one = PublicKey::from_openssh(line).map_err(|error| format!("`{}`: {error}", quote(line.as_bytes())))?;
        withdrawn |= shown.contains(&Some(one.key_data()));
    }
    Ok(withdrawn)
}

/// How a KRL begins.
const KRL: &[u8] = b"SSHKRL\n\0";

fn asked(file: &Path, shown: &str) -> Result<bool, String> {
    let ask = || -> std::io::Result<_> {
        let key = tempfile::NamedTempFile::new()?;
        std::fs::write(key.path(), format!("{shown}\n"))?;
        let mut keygen = Command::new("ssh-keygen");
        without_ours(&mut keygen);
        keygen.arg("-Q").arg("-f").arg(file).arg(key.path()).stdin(Stdio::null()).env("LC_ALL", "C").output()
    };
    let answer = ask().map_err(|error| format!("`ssh-keygen -Q` cannot be asked: {error}"))?;
    let said = String::from_utf8_lossy(&answer.stdout);
    match (answer.status.success(), said.trim_end().ends_with("REVOKED")) {
        (true, _) => Ok(false),
        (false, true) => Ok(true),
        (false, false) => Err(quote(&answer.stderr)),
    }
}
