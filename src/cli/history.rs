//! `soll history` and `soll show`: the ledger, and one run in full.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};

use super::global::{Global, Output};
use super::screen::plain;
use super::{Result, apply, out, timeline};
use crate::journal::{Entry, Event, Subject, What};
use crate::model::ids::{EnvName, Sha};
use crate::model::shown::clean;
use crate::store::{Details, RunRow, Store};

/// List the runs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll history                                of all environments
  soll history production --limit 5
  soll history --subject backup
  soll history --notices                      what the daemon found between runs")]
pub struct History {
    /// Only of this environment
    environment: Option<EnvName>,
    /// So many, the newest first
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only these [default: all of them; with --output json: deploy, as scripts know it]
    #[arg(long, value_enum)]
    subject: Option<Wanted>,
    /// The notices of the daemon instead of runs: what changed beside them
    #[arg(long, conflicts_with = "subject")]
    notices: bool,
    /// The journal itself: every event of a run and every notice after this number, the oldest first
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["subject", "notices", "environment"])]
    after: Option<u64>,
}

/// The runs that are wanted.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// Deployments
    Deploy,
    /// What people told hosts beside deployments: stop, start, retry, adopt, acknowledge, approve, reject
    Operate,
    /// Backups, by the schedule or by hand
    Backup,
    /// Restores that were tried elsewhere, by the schedule or by hand
    RestoreTest,
    /// Restores
    Restore,
    /// All of them
    All,
}

/// Show one run.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll show                                   the last run
  soll show production                        the last run of an environment
  soll show 20261130-0212 --follow            a live one, to its end")]
pub struct Show {
    /// The run, or the beginning of its name; or an environment: its last run [default: the last run of all]
    run: Option<String>,
    /// Follow a live run to its end
    #[arg(long)]
    follow: bool,
}

impl History {
    /// Prints the ledger.
    pub fn run(self, global: &Global) -> Result {
        // The history is this machine's own: no repository is needed to read it.
        let store = Store::open(&global.settings()?.state_dir)?;
        apply::interrupt_dead(&store);
        if let Some(number) = self.after {
            return journal(global, store.after(number, self.limit)?);
        }
        if self.notices {
            let notices = store.notices(self.environment.as_ref(), self.limit)?.into_iter();
            let entry = |(number, noted)| Entry { number, what: What::Notice(noted) };
            return journal(global, notices.map(entry).collect());
        }
        // Scripts read the newest entry as the last deployment.
        let usual = if global.output == Output::Json { Wanted::Deploy } else { Wanted::All };
        let subject = match self.subject.unwrap_or(usual) {
            Wanted::Deploy => Some(Subject::Deploy),
            Wanted::Operate => Some(Subject::Operate),
            Wanted::Backup => Some(Subject::Backup),
            Wanted::RestoreTest => Some(Subject::RestoreTest),
            Wanted::Restore => Some(Subject::Restore),
            Wanted::All => None,
        };
        let rows = store.runs(self.environment.as_ref(), subject, self.limit)?;
        if global.output == Output::Json {
            out::json(&rows);
            return Ok(0);
        }
        for row in &rows {
            out::text(&format!("{}\n", line(row)));
        }
        if rows.is_empty() {
            out::text("no runs yet\n");
        }
        Ok(0)
    }
}

/// Lines of the journal as they are.
fn journal(global: &Global, entries: Vec<Entry>) -> Result {
    if global.output == Output::Json {
        out::json(&entries);
        return Ok(0);
    }
    for Entry { number, what } in &entries {
        let (of, lines) = match what {
            What::Event { run, event } => (run.to_string(), timeline::lines(event)),
            What::Notice(noted) => {
                let text = noted.notice.text();
                (format!("{:.0}", noted.at), text.lines().map(plain).collect())
            }
        };
        for line in lines {
            out::text(&format!("{number:>8}  {of}  {line}\n"));
        }
    }
    Ok(0)
}

