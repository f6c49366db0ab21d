//! The report of a restore test (F4): what was restored where, each line of what was looked at, how long it took (RTO), how old
//! the data were (RPO), and how that compares with earlier ones. For people, for a wiki, for programs. Pure.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::backup::name::BackupName;
use crate::model::backup::proof::{Check, Outcome, worst};
use crate::model::ids::{EnvName, HostName};
use crate::model::record::backup::Trial;

/// Of what was wrong so many characters are remembered; the run has all of it.
const LONGEST: usize = 600;

/// A restore test that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The job.
    pub name: String,
    pub environment: EnvName,
    /// Where it was restored.
    pub on: EnvName,
    pub host: HostName,
    /// What was restored; `None`: there was nothing that could be.
    pub backup: Option<BackupName>,
    /// From where it was read.
    pub target: Option<String>,
    pub outcome: Outcome,
    pub started: Timestamp,
    pub ended: Timestamp,
    /// How long it took to read, load and check all parts, in milliseconds.
    pub rto_ms: u64,
    /// How old the data were when the test began, in seconds.
    pub rpo_s: u64,
    pub parts: Vec<Part>,
    /// Earlier ones, the newest at the end.
    pub earlier: Vec<Trial>,
}

/// One part of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `db-main`, `app`.
    pub name: String,
    /// The server, or this host.
    pub instance: String,
    pub millis: u64,
    pub checks: Vec<Check>,
    /// What was kept to look at.
    pub kept: Option<String>,
}

impl Part {
    /// What its lines come to.
    pub fn outcome(&self) -> Outcome {
        worst(&self.checks)
    }

    /// Whether it is what was saved, whatever the data say.
    pub fn faithful(&self) -> Outcome {
        worst(self.checks.iter().filter(|check| !check.of_data))
    }

    /// What people read of it: what is wrong, or what was looked at.
    pub fn told(&self) -> String {
        let of = |check: &Check| format!("{}: {}", check.what, check.why);
        let wrong: Vec<_> = self.checks.iter().filter(|check| check.outcome != Outcome::Pass).map(of).collect();
        let (name, outcome) = (&self.name, self.outcome());
        match wrong.is_empty() {
            true => {
                let what: Vec<_> = self.checks.iter().map(|check| check.what.as_str()).collect();
                format!("{name}: {outcome}: {}", what.join(", "))
            }
            false => format!("{name}: {outcome}: {}", wrong.join("; ")),
        }
    }
}

impl Report {
    /// Whether all of it is what was saved, whatever the data say: of an answer to less than all nothing follows.
    pub fn faithful(&self) -> Outcome {
        self.parts.iter().map(Part::faithful).max().unwrap_or(Outcome::Inconclusive)
    }

    /// What is wrong; empty: nothing.
    pub fn why(&self) -> String {
        let wrong = self.parts.iter().filter(|part| part.outcome() != Outcome::Pass);
        wrong.map(Part::told).collect::<Vec<_>>().join("; ")
    }

    /// In one sentence.
    pub fn told(&self) -> String {
        let backup = self.backup.map_or_else(|| "no backup".to_owned(), |backup| backup.to_string());
        let from = self.target.as_ref().map_or_else(String::new, |target| format!(" from {target}"));
        let why = self.why();
        let why = if why.is_empty() { String::new() } else { format!("; {why}") };
        format!(
            "{}: {backup}{from}, restored on {}: RTO {}, RPO {}{}{why}",
            self.outcome,
            self.host,
            took(self.rto_ms),
            old(self.rpo_s),
            self.trend()
        )
    }

