//! SSH signatures of commits and tags: checking them as `git verify-commit` does, and making them. It knows whose key
//! it was, not what that person may do.

use git2::{ObjectType, Oid, Repository};
use jiff::Timestamp;
use russh::keys::ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::error::{RepoError, Result};
use super::repo::StateRepo;
use super::signers::{AllowedSigners, Purpose, Times};
use super::{CommitId, location};
use crate::model::key_text::{KeySource, tidy};

const BEGIN_SSH: &str = "-----BEGIN SSH SIGNATURE-----";

/// Whose signature it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The name in the allowed signers: the author's address where the line allows it, else the line's first name.
    pub principal: String,
    /// `SHA256:…`. Two principals with the same fingerprint are one key.
    pub fingerprint: String,
}

/// Why something does not count as signed. Displays as half a sentence: "it is not signed".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unverified(pub String);

impl StateRepo {
    /// Whose valid signature `commit` carries. The validity of a key is judged at the committer's time, as git does: to
    /// withdraw a key for good, remove its line.
    ///
    /// # Errors
    /// The outer one: the commit cannot be read.
    pub fn verify_commit(&self, commit: &CommitId, signers: &AllowedSigners) -> Result<Result<Verified, Unverified>> {
        self.reading(|repo| self.verify_in(repo, commit.0, signers))
    }

    pub(super) fn verify_in(
        &self,
        repo: &Repository,
        id: Oid,
        signers: &AllowedSigners,
    ) -> Result<Result<Verified, Unverified>> {
        let info = self.info(repo, id)?;
        let raw = self.raw(repo, id, ObjectType::Commit)?;
        let times = Times { signed: info.time, accepted: None };
        let of = (Purpose::Commit, times);
        Ok(split_commit(&raw).and_then(|(payload, armor)| verify(&payload, &armor, &info.author_email, of, signers)))
    }

    /// The same for a commit that is to be accepted at `accepted`: its key must still be valid then. A date that a commit
    /// claims proves nothing, so an expired key could go on signing commits of the past.
    pub(super) fn verify_new(
        &self,
        repo: &Repository,
        id: Oid,
        signers: &AllowedSigners,
        accepted: Timestamp,
    ) -> Result<Result<Verified, Unverified>> {
        let info = self.info(repo, id)?;
        let raw = self.raw(repo, id, ObjectType::Commit)?;
        let times = Times { signed: info.time, accepted: Some(accepted) };
        let of = (Purpose::Commit, times);
        Ok(split_commit(&raw).and_then(|(payload, armor)| verify(&payload, &armor, &info.author_email, of, signers)))
    }

    /// Whose valid signature the annotated tag carries. A lightweight tag has none.
    pub fn verify_tag(&self, tag: &str, signers: &AllowedSigners) -> Result<Result<Verified, Unverified>> {
        let refname = location::tag_ref(tag)?;
        self.reading(|repo| {
            let missing = |error: git2::Error| RepoError::NoRevision {
                place: self.location.to_string(),
                rev: tag.to_owned(),
                detail: error.message().to_owned(),
            };
            let target = repo.find_reference(&refname).map_err(missing)?.target();
            let Some(object) = target.and_then(|id| repo.find_tag(id).ok()) else {
                return Ok(Err(Unverified("it is a lightweight tag, which cannot be signed".to_owned())));
            };
            let raw = self.raw(repo, object.id(), ObjectType::Tag)?;
            let (email, at) = object.tagger().map_or((String::new(), 0), |tagger| {
                (String::from_utf8_lossy(tagger.email_bytes()).into_owned(), tagger.when().seconds())
            });
            let at = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
            // The signature ends the tag's message.
            let begin = raw.windows(BEGIN_SSH.len()).rposition(|w| w == BEGIN_SSH.as_bytes());
            Ok(match begin.filter(|&at| raw[..at].ends_with(b"\n")) {
                Some(begin) => {
                    let of = (Purpose::Commit, Times { signed: at, accepted: None });
                    verify(&raw[..begin], &raw[begin..], &email, of, signers)
                }
                None => Err(unsigned(&raw)),
            })
        })
    }

