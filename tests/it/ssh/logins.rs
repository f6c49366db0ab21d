//! Who may log in: keys of every kind, encrypted ones, an agent; and what is said where none will do.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

use super::server::{Sshd, keygen, world};
use crate::support::world::until;

/// Ends with the test.
pub struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One that holds these keys, in this order, with the certificates beside them.
pub fn agent(socket: &Path, keys: &[&Path]) -> Agent {
    let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).spawn().unwrap();
    let agent = Agent(child);
    until("the agent listens", || UnixStream::connect(socket).ok());
    for key in keys {
        let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", socket).status();
        assert!(added.unwrap().success());
    }
    agent
}

#[test]
fn keys_of_every_kind_open_and_an_encrypted_one_with_its_passphrase() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    for (name, kind) in [
        ("rsa", &["rsa", "-b", "2048"][..]),
        ("rsa_pem", &["rsa", "-b", "2048", "-m", "PEM"]),
        ("ec256", &["ecdsa", "-b", "256"]),
        ("ec384", &["ecdsa", "-b", "384"]),
    ] {
        keygen(&world.path(name), kind, "");
        sshd.allow(&world.path(name));
        world.set("SOLL_SSH_KEY", &format!("$DIR/{name}"));
        world.soll("plan staging").exits(0).says("web1");
    }
    keygen(&world.path("closed"), &["ed25519"], "correct horse");
    sshd.allow(&world.path("closed"));
    world.set("SOLL_SSH_KEY", "$DIR/closed");
    world.soll("plan staging").exits(6).says("SOLL_SSH_PASSPHRASE").says("closed");
    world.set("SOLL_SSH_PASSPHRASE", "wrong horse");
    world.soll("plan staging").exits(6).says("does not open it").hides("wrong horse");
    world.set("SOLL_SSH_PASSPHRASE", "correct horse");
    world.soll("plan staging").exits(0).hides("correct horse");
}

#[test]
fn an_agent_opens_with_and_without_a_named_key() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let socket = world.path("agent.sock");
    keygen(&world.path("other"), &["rsa"], "");
    let _agent = agent(&socket, &[&world.path("other"), &world.path("key")]);
    world.set("SSH_AUTH_SOCK", "$DIR/agent.sock");
    world.set("SOLL_SSH_KEY", "");
    world.soll("plan staging").exits(0).says("web1");
    // A key of the agent's that is named by its public half alone; no other one is offered.
    std::fs::copy(sshd.path("key.pub"), world.path("half.pub")).unwrap();
    world.set("SOLL_SSH_KEY", "$DIR/half");
    world.soll("plan staging").exits(0);
    std::fs::copy(world.path("other.pub"), world.path("half.pub")).unwrap();
    world.soll("plan staging").exits(6).says("login");
}

#[test]
fn a_refused_login_says_what_was_tried() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    keygen(&world.path("stranger"), &["ed25519"], "");
    world.set("SOLL_SSH_KEY", "$DIR/stranger");
    world.soll("apply").exits(6).says("the host refuses").says("stranger (SHA256:").says("authorized_keys");
    world.set("SOLL_SSH_KEY", "$DIR/nowhere");
    world.soll("apply").exits(6).says("no key to log in with").says("nowhere");
}

