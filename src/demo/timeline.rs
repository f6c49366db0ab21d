//! The loop, told to a person: one line per transition that means something to somebody who has never seen a step list.
//! It says what the journal and the loop say (law 8) and keeps where each environment stands, for whoever waits for it.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anstyle::{AnsiColor, Style};

use super::world::World;
use crate::journal::notice::Notice;
use crate::journal::{Event, RunResult, StepEnd};
use crate::model::ids::{EnvName, HostName, RunId, Sha};
use crate::plan::{Action, Code, EnvPlan};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::pass::daemon::Report;
use crate::run::pass::outcome::Outcome;
use crate::run::step::site::{Listen, Listener, Sent};
use crate::run::step::world::Interruption;
use crate::state_repo::CommitId;

/// Where an environment stands, as the loop sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Ended(RunResult),
    Blocked(Code),
    InSync { healthy: bool },
    Trouble,
}

/// What prints. Shared between the loop and its runs.
pub struct Timeline {
    /// `v1`, by commit.
    names: BTreeMap<Sha, String>,
    colour: bool,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    accepted: Option<CommitId>,
    desired: BTreeMap<EnvName, Option<Sha>>,
    /// With the commit that was acted on then.
    standing: BTreeMap<EnvName, (Option<CommitId>, Standing)>,
    /// The last sentence about each environment that came from the loop: said twice in a row, it is said once.
    last: BTreeMap<EnvName, String>,
    runs: HashMap<RunId, Run>,
}

impl Told {
    fn before(&self, name: &EnvName) -> Option<Standing> {
        self.standing.get(name).map(|(_, standing)| *standing)
    }

    fn stand(&mut self, name: EnvName, standing: Standing) {
        self.standing.insert(name, (self.accepted, standing));
    }
}

/// A run that is under way.
struct Run {
    environment: EnvName,
    /// What is being switched to right now; after the turn, what is gone back to.
    to: Option<Sha>,
    /// What the run was to switch to.
    tried: Option<Sha>,
    from: Option<Sha>,
    began: Instant,
    actions: HashMap<String, Action>,
    /// What happened, in words, since the last line.
    words: Vec<String>,
    /// How many of them belong to the preparation, where nothing is switched yet.
    prepared: usize,
}

/// What a line means.
#[derive(Clone, Copy)]
enum Tone {
    Plain,
    Good,
    Wait,
    Bad,
}

impl Timeline {
    /// Nothing is told yet.
    pub fn new(world: &World, colour: bool) -> Self {
        let names = world.versions().iter().map(|v| (v.sha.clone(), v.name.clone())).collect();
        Timeline { names, colour, told: Mutex::default() }
    }

    /// Where an environment stands, once a pass has looked at it with this commit.
    pub fn standing(&self, commit: CommitId, environment: &EnvName) -> Option<Standing> {
        let told = self.told();
        let (at, standing) = told.standing.get(environment)?;
        (*at == Some(commit)).then_some(*standing)
    }