    fn raw(&self, repo: &Repository, id: Oid, kind: ObjectType) -> Result<Vec<u8>> {
        let object = repo.odb().and_then(|odb| odb.read(id).map(|object| (object.kind(), object.data().to_vec())));
        match object {
            Ok((found, data)) if found == kind => Ok(data),
            Ok(_) => Err(self.objects(&format!("read {id}"), &git2::Error::from_str("it is another kind of object"))),
            Err(error) => Err(self.objects(&format!("read {id}"), &error)),
        }
    }
}

/// A private key that signs.
pub struct Signer {
    key: PrivateKey,
}

impl Signer {
    /// Opens a private key without a passphrase.
    ///
    /// # Errors
    /// Why it cannot sign, with the next move; never with any of its text.
    pub fn load(source: &KeySource) -> Result<Signer> {
        let bad = |why: String| RepoError::Key { key: source.shown(), why };
        let text = match source {
            KeySource::Text { text, .. } => text.clone(),
            KeySource::File(path) => {
                let bytes = std::fs::read(path).map(zeroize::Zeroizing::new).map_err(|error| bad(error.to_string()))?;
                zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
            }
        };
        let text = tidy(&text).map_err(|unfit| bad(format!("it {unfit}")))?;
        if !text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
            let cure = if text.starts_with("PuTTY") {
                "`puttygen KEY.ppk -O private-openssh-new -o KEY`"
            } else {
                "`ssh-keygen -p -N '' -f KEY`"
            };
            return Err(bad(format!("it is not in OpenSSH's own form, which alone can sign: rewrite it with {cure}")));
        }
        let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|error| {
            bad(format!("it is damaged ({error}): copy it anew, or make one with `ssh-keygen -t ed25519`"))
        })?;
        if key.is_encrypted() {
            return Err(bad(
                "it has a passphrase, and nobody is there to ask: use a key of its own without one".to_owned()
            ));
        }
        let kind = key.algorithm().as_str().to_owned();
        let signer = Signer { key };
        // A key that cannot sign here (RSA, a security key) is found out before anything is written.
        match signer.sign(b"", Purpose::Commit) {
            Ok(_) => Ok(signer),
            Err(why) => Err(bad(format!(
                "signing with {kind} does not work here ({why}): make one with `ssh-keygen -t ed25519`"
            ))),
        }
    }

    /// The armored signature of what a daemon publishes.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign_observation(&self, published: &[u8]) -> Result<String, String> {
        self.sign(published, Purpose::Observation)
    }

    /// The armored signature, without a line end.
    pub(super) fn sign(&self, payload: &[u8], purpose: Purpose) -> Result<String, String> {
        let signature = self.key.sign(purpose.namespace(), HashAlg::Sha512, payload);
        let armor =
            signature.and_then(|signature| signature.to_pem(LineEnding::LF)).map_err(|error| error.to_string())?;
        Ok(armor.trim_end().to_owned())
    }
}

/// Signs a word with an OpenSSH private key without a passphrase.
pub fn sign_word(key: &KeySource, word: &str) -> Result<String> {
    let signer = Signer::load(key)?;
    signer.sign(word.as_bytes(), Purpose::Word).map_err(|why| RepoError::Key { key: key.shown(), why })
}

/// Whose signature of a word it is. The key must be valid at this moment, whatever time the word claims.
///
/// # Errors
/// Nobody's whose words count.
pub fn verify_word(
    word: &str,
    armor: &str,
    email: &str,
    now: Timestamp,
    signers: &AllowedSigners,
) -> Result<Verified, Unverified> {
    let times = Times { signed: now, accepted: Some(now) };
    verify(word.as_bytes(), armor.as_bytes(), email, (Purpose::Word, times), signers)
}

