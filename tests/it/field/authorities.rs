//! Servers whose certificates a private authority has signed.

use std::fs;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::world::{APP, World, env, until};

/// Serves its directory by HTTPS, and git's repositories in it as files.
const SERVER: &str = r#"
import http.server, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
open("port", "w").write(f"{server.server_port}\n")
server.serve_forever()
"#;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server below `$DIR/web`, whose authority is `$DIR/authority.pem`. Gives its port.
fn serve(w: &World) -> (Server, u16) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
    w.write("authority.pem", &authority.pem());
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "somebody else's authority");
    w.write("other.pem", &params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem());
    w.write("web/server.pem", &server.pem());
    w.write("web/server.key", &own.serialize_pem());
    let python = Command::new("python3")
        .args(["-c", SERVER])
        .current_dir(w.path("web"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let python = Server(python);
    let port = until("the server listens", || w.read("web/port").strip_suffix('\n')?.parse().ok());
    (python, port)
}

#[test]
fn a_private_authority_is_named_where_it_is_missing_and_counts_where_it_is_given() {
    let mut w = World::with("");
    let (_server, port) = serve(&w);
    for entry in fs::read_dir(w.path("state/bundles")).unwrap().flatten() {
        fs::copy(entry.path(), w.path("web").join(entry.file_name())).unwrap();
    }
    let url = format!("https://localhost:{port}/deployment-bundle-{{sha}}.tar.gz");
    let app = APP.replace("bundles/deployment-bundle-{sha}.tar.gz", &url);
    w.commit(&format!("{app}{}", env("staging", 'a', "")));
    w.soll("apply").exits(1).says("name the file with that one's certificate in SSL_CERT_FILE");
    w.set("SSL_CERT_FILE", "$DIR/nowhere.pem");
    w.soll("apply").exits(1).says(&format!("SSL_CERT_FILE={} cannot be read", w.path("nowhere.pem").display()));
    w.set("SSL_CERT_FILE", "$DIR/other.pem");
    w.soll("apply").exits(1).says("only what is in SSL_CERT_FILE=").says("is trusted");
    w.set("SSL_CERT_FILE", "$DIR/authority.pem");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    // A health check asks the same authorities.
    let checked = "checked.health.checks]]\nhttp = ";
    let check = format!("[[environments.{checked}\"https://localhost:{port}/authority\"\n");
    w.write("web/authority", "yes");
    w.commit(&format!("{APP}{}", env("checked", 'a', &check)));
    w.set("SSL_CERT_FILE", "$DIR/other.pem");
    w.soll("apply").exits(1).says("it has no trusted issuer").says("only what is in SSL_CERT_FILE=");
    w.set("SSL_CERT_FILE", "$DIR/authority.pem");
    w.soll("retry checked").exits(0);
    w.soll("apply").exits(0);
    assert_eq!(w.runs("checked"), "a");
    // Git has a variable of its own.
    w.commit(&format!("{app}{}", env("staging", 'a', "")));
    w.git(&["clone", "-q", "--bare", ".", w.path("web/state.git").to_str().unwrap()]);
    w.git_in("web/state.git", &["update-server-info"]);
    w.set("SOLL_REPO", &format!("https://localhost:{port}/state.git"));
    w.soll("plan").exits(1).says("GIT_SSL_CAINFO");
    w.set("GIT_SSL_CAINFO", "$DIR/authority.pem");
    w.soll("plan").exits(0);
}
