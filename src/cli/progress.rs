//! What a run is at while it is at it: on a terminal a line per host with its phase and its bytes, elsewhere a sign of
//! life where nothing was said for a while, so that nobody takes a long migration for a hang. What has happened is
//! `timeline`'s to say.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use jiff::Timestamp;

use super::{CliError, Result, screen, timeline};
use crate::journal::Event;
use crate::model::ids::{HostName, RunId};
use crate::plan::Step;
use crate::run::size::bytes;
use crate::run::step::site::{Listen, Listener, Sent};
use crate::run::step::world::Interruption;

/// So long nothing may be said off a terminal while something runs.
const SILENCE: Duration = Duration::from_secs(30);

/// The runs of this process, as those who look on see them.
pub struct Progress {
    began: Instant,
    told: Mutex<Told>,
}

struct Told {
    runs: HashMap<RunId, Live>,
    /// When the last line was written.
    last: Instant,
}

/// One run under way.
#[derive(Default)]
struct Live {
    environment: String,
    /// The host of each step, and its kind.
    steps: BTreeMap<String, (Option<HostName>, &'static str)>,
    /// How long a step may take, where it has a limit.
    limits: BTreeMap<String, Duration>,
    running: BTreeMap<String, Instant>,
    /// A release is switched, and its verdict is to come.
    judging: bool,
    sent: BTreeMap<Option<HostName>, Sent>,
    bars: BTreeMap<Option<HostName>, ProgressBar>,
}

/// A listener that tells everything on standard error, so that standard output stays for the result.
pub fn listener() -> Result<Listener> {
    let silence = match std::env::var("SOLL_HEARTBEAT") {
        Ok(text) if !text.is_empty() => humantime::parse_duration(&text)
            .map_err(|error| CliError::plain(format!("`SOLL_HEARTBEAT={text}` is no duration: {error}")))?,
        _ => SILENCE,
    };
    let now = Instant::now();
    let progress = Arc::new(Progress { began: now, told: Mutex::new(Told { runs: HashMap::new(), last: now }) });
    // On a terminal the lines of the hosts say it all the time; `0s`: nobody wants it.
    if !screen::live() && !silence.is_zero() {
        let watched = Arc::downgrade(&progress);
        std::thread::spawn(move || {
            while let Some(progress) = watched.upgrade() {
                progress.beat(silence);
                drop(progress);
                std::thread::sleep((silence / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)));
            }
        });
    }
    Ok(progress)
}

impl Listen for Progress {
    fn event(&self, run: &RunId, event: &Event) {
        let mut told = self.told();
        let live = told.runs.entry(run.clone()).or_default();
        live.note(event);
        let name = live.environment.clone();
        if matches!(event, Event::Finished { .. }) {
            told.runs.remove(run);
        }
        for line in timeline::lines(event) {
            self.say(&mut told, &name, &line);
        }
    }

    fn stopping(&self, run: &RunId, why: &Interruption) {
        let mut told = self.told();
        let Some(live) = told.runs.get(run) else { return };
        let (name, line) = (live.environment.clone(), live.stopping(why, Instant::now(), Timestamp::now()));
        self.say(&mut told, &name, &line);
    }

    fn sent(&self, run: &RunId, host: Option<&HostName>, sent: Sent) {
        let mut told = self.told();
        let Some(live) = told.runs.get_mut(run) else { return };
        live.sent.insert(host.cloned(), sent);
        live.redraw(&host.cloned());
    }
}

impl Progress {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, told: &mut Told, name: &str, line: &str) {
        screen::line(&format!("{:7.2}s  {name}  {line}", self.began.elapsed().as_secs_f64()));
        told.last = Instant::now();
    }

    fn beat(&self, silence: Duration) {
        let mut told = self.told();
        let now = Instant::now();
        if now.duration_since(told.last) < silence {
            return;
        }
        let waits: Vec<_> =
            told.runs.values().filter_map(|live| Some((live.environment.clone(), live.still(now)?))).collect();
        for (name, still) in waits {
            self.say(&mut told, &name, &still);
        }
    }
}

