//! What is asked of a restored database of MySQL or MariaDB, by its client.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Expected, NAMED, WRITTEN, answered, leads_nowhere, named, newest, rows, tables, things};
use crate::backup::Wanted;
use crate::backup::dump::Login;
use crate::backup::dump::mysql::SCHEMA;
use crate::backup::load::Spoilt;
use crate::backup::load::gate::Seen;
use crate::backup::load::mysql::{ask, identifier};
use crate::model::backup::proof::Check;
use crate::model::ids::Digest;
use crate::model::shown::counted as counted_of;

/// One command line holds so many questions at most.
const AT_ONCE: usize = 100;

/// Asks. `seen`: what the dump made beside tables.
///
/// # Errors
/// The server cannot be asked any more.
pub fn prove(login: &Login, seen: &Seen, expected: &Expected<'_>, wanted: &dyn Wanted) -> Result<Vec<Check>, Spoilt> {
    let facts = expected.facts;
    let ask = |question: &str| ask(login, question, wanted);
    let names =
        |question: &str| -> Result<BTreeSet<String>, Spoilt> { Ok(ask(question)?.lines().map(plain).collect()) };
    let there = names(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', \
         'SYSTEM VERSIONED')",
    )?;
    let mut checks = vec![tables(&there, &facts.rows)];
    let counted = count(&there, &ask)?;
    checks.push(rows(&counted, &facts.rows));
    checks.push(schema(&ask, expected)?);
    if !seen.sequences.is_empty() {
        let sequences = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
                         AND table_type = 'SEQUENCE'";
        checks.push(things("sequences", &names(sequences)?, &seen.sequences));
    }
    let views = names("SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE()")?;
    checks.push(things("views", &views, &seen.views));
    checks.extend(readable(&views, &ask));
    let of = |table: &str, column: &str, schema: &str| {
        format!("SELECT {column} FROM information_schema.{table} WHERE {schema} = DATABASE()")
    };
    let triggers = names(&of("triggers", "trigger_name", "trigger_schema"))?;
    checks.push(things("triggers", &triggers, &seen.triggers));
    let routines = names(&of("routines", "routine_name", "routine_schema"))?;
    checks.push(things("routines", &routines, &seen.routines));
    let events = names(&of("events", "event_name", "event_schema"))?;
    checks.push(things("events", &events, &seen.events));
    checks.push(orphans(&ask)?);
    checks.push(newest(&written(&ask)?, expected.window));
    for (index, query) in expected.queries.iter().enumerate() {
        checks.push(match ask(query) {
            Ok(answer) => answered(index, query, &answer),
            Err(Spoilt { why, .. }) => {
                Check::inconclusive(&format!("query {}", index + 1), format!("`{query}`: {why}")).about_data()
            }
        });
    }
    Ok(checks)
}

/// Exact rows, table by table: what the server guesses is off by half.
fn count(
    tables: &BTreeSet<String>,
    ask: &impl Fn(&str) -> Result<String, Spoilt>,
) -> Result<BTreeMap<String, u64>, Spoilt> {
    let all: Vec<&String> = tables.iter().collect();
    let mut counted = BTreeMap::new();
    for some in all.chunks(AT_ONCE) {
        let each: Vec<_> = some.iter().map(|table| format!("SELECT COUNT(*) FROM {}", identifier(table))).collect();
        let answer = ask(&each.join("; "))?;
        let numbers: Vec<u64> = answer.lines().filter_map(|line| line.trim().parse().ok()).collect();
        if numbers.len() != some.len() {
            return Err(Spoilt::open(format!(
                "{} were counted, and {} came",
                counted_of(some.len() as u64, "table", "tables"),
                counted_of(numbers.len() as u64, "number", "numbers")
            )));
        }
        counted.extend(some.iter().map(|table| (*table).clone()).zip(numbers));
    }
    Ok(counted)
}

fn schema(ask: &impl Fn(&str) -> Result<String, Spoilt>, expected: &Expected<'_>) -> Result<Check, Spoilt> {
    const WHAT: &str = "schema";
    let facts = expected.facts;
    let Some(saved) = facts.schema else {
        return Ok(Check::inconclusive(WHAT, "the manifest has no digest of it"));
    };
    // Without the line that sets the zone it is the question that the dump asked.
    if Digest::of(ask(SCHEMA)?.as_bytes()) == saved {
        return Ok(Check::pass(WHAT, "every column is as it was"));
    }
    let version = ask("SELECT VERSION()")?.trim().to_owned();
    let saved_by = facts.server.as_deref().unwrap_or("a server that did not say its version");
    Ok(match facts.server.as_deref() == Some(&version) {
        true => Check::fail(WHAT, "columns are not what they were when they were saved"),
        false => Check::inconclusive(
            WHAT,
            format!("columns are described otherwise: they were saved by {saved_by}, and this is {version}"),
        ),
    })
}