/// What was signed, and the signature. Git leaves out the signature headers and nothing else.
fn split_commit(raw: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Unverified> {
    let (mut payload, mut armor) = (Vec::with_capacity(raw.len()), None::<Vec<u8>>);
    let mut rest = raw;
    let mut header = Header::Other;
    while let Some(end) = rest.iter().position(|&b| b == b'\n') {
        let (line, tail) = rest.split_at(end + 1);
        if line == b"\n" {
            break;
        }
        rest = tail;
        if let Some(more) = line.strip_prefix(b" ") {
            match (&header, &mut armor) {
                (Header::Signature, Some(armor)) => armor.extend_from_slice(more),
                (Header::OtherSignature, _) => {}
                _ => payload.extend_from_slice(line),
            }
        } else if let Some(first) = line.strip_prefix(b"gpgsig ") {
            if armor.replace(first.to_vec()).is_some() {
                return Err(Unverified("it carries two signatures".to_owned()));
            }
            header = Header::Signature;
        } else if line.starts_with(b"gpgsig") {
            header = Header::OtherSignature;
        } else {
            header = Header::Other;
            payload.extend_from_slice(line);
        }
    }
    payload.extend_from_slice(rest);
    match armor {
        Some(armor) => Ok((payload, armor)),
        None => Err(Unverified("it is not signed".to_owned())),
    }
}

enum Header {
    Signature,
    OtherSignature,
    Other,
}

fn verify(
    payload: &[u8],
    armor: &[u8],
    email: &str,
    (purpose, times): (Purpose, Times),
    signers: &AllowedSigners,
) -> Result<Verified, Unverified> {
    let key = signed_by(payload, armor, purpose)?;
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    let principal = signers.principal(key.key_data(), email, times, purpose);
    principal
        .map(|principal| Verified { principal, fingerprint: fingerprint.clone() })
        .map_err(|why| Unverified(format!("it is signed by {fingerprint}, but {why}")))
}

/// The key that made this signature of the payload.
fn signed_by(payload: &[u8], armor: &[u8], purpose: Purpose) -> Result<PublicKey, Unverified> {
    let wanted = purpose.namespace();
    if !armor.starts_with(BEGIN_SSH.as_bytes()) {
        return Err(unsigned(armor));
    }
    let signature =
        SshSig::from_pem(armor).map_err(|error| Unverified(format!("its SSH signature cannot be read ({error})")))?;
    if signature.namespace() != wanted {
        let namespace = signature.namespace().escape_default();
        return Err(Unverified(format!("its signature was made for `{namespace}`, not for `{wanted}`")));
    }
    let key = PublicKey::from(signature.public_key().clone());
    // The signature first: only what it covers may be said of the payload.
    match key.verify(wanted, payload, &signature) {
        Ok(()) => Ok(key),
        Err(_) => {
            let fingerprint = key.fingerprint(HashAlg::Sha256);
            let why = "something was changed after it was signed";
            Err(Unverified(format!("its signature by {fingerprint} is wrong: {why}")))
        }
    }
}

/// Whether this signature of what was published is one by this key.
///
/// # Errors
/// It is not.
pub fn verify_observation(published: &[u8], armor: &str, publisher: &PublicKey) -> Result<(), Unverified> {
    let key = signed_by(published, armor.as_bytes(), Purpose::Observation)?;
    if key.key_data() == publisher.key_data() {
        return Ok(());
    }
    let [signed, wanted] = [&key, publisher].map(|key| key.fingerprint(HashAlg::Sha256));
    Err(Unverified(format!("it is signed by {signed}, and its publisher is {wanted}")))
}

fn unsigned(text: &[u8]) -> Unverified {
    let has = |marker: &str| text.windows(marker.len()).any(|window| window == marker.as_bytes());
    let why = if has("-----BEGIN PGP") {
        "it is signed with PGP, and only SSH signatures can be checked (gpg.format=ssh)"
    } else if has("-----BEGIN SIGNED MESSAGE") {
        "it is signed with X.509, and only SSH signatures can be checked (gpg.format=ssh)"
    } else {
        "it is not signed"
    };
    Unverified(why.to_owned())
}