impl Live {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Started(started) => {
                self.environment = started.environment.to_string();
                self.learn(&started.steps);
            }
            Event::Operation(operation) => {
                self.environment = operation.environment.as_ref().map_or_else(String::new, ToString::to_string);
            }
            Event::TurnedBack { steps, .. } | Event::SetAside { steps, .. } => self.learn(steps),
            Event::Intended { step, .. } => {
                self.running.insert(step.clone(), Instant::now());
                match self.steps.get(step) {
                    Some((_, "switch")) => self.judging = true,
                    Some((_, "confirm" | "rollback" | "hold")) => self.judging = false,
                    _ => {}
                }
                self.shift(step);
            }
            Event::Ended { step, .. } => {
                self.running.remove(step);
                self.shift(step);
            }
            Event::Finished { .. } => self.bars.values().for_each(ProgressBar::finish_and_clear),
            Event::Acquired { .. } | Event::Attempted { .. } | Event::Quarantined { .. } => {}
        }
    }

    fn learn(&mut self, steps: &[Step]) {
        self.steps.extend(steps.iter().map(|step| (step.id.clone(), (step.host.clone(), step.action.kind()))));
        self.limits.extend(steps.iter().filter_map(|step| Some((step.id.clone(), step.action.limit()?))));
    }

    /// A step of this host began or ended: the bytes of the one before it are history.
    fn shift(&mut self, step: &str) {
        let Some((host, _)) = self.steps.get(step) else { return };
        let host = host.clone();
        self.sent.remove(&host);
        self.redraw(&host);
    }

    fn redraw(&mut self, host: &Option<HostName>) {
        if !screen::live() {
            return;
        }
        let phase = self.phase(host);
        if !self.bars.contains_key(host) {
            let name =
                host.as_ref().map_or_else(|| self.environment.clone(), |host| format!("{} {host}", self.environment));
            let Some(bar) = screen::bar(&name) else { return };
            self.bars.insert(host.clone(), bar);
        }
        if let Some(bar) = self.bars.get(host) {
            bar.set_message(phase);
        }
    }

    /// What happens on a host: `upload 12.3 MB of 45.0 MB`.
    fn phase(&self, host: &Option<HostName>) -> String {
        let kinds = self.running.keys().filter_map(|step| self.steps.get(step).filter(|(of, _)| of == host));
        let mut kinds: Vec<&str> = kinds.map(|(_, kind)| *kind).collect();
        kinds.dedup();
        let sent = self.sent.get(host).map(|sent| format!(" {sent}")).unwrap_or_default();
        if kinds.is_empty() { "waits".to_owned() } else { format!("{}{sent}", kinds.join(", ")) }
    }

    /// What a run that was asked to stop waits for, and until when at most.
    fn stopping(&self, why: &Interruption, now: Instant, clock: Timestamp) -> String {
        let told = self.running.iter().map(|(step, since)| match self.limits.get(step) {
            Some(limit) => {
                let left = limit.saturating_sub(now.duration_since(*since));
                let until = clock.checked_add(left).unwrap_or(clock);
                format!("{step}, until {until:.0} at most")
            }
            None => step.clone(),
        });
        let told: Vec<_> = told.collect();
        let waits =
            if told.is_empty() { "it ends now".to_owned() } else { format!("it waits for {}", told.join("; ")) };
        let then = match why {
            Interruption::Cancelled(_) => ", then everything goes back",
            _ if self.judging => ", then for the verdict on what is switched",
            _ => "",
        };
        format!("asked to stop: {waits}{then}. Not to wait: soll cancel {} --now", self.environment)
    }

    /// Which steps run, and for how long; `None`: none does.
    fn still(&self, now: Instant) -> Option<String> {
        let told = self.running.iter().map(|(step, since)| {
            let host = self.steps.get(step).map(|(host, _)| host);
            let sent = host.and_then(|host| self.sent.get(host)).map(|sent| format!(", {sent}")).unwrap_or_default();
            format!("{step} ({} s{sent})", now.duration_since(*since).as_secs())
        });
        let told: Vec<_> = told.collect();
        (!told.is_empty()).then(|| format!("still at it: {}", told.join(", ")))
    }
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.of {
            Some(of) => write!(f, "{} of {}", bytes(self.bytes), bytes(of)),
            None => write!(f, "{}", bytes(self.bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_at_what_runs_on_it_with_its_bytes() {
        let host: Option<HostName> = Some("web1".parse().unwrap());
        let now = Instant::now();
        let mut live = Live { environment: "production".to_owned(), ..Live::default() };
        live.steps.insert("upload:web1".to_owned(), (host.clone(), "upload"));
        live.steps.insert("fetch".to_owned(), (None, "fetch"));
        assert_eq!((live.phase(&host), live.still(now)), ("waits".to_owned(), None));
        live.running.insert("upload:web1".to_owned(), now);
        live.sent.insert(host.clone(), Sent { bytes: 1_500_000, of: Some(45_000_000) });
        assert_eq!(live.phase(&host), "upload 1.5 MB of 45.0 MB");
        assert_eq!(live.phase(&None), "waits");
        let later = now + Duration::from_secs(42);
        assert_eq!(live.still(later).unwrap(), "still at it: upload:web1 (42 s, 1.5 MB of 45.0 MB)");
    }

    #[test]
    fn what_a_command_printed_moves_no_cursor() {
        assert_eq!(screen::plain("\u{1b}[31mred\u{1b}[0m\r\u{7}bell"), "red bell");
    }
}
