//! What is asked of a restored database of SQLite.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::{Expected, WRITTEN, answered, leads_nowhere, named, newest, rows, tables};
use crate::backup::dump::sqlite::{Made, digest, is_virtual, schema};
use crate::backup::load::Spoilt;
use crate::backup::load::sqlite::lacks_extension;
use crate::backup::{Wanted, unwanted};
use crate::model::backup::proof::{Check, Outcome};
use crate::model::shown::counted as counted_of;

/// Asks.
///
/// # Errors
/// It cannot be asked, or nobody waits for the answers any more.
pub fn prove(path: &Path, expected: &Expected<'_>, wanted: &dyn Wanted) -> Result<Vec<Check>, Spoilt> {
    let open = |error: rusqlite::Error| Spoilt::open(format!("{} cannot be asked: {error}", path.display()));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(open)?;
    let sound: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(open)?;
    let mut checks = vec![match sound.as_str() {
        "ok" => Check::pass("integrity", "every page is as it should be"),
        why => Check::fail("integrity", why),
    }];
    let made = schema(&connection).map_err(open)?;
    let facts = expected.facts;
    // Those of which the dump has rows, as it counted them.
    let counts = |made: &&Made| {
        made.kind == "table"
            && !is_virtual(&made.sql)
            && (!made.name.starts_with("sqlite_") || facts.rows.contains_key(&made.name))
    };
    let there: BTreeSet<String> = made.iter().filter(counts).map(|made| made.name.clone()).collect();
    checks.push(tables(&there, &facts.rows));
    let mut counted = BTreeMap::new();
    for table in &there {
        if !wanted.is_wanted() {
            return Err(Spoilt::open(unwanted().to_string()));
        }
        let rows: i64 = connection
            .query_row(&format!("SELECT COUNT(*) FROM {}", identifier(table)), [], |row| row.get(0))
            .map_err(open)?;
        counted.insert(table.clone(), rows.unsigned_abs());
    }
    checks.push(rows(&counted, &facts.rows));
    checks.push(match facts.schema {
        None => Check::inconclusive("schema", "the manifest has no digest of it"),
        Some(saved) if saved == digest(&made) => {
            let all = counted_of(made.len() as u64, "definition is as it was", "definitions are as they were");
            Check::pass("schema", all)
        }
        Some(_) => Check::fail("schema", "the definitions are not what they were when they were saved"),
    });
    checks.push(views(&connection, &made));
    checks.push(orphans(&connection).map_err(open)?);
    checks.push(newest(&written(&connection, &there).map_err(open)?, expected.window));
    if !wanted.is_wanted() {
        return Err(Spoilt::open(unwanted().to_string()));
    }
    for (index, query) in expected.queries.iter().enumerate() {
        checks.push(match first(&connection, query) {
            Ok(answer) => answered(index, query, &answer),
            Err(error) => {
                Check::inconclusive(&format!("query {}", index + 1), format!("`{query}`: {error}")).about_data()
            }
        });
    }
    Ok(checks)
}

fn views(connection: &Connection, made: &[Made]) -> Check {
    let views = made.iter().filter(|made| made.kind == "view");
    let wrong = |view: &Made| {
        let asked = connection.prepare(&format!("SELECT * FROM {} LIMIT 1", identifier(&view.name)));
        let asked = asked.and_then(|mut statement| statement.query([]).and_then(|mut rows| rows.next().map(drop)));
        asked.err().map(|error| {
            let outcome = if lacks_extension(&error) { Outcome::Inconclusive } else { Outcome::Fail };
            (outcome, format!("{} cannot be read: {error}", view.name))
        })
    };
    let count = views.clone().count();
    let wrong: Vec<_> = views.filter_map(wrong).collect();
    let Some(outcome) = wrong.iter().map(|(outcome, _)| *outcome).max() else {
        return Check::pass("views", format!("{count} can be read"));
    };
    let told: Vec<_> = wrong.into_iter().map(|(_, why)| why).collect();
    Check { what: "views".to_owned(), outcome, why: named(&told), of_data: false }
}

/// Rows that lead to a row that is not there.
fn orphans(connection: &Connection) -> rusqlite::Result<Check> {
    let mut statement = connection
        .prepare("SELECT \"table\", parent, COUNT(*) FROM pragma_foreign_key_check GROUP BY \"table\", parent, fkid")?;
    let each = statement.query_map([], |row| {
        let (table, parent, rows): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(leads_nowhere(rows.unsigned_abs(), &table, &parent))
    })?;
    let wrong = each.collect::<rusqlite::Result<Vec<_>>>()?;
    let check = match wrong.is_empty() {
        true => Check::pass("foreign keys", "all hold"),
        false => Check::fail("foreign keys", named(&wrong)),
    };
    Ok(check.about_data())
}

fn written(connection: &Connection, tables: &BTreeSet<String>) -> rusqlite::Result<Vec<(String, Timestamp)>> {
    let mut newest = Vec::new();
    for table in tables {
        let mut columns = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let columns =
            columns.query_map([table], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        for column in columns.iter().filter(|column| WRITTEN.contains(&column.to_ascii_lowercase().as_str())) {
            let question = format!("SELECT MAX({}) FROM {}", identifier(column), identifier(table));
            let at = connection.query_row(&question, [], |row| Ok(time(row.get_ref(0)?)))?;
            newest.extend(at.map(|at| (format!("{table}.{column}"), at)));
        }
    }
    Ok(newest)
}

/// A time as applications write it into SQLite, which has no type for it.
fn time(value: ValueRef<'_>) -> Option<Timestamp> {
    match value {
        // Seconds since 1970, or milliseconds.
        ValueRef::Integer(number @ 100_000_000..=99_999_999_999) => Timestamp::from_second(number).ok(),
        ValueRef::Integer(number @ 100_000_000_000..=99_999_999_999_999) => Timestamp::from_millisecond(number).ok(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text).trim().replacen(' ', "T", 1);
            let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
            text.parse::<Timestamp>().ok().or_else(civil)
        }
        _ => None,
    }
}

fn first(connection: &Connection, query: &str) -> rusqlite::Result<String> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(String::new()) };
    Ok(match row.get_ref(0)? {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    })
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
