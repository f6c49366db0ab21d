//! Text as it may be shown: subjects of commits, names of people and files, what hosts and commands said come from others,
//! and none of it may move a cursor, forge a line, or show another order than it has. Pure; the edges use it.

use std::borrow::Cow;

/// Control characters (C0, C1, DEL), and characters that are not seen, end a line, or turn the direction of others.
pub fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// One line: every odd character is a blank.
pub fn clean(text: &str) -> Cow<'_, str> {
    match text.contains(is_odd) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.chars().map(|c| if is_odd(c) { ' ' } else { c }).collect()),
    }
}

/// `1.5 MB`: a number of bytes, for people.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

/// `1 table`, `2 tables`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What the sentence about so many says of them: `is` for one of them, else `are`.
pub fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// One word of a shell: bare where nothing in it means something there.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Several lines, at the edge: line ends and tabs stay, and, with `colour`, what colours text and nothing else.
pub fn page(text: &str, colour: bool) -> Cow<'_, str> {
    let stays = |c: char| matches!(c, '\n' | '\t') || !is_odd(c);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour_at(rest).filter(|_| colour) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        out.push(if stays(c) { c } else { ' ' });
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(out)
}

/// The length of a sequence that sets a colour, bold, faint, italic or underlined, and hides nothing.
fn colour_at(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("\u{1b}[")?;
    let end = inside.find('m')?;
    let numbers = &inside[..end];
    let harmless = |number: &str| match number.parse::<u8>() {
        Ok(number) => matches!(number, 0..=4 | 22 | 30..=37 | 39 | 90..=97),
        Err(_) => number.is_empty(),
    };
    let good = numbers.len() <= 16 && numbers.split(';').all(harmless);
    good.then_some(2 + end + 1)
}

/// JSON as it may be printed: what JSON lets stand as it is and a terminal does not is escaped. Such characters stand only
/// within its strings.
pub fn json(text: &str) -> Cow<'_, str> {
    let odd = |c: char| is_odd(c) && !matches!(c, '\n' | '\t' | '\r');
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match odd(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_the_shell() {
        for (text, word) in
            [("/srv/app-1", "/srv/app-1"), ("/srv/it's", r"'/srv/it'\''s'"), ("a b", "'a b'"), ("", "''")]
        {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown() {
        let evil = "a\u{1b}[2J\u{9b}31m\u{202e}b\r\n\u{7}\u{2066}c\u{200f}";
        assert_eq!(clean(evil), "a [2J 31m b    c ");
        assert_eq!(page("a\u{1b}[31mb\u{1b}[0m\n\tc", true), "a\u{1b}[31mb\u{1b}[0m\n\tc");
        assert_eq!(page("a\u{1b}[31mb\u{1b}[0m\n", false), "a [31mb [0m\n");
        for bad in [
            "\u{1b}[8m",
            "\u{1b}[2J",
            "\u{1b}]0;title\u{7}",
            "\u{1b}[31",
            "\u{1b}[1;8m",
            "\u{1b}[38m",
            "\u{9b}31m",
            "\u{1b}[31;\u{1b}[8m",
        ] {
            assert!(
                !page(bad, true).contains("\u{1b}[8m")
                    && page(bad, true).chars().filter(|c| *c == '\u{1b}').count() == 0,
                "{bad:?}"
            );
        }
        assert_eq!(page("plain ü 漢字\n", false), "plain ü 漢字\n");
    }

    #[test]
    fn json_says_the_same_without_such_characters() {
        let value = serde_json::json!({ "a": "x\u{9b}y\u{202e}z\u{7f}\u{e0041}\u{1b}" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = json(&text);
        assert!(!shown.contains(|c| is_odd(c) && c != '\n'), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