/// Whether every view can be read: one that reads another database, or that lost a table, is only found so.
fn readable(views: &BTreeSet<String>, ask: &impl Fn(&str) -> Result<String, Spoilt>) -> Vec<Check> {
    let wrong = |view: &String| {
        let asked = ask(&format!("SELECT 1 FROM {} LIMIT 1", identifier(view)));
        asked.err().map(|spoilt| (view.clone(), spoilt))
    };
    let wrong: Vec<_> = views.iter().filter_map(wrong).collect();
    let Some(outcome) = wrong.iter().map(|(_, spoilt)| spoilt.outcome).max() else { return Vec::new() };
    let told: Vec<_> = wrong.iter().map(|(view, spoilt)| format!("{view} cannot be read: {}", spoilt.why)).collect();
    vec![Check { what: "views".to_owned(), outcome, why: named(&told), of_data: false }]
}

/// Rows that lead to a row that is not there: a restore switches the checks of foreign keys off, and nothing looks again.
fn orphans(ask: &impl Fn(&str) -> Result<String, Spoilt>) -> Result<Check, Spoilt> {
    const WHAT: &str = "foreign keys";
    let keys = ask("SELECT constraint_name, table_name, column_name, referenced_table_name, referenced_column_name \
         FROM information_schema.key_column_usage WHERE table_schema = DATABASE() AND referenced_table_schema = DATABASE() \
         ORDER BY table_name, constraint_name, ordinal_position")?;
    /// The columns of a key, each with the one that it leads to.
    type Key = ((String, String, String), Vec<(String, String)>);
    let mut all: Vec<Key> = Vec::new();
    for line in keys.lines() {
        let parts: Vec<String> = line.split('\t').map(plain).collect();
        let [name, table, column, parent, to] = &parts[..] else { continue };
        let key = (table.clone(), name.clone(), parent.clone());
        match all.last_mut().filter(|(last, _)| *last == key) {
            Some((_, columns)) => columns.push((column.clone(), to.clone())),
            None => all.push((key, vec![(column.clone(), to.clone())])),
        }
    }
    let mut wrong = Vec::new();
    for ((table, name, parent), columns) in &all {
        let of =
            |f: &dyn Fn(&(String, String)) -> String, with: &str| columns.iter().map(f).collect::<Vec<_>>().join(with);
        let on = of(&|(from, to)| format!("c.{} = p.{}", identifier(from), identifier(to)), " AND ");
        let set = of(&|(from, _)| format!("c.{} IS NOT NULL", identifier(from)), " AND ");
        let first = columns.first().map(|(_, to)| identifier(to)).unwrap_or_default();
        let (child, of_parent) = (identifier(table), identifier(parent));
        let question =
            format!("SELECT COUNT(*) FROM {child} c LEFT JOIN {of_parent} p ON {on} WHERE {set} AND p.{first} IS NULL");
        let orphans = ask(&question)?;
        if orphans.trim() != "0" {
            let rows = orphans.trim().parse().unwrap_or(u64::MAX);
            wrong.push(format!("{} ({name})", leads_nowhere(rows, table, parent)));
        }
    }
    let check = match (wrong.is_empty(), all.len()) {
        (true, 1) => Check::pass(WHAT, "1 holds"),
        (true, keys) => Check::pass(WHAT, format!("{keys} hold")),
        (false, _) => Check::fail(WHAT, named(&wrong)),
    };
    Ok(check.about_data())
}

/// The newest time of each column that says when a row was written.
fn written(ask: &impl Fn(&str) -> Result<String, Spoilt>) -> Result<Vec<(String, Timestamp)>, Spoilt> {
    let list: Vec<_> = WRITTEN.iter().map(|column| format!("'{column}'")).collect();
    let columns = ask(&format!(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t \
         USING (table_schema, table_name) WHERE c.table_schema = DATABASE() \
         AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') \
         AND c.data_type IN ('timestamp', 'datetime') AND LOWER(c.column_name) IN ({})",
        list.join(", ")
    ))?;
    let columns: Vec<(String, String)> = columns
        .lines()
        .filter_map(|line| line.split_once('\t').map(|(table, column)| (plain(table), plain(column))))
        .collect();
    let mut newest = Vec::new();
    for some in columns.chunks(NAMED * NAMED) {
        let each =
            some.iter().map(|(table, column)| format!("SELECT MAX({}) FROM {}", identifier(column), identifier(table)));
        let answer = ask(&each.collect::<Vec<_>>().join("; "))?;
        for ((table, column), line) in some.iter().zip(answer.lines()) {
            let at = line.trim().replace(' ', "T").parse::<DateTime>().ok();
            let at = at.and_then(|at| at.to_zoned(TimeZone::UTC).ok());
            newest.extend(at.map(|at| (format!("{table}.{column}"), at.timestamp())));
        }
    }
    Ok(newest)
}

/// A value as the client prints it in a batch, without its escapes.
fn plain(value: &str) -> String {
    let (mut text, mut chars) = (String::new(), value.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('t') => text.push('\t'),
                Some('n') => text.push('\n'),
                Some('0') => text.push('\0'),
                Some(other) => text.push(other),
                None => {}
            },
            c => text.push(c),
        }
    }
    text
}
