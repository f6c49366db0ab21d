//! What a host says is text that strangers wrote: of a bounded length, and without characters that move a cursor, hide or
//! reverse what stands beside them (law 13). Done once, where an answer arrives, also that of this machine, so that no
//! journal, page, terminal or message needs to think of it.

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

/// Whether an answer in JSON, as this program writes it or another one would, surely has nothing to tame: whoever knows that
/// need not look at each text. Says no where it cannot tell.
pub fn is_calm(json: &[u8]) -> bool {
    let mut since_quote = 0;
    let mut rest = json.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        since_quote = if byte == b'"' { 0 } else { since_quote + 1 };
        let next = rest.peek().copied().unwrap_or_default();
        let is_wild = match byte {
            // Of what is escaped only these are harmless as they are.
            b'\\' => {
                rest.next();
                !matches!(next, b'"' | b'\\' | b'/' | b'n' | b't')
            }
            0x7f => true,
            0xc2 => (0x80..=0x9f).contains(&next),
            // Marks of direction are `e2 80 8e` to `e2 81 a9`, among much that is harmless.
            0xe2 => matches!(next, 0x80 | 0x81),
            _ => false,
        };
        if is_wild || since_quote > MOST {
            return false;
        }
    }
    true
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
    fn what_is_called_calm_is_the_same_when_it_was_tamed() {
        let texts = [
            "plain \\ \" / text\n\twith lines",
            "Grüße aus 東京 🚀 — “so”",
            "\u{1b}[31m",
            "a\rb",
            "\u{7f}",
            "\u{85}",
            "\u{a0}\u{bf}",
            "\u{202e}",
            "\u{2066}",
            "\u{200e}",
            "\u{8}\u{c}",
            "\\u001b",
            &"x".repeat(MOST),
            &"x".repeat(MOST + 1),
            &"\"".repeat(MOST + 1),
        ];
        for text in texts {
            for value in [json!({ "result": [text, 1.5, null, true] }), json!({ text: {} })] {
                let (bytes, mut tamed) = (serde_json::to_vec(&value).unwrap(), value.clone());
                answer(&mut tamed);
                assert!(!is_calm(&bytes) || tamed == value, "{:.80?}", text);
            }
        }
        let calm = |text: &str| is_calm(&serde_json::to_vec(&json!({ "a": text })).unwrap());
        assert!(calm("plain \\ \" / text\n\twith lines") && calm("Grüße aus 東京 🚀") && calm(&"x".repeat(MOST)));
        // Whoever escapes what need not be escaped is read in full.
        assert!(!is_calm(br#"{"a":"\u001b[2J"}"#) && !is_calm(br#"{"a":"\u0041"}"#) && !is_calm(br#"{"a\r":1}"#));
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