    /// Text that is no transition.
    pub fn print(&self, text: &str) {
        // Nobody reads any more: the demo goes on all the same.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    /// Hears every event of every run.
    pub fn listener(self: &Arc<Self>) -> Listener {
        self.clone()
    }

    /// `v1 f0959baf`
    pub fn label(&self, sha: &Sha) -> String {
        self.names.get(sha).map_or_else(|| sha.short().to_owned(), |name| format!("{name} {}", sha.short()))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, tone: Tone, environment: &str, sha: Option<&Sha>, text: &str) {
        let label = sha.map(|sha| self.label(sha)).unwrap_or_default();
        let time = jiff::Zoned::now().strftime("%H:%M:%S");
        let colour = match tone {
            Tone::Plain => None,
            Tone::Good => Some(AnsiColor::Green),
            Tone::Wait => Some(AnsiColor::Yellow),
            Tone::Bad => Some(AnsiColor::Red),
        };
        let style = Style::new().fg_color(colour.filter(|_| self.colour).map(Into::into));
        let (on, off) = (style.render(), style.render_reset());
        self.print(&format!("{time}  {environment:<10}  {label:<11}  {on}{text}{off}\n"));
    }

    fn heard(&self, run: &RunId, event: &Event) {
        let mut told = self.told();
        if let Event::Started(started) = event {
            let from = started.from_sha.clone();
            let actions = started.steps.iter().map(|step| (step.id.clone(), step.action.clone())).collect();
            let (environment, to) = (started.environment.clone(), Some(started.to.clone()));
            self.line(Tone::Plain, environment.as_str(), to.as_ref(), &format!("begins: {}", started.reason));
            told.last.remove(&environment);
            let began = Instant::now();
            let (words, prepared, tried) = (Vec::new(), 0, to.clone());
            let live = Run { environment, to, tried, from, began, actions, words, prepared };
            told.runs.insert(run.clone(), live);
            return;
        }
        let Some(live) = told.runs.get_mut(run) else { return };
        match event {
            Event::Ended { step, end, .. } => self.ended(live, step, end),
            Event::TurnedBack { steps, .. } => {
                live.actions.extend(steps.iter().map(|step| (step.id.clone(), step.action.clone())));
                if !steps.is_empty() {
                    live.to = live.from.take();
                }
            }
            Event::SetAside { host, steps, .. } => {
                live.actions.extend(steps.iter().map(|step| (step.id.clone(), step.action.clone())));
                let text = format!("{host} goes back alone, the others go on");
                self.line(Tone::Bad, live.environment.as_str(), live.to.as_ref(), &text);
            }
            Event::Quarantined { .. } => {
                let text = "quarantined: not tried again until something about it changes";
                self.line(Tone::Bad, live.environment.as_str(), live.tried.as_ref(), text);
            }
            Event::Finished { result, reason, .. } => {
                self.finished(live, *result, reason);
                let (environment, standing) = (live.environment.clone(), Standing::Ended(*result));
                told.runs.remove(run);
                told.stand(environment, standing);
            }
            Event::Started(_)
            | Event::Operation(_)
            | Event::Acquired { .. }
            | Event::Intended { .. }
            | Event::Attempted { .. } => {}
        }
    }

    fn ended(&self, live: &mut Run, step: &str, end: &StepEnd) {
        let Some(action) = live.actions.get(step) else { return };
        let name = live.environment.as_str();
        match end {
            StepEnd::Done { .. } => {
                if matches!(action, Action::Switch { .. }) {
                    live.prepared = live.words.len();
                }
                if let Some(word) = word(action).filter(|word| live.words.last() != Some(word)) {
                    live.words.push(word);
                }
            }
            StepEnd::Interrupted { note } => self.line(Tone::Wait, name, live.to.as_ref(), note),
            StepEnd::Warned { failure } => {
                self.line(Tone::Wait, name, live.to.as_ref(), &format!("warning: {}", failure.message));
            }
            StepEnd::Failed { failure } => {
                let judged = matches!(action, Action::Health { .. } | Action::Assets { .. } | Action::Watch { .. });
                live.words.push(if judged { "NOT healthy" } else { "FAILED" }.to_owned());
                let text = format!("{}: {}", chain(&live.words, live.prepared), failure.message);
                self.line(Tone::Bad, name, live.to.as_ref(), &text);
                live.words.clear();
                live.prepared = 0;
            }
        }
    }

    fn finished(&self, live: &Run, result: RunResult, reason: &str) {
        let chain = chain(&live.words, live.prepared);
        let seconds = live.began.elapsed().as_secs_f64();
        let (tone, text) = match result {
            RunResult::Succeeded => (Tone::Good, format!("{chain}  ({seconds:.1} s)")),
            RunResult::RolledBack => (Tone::Good, format!("{chain} again: ROLLED BACK  ({seconds:.1} s)")),
            other => {
                let between = if chain.is_empty() { "" } else { "; " };
                (Tone::Bad, format!("{chain}{between}{}: {reason}", other.as_str()))
            }
        };
        self.line(tone, live.environment.as_str(), live.to.as_ref(), &text);
    }

    /// A sentence of the loop about an environment, unless it was the last one already.
    fn once(&self, told: &mut Told, tone: Tone, name: &EnvName, text: &str) {
        let desired = told.desired.get(name).cloned().flatten();
        let said = format!("{desired:?} {text}");
        if told.last.get(name) != Some(&said) {
            self.line(tone, name.as_str(), desired.as_ref(), text);
            told.last.insert(name.clone(), said);
        }
    }

    fn blocked(&self, told: &mut Told, name: &EnvName, plan: &EnvPlan) -> Option<Standing> {
        let blocker = plan.blocking().next()?;
        let before = told.before(name);
        match blocker.code {
            // When it ends moves with every gap: the reason is said once, not every time.
            Code::Soak => {
                self.once(told, Tone::Wait, name, "waits: it soaks in staging first, and must stay healthy there")
            }
            // The run has told why a moment ago.
            Code::Quarantined if matches!(before, Some(Standing::Ended(_) | Standing::Blocked(Code::Quarantined))) => {}
            _ => self.once(told, Tone::Bad, name, &format!("{}: {}", plan.verdict.as_str(), blocker.message)),
        }
        Some(Standing::Blocked(blocker.code))
    }
}

impl Report for Timeline {
    fn accepted(&self, snapshot: &AcceptedSnapshot) {
        let mut told = self.told();
        let environments = &snapshot.desired.environments;
        told.desired =
            environments.iter().map(|(name, env)| (name.clone(), env.release.as_str().parse().ok())).collect();
        told.accepted = Some(snapshot.commit);
        let text = format!("{} ({})", snapshot.info.subject, snapshot.info.author_name);
        let time = jiff::Zoned::now().strftime("%H:%M:%S");
        self.print(&format!("{time}  commit      {:<11}  {text}\n", snapshot.commit.short()));
    }

