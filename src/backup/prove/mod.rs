//! What is asked of a database that was restored into a place of its own: whether it has what the manifest says, and holds
//! together. Each question becomes one line, which says yes, no, or that nobody can say. One file per engine.

pub mod mysql;
pub mod sqlite;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::model::backup::manifest::DatabaseFacts;
use crate::model::backup::proof::Check;
use crate::model::shown::counted;

/// So many names of a kind are told.
const NAMED: usize = 10;
/// Columns by which applications say when a row was written.
pub const WRITTEN: [&str; 9] = [
    "created_at",
    "updated_at",
    "created",
    "updated",
    "modified",
    "modified_at",
    "inserted_at",
    "changed_at",
    "created_on",
];
/// A time without a zone may be that of any.
const ANY_ZONE: SignedDuration = SignedDuration::from_hours(14);
/// The newest row of an application that is in use is not older than so, when it is saved.
const FRESH: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What a restored database is held against.
pub struct Expected<'a> {
    pub facts: &'a DatabaseFacts,
    /// When the backup was begun and ended.
    pub window: (Timestamp, Timestamp),
    /// Questions of the state file.
    pub queries: &'a [String],
}

/// The tables that are there, and those that should be.
fn tables(there: &BTreeSet<String>, rows: &BTreeMap<String, u64>) -> Check {
    let wanted: BTreeSet<String> = rows.keys().cloned().collect();
    let missing: Vec<_> = wanted.difference(there).cloned().collect();
    let more: Vec<_> = there.difference(&wanted).cloned().collect();
    match (missing.is_empty(), more.is_empty()) {
        (true, true) => Check::pass("tables", all_there(wanted.len())),
        (false, _) => Check::fail("tables", format!("these are not there: {}", named(&missing))),
        (true, false) => Check::fail("tables", format!("these are there and not in the manifest: {}", named(&more))),
    }
}

/// How many of them are there, where none is missing.
fn all_there(count: usize) -> String {
    match count {
        0 => "there were none".to_owned(),
        1 => "the only one is there".to_owned(),
        count => format!("all {count} are there"),
    }
}

/// Rows of a table that lead to no row of another one.
fn leads_nowhere(rows: u64, table: &str, parent: &str) -> String {
    let lead = if rows == 1 { "row of {table} leads" } else { "rows of {table} lead" };
    format!("{rows} {} to no row of {parent}", lead.replace("{table}", table))
}

/// The rows of each table, counted, and those that the dump had.
fn rows(there: &BTreeMap<String, u64>, wanted: &BTreeMap<String, u64>) -> Check {
    let other = |(table, rows): (&String, &u64)| {
        let found = there.get(table)?;
        (found != rows).then(|| format!("{table} has {found}, and {rows} were saved"))
    };
    let wrong: Vec<_> = wanted.iter().filter_map(other).collect();
    let all = wanted.values().fold(0, |sum: u64, rows| sum.saturating_add(*rows));
    match wrong.is_empty() {
        true => Check::pass("rows", format!("{all} in {}, as saved", counted(wanted.len() as u64, "table", "tables"))),
        false => Check::fail("rows", named(&wrong)),
    }
}

/// What is there of a kind, and what the dump made.
fn things(kind: &str, there: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Check {
    let missing: Vec<_> = wanted.difference(there).cloned().collect();
    match missing.is_empty() {
        true => Check::pass(kind, all_there(wanted.len())),
        false => Check::fail(kind, format!("these are not there: {}", named(&missing))),
    }
}

/// The newest row of all tables that say when their rows were written.
fn newest(rows: &[(String, Timestamp)], (started, ended): (Timestamp, Timestamp)) -> Check {
    const WHAT: &str = "newest row";
    let Some((column, at)) = rows.iter().max_by_key(|(_, at)| *at) else {
        return Check::pass(
            WHAT,
            "no table has a column that says when a row was written, such as created_at: not compared",
        );
    };
    // A row of a day to come may be an appointment: nobody can say.
    let check = if *at > ended + ANY_ZONE {
        Check::inconclusive(
            WHAT,
            format!(
                "{column} has a row of {at}, and the backup ended at {ended}: either it is about a time to come, or the \
                 clock of who wrote it was ahead"
            ),
        )
    } else if *at + FRESH + ANY_ZONE < started {
        Check::inconclusive(
            WHAT,
            format!(
                "the newest one is of {at} ({column}), more than a week before the backup of {started}: either nobody wrote \
                 anything, or another database was saved"
            ),
        )
    } else {
        Check::pass(WHAT, format!("of {at} ({column}); the backup began at {started}"))
    };
    check.about_data()
}

/// What a question of the state file was answered with: the first value of the first row.
fn answered(index: usize, query: &str, answer: &str) -> Check {
    let what = format!("query {}", index + 1);
    let check = |check: Check| check.about_data();
    let first = answer.lines().next().unwrap_or_default().split('\t').next().unwrap_or_default().trim();
    match first {
        "" | "NULL" => check(Check::fail(&what, format!("`{query}` is answered with nothing"))),
        "0" | "0.0" => check(Check::fail(&what, format!("`{query}` is answered with {first}"))),
        first => {
            let shown: String = first.chars().take(60).collect();
            check(Check::pass(&what, format!("`{query}` is answered with {shown}")))
        }
    }
}

fn named(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::proof::Outcome;

    #[test]
    fn a_row_of_another_time_is_told() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let window = (at("2026-11-30T01:00:00Z"), at("2026-11-30T01:05:00Z"));
        let of = |text: &str| newest(&[("users.created_at".to_owned(), at(text))], window);
        assert_eq!(of("2026-11-30T00:59:00Z").outcome, Outcome::Pass);
        assert_eq!(of("2026-11-30T14:00:00Z").outcome, Outcome::Pass, "a time without a zone");
        let ahead = of("2026-12-02T00:00:00Z");
        assert_eq!((ahead.outcome, ahead.of_data), (Outcome::Inconclusive, true));
        assert_eq!(of("2026-10-01T00:00:00Z").outcome, Outcome::Inconclusive);
        assert!(newest(&[], window).why.contains("not compared"));
    }

    #[test]
    fn one_is_told_as_one() {
        assert_eq!([0, 1, 2].map(all_there), ["there were none", "the only one is there", "all 2 are there"]);
        assert_eq!(leads_nowhere(1, "a", "b"), "1 row of a leads to no row of b");
        assert_eq!(leads_nowhere(2, "a", "b"), "2 rows of a lead to no row of b");
    }

    #[test]
    fn a_query_must_be_answered_with_something() {
        let of = |answer: &str| answered(0, "SELECT 1", answer).outcome;
        assert_eq!(
            (of("1\n"), of("0\n"), of(""), of("NULL\t1\n")),
            (Outcome::Pass, Outcome::Fail, Outcome::Fail, Outcome::Fail)
        );
    }
}
