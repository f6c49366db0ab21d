//! Findings in print: a line for each, the fix below what needs one, and the exit code.

use super::global::{Global, Output};
use super::out;
use crate::model::shown::clean;
use crate::run::finding::{Finding, Opinion};

/// Prints them. 6: a host did not answer; 1: something fails.
pub fn print(global: &Global, findings: &[Finding], unreachable: bool) -> u8 {
    if global.output == Output::Json {
        out::json(&findings);
    } else {
        let mut about = None;
        for finding in findings {
            let whom = (&finding.host, &finding.environment);
            if about != Some(whom) {
                let of = finding.environment.as_ref().map(|env| format!(" ({env})")).unwrap_or_default();
                out::text(&format!("{}{of}\n", finding.host));
                about = Some(whom);
            }
            let word = word(finding.verdict);
            out::text(&format!("  {word} {}: {}\n", clean(&finding.check), clean(&finding.message)));
            if !finding.fix.is_empty() {
                out::text(&format!("          fix: {}\n", clean(&finding.fix)));
            }
        }
    }
    match () {
        () if unreachable => 6,
        () if findings.iter().any(|finding| finding.verdict == Opinion::Fail) => 1,
        () => 0,
    }
}

fn word(verdict: Opinion) -> String {
    let (word, colour) = match verdict {
        Opinion::Ok => ("ok     ", "\x1b[32m"),
        Opinion::Warn => ("warn   ", "\x1b[33m"),
        Opinion::Fail => ("FAIL   ", "\x1b[31m"),
        Opinion::Unknown => ("unknown", "\x1b[36m"),
    };
    if out::colour() { format!("{colour}{word}\x1b[0m") } else { word.to_owned() }
}