    fn passed(&self, name: &EnvName, outcome: &Outcome) {
        let mut told = self.told();
        let told = &mut *told;
        let before = told.before(name);
        let standing = match outcome {
            // It has told its own story, and where it ended is known from its last event.
            Outcome::Ran { .. } => return,
            // No sample was taken: nothing new is known about health.
            Outcome::Converged { healthy: None } => match before {
                Some(Standing::InSync { .. }) => before,
                Some(Standing::Ended(RunResult::Succeeded)) => Some(Standing::InSync { healthy: true }),
                _ => {
                    self.once(told, Tone::Good, name, "in sync: it runs already, nothing to do");
                    Some(Standing::InSync { healthy: true })
                }
            },
            Outcome::Converged { healthy: Some(false) } => {
                self.once(told, Tone::Bad, name, "in sync, but NOT healthy");
                Some(Standing::InSync { healthy: false })
            }
            Outcome::Converged { healthy: Some(true) } => {
                match before {
                    Some(Standing::InSync { healthy: true } | Standing::Ended(RunResult::Succeeded)) => {}
                    Some(Standing::InSync { healthy: false }) => self.once(told, Tone::Good, name, "healthy again"),
                    _ => self.once(told, Tone::Good, name, "in sync and healthy: it runs already, nothing to do"),
                }
                Some(Standing::InSync { healthy: true })
            }
            Outcome::Blocked(plan) => self.blocked(told, name, plan),
            Outcome::Locked { holder, .. } => {
                self.once(told, Tone::Wait, name, &format!("waits: {} is at work here", holder.who));
                Some(Standing::Trouble)
            }
            Outcome::Error { message, .. } | Outcome::Refused { message } => {
                self.once(told, Tone::Bad, name, message);
                Some(Standing::Trouble)
            }
            Outcome::Stale(_) | Outcome::Waiting { .. } => return,
        };
        if let Some(standing) = standing {
            told.stand(name.clone(), standing);
        }
    }

    /// Where environments stand is told as passes end.
    fn notice(&self, notice: &Notice) {
        match notice {
            Notice::RefusedCommit { .. } | Notice::RepositoryAway { .. } => {
                self.line(Tone::Bad, "commit", None, &notice.text());
            }
            Notice::Polled { .. }
            | Notice::Followed { .. }
            | Notice::CannotFollow { .. }
            | Notice::Retried { .. }
            | Notice::LeftAlone { .. } => self.line(Tone::Wait, "loop", None, &notice.text()),
            _ => {}
        }
    }
}

/// What a finished step means to a person; most mean nothing.
fn word(action: &Action) -> Option<String> {
    let word = match action {
        Action::Adopt { .. } => "adopted",
        Action::Fetch { .. } => "fetched",
        Action::Checksum { .. } | Action::Verify { .. } => "checked",
        Action::Extract => "staged",
        Action::Render => "rendered",
        Action::Pull { .. } => "pulled",
        Action::Switch { .. } => "switched",
        Action::Backup { .. } => "saved",
        Action::Drain { .. } => "drained",
        Action::Activate { .. } => "activated",
        Action::Health { .. } | Action::Assets { .. } => "healthy",
        Action::Watch { .. } => "watched",
        Action::Confirm { .. } => "confirmed",
        Action::Rollback { .. } => "switched back",
        Action::Hold { .. } => "left as it is, for people to look at",
        Action::RevertCommit { .. } => "reverted in the state repository",
        Action::Hook { hook, .. }
        | Action::Migrate { hook, .. }
        | Action::Maintenance { hook, .. }
        | Action::Reload { hook, .. } => return Some(format!("`{}` ran", hook.name)),
        Action::HealthBefore { .. }
        | Action::Upload
        | Action::Link
        | Action::Gate { .. }
        | Action::Seal { .. }
        | Action::Grace { .. }
        | Action::Prune { .. } => return None,
    };
    Some(word.to_owned())
}

/// `fetched, checked, staged → switched → healthy → confirmed`
fn chain(words: &[String], prepared: usize) -> String {
    let (before, after) = words.split_at(prepared.min(words.len()));
    let before = before.join(", ");
    let parts = (!before.is_empty()).then_some(&before).into_iter().chain(after);
    parts.map(String::as_str).collect::<Vec<_>>().join(" → ")
}

impl Listen for Timeline {
    fn event(&self, run: &RunId, event: &Event) {
        self.heard(run, event);
    }

    /// Whoever ends the demo sees it end.
    fn stopping(&self, _: &RunId, _: &Interruption) {}

    /// The bundles of the demo are there at once.
    fn sent(&self, _: &RunId, _: Option<&HostName>, _: Sent) {}
}
