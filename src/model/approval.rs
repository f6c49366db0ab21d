//! A person's word on a plan: what was reviewed, what is said about it, and which words count (B3, law 11). Pure: history,
//! signatures and the time are handed in. `state_repo::words` keeps the words, `plan::binding` says what a plan is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::format::{Form, Unreadable};
use super::ids::{Digest, EnvName, HostName};
use super::observed::{Approval, Remark};
use super::shown::counted;

/// The version of a word. 1, which bound less and was signed as a commit, counts no more.
const FORMAT: u64 = 2;
const FORM: Form = Form { known: FORMAT, unsaid: Some(1) };

/// How far another person's clock may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What there is to review of one plan, as digests of versioned views.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reviewed {
    /// The environment: which commit goes where, from which address, under which configuration.
    pub scope: Digest,
    /// Each host that changes: what it runs, when that was confirmed, and what it gets. Used up by its next confirmation.
    pub hosts: BTreeMap<HostName, Digest>,
    /// The steps that no rollback takes back.
    pub irreversible: Vec<String>,
    /// The digest of the bundle that would be fetched is not known: what has no name cannot be approved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unnamed: bool,
}

impl Reviewed {
    /// What a word is bound to.
    pub fn binding(&self) -> Digest {
        Digest::of_json(&("soll approval", FORMAT, self.scope, &self.hosts, &self.irreversible, self.unnamed))
    }

    /// As it is held against words that were published: these name steps by the digests of their names.
    #[must_use]
    pub fn veiled(&self) -> Reviewed {
        let irreversible = self.irreversible.iter().map(|step| Digest::of(step.as_bytes()).to_string());
        Reviewed { irreversible: irreversible.collect(), ..self.clone() }
    }

    /// Whether an approval of `self` allows `plan`: nothing happens there that was not reviewed. Less may: a host that was
    /// confirmed meanwhile, a migration that is done.
    pub fn allows(&self, plan: &Reviewed) -> bool {
        let reviewed = |(host, is): (&HostName, &Digest)| self.hosts.get(host) == Some(is);
        self.scope == plan.scope
            && !plan.unnamed
            && plan.hosts.iter().all(reviewed)
            && plan.irreversible.iter().all(|step| self.irreversible.contains(step))
    }

    /// Whether a rejection of `self` forbids `plan`: it would do there what was rejected, to one host at least.
    pub fn forbids(&self, plan: &Reviewed) -> bool {
        self.scope == plan.scope && plan.hosts.iter().any(|(host, is)| self.hosts.get(host) == Some(is))
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    Approve,
    Reject,
}

/// One plan that a word is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub environment: EnvName,
    /// The digest of `reviewed`.
    pub binding: Digest,
    pub reviewed: Reviewed,
}

impl Subject {
    /// Of an environment's plan.
    pub fn new(environment: EnvName, reviewed: Reviewed) -> Subject {
        Subject { environment, binding: reviewed.binding(), reviewed }
    }
}

/// What a person says: the bytes that are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    pub format: u64,
    /// Said once. The same word in another place says nothing.
    pub id: String,
    /// The first commit of the state repository: the same for everybody who has it, however it is reached.
    pub repository: String,
    #[serde(flatten)]
    pub subject: Subject,
    /// The other plans that the same word is about: one signature stands under all of them. A program that does not know of them
    /// hears the word about the first one alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Subject>,
    pub decision: Decision,
    pub note: Option<String>,
    /// Who says it, for the allowed signers.
    pub name: String,
    pub email: String,
    pub at: Timestamp,
    /// `None`: a rejection, which stands until what it is about has changed, or its person says otherwise.
    pub expires: Option<Timestamp>,
}

