//! The login: what is offered to the host, in which order, and who signs. A host hears few keys before it closes the
//! connection (`MaxAuthTries`, six by default), so those that are configured come first, each of them once, and the rest
//! of a full agent last.

use std::sync::Arc;
use std::time::Duration;

use russh::MethodSet;
use russh::client::{AuthResult, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use tokio::net::UnixStream;

use super::error::{Phase, SshError};
use super::identity::{Identities, unsuitable};
use super::settings::{Settings, SshHost};

/// An agent may ask a person, who may be away.
const AGENT: Duration = Duration::from_secs(30);

/// What is shown to the host at once.
struct Offer {
    name: String,
    public: PublicKey,
    /// Shown instead of the key that it vouches for.
    certificate: Option<Certificate>,
    /// `None`: the agent signs.
    private: Option<Arc<PrivateKey>>,
}

/// What was tried, for the error.
#[derive(Default)]
struct Tried {
    refused: Vec<String>,
    unusable: Vec<String>,
    accepted: Option<String>,
    certificate: bool,
}

/// Logs in.
///
/// # Errors
/// No key is accepted: says which were tried and what the host would take.
pub async fn login<H: Handler>(handle: &mut Handle<H>, settings: &Settings, place: &SshHost) -> Result<(), SshError> {
    let mut identities = Identities::read(place, settings);
    let mut tried = Tried { unusable: std::mem::take(&mut identities.unusable), ..Tried::default() };
    let (mut agent, held) = connect(place, &mut tried).await;
    for offer in offers(place, &identities, &held, &mut tried) {
        let hash = rsa_hash(handle, place, &offer.public, &tried).await?;
        tried.certificate |= offer.certificate.is_some();
        let answer = match (&offer.private, &mut agent) {
            (Some(private), _) => by_key(handle, place, &offer, private, hash).await,
            (None, Some(agent)) => match by_agent(handle, place, &offer, hash, agent).await? {
                Ok(answer) => Ok(answer),
                Err(why) => {
                    tried.unusable.push(format!("{} ({why})", offer.name));
                    continue;
                }
            },
            (None, None) => continue,
        };
        match answer.map_err(|error| broke(place, &error, &tried))? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, partial_success } => {
                let more = if partial_success { ", and it wants more than a key" } else { "" };
                tried.refused.push(format!("{}{more}", offer.name));
                tried.accepted = Some(methods(&remaining_methods));
                // A connection that ended is told as an answer without any method.
                if remaining_methods.is_empty() && ended(handle).await {
                    return Err(broke(place, "the host closed it", &tried));
                }
            }
        }
    }
    Err(refused(place, &tried))
}

/// Configured keys in their order, each with its certificates before it; then the agent's others, where they may be used.
fn offers(place: &SshHost, identities: &Identities, held: &[AgentIdentity], tried: &mut Tried) -> Vec<Offer> {
    let holds = |public: &PublicKey| held.iter().any(|one| one.public_key().key_data() == public.key_data());
    let mut certificates: Vec<(String, &Certificate)> =
        identities.certificates.iter().map(|vouched| (vouched.name.clone(), &vouched.certificate)).collect();
    for identity in held {
        let AgentIdentity::Certificate { certificate, comment } = identity else { continue };
        let name = format!("the agent's certificate {comment}");
        match unsuitable(certificate) {
            None => certificates.push((name, certificate)),
            Some(why) => tried.unusable.push(format!("{name} ({why})")),
        }
    }
    let mut all: Vec<Offer> = Vec::new();
    let mut add = |name: &str, public: &PublicKey, private: Option<Arc<PrivateKey>>| {
        let own = certificates.iter().filter(|(_, one)| one.public_key() == public.key_data());
        let own = own.map(|(name, one)| (format!("the certificate {name} ({})", about(one)), Some((*one).clone())));
        let plain = (format!("{name} ({})", fingerprint(public)), None);
        for (name, certificate) in own.chain([plain]) {
            let same = |offer: &Offer| offer.public.key_data() == public.key_data() && offer.certificate == certificate;
            if !all.iter().any(same) {
                all.push(Offer { name, public: public.clone(), certificate, private: private.clone() });
            }
        }
    };
    for key in &identities.keys {
        if key.private.is_some() || holds(&key.public) {
            add(&key.name, &key.public, key.private.clone());
        }
    }
    for vouched in &identities.certificates {
        let public = PublicKey::new(vouched.certificate.public_key().clone(), "");
        if holds(&public) {
            add("the agent's key", &public, None);
        }
    }
    if !place.identities_only {
        for identity in held {
            add(&format!("the agent's {}", identity.comment()), &identity.public_key(), None);
        }
    }
    all
}

/// What a person wants to know of a certificate that was refused.
fn about(certificate: &Certificate) -> String {
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    let principals = match certificate.valid_principals() {
        [] => "without principals".to_owned(),
        names => format!("for {}", names.join(", ")),
    };
    format!("{principals}, signed by {authority}")
}

async fn by_key<H: Handler>(
    handle: &mut Handle<H>,
    place: &SshHost,
    offer: &Offer,
    private: &Arc<PrivateKey>,
    hash: Option<HashAlg>,
) -> Result<AuthResult, String> {
    match &offer.certificate {
        None => {
            let with = PrivateKeyWithHashAlg::new(private.clone(), hash);
            handle.authenticate_publickey(&place.user, with).await.map_err(|error| error.to_string())
        }
        Some(one) => {
            let mut hand = Hand(private);
            let answer = handle.authenticate_certificate_with(&place.user, one.clone(), hash, &mut hand);
            answer.await.map_err(|error| error.to_string())
        }
    }
}

