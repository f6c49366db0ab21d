//! Why a unit does not run (I23): the last lines that it and systemd wrote since it was started anew, without secrets.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::systemctl::Systemd;
use crate::host::disk::command::hidden;
use crate::host::disk::people;
use crate::model::activation::Unit;

/// So many lines are told.
const LINES: usize = 50;
/// Of one line so many characters.
const WIDTH: usize = 1000;
/// The journal takes lines of a unit some time after their writer has ended, and not in one piece: it is read until two
/// readings are the same and hold a line of the unit itself, and at most so often.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(15);

/// Which lines of a unit count.
#[derive(Debug, Clone)]
pub struct Since {
    /// Those from this moment on.
    pub time: Timestamp,
    /// The start before: its lines do not count, also where they come after that moment.
    pub before: Option<String>,
}

/// One line, and who wrote it.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    text: String,
    /// The unit itself, and not systemd about it.
    own: bool,
}

/// The last lines of a unit since it was started anew.
///
/// They are asked for by the name of the unit and not by its invocation: of a process that has ended before its line is taken in,
/// the journal no longer knows the invocation, and that is the process whose lines matter.
pub fn lines(systemd: &Systemd, unit: &Unit, since: &Since, hides: &[String]) -> String {
    let mut found: Vec<Line> = Vec::new();
    for _ in 0..ATTEMPTS {
        let read = ask(systemd, unit, since);
        let rests = read == found && read.iter().any(|line| line.own);
        found = read;
        if rests {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    if found.is_empty() {
        let (host, unit) = (&systemd.host, &unit.name);
        return match reads_all() {
            true => format!("(the journal of {host} has no line of {unit} since then)"),
            false => format!(
                "(the journal of {host} shows no line of {unit} to {user}; as root: usermod -aG systemd-journal {user})",
                user = systemd.user
            ),
        };
    }
    let all: Vec<String> = found.iter().flat_map(|line| line.text.lines()).map(short).collect();
    hidden(all[all.len().saturating_sub(LINES)..].join("\n"), hides)
}

fn short(line: &str) -> String {
    line.chars().take(WIDTH).collect()
}

/// Whether the user of the agent may read what any unit writes.
pub fn reads_all() -> bool {
    let groups = rustix::process::getgroups().unwrap_or_default();
    let member = |name: &str| people::group_id(name).is_some_and(|id| groups.iter().any(|group| group.as_raw() == id));
    rustix::process::geteuid().is_root() || ["systemd-journal", "adm", "wheel"].iter().any(|name| member(name))
}

fn ask(systemd: &Systemd, unit: &Unit, since: &Since) -> Vec<Line> {
    let of_unit = if unit.user { "--user-unit" } else { "--unit" };
    let fields = "MESSAGE,UNIT,USER_UNIT,INVOCATION_ID,USER_INVOCATION_ID,_SYSTEMD_INVOCATION_ID";
    let micros = since.time.as_microsecond();
    let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let words = [
        "journalctl".to_owned(),
        "--quiet".to_owned(),
        "--no-pager".to_owned(),
        "--all".to_owned(),
        "--output=json".to_owned(),
        format!("--output-fields={fields}"),
        format!("--lines={LINES}"),
        format!("--since=@{seconds}.{rest:06}"),
        format!("{of_unit}={}", unit.name),
    ];
    let printed = systemd.run(&words, LIMIT).map(|done| done.output).unwrap_or_default();
    parse(&printed, since.before.as_deref())
}

/// What `journalctl --output=json` prints, without the lines of the start before.
fn parse(printed: &str, before: Option<&str>) -> Vec<Line> {
    let entries = printed.lines().filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    let mut lines = Vec::new();
    for entry in entries {
        let is = |field: &str| entry.get(field).and_then(Value::as_str);
        let starts = ["_SYSTEMD_INVOCATION_ID", "INVOCATION_ID", "USER_INVOCATION_ID"];
        // systemd's own lines carry its own invocation in the first field and that of the unit in one of the others.
        let about = starts.iter().rev().find_map(|field| is(field));
        if before.is_some() && about == before {
            continue;
        }
        if let Some(text) = entry.get("MESSAGE").and_then(text) {
            lines.push(Line { text, own: is("UNIT").is_none() && is("USER_UNIT").is_none() });
        }
    }
    lines
}

/// A message is text, or where it is not UTF-8 the numbers of its bytes.
fn text(message: &Value) -> Option<String> {
    match message {
        Value::String(text) => Some(text.clone()),
        Value::Array(bytes) => {
            let bytes: Option<Vec<u8>> =
                bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, own: bool) -> Line {
        Line { text: text.to_owned(), own }
    }

    #[test]
    fn lines_count_whatever_start_the_journal_knows_of_them_but_the_one_before() {
        let printed = r#"{"MESSAGE":"ends","_SYSTEMD_INVOCATION_ID":"old","_SYSTEMD_UNIT":"a.service"}
{"MESSAGE":"Stopped a.","UNIT":"a.service","INVOCATION_ID":"old"}
{"MESSAGE":"Started a.","UNIT":"a.service","INVOCATION_ID":"new"}
{"MESSAGE":"of a process that had ended already"}
{"MESSAGE":[99,97,102,195,169,255],"_SYSTEMD_INVOCATION_ID":"next"}
{"MESSAGE":null}
half a li"#;
        let found = parse(printed, Some("old"));
        let expected = [
            line("Started a.", false),
            line("of a process that had ended already", true),
            line("caf\u{e9}\u{fffd}", true),
        ];
        assert_eq!(found, expected);
        assert_eq!(parse(printed, None).len(), 5, "what is kept running has no start before");
    }
}
