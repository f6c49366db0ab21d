//! What this daemon publishes of the board: the view (`model::published`) as bytes, and a signature of them. Made when
//! somebody asks and something has changed since, and kept until then.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::model::desired::{Desired, Environment};
use crate::model::format::PROGRAM;
use crate::model::ids::EnvName;
use crate::model::observed::{EnvObserved, Observed};
use crate::model::published::{EnvironmentV2, Environments, SCHEMA, Veil, View};
use crate::plan::{Context, plan_environment};
use crate::run::board::{Board, Row, Seen};
use crate::run::controller::{ControllerError, now};
use crate::run::settings::Settings;
use crate::state_repo::Signer;

/// Publishes what is on a board.
pub struct Publisher {
    /// Its key lives as long as this process: what it makes unknown can be made known by nobody.
    veil: Veil,
    signer: Option<Signer>,
    last: Mutex<Option<Arc<Publication>>>,
}

/// What was published last.
#[derive(Debug)]
pub struct Publication {
    /// That of the board.
    version: u64,
    /// A [`View`] in JSON.
    pub body: Vec<u8>,
    /// An armored SSH signature of the body, where a key is set.
    pub signature: Option<String>,
}

impl Publisher {
    /// With the key that the settings name.
    ///
    /// # Errors
    /// That key cannot sign; there is no randomness to be had.
    pub fn open(settings: &Settings) -> Result<Publisher, ControllerError> {
        let signer = settings.observation_key.as_ref().map(Signer::load).transpose()?;
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key)
            .map_err(|_| ControllerError::Other("the system has no random numbers to publish with".to_owned()))?;
        Ok(Publisher { veil: Veil::new(&key), signer, last: Mutex::default() })
    }

    /// What is on the board now; `None`: not every environment has been looked at yet. Blocks while it is made.
    ///
    /// # Errors
    /// It cannot be signed, or written.
    pub fn publish(&self, board: &Board) -> Result<Option<Arc<Publication>>, String> {
        // Whoever asks meanwhile waits for the same.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| last.version == board.version()) {
            return Ok(Some(last.clone()));
        }
        let Some(seen) = board.seen() else { return Ok(None) };
        let body = serde_json::to_vec(&view(&self.veil, &seen, now())).map_err(|error| error.to_string())?;
        let signature = self.signer.as_ref().map(|signer| signer.sign_observation(&body)).transpose()?;
        let made = Arc::new(Publication { version: seen.version, body, signature });
        *last = Some(made.clone());
        Ok(Some(made))
    }
}

/// What is published of everything that is on the board.
pub fn view(veil: &Veil, seen: &Seen, now: Timestamp) -> View {
    let one = |(name, row): (&EnvName, &Row)| {
        let (desired, commit) = (&row.snapshot.desired, row.snapshot.commit.to_string());
        let env = desired.environments.get(name)?;
        Some((name.clone(), environment(veil, desired, env, (commit, row.at), &row.observed)))
    };
    View {
        schema: SCHEMA,
        by: PROGRAM.to_owned(),
        commit: seen.accepted.commit.to_string(),
        at: now,
        observed: Environments { environments: seen.rows.iter().filter_map(one).collect() },
    }
}

/// What is published of one environment, which was looked at as this commit has it, at this time.
pub fn environment(
    veil: &Veil,
    desired: &Desired,
    env: &Environment,
    (commit, at): (String, Timestamp),
    seen: &EnvObserved,
) -> EnvironmentV2 {
    let mut view = veil.environment(env, commit.clone(), at, seen);
    if seen.approvals.is_empty() {
        return view;
    }
    // What a reader's plan says of the hosts differs from ours by the tokens: words are told in those.
    let reviewed = |seen: EnvObserved| {
        let observed = Observed { environments: [(env.name.clone(), seen)].into() };
        let context = Context { commit: &commit, now: at, secrets: None };
        plan_environment(desired, &observed, env, &context).reviewed
    };
    let veiled = EnvObserved { veiled: false, ..view.clone().unveil() };
    if let (Some(live), Some(veiled)) = (reviewed(seen.clone()), reviewed(veiled)) {
        view.words = veil.words(&env.name, &seen.approvals, &live, &veiled);
    }
    view
}