/// The inner error: the agent does not sign with this key, but may with another.
async fn by_agent<H: Handler>(
    handle: &mut Handle<H>,
    place: &SshHost,
    offer: &Offer,
    hash: Option<HashAlg>,
    agent: &mut AgentClient<UnixStream>,
) -> Result<Result<AuthResult, String>, SshError> {
    let mut hand = AgentHand { agent, public: &offer.public };
    let answer = async {
        match &offer.certificate {
            None => handle.authenticate_publickey_with(&place.user, offer.public.clone(), hash, &mut hand).await,
            Some(one) => handle.authenticate_certificate_with(&place.user, one.clone(), hash, &mut hand).await,
        }
    };
    match tokio::time::timeout(AGENT, answer).await {
        Ok(answer) => Ok(answer.map_err(|error| error.to_string())),
        Err(_) => {
            // An answer that comes later would be taken for the next key's.
            let what = format!("{} did not sign within {} s", offer.name, AGENT.as_secs());
            Err(SshError::new(place, Phase::Login, what, "confirm it at the agent, or name a key file"))
        }
    }
}

/// Signs for a certificate with the key that it vouches for. The library's own way knows only SHA-1 for RSA.
struct Hand<'a>(&'a PrivateKey);

impl russh::Signer for Hand<'_> {
    type Error = russh::AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, russh::AgentAuthError> {
        use russh::keys::signature::Signer as _;
        let signature = match self.0.key_data() {
            KeypairData::Rsa(pair) => (pair, hash).try_sign(&data),
            pair => pair.try_sign(&data),
        };
        let signed = || -> Result<Vec<u8>, russh::keys::Error> {
            let mut encoded = Vec::new();
            signature.map_err(russh::keys::ssh_key::Error::from)?.encode(&mut encoded)?;
            encoded.encode(&mut data)?;
            Ok(data)
        };
        Ok(signed()?)
    }
}

/// Signs with the plain key that the agent holds, also for a certificate that it does not.
struct AgentHand<'a> {
    agent: &'a mut AgentClient<UnixStream>,
    public: &'a PublicKey,
}

impl russh::Signer for AgentHand<'_> {
    type Error = russh::AgentAuthError;

    async fn auth_sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, russh::AgentAuthError> {
        match self.agent.sign_request(identity, hash, data.clone()).await {
            Err(russh::keys::Error::AgentFailure) if matches!(identity, AgentIdentity::Certificate { .. }) => {
                Ok(self.agent.sign_request(&self.public.clone().into(), hash, data).await?)
            }
            signed => Ok(signed?),
        }
    }
}

/// The agent, and what it holds. One that cannot be asked is noted.
async fn connect(place: &SshHost, tried: &mut Tried) -> (Option<AgentClient<UnixStream>>, Vec<AgentIdentity>) {
    let Some(socket) = &place.agent else { return (None, Vec::new()) };
    let asked = async {
        let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
        let mut agent = AgentClient::connect(stream);
        match tokio::time::timeout(AGENT, agent.request_identities()).await {
            Ok(Ok(held)) => Ok((agent, held)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        }
    };
    match asked.await {
        Ok((agent, held)) => (Some(agent), held),
        Err(why) => {
            tried.unusable.push(format!("ssh-agent at {} ({why})", socket.display()));
            (None, Vec::new())
        }
    }
}

/// Whether the connection is gone, or goes at once.
async fn ended<H: Handler>(handle: &Handle<H>) -> bool {
    handle.is_closed() || handle.send_ping().await.is_err()
}

fn refused(place: &SshHost, tried: &Tried) -> SshError {
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
    let mut cure = if tried.refused.is_empty() {
        "name a key with SOLL_SSH_KEY, or load one into ssh-agent".to_owned()
    } else {
        format!("add the public key to authorized_keys of {}, or name another key with SOLL_SSH_KEY", place.user)
    };
    if tried.certificate {
        cure.push_str(&format!(
            "; a certificate is taken where sshd trusts its authority (TrustedUserCAKeys) and {} is among its principals",
            place.user
        ));
    }
    SshError::new(place, Phase::Login, what, cure)
}

fn methods(set: &MethodSet) -> String {
    set.iter().map(<&str>::from).collect::<Vec<_>>().join(", ")
}

/// The hash to sign with; never SHA-1.
async fn rsa_hash<H: Handler>(
    handle: &Handle<H>,
    place: &SshHost,
    key: &PublicKey,
    tried: &Tried,
) -> Result<Option<HashAlg>, SshError> {
    if !key.algorithm().is_rsa() {
        return Ok(None);
    }
    let best = handle.best_supported_rsa_hash().await.map_err(|error| broke(place, &error.to_string(), tried))?;
    Ok(best.flatten().or(Some(HashAlg::Sha512)))
}

fn broke(place: &SshHost, why: &str, tried: &Tried) -> SshError {
    if tried.refused.is_empty() {
        let what = format!("the connection broke: {why}");
        return SshError::new(place, Phase::Login, what, "look at the log of sshd there");
    }
    let what = format!(
        "the connection broke after {} keys were refused ({why}): sshd there hears no more of them (MaxAuthTries); \
         refused: {}",
        tried.refused.len(),
        tried.refused.join(", ")
    );
    let cure = "say which key is meant: `IdentityFile KEY` and `IdentitiesOnly yes` for this host in the SSH \
                configuration, or SOLL_SSH_KEY; KEY may be the `.pub` of a key that ssh-agent holds";
    SshError::new(place, Phase::Login, what, cure)
}

/// As `ssh-keygen -l` shows it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