fn line(row: &RunRow) -> String {
    let result = row.result.map_or("unfinished", |r| r.as_str());
    let short = |id: &str| id.parse::<Sha>().map_or(clean(id).into_owned(), |sha| sha.short().to_owned());
    let what = match &row.details {
        Details::Deployment(moved) => {
            format!("{} -> {}", moved.from.as_deref().map_or("-".to_owned(), short), short(&moved.to))
        }
        Details::Operation { action, .. } => format!("{action:<20}"),
    };
    // Of an operation people want to know what it was for; of a deployment that is the commit's to say.
    let why = match &row.details {
        // Who had approved it is part of why it began, and of what people look for.
        Details::Deployment(_) => {
            let approved = row.cause.split("; ").find(|part| part.starts_with("approved by "));
            vec![approved.unwrap_or_default(), row.reason.as_str()]
        }
        Details::Operation { .. } => vec![row.cause.as_str(), row.reason.as_str()],
    };
    let why: Vec<_> = why.iter().filter_map(|text| text.lines().next()).filter(|line| !line.is_empty()).collect();
    let took = row.finished.map(|end| format!("{:.1}s", end.duration_since(row.started).as_secs_f64()));
    let (why, took) = (why.join(": "), took.unwrap_or_default());
    format!(
        "{}  {:<16} {what}  {result:<11} {took:>7}  {}  {}",
        row.run,
        row.environment.as_ref().map_or("-", EnvName::as_str),
        clean(&row.actor),
        clean(&why)
    )
    .trim_end()
    .to_owned()
}

impl Show {
    /// The run that is meant; nothing where there is none at all.
    fn wanted(&self, store: &Store) -> Result<Option<RunRow>> {
        let last = |of: Option<&EnvName>| store.runs(of, None, 1).map(|rows| rows.into_iter().next());
        let Some(wanted) = &self.run else { return Ok(last(None)?) };
        if let Ok(env) = wanted.parse::<EnvName>()
            && let Some(row) = last(Some(&env))?
        {
            return Ok(Some(row));
        }
        Ok(Some(store.run(wanted)?))
    }

    /// Prints one run.
    pub async fn run(self, global: &Global) -> Result {
        let store = Store::open(&global.settings()?.state_dir)?;
        apply::interrupt_dead(&store);
        let Some(row) = self.wanted(&store)? else {
            out::text("no runs yet\n");
            return Ok(0);
        };
        let mut events = store.events(&row.run)?;
        if global.output == Output::Json {
            let events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
            out::json(&serde_json::json!({ "run": row, "events": events }));
            return Ok(0);
        }
        out::text(&format!("{}\n", line(&row)));
        out::text(&format!("  commit {} of the state repository, by {}\n", row.commit, clean(&row.actor)));
        let mut evidence: BTreeMap<String, Vec<String>> = BTreeMap::new();
        loop {
            for (_, event) in &events {
                print(event, &mut evidence);
            }
            let over = events.iter().any(|(_, event)| matches!(event, Event::Finished { .. }));
            let last = events.last().map_or(0, |(seq, _)| *seq);
            if over || !self.follow || !store.alive(&row.run)? {
                return Ok(0);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            events = store.events_after(&row.run, last)?;
        }
    }
}

fn print(event: &Event, evidence: &mut BTreeMap<String, Vec<String>>) {
    if let Event::Attempted { step, attempt } = event {
        let verdict = serde_json::to_value(attempt.verdict).ok();
        let verdict = verdict.as_ref().and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        evidence.entry(step.clone()).or_default().push(format!("{verdict}: {}", attempt.evidence));
    }
    for line in timeline::whole(event) {
        out::text(&format!("{line}\n"));
    }
    if let Event::Ended { step, end, .. } = event {
        for line in evidence.remove(step).unwrap_or_default() {
            out::text(&format!("      attempt: {}\n", plain(&line)));
        }
        if let crate::journal::StepEnd::Done { note } = end {
            for line in note.lines().skip(1) {
                out::text(&format!("    | {}\n", plain(line)));
            }
        }
    }
}
