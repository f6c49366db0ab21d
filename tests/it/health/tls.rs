//! Certificates (C4) made on the spot, measured against a fixed clock.

use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use soll::health::{Context, judge_certificate};
use soll::model::desired::Probe;
use soll::model::observed::Verdict;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::http::get;
use super::server::Server;
use super::{context, found};

/// Certificates below are valid from 2030-01-01 to the given day, and judged on 2030-02-01.
fn clock() -> Timestamp {
    "2030-02-01T00:00:00Z".parse().unwrap()
}

fn at_that_time() -> Context<'static> {
    Context { now: clock, ..context() }
}

fn params(names: &[&str], year: i32, month: u8, day: u8) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = date_time_ymd(2030, 1, 1);
    params.not_after = date_time_ymd(year, month, day);
    params
}

fn self_signed(params: &CertificateParams) -> (CertificateDer<'static>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().der().clone(), key)
}

fn authority() -> (rcgen::Certificate, Issuer<'static, KeyPair>) {
    let mut params = params(&[], 2040, 1, 1);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.distinguished_name.push(DnType::CommonName, "an authority for tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate, Issuer::new(params, key))
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(params: CertificateParams) -> Server {
    let (certificate, key) = self_signed(&params);
    Server::start_tls(acceptor(certificate, &key)).await
}

fn tls(address: String) -> Probe {
    Probe::Tls { address, min_days: 7 }
}

fn has_system_roots() -> bool {
    !rustls_native_certs::load_native_certs().certs.is_empty()
}

#[tokio::test]
async fn by_address_the_dates_decide() {
    let cases = [
        ((2030, 2, 4), Verdict::Fail, "expires on 2030-02-04, 3 days left where 7 are asked"),
        ((2030, 2, 7), Verdict::Fail, "expires on 2030-02-07, 6 days left where 7 are asked"),
        ((2030, 2, 8), Verdict::Pass, "is valid until 2030-02-08, 7 days left"),
        ((2030, 3, 3), Verdict::Pass, "is valid until 2030-03-03, 30 days left"),
        ((2030, 1, 31), Verdict::Fail, "expired on 2030-01-31"),
    ];
    for ((year, month, day), verdict, evidence) in cases {
        let server = serve(params(&["127.0.0.1"], year, month, day)).await;
        let want = (verdict, format!("certificate of {} {evidence}", server.address()));
        assert_eq!(found(&tls(server.address()), &at_that_time()).await, want);
    }
    let server = serve(params(&["127.0.0.1"], 2031, 1, 1)).await;
    let early = Context { now: || "2029-12-31T00:00:00Z".parse().unwrap(), ..context() };
    let want = format!("certificate of {} is not valid before 2030-01-01", server.address());
    assert_eq!(found(&tls(server.address()), &early).await, (Verdict::Fail, want));
}

#[tokio::test]
async fn by_name_a_self_signed_certificate_is_not_trusted() {
    let server = serve(params(&["localhost"], 2030, 3, 3)).await;
    let (verdict, evidence) = found(&tls(format!("localhost:{}", server.address.port())), &at_that_time()).await;
    match has_system_roots() {
        true => {
            assert_eq!(verdict, Verdict::Fail, "{evidence}");
            assert!(evidence.contains("valid until 2030-03-03, 30 days left, but "), "{evidence}");
        }
        false => assert_eq!(verdict, Verdict::Inconclusive, "{evidence}"),
    }
    let https = get(&format!("https://127.0.0.1:{}/", server.address.port()));
    let (verdict, evidence) = found(&https, &at_that_time()).await;
    match has_system_roots() {
        true => {
            assert_eq!(verdict, Verdict::Fail, "{evidence}");
            assert!(evidence.starts_with(&format!("TLS with {} failed: ", server.address())), "{evidence}");
        }
        false => assert_eq!(verdict, Verdict::Inconclusive, "{evidence}"),
    }
    assert!(server.seen().is_empty(), "a request went to a server that is not trusted");
}

#[tokio::test]
async fn what_does_not_speak_tls_fails() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 smtp.example.com ESMTP\r\n").await.unwrap();
        // Reads on, so that the greeting is not lost in a reset.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let (verdict, evidence) = found(&tls(address.clone()), &at_that_time()).await;
    assert_eq!(verdict, Verdict::Fail);
    assert!(evidence.starts_with(&format!("TLS with {address} failed: ")), "{evidence}");
    let port = super::closed_port().await;
    let refused = format!("no connection to 127.0.0.1:{port}: connection refused");
    assert_eq!(found(&tls(format!("127.0.0.1:{port}")), &at_that_time()).await, (Verdict::Fail, refused));
}

#[test]
fn a_chain_is_judged_by_its_roots_and_its_name() {
    let (root, issuer) = authority();
    let key = KeyPair::generate().unwrap();
    let leaf = params(&["app.example.com"], 2030, 3, 3).signed_by(&key, &issuer).unwrap();
    let stranger = self_signed(&params(&["app.example.com"], 2030, 3, 3)).0;
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let judge = |leaf: &CertificateDer<'static>, name: &'static str, min_days| {
        let name = ServerName::try_from(name).unwrap();
        judge_certificate(std::slice::from_ref(leaf), &name, Some(roots.clone()), clock(), min_days)
    };
    let good = "is valid until 2030-03-03, 30 days left";
    assert_eq!(judge(leaf.der(), "app.example.com", 7), (Verdict::Pass, good.to_owned()));
    assert_eq!(
        judge(leaf.der(), "other.example.com", 7),
        (Verdict::Fail, format!("{good}, but it is made out for another name"))
    );
    let (verdict, evidence) = judge(&stranger, "app.example.com", 7);
    assert_eq!(verdict, Verdict::Fail);
    assert!(evidence.contains("but it has no trusted issuer"), "{evidence}");
    let (verdict, evidence) = judge(&stranger, "app.example.com", 60);
    assert_eq!(verdict, Verdict::Fail);
    assert!(evidence.contains("30 days left where 60 are asked; it has no trusted issuer"), "{evidence}");
    let name = ServerName::try_from("app.example.com").unwrap();
    assert_eq!(judge_certificate(&[], &name, None, clock(), 7).0, Verdict::Fail);
    let junk = CertificateDer::from(vec![1, 2, 3]);
    assert_eq!(judge_certificate(&[junk], &name, None, clock(), 7).0, Verdict::Inconclusive);
}

/// The roots of a machine are named to a process by its environment, so this test runs once more as its own child.
#[tokio::test]
async fn a_certificate_of_a_trusted_authority_passes() {
    const PORT: &str = "SOLL_TEST_TLS_PORT";
    if let Ok(port) = std::env::var(PORT) {
        // HTTPS checks trust by the real clock.
        let (verdict, evidence) = found(&get(&format!("https://localhost:{port}/")), &context()).await;
        assert_eq!((verdict, evidence.as_str()), (Verdict::Pass, "200 in N ms"));
        let (verdict, evidence) = found(&tls(format!("localhost:{port}")), &context()).await;
        assert_eq!(verdict, Verdict::Pass, "{evidence}");
        return;
    }
    let (root, issuer) = authority();
    let mut params = params(&["localhost"], 2040, 1, 1);
    params.not_before = date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let server = Server::start_tls(acceptor(leaf.der().clone(), &key)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), root.pem()).unwrap();
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "health::tls::a_certificate_of_a_trusted_authority_passes"])
        .env(PORT, server.address.port().to_string())
        .env("SSL_CERT_FILE", file.path())
        .env_remove("SSL_CERT_DIR")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(server.seen().len(), 1, "the HTTPS check asked once");
}