    /// As it is remembered.
    pub fn trial(&self) -> Trial {
        let (backup, at, outcome) = (self.backup, self.ended, self.outcome);
        // The host remembers many of them.
        let why = self.why();
        let why = match why.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &why[..end]),
            None => why,
        };
        Trial { backup, at, outcome, millis: self.rto_ms, age: self.rpo_s, why }
    }

    /// Beside the median of the earlier ones that passed.
    fn trend(&self) -> String {
        let mut passed: Vec<&Trial> = self.earlier.iter().filter(|trial| trial.outcome == Outcome::Pass).collect();
        if passed.is_empty() || self.outcome != Outcome::Pass {
            return String::new();
        }
        passed.sort_by_key(|trial| trial.millis);
        let middle = passed[passed.len() / 2].millis;
        match passed.len() {
            1 => format!(" (the one before it took {})", took(middle)),
            count => format!(" (the {count} before it took {} in the median)", took(middle)),
        }
    }

    /// Line by line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            for Check { what, outcome, why, .. } in &part.checks {
                let _ = writeln!(text, "{outcome:<12} {:<10} {what}: {why}", part.name);
            }
            if let Some(kept) = &part.kept {
                let _ = writeln!(text, "kept         {:<10} {kept} on {}", part.name, part.instance);
            }
        }
        let _ = writeln!(text, "{}: {}", self.name, self.told());
        text
    }

    /// For a wiki, or an issue.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Restore test of {}: {}\n\n", self.name, self.outcome);
        let backup = self.backup.map_or_else(|| "none".to_owned(), |backup| backup.to_string());
        let from = self.target.as_deref().unwrap_or("nowhere");
        let _ = writeln!(text, "- Backup: `{backup}` of {}, read from {}", self.environment, cell(from));
        let _ = writeln!(text, "- Restored on: {} (first host of {})", self.host, self.on);
        let _ = writeln!(text, "- Begun {}, ended {}", self.started, self.ended);
        let _ = writeln!(text, "- Time to restore (RTO): {}", took(self.rto_ms));
        let _ = writeln!(text, "- Age of the data (RPO): {}\n", old(self.rpo_s));
        text.push_str("| Part | Looked at | Outcome | Found |\n|---|---|---|---|\n");
        for part in &self.parts {
            for Check { what, outcome, why, .. } in &part.checks {
                let (name, what, why) = (cell(&part.name), cell(what), cell(why));
                let _ = writeln!(text, "| {name} | {what} | {outcome} | {why} |");
            }
        }
        let instances: Vec<_> = self.parts.iter().filter(|part| !part.instance.is_empty()).collect();
        for part in &instances {
            let _ = write!(
                text,
                "\n{} was restored on {} in {}.",
                cell(&part.name),
                cell(&part.instance),
                took(part.millis)
            );
        }
        if !instances.is_empty() {
            text.push('\n');
        }
        if !self.earlier.is_empty() {
            text.push_str("\n## Earlier ones\n\n| Ended | Backup | Outcome | RTO | RPO |\n|---|---|---|---|---|\n");
            for Trial { backup, at, outcome, millis, age, .. } in self.earlier.iter().rev() {
                let backup = backup.map_or_else(|| "none".to_owned(), |backup| backup.to_string());
                let _ = writeln!(text, "| {at} | {backup} | {outcome} | {} | {} |", took(*millis), old(*age));
            }
        }
        text
    }
}

/// A duration, as people say it.
fn took(millis: u64) -> String {
    match millis {
        0..=9_999 => format!("{:.1} s", Duration::from_millis(millis).as_secs_f64()),
        _ => old(millis / 1000),
    }
}

fn old(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A text in a table.
fn cell(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let trial = |millis| Trial {
            backup: Some("daily/20261101_010000".parse().unwrap()),
            at: at("2026-11-01T02:00:00Z"),
            outcome: Outcome::Pass,
            millis,
            age: 3600,
            why: String::new(),
        };
        Report {
            name: "nightly".to_owned(),
            environment: "production".parse().unwrap(),
            on: "staging".parse().unwrap(),
            host: "web2".parse().unwrap(),
            backup: Some("daily/20261130_010000".parse().unwrap()),
            target: Some("nas".to_owned()),
            outcome: Outcome::Pass,
            started: at("2026-11-30T03:00:00Z"),
            ended: at("2026-11-30T03:00:20Z"),
            rto_ms: 20_000,
            rpo_s: 7_200,
            parts: vec![Part {
                name: "db-main".to_owned(),
                instance: "127.0.0.1:3306".to_owned(),
                millis: 19_000,
                checks: vec![Check::pass("rows", "3 | in 1 table"), Check::pass("tables", "all 1 are there")],
                kept: None,
            }],
            earlier: vec![trial(9_000), trial(30_000), trial(10_000)],
        }
    }

    #[test]
    fn it_says_what_was_restored_where_how_long_it_took_and_how_old_it_was() {
        let told = "pass: daily/20261130_010000 from nas, restored on web2: RTO 20 s, RPO 2 h (the 3 before it took 10 s in \
                    the median)";
        assert_eq!(report().told(), told);
        let second = Report { earlier: report().earlier[..1].to_vec(), ..report() };
        assert!(second.told().ends_with(" (the one before it took 9.0 s)"), "{}", second.told());
        let markdown = report().markdown();
        for line in [
            "# Restore test of nightly: pass",
            "| db-main | rows | pass | 3 \\| in 1 table |",
            "(RTO): 20 s",
            "(RPO): 2 h",
        ] {
            assert!(markdown.contains(line), "{line}\n{markdown}");
        }
        assert_eq!(markdown.matches("| daily/20261101_010000 | pass |").count(), 3);
    }

    #[test]
    fn what_is_wrong_is_said_first_of_all() {
        let mut report = report();
        report.parts[0].checks.push(Check::fail("foreign keys", "2 rows of a lead to no row of b"));
        report.outcome = Outcome::Fail;
        assert!(
            report.told().starts_with("fail: ")
                && report.told().ends_with("foreign keys: 2 rows of a lead to no row of b")
        );
        assert_eq!(report.trial().why, "db-main: fail: foreign keys: 2 rows of a lead to no row of b");
        // What the data say is no reason against having them back.
        assert_eq!(report.faithful(), Outcome::Fail);
        report.parts[0].checks[2].of_data = true;
        assert_eq!((report.faithful(), report.parts[0].outcome()), (Outcome::Pass, Outcome::Fail));
    }
}
