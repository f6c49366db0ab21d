//! Who we are: keys in files, keys of an `ssh-agent`, and the login with one of them after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::MethodSet;
use russh::client::{AuthResult, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use tokio::net::UnixStream;

use super::error::{Phase, SshError};
use super::settings::{Place, Settings};

/// An agent may ask a person, who may be away.
const AGENT: Duration = Duration::from_secs(30);

/// What was tried, for the error.
#[derive(Default)]
struct Tried {
    refused: Vec<String>,
    unusable: Vec<String>,
    accepted: Option<String>,
}

/// Logs in.
///
/// # Errors
/// No key is accepted: says which were tried and what the host would take.
pub async fn login<H: Handler>(handle: &mut Handle<H>, settings: &Settings, place: &Place) -> Result<(), SshError> {
    let mut tried = Tried::default();
    let mut files = Files::read(place, settings, &mut tried);
    // A key that was named is tried first; otherwise the agent is, like OpenSSH does.
    if settings.key.is_some() && files.login(handle, place, &mut tried).await? {
        return Ok(());
    }
    if agent(handle, place, &files, &mut tried).await? {
        return Ok(());
    }
    if settings.key.is_none() && files.login(handle, place, &mut tried).await? {
        return Ok(());
    }
    Err(refused(place, &tried))
}

fn refused(place: &Place, tried: &Tried) -> SshError {
    let mut what = if tried.refused.is_empty() {
        "there is no key to log in with".to_owned()
    } else {
        format!("the host refuses {}", tried.refused.join(", "))
    };
    if let Some(methods) = tried.accepted.as_ref().filter(|methods| !methods.is_empty()) {
        what.push_str(&format!(" (it takes: {methods})"));
    }
    if !tried.unusable.is_empty() {
        what.push_str(&format!("; not usable: {}", tried.unusable.join(", ")));
    }
    let cure = if tried.refused.is_empty() {
        "name a key with SOLL_SSH_KEY, or load one into ssh-agent".to_owned()
    } else {
        format!("add the public key to authorized_keys of {}, or name another key with SOLL_SSH_KEY", place.user)
    };
    SshError::new(place, Phase::Login, what, cure)
}

/// The identity files that there are.
struct Files {
    keys: Vec<(PathBuf, Arc<PrivateKey>)>,
    /// Those whose private half is not to be had here: an agent may have it.
    public: Vec<PublicKey>,
}

impl Files {
    fn read(place: &Place, settings: &Settings, tried: &mut Tried) -> Files {
        let mut files = Files { keys: Vec::new(), public: Vec::new() };
        for path in &place.identities {
            let shown = path.display();
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) => {
                    files.public.extend(public_half(path));
                    if error.kind() != std::io::ErrorKind::NotFound || settings.key.is_some() {
                        tried.unusable.push(format!("{shown} ({error})"));
                    }
                    continue;
                }
            };
            let text = zeroize::Zeroizing::new(text);
            let passphrase = settings.passphrase.as_ref().map(|secret| secret.expose());
            match russh::keys::decode_secret_key(&text, None).or_else(|first| match passphrase {
                Some(passphrase) => russh::keys::decode_secret_key(&text, Some(passphrase)),
                None => Err(first),
            }) {
                Ok(key) => {
                    files.public.push(key.public_key().clone());
                    files.keys.push((path.clone(), Arc::new(key)));
                }
                Err(error) => {
                    files.public.extend(public_half(path));
                    let why = match (&error, passphrase) {
                        (russh::keys::Error::KeyIsEncrypted, None) => "encrypted: set SOLL_SSH_PASSPHRASE".to_owned(),
                        (_, Some(_)) if encrypted(&text) => "SOLL_SSH_PASSPHRASE does not open it".to_owned(),
                        (error, _) => error.to_string(),
                    };
                    tried.unusable.push(format!("{shown} ({why})"));
                }
            }
        }
        files
    }

    async fn login<H: Handler>(
        &mut self,
        handle: &mut Handle<H>,
        place: &Place,
        tried: &mut Tried,
    ) -> Result<bool, SshError> {
        for (path, key) in std::mem::take(&mut self.keys) {
            let hash = rsa_hash(handle, place, key.public_key()).await?;
            let with = PrivateKeyWithHashAlg::new(key.clone(), hash);
            let answer = handle.authenticate_publickey(&place.user, with).await;
            let name = format!("{} ({})", path.display(), fingerprint(key.public_key()));
            if tried.note(answer.map_err(|error| broke(place, &error))?, name) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Tried {
    fn note(&mut self, answer: AuthResult, name: String) -> bool {
        match answer {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, partial_success } => {
                let more = if partial_success { ", and it wants more than a key" } else { "" };
                self.refused.push(format!("{name}{more}"));
                self.accepted = Some(methods(&remaining_methods));
                false
            }
        }
    }
}

fn methods(set: &MethodSet) -> String {
    set.iter().map(<&str>::from).collect::<Vec<_>>().join(", ")
}

async fn agent<H: Handler>(
    handle: &mut Handle<H>,
    place: &Place,
    files: &Files,
    tried: &mut Tried,
) -> Result<bool, SshError> {
    let Some(socket) = &place.agent else { return Ok(false) };
    let unusable = |why: String| format!("ssh-agent at {} ({why})", socket.display());
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) => {
            tried.unusable.push(unusable(error.to_string()));
            return Ok(false);
        }
    };
    let mut agent = AgentClient::connect(stream);
    let identities = match tokio::time::timeout(AGENT, agent.request_identities()).await {
        Ok(Ok(identities)) => identities,
        Ok(Err(error)) => {
            tried.unusable.push(unusable(error.to_string()));
            return Ok(false);
        }
        Err(_) => {
            tried.unusable.push(unusable("it does not answer".to_owned()));
            return Ok(false);
        }
    };
    for identity in identities {
        let AgentIdentity::PublicKey { key, comment } = identity else { continue };
        let configured = files.public.iter().any(|public| public.key_data() == key.key_data());
        if place.identities_only && !configured {
            continue;
        }
        let hash = rsa_hash(handle, place, &key).await?;
        let name = format!("the agent's {comment} ({})", fingerprint(&key));
        let answer = handle.authenticate_publickey_with(&place.user, key, hash, &mut agent);
        match tokio::time::timeout(AGENT, answer).await {
            Ok(Ok(answer)) => {
                if tried.note(answer, name) {
                    return Ok(true);
                }
            }
            Ok(Err(error)) => tried.unusable.push(format!("{name} ({error})")),
            Err(_) => {
                // An answer that comes later would be taken for the next key's.
                let what = format!("{name} did not sign within {} s", AGENT.as_secs());
                return Err(SshError::new(place, Phase::Login, what, "confirm it at the agent, or name a key file"));
            }
        }
    }
    Ok(false)
}

/// The hash to sign with; never SHA-1.
async fn rsa_hash<H: Handler>(handle: &Handle<H>, place: &Place, key: &PublicKey) -> Result<Option<HashAlg>, SshError> {
    if !key.algorithm().is_rsa() {
        return Ok(None);
    }
    let best = handle.best_supported_rsa_hash().await.map_err(|error| broke(place, &error))?;
    Ok(best.flatten().or(Some(HashAlg::Sha512)))
}

fn broke(place: &Place, error: &russh::Error) -> SshError {
    SshError::new(
        place,
        Phase::Login,
        format!("the connection broke: {error}"),
        "look at the log of sshd there: it may refuse after too many keys (name one with SOLL_SSH_KEY)",
    )
}

fn public_half(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    russh::keys::load_public_key(PathBuf::from(name)).ok()
}

fn encrypted(text: &str) -> bool {
    matches!(russh::keys::decode_secret_key(text, None), Err(russh::keys::Error::KeyIsEncrypted))
}

/// As `ssh-keygen -l` shows it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