#[test]
fn a_key_that_others_may_read_is_no_reason_to_fail_but_rubbish_is_named() {
    let sshd = Sshd::new("");
    let world = world(&sshd);
    std::fs::set_permissions(world.path("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    world.soll("plan staging").exits(0);
    world.write("key", "no key at all");
    world
        .soll("plan staging")
        .exits(6)
        .says("$DIR/key".replace("$DIR", world.path("").to_str().unwrap().trim_end_matches('/')).as_str());
}

#[test]
fn of_a_full_agent_the_key_that_is_named_comes_first() {
    let mut sshd = Sshd::new("");
    let mut world = world(&sshd);
    sshd.again(&["ed25519"], "MaxAuthTries 2");
    let names = ["k1", "k2", "k3", "k4", "key"];
    names[..4].iter().for_each(|name| keygen(&world.path(name), &["ed25519"], ""));
    let paths = names.map(|name| world.path(name));
    let _agent = agent(&world.path("agent.sock"), &paths.each_ref().map(|path| path.as_path()));
    world.set("SSH_AUTH_SOCK", "$DIR/agent.sock");
    world.set("SOLL_SSH_KEY", "");
    std::fs::copy(sshd.path("key.pub"), world.path("half.pub")).unwrap();
    // sshd hears two of them; what the message proposes is tried.
    world.write("ssh_config", "IdentityFile none\n");
    world.soll("plan staging").exits(6).says("MaxAuthTries").says("`IdentityFile KEY` and `IdentitiesOnly yes`");
    for lines in [
        "IdentityFile $DIR/half.pub\nIdentitiesOnly yes\n",
        "IdentityFile $DIR/half.pub\n",
        "IdentityFile $DIR/key\nIdentitiesOnly yes\n",
    ] {
        world.write("ssh_config", lines);
        world.soll("plan staging").exits(0);
    }
    // The named one is wrong: with IdentitiesOnly none of the agent's is tried.
    sshd.again(&["ed25519"], "");
    world.write("ssh_config", "IdentityFile $DIR/k1\n");
    world.soll("plan staging").exits(0);
    world.write("ssh_config", "IdentityFile $DIR/k1\nIdentitiesOnly yes\n");
    world.soll("plan staging").exits(6).says("the host refuses").hides("the agent's");
}

/// An agent that speaks for a security key which is touched at once.
struct Token {
    pair: Ed25519KeyPair,
    blob: Vec<u8>,
}

const SK: &str = "sk-ssh-ed25519@openssh.com";

/// A length, and so many bytes.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

impl Token {
    fn new() -> Token {
        let pair = Ed25519KeyPair::generate().unwrap();
        let blob = [string(SK.as_bytes()), string(pair.public_key().as_ref()), string(b"ssh:")].concat();
        Token { pair, blob }
    }

    fn public(&self) -> String {
        format!("{SK} {} token\n", Base64::encode_string(&self.blob))
    }

    fn serve(self: Arc<Self>, socket: &Path) {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let token = self.clone();
                std::thread::spawn(move || while token.answer(&client).is_ok() {});
            }
        });
    }

    fn answer(&self, mut client: &UnixStream) -> std::io::Result<()> {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        client.read_exact(&mut message)?;
        let answer = match message[0] {
            11 => [&[12, 0, 0, 0, 1], &string(&self.blob)[..], &string(b"token")].concat(),
            13 => {
                let data = &message[1 + 4 + self.blob.len() + 4..message.len() - 4];
                let end = [&[1][..], &7u32.to_be_bytes()].concat();
                let signed = [&Sha256::digest(b"ssh:")[..], &end, &Sha256::digest(data)[..]].concat();
                let signature = string(self.pair.sign(&signed).as_ref());
                [vec![14], string(&[string(SK.as_bytes()), signature, end].concat())].concat()
            }
            _ => vec![5],
        };
        client.write_all(&string(&answer))
    }
}

#[test]
fn a_security_key_signs_through_the_agent() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let token = Arc::new(Token::new());
    token.clone().serve(&world.path("agent.sock"));
    std::fs::write(sshd.path("authorized"), token.public()).unwrap();
    world.write("token.pub", &token.public());
    world.set("SSH_AUTH_SOCK", "$DIR/agent.sock");
    world.set("SOLL_SSH_KEY", "");
    world.write("ssh_config", "IdentityFile none\n");
    world.soll("apply").exits(0);
    world.write("ssh_config", "IdentityFile $DIR/token.pub\nIdentitiesOnly yes\n");
    world.soll("plan staging").exits(0);
    world.set("SOLL_SSH_KEY", "$DIR/token");
    world.soll("plan staging").exits(0);
    assert_eq!(sshd.logins(), 3, "{}", sshd.log());
}