impl Word {
    /// A new one about a plan.
    pub fn new(about: About<'_>, decision: Decision, note: Option<String>, now: Timestamp) -> Word {
        let About { id, repository, subject, also, name, email, ttl } = about;
        let until = || SignedDuration::try_from(ttl).ok().and_then(|ttl| now.checked_add(ttl).ok());
        Word {
            format: FORMAT,
            id,
            repository: repository.to_owned(),
            subject,
            also,
            decision,
            note,
            name: name.to_owned(),
            email: email.to_owned(),
            at: now,
            expires: (decision == Decision::Approve).then(|| until().unwrap_or(Timestamp::MAX)),
        }
    }

    /// The plans that it is about: one, or those of a set.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        std::iter::once(&self.subject).chain(&self.also)
    }

    /// What of this environment it is about; `None`: nothing.
    fn about(&self, environment: &EnvName) -> Option<&Reviewed> {
        self.subjects().find(|subject| subject.environment == *environment).map(|subject| &subject.reviewed)
    }

    /// Whether it says yes.
    pub fn is_approval(&self) -> bool {
        self.decision == Decision::Approve
    }
}

/// What a word is about, and whose it is.
pub struct About<'a> {
    pub id: String,
    pub repository: &'a str,
    pub subject: Subject,
    pub also: Vec<Subject>,
    pub name: &'a str,
    pub email: &'a str,
    pub ttl: Duration,
}

/// The file of a word: its bytes, and a signature of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub format: u64,
    /// A [`Word`] in JSON, as it was signed.
    pub word: String,
    /// An armored SSH signature in the namespace of words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Envelope {
    /// Around these bytes.
    pub fn new(word: String, signature: Option<String>) -> Envelope {
        Envelope { format: FORMAT, word, signature }
    }
}

/// One commit of the history of words, oldest first: what it did, and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub commit: String,
    pub name: String,
    pub email: String,
    /// The one file that it adds, where it does nothing that a word does not do.
    pub said: Option<WordFile>,
    /// Files that it removes. Words that are over may be cleared away.
    pub removed: Vec<String>,
    /// What else it does, in words: nothing of that is a word.
    pub odd: Option<String>,
}

/// One file of the form `ENV/BINDING/NAME.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordFile {
    pub path: String,
    pub environment: String,
    pub binding: String,
    pub read: Read,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    Word {
        word: Box<Word>,
        bytes: String,
        signature: Option<String>,
    },
    /// Of the first version.
    Old,
    /// And why.
    Unreadable(String),
}

impl Read {
    /// Reads the bytes of a file.
    pub fn of(bytes: &[u8]) -> Read {
        let why = |error: Unreadable| Read::Unreadable(error.to_string());
        let envelope: serde_json::Value = match FORM.read(bytes) {
            Ok(envelope) => envelope,
            Err(error) => return why(error),
        };
        if envelope.get("format").is_none() && envelope.get("approve").is_some() {
            return Read::Old;
        }
        let Envelope { word: text, signature, .. } = match serde_json::from_value(envelope) {
            Ok(envelope) => envelope,
            Err(error) => return why(error.into()),
        };
        match FORM.read(text.as_bytes()) {
            Ok(word) => Read::Word { word: Box::new(word), bytes: text, signature },
            Err(error) => why(error),
        }
    }
}

/// By what words are judged.
pub struct Judge<'a> {
    pub repository: &'a str,
    pub environment: &'a EnvName,
    pub plan: &'a Reviewed,
    pub now: Timestamp,
    pub ttl: Duration,
    /// Whether only signed words count.
    pub strict: bool,
    /// Whose approvals do not count, because what is approved is theirs.
    pub makers: &'a [Maker],
}

/// Who committed what a plan is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    pub email: String,
    /// Of the key that the commit is signed with, where that is known.
    pub fingerprint: Option<String>,
}

impl Maker {
    /// Whether a word is this person's: by the address that it bears or was committed under, or by its key.
    fn said(&self, word: &Word, change: &Change, signed: Option<&Signed>) -> bool {
        let is_theirs = |email: &str| email.eq_ignore_ascii_case(&self.email);
        let key = signed.map(|signed| &signed.fingerprint);
        is_theirs(&word.email) || is_theirs(&change.email) || (key.is_some() && key == self.fingerprint.as_ref())
    }
}

