//! Who may make whom do what: each test plays somebody who tries what they may not.

mod line;
mod listener;
mod local_roots;
mod observation;
mod origins;
mod output;
mod policies;
mod processes;
mod proposals;
mod refused;
mod secrets;

use std::io::ErrorKind;
use std::net::TcpListener;

use crate::support::world::{APP, World, env};

/// The names of the secrets that are at stake, and what none of them may see.
pub const SECRET: &str = "correct-horse-battery-staple";

/// A server of somebody who should hear nothing: not even a connection.
pub struct Trap(TcpListener);

impl Trap {
    pub fn set() -> Trap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Trap(listener)
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port())
    }

    /// Whether somebody has connected.
    pub fn is_sprung(&self) -> bool {
        match self.0.accept() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// An environment `staging` that runs `a`, and `production` beside it; every commit is signed by Ann, who is allowed.
pub fn guarded() -> World {
    let mut w = World::new();
    for letter in ['a', 'b'] {
        w.bundle(letter, &[]);
    }
    for name in ["ann", "eve"] {
        let mut keygen = w.program("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(w.path(name));
        assert!(keygen.status().unwrap().success());
    }
    w.write("signers", &format!("ann@example.com {}", w.read("ann.pub")));
    w.git(&["config", "gpg.format", "ssh"]);
    signs(&w, Some("ann"));
    w.set("SOLL_ALLOWED_SIGNERS", "$DIR/signers");
    w.set("SOLL_SIGNING_KEY", "$DIR/ann");
    w.set("SOLL_SECRET_HEALTHCHECK_TOKEN", SECRET);
    w.commit(&format!("{APP}{}{}", env("staging", 'a', ""), env("production", 'a', "")));
    w.soll("apply").exits(0);
    w
}

/// Who signs what is committed by git from now on.
pub fn signs(w: &World, who: Option<&str>) {
    w.git(&["config", "commit.gpgsign", if who.is_some() { "true" } else { "false" }]);
    if let Some(who) = who {
        w.git(&["config", "user.signingkey", w.path(who).to_str().unwrap()]);
    }
}
