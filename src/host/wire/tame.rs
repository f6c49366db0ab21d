//! What a host says is text that strangers wrote: of a bounded length, and without characters that move a cursor, hide or
//! reverse what stands beside them (law 13). Done once, where an answer is decoded, so that no journal, page, terminal or
//! message needs to think of it.

use serde_json::Value;

/// More than the output that is kept of a command (64 KiB) and what is said around it.
pub const MOST: usize = 96 * 1024;
/// Between the two ends of a text that was too long.
const CUT: &str = "\n… (cut: the host sent more than is kept) …\n";

/// Tames every text of an answer, and every name of a field that a host chose. The paths of a manifest stay what they are:
/// they are compared with those of a bundle.
pub fn answer(value: &mut Value) {
    match value {
        Value::String(text) => tame(text),
        Value::Array(all) => all.iter_mut().for_each(answer),
        Value::Object(fields) => {
            if fields.keys().any(|name| is_wild(name)) {
                let old = std::mem::take(fields);
                fields.extend(old.into_iter().map(|(mut name, value)| {
                    tame(&mut name);
                    (name, value)
                }));
            }
            fields.iter_mut().filter(|(name, _)| *name != "manifest").for_each(|(_, value)| answer(value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Tames one text.
pub fn tame(text: &mut String) {
    if !is_wild(text) {
        return;
    }
    if text.len() > MOST {
        let (head, tail) = (text.floor_char_boundary(MOST / 2), text.ceil_char_boundary(text.len() - MOST / 2));
        *text = format!("{}{CUT}{}", &text[..head], &text[tail..]);
    }
    let mut calm = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // A colour or a movement: what follows it belongs to it.
            '\u{1b}' | '\u{9b}' => {
                if c == '\u{9b}' || rest.next_if_eq(&'[').is_some() {
                    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                    rest.next_if(|c| matches!(c, '@'..='~'));
                }
            }
            // The end of a line of a terminal program; alone it would begin the line anew.
            '\r' if rest.peek() == Some(&'\n') => {}
            c if harmless(c) => calm.push(c),
            _ => calm.push('\u{fffd}'),
        }
    }
    *text = calm;
}

fn is_wild(text: &str) -> bool {
    text.len() > MOST || !text.chars().all(harmless)
}

fn harmless(c: char) -> bool {
    let reverses = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (!c.is_control() || c == '\n' || c == '\t') && !reverses
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tamed(text: &str) -> String {
        let mut text = text.to_owned();
        tame(&mut text);
        text
    }

    #[test]
    fn what_moves_a_cursor_or_hides_text_is_gone() {
        assert_eq!(tamed("\u{1b}[1;31mred\u{1b}[0m\r\nnext\tcolumn"), "red\nnext\tcolumn");
        assert_eq!(tamed("ok\rNOT"), "ok\u{fffd}NOT");
        assert_eq!(tamed("\u{1b}]0;title\u{7}x"), "]0;title\u{fffd}x");
        assert_eq!(tamed("\u{9b}2Jx\u{8}\u{0}"), "x\u{fffd}\u{fffd}");
        assert_eq!(tamed("a\u{202e}b\u{2066}c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(tamed("\u{1b}[\u{1b}[31mx"), "x", "none is made by taking another one away");
        let plain = "Grüße aus 東京 🚀\n";
        assert_eq!(tamed(plain), plain);
    }

    #[test]
    fn a_long_text_keeps_both_ends() {
        let long = format!("begin{}end", "ü".repeat(MOST));
        let short = tamed(&long);
        assert!(short.len() < MOST + 100 && short.starts_with("begin") && short.ends_with("end"), "{}", short.len());
        let kept = "x".repeat(64 * 1024 + 100);
        assert_eq!(tamed(&kept), kept, "what an agent keeps of a command is not cut again");
    }

    #[test]
    fn every_text_of_an_answer_is_tamed_and_no_path_of_a_manifest() {
        let mut value = json!({
            "result": { "Ok": { "state": { "record": { "notes": [{ "reason": "a\u{1b}[2Jb" }] }, "files": { "k\u{7}": null } } } }
        });
        answer(&mut value);
        assert_eq!(value["result"]["Ok"]["state"]["record"]["notes"][0]["reason"], "ab");
        assert_eq!(value["result"]["Ok"]["state"]["files"]["k\u{fffd}"], Value::Null);
        let mut value = json!({ "result": { "Ok": { "manifest": { "entries": [{ "path": "Icon\r" }] } } } });
        answer(&mut value);
        assert_eq!(value["result"]["Ok"]["manifest"]["entries"][0]["path"], "Icon\r");
    }
}