/// Whose signature it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub principal: String,
    pub fingerprint: String,
}

/// The words that are about this plan in the order in which they were said, and what is to be told about others.
///
/// `verify` says whose signature of these bytes it is, for an address that the word claims.
pub fn judge(
    history: &[Change],
    by: &Judge<'_>,
    mut verify: impl FnMut(&Word, &str, &str) -> Result<Signed, String>,
) -> (Vec<Approval>, Vec<Remark>) {
    let mut told = Vec::new();
    let mut heard = Vec::new();
    let (mut ids, mut over, mut old) = (BTreeSet::new(), BTreeMap::new(), 0);
    let mut odd: Vec<(&Change, String)> = Vec::new();
    // One key is one person, whatever names it may sign for.
    let mut people: BTreeMap<String, String> = BTreeMap::new();
    for change in history {
        if let Some(what) = strange(change, &over) {
            odd.push((change, what));
            continue;
        }
        let Some(said) = &change.said else { continue };
        over.insert(said.path.as_str(), is_over(&said.read, by));
        let (word, bytes, signature) = match &said.read {
            Read::Word { word, bytes, signature } => (word, bytes, signature),
            Read::Old if said.environment == by.environment.as_str() => {
                old += 1;
                continue;
            }
            Read::Old => continue,
            Read::Unreadable(why) if said.environment == by.environment.as_str() => {
                odd.push((change, format!("adds {}, which cannot be read: {why}", said.path)));
                continue;
            }
            Read::Unreadable(_) => continue,
        };
        // A copy counts nowhere, and the word itself where it was said.
        if let Some(what) = misplaced(said, word, by.repository) {
            odd.push((change, what));
            continue;
        }
        if !ids.insert(word.id.as_str()) {
            odd.push((change, format!("says again what was said before ({})", said.path)));
            continue;
        }
        let Some(reviewed) = word.about(by.environment) else { continue };
        let approve = word.is_approval();
        let about = if approve { reviewed.allows(by.plan) } else { reviewed.forbids(by.plan) };
        if !about {
            continue;
        }
        let claimed = format!("{} <{}>", word.name, word.email);
        if let Some(why) = untimely(word, by) {
            let message = format!("the approval by {claimed} of {} does not count: {why}", word.at);
            told.push(Remark { message, fix: format!("soll approve {}", by.environment) });
            continue;
        }
        let signed = match signature {
            Some(signature) if by.strict => verify(word, bytes, signature),
            _ => Err("it is not signed".to_owned()),
        };
        let is_makers = by.makers.iter().any(|maker| maker.said(word, change, signed.as_ref().ok()));
        let who = match (signed, by.strict) {
            (Ok(signed), _) => people.entry(signed.fingerprint).or_insert(signed.principal).clone(),
            (Err(_), false) => format!("{} <{}>", change.name, change.email),
            (Err(why), true) => {
                let word = if approve { "approval" } else { "rejection" };
                let message = format!("the {word} by {claimed} of {} does not count: {why}", word_at(change));
                let fix = "say it with a key that the allowed signers list for the namespace soll-approval";
                told.push(Remark { message, fix: fix.to_owned() });
                continue;
            }
        };
        if approve && is_makers {
            // What they said against it is taken back all the same.
            heard.retain(|earlier: &Approval| earlier.approve || earlier.by != who);
            let message = format!("the approval by {claimed} does not count: they committed what it is about");
            let fix = format!("somebody else says it (`approvers`): soll approve {}", by.environment);
            told.push(Remark { message, fix });
            continue;
        }
        let (reviewed, note) = (Some(reviewed.clone()), word.note.clone());
        heard.push(Approval { by: who, at: word.at, approve, note, reviewed, trusted: true });
    }
    if old > 0 && heard.is_empty() {
        let message = format!(
            "{} on {}: an older version of soll bound less than all that is decided now",
            counted(old, "word does not count", "words do not count"),
            by.environment
        );
        told.push(Remark { message, fix: format!("say them again: soll approve {}", by.environment) });
    }
    told.extend(tampering(&odd));
    (heard, told)
}

