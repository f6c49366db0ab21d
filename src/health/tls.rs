//! Certificates: how long the one of `host:port` is still good (C4), and the trust that HTTPS checks build on.
//!
//! The handshake accepts any certificate, because a bad one is what this check wants to describe; the peer must still
//! prove that it owns the key. Dates are judged always. Trust is judged against the roots of this machine, and only
//! where the address is a name: nobody issues public certificates for the addresses inside a network.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use x509_cert::der::Decode;

use super::net::{Deadline, HostPort, connect};
use super::{Context, Finding};
use crate::model::authority;
use crate::model::observed::Verdict;

/// Shakes hands with `address` and judges the certificate that it shows.
pub(super) async fn check(address: &str, min_days: u32, ctx: &Context<'_>) -> Result<Finding, Finding> {
    let deadline = Deadline::after(ctx.timeout);
    let place: HostPort = address.parse().map_err(Finding::unsure)?;
    let name = ServerName::try_from(place.host.clone())
        .map_err(|_| Finding::unsure(format!("`{}` is not a name that a certificate can carry", place.host)))?;
    let roots = match name {
        ServerName::IpAddress(_) => None,
        _ => Some(system_roots().await?),
    };
    let stream = connect(&place, &deadline).await?;
    let connector = TlsConnector::from(Arc::new(witness_config().map_err(Finding::unsure)?));
    let late = |after| Finding::fail(format!("no TLS handshake with {place} within {after}"));
    let shaken = deadline.within(connector.connect(name.clone(), stream), late).await?;
    let stream = shaken.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(tls) => broken(&place, tls),
        None => Finding::fail(format!("{place} broke off the TLS handshake: {error}")),
    })?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let (verdict, evidence) = judge(chain, &name, roots, (ctx.now)(), min_days);
    Ok(Finding { verdict, evidence: format!("certificate of {place} {evidence}") })
}

/// Judges a chain, leaf first: dates, then, where `roots` are given, trust and name. The text completes the sentence
/// "the certificate of HOST …".
pub fn judge(
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    roots: Option<Arc<RootCertStore>>,
    now: Timestamp,
    min_days: u32,
) -> (Verdict, String) {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return (Verdict::Fail, "was not shown".to_owned());
    };
    let (not_before, not_after) = match validity(leaf) {
        Ok(validity) => validity,
        Err(error) => return (Verdict::Inconclusive, format!("cannot be read: {error}")),
    };
    let (from, until) = (not_before.strftime("%Y-%m-%d"), not_after.strftime("%Y-%m-%d"));
    let left = not_after.duration_since(now);
    let days = left.as_hours() / 24;
    if left.is_negative() {
        return (Verdict::Fail, format!("expired on {until}"));
    }
    if now < not_before {
        return (Verdict::Fail, format!("is not valid before {from}"));
    }
    let distrust = roots.and_then(|roots| distrust(leaf, intermediates, name, roots, now).err());
    if left < SignedDuration::from_hours(i64::from(min_days) * 24) {
        let also = distrust.map(|why| format!("; {why}")).unwrap_or_default();
        return (Verdict::Fail, format!("expires on {until}, {days} days left where {min_days} are asked{also}"));
    }
    match distrust {
        Some(why) => (Verdict::Fail, format!("is valid until {until}, {days} days left, but {why}")),
        None => (Verdict::Pass, format!("is valid until {until}, {days} days left")),
    }
}

fn validity(leaf: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), String> {
    let certificate = x509_cert::Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let validity = certificate.tbs_certificate().validity();
    let at = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).map_err(|error| error.to_string())?;
        // 99991231235959Z, "no expiry" (RFC 5280), is past the last timestamp here.
        Ok::<_, String>(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
    };
    Ok((at(validity.not_before)?, at(validity.not_after)?))
}

fn distrust(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    roots: Arc<RootCertStore>,
    now: Timestamp,
) -> Result<(), String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| format!("trust cannot be judged here: {error}"))?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)));
    match verifier.verify_server_cert(leaf, intermediates, name, &[], now) {
        Ok(_) => Ok(()),
        Err(error) => Err(words(&error)),
    }
}

fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("it has no trusted issuer: it is self-signed, or the chain is incomplete; {}", trust())
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "it is made out for another name".to_owned(),
        other => other.to_string(),
    }
}

/// What to do where the issuer is not trusted here.
fn trust() -> String {
    let named = std::env::var(authority::VARIABLE).ok();
    authority::cure(named.as_deref(), |file| std::fs::File::open(file).map(drop).map_err(|error| error.to_string()))
}

/// A TLS error of the target, as evidence.
pub(super) fn broken(place: &HostPort, error: &Error) -> Finding {
    Finding::fail(format!("TLS with {place} failed: {}", words(error)))
}

/// The roots that this machine trusts. Without any, nothing can be said about a certificate.
pub(super) async fn system_roots() -> Result<Arc<RootCertStore>, Finding> {
    let loaded = tokio::task::spawn_blocking(|| {
        let mut roots = RootCertStore::empty();
        // A file that cannot be parsed is one root less, not a reason to trust none.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    match loaded.await {
        Ok(roots) if !roots.is_empty() => Ok(Arc::new(roots)),
        _ if std::env::var_os(authority::VARIABLE).is_some() => {
            Err(Finding::unsure(format!("this machine trusts no certificate authority: {}", trust())))
        }
        _ => Err(Finding::unsure("this machine trusts no certificate authority: install ca-certificates here")),
    }
}

/// A client that trusts `roots`; none for a client that will speak plain HTTP only.
pub(super) fn client_config(roots: Option<Arc<RootCertStore>>) -> Result<ClientConfig, String> {
    Ok(builder()?
        .with_root_certificates(roots.unwrap_or_else(|| Arc::new(RootCertStore::empty())))
        .with_no_client_auth())
}

fn witness_config() -> Result<ClientConfig, String> {
    let witness = Arc::new(Witness(provider()));
    Ok(builder()?.dangerous().with_custom_certificate_verifier(witness).with_no_client_auth())
}

fn builder() -> Result<tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS is not available here: {error}"))
}

/// Named, not looked up: the process may have several, and then the default is a panic.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Accepts every certificate, and only from a peer that owns its key. It looks, and sends nothing.
#[derive(Debug)]
struct Witness(Arc<CryptoProvider>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