fn word_at(change: &Change) -> String {
    format!("commit {}", short(&change.commit))
}

fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// What a commit does that no word does.
fn strange(change: &Change, over: &BTreeMap<&str, bool>) -> Option<String> {
    let alive = |path: &&String| over.get(path.as_str()).is_none_or(|over| !over);
    change.odd.clone().or_else(|| change.removed.iter().find(alive).map(|path| format!("removes {path}")))
}

/// Whether a word can never count again.
fn is_over(read: &Read, by: &Judge<'_>) -> bool {
    match read {
        Read::Word { word, .. } => word.expires.is_some_and(|expires| expires < by.now),
        Read::Old => true,
        Read::Unreadable(_) => false,
    }
}

fn misplaced(said: &WordFile, word: &Word, repository: &str) -> Option<String> {
    let path = &said.path;
    if word.repository != repository {
        return Some(format!("adds {path}, which was said in another state repository"));
    }
    let Subject { environment, binding, .. } = &word.subject;
    if environment.as_str() != said.environment {
        return Some(format!("adds {path}, which was said about {environment}"));
    }
    let bound = binding.to_string() == said.binding && word.subjects().all(|one| one.reviewed.binding() == one.binding);
    (!bound).then(|| format!("adds {path}, which was said about another plan"))
}

fn untimely(word: &Word, by: &Judge<'_>) -> Option<String> {
    if word.decision == Decision::Reject {
        return None;
    }
    if word.at > by.now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX) {
        return Some("it claims to be of the future".to_owned());
    }
    let ttl = SignedDuration::try_from(by.ttl).unwrap_or(SignedDuration::MAX);
    let longest = word.at.saturating_add(ttl).unwrap_or(Timestamp::MAX);
    let expires = word.expires.map_or(longest, |expires| expires.min(longest));
    (expires < by.now).then(|| format!("it has expired at {expires}"))
}

/// The newest ones by name, the others by number.
fn tampering(odd: &[(&Change, String)]) -> Option<Remark> {
    const SHOWN: usize = 3;
    let newest = odd.iter().rev().take(SHOWN);
    let shown: Vec<_> = newest
        .map(|(change, what)| format!("{} by {} <{}> {what}", short(&change.commit), change.name, change.email))
        .collect();
    if shown.is_empty() {
        return None;
    }
    let more = odd.len().checked_sub(SHOWN).filter(|more| *more > 0).map(|more| format!("; and {more} more"));
    let message = format!(
        "{}; what was said before stands: {}{}",
        counted(
            odd.len() as u64,
            "commit under refs/soll/approvals is no word and counts for nothing",
            "commits under refs/soll/approvals are no words and count for nothing",
        ),
        shown.join("; "),
        more.unwrap_or_default()
    );
    Some(Remark { message, fix: "ask who made them, and why: git log --stat refs/soll/approvals".to_owned() })
}

/// The files of words that were over for a day: whoever says the next word clears them away, so that trees do not grow.
pub fn over_for_a_day(history: &[Change], now: Timestamp) -> Vec<String> {
    let long_ago = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
    let mut there = BTreeMap::new();
    for change in history {
        there.retain(|path, _| !change.removed.iter().any(|removed| removed == path));
        if let Some(said) = &change.said {
            let over = match &said.read {
                Read::Word { word, .. } => word.expires.is_some_and(|expires| expires < long_ago),
                Read::Old => true,
                Read::Unreadable(_) => false,
            };
            there.insert(said.path.as_str(), over);
        }
    }
    there.into_iter().filter(|(_, over)| *over).map(|(path, _)| path.to_owned()).collect()
}

#[cfg(test)]
mod tests;
