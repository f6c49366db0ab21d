//! What must not be shown although it was written: values beside keys that speak of secrets. A state file should hold
//! none; where one does, the error about it must not spread it (law 9). Works on text that does not even parse.

use super::sealed::Form;
use crate::model::rendered;

/// Words that make a key speak of a secret.
const WORDS: [&str; 9] =
    ["password", "passwd", "passphrase", "token", "secret", "secrets", "apikey", "bearer", "credential"];

/// Whether the value of a key of this name is likely to be a secret (`db_password`, `api-token`).
pub fn speaks_of_secrets(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.split(['_', '-', '.']).any(|part| WORDS.contains(&part) || part.ends_with("password"))
        || key.contains("api_key")
}

/// Whether a text is the name of a secret rather than its value: `[A-Z][A-Z0-9_]*`.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The text with such values replaced by asterisks, byte for byte, so that every span still fits.
pub fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, _) in text.match_indices('=') {
        let before = text[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let key = before.rsplit(|c: char| !(c.is_alphanumeric() || "_-".contains(c))).next().unwrap_or_default();
        if speaks_of_secrets(key) {
            let (start, end) = value(text, at + 1);
            // The right way to write it is no secret.
            let is_right = match key {
                "bearer" => rendered::secret(&text[start..end]).is_some(),
                "secrets" => names_files(&text[start..end]),
                _ => false,
            };
            if !is_right {
                blank(&mut bytes[start..end]);
            }
        }
    }
    for (at, _) in text.match_indices("://") {
        let authority = text[at + 3..].split(['/', '"', '\'', ' ', '\n']).next().unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some(colon) = user.find(':')
        {
            blank(&mut bytes[at + 3 + colon + 1..at + 3 + user.len()]);
        }
    }
    // A key of age is one wherever it stands.
    for (at, _) in text.match_indices("AGE-SECRET-KEY-") {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
        blank(&mut bytes[at..at + end]);
    }
    // Only ASCII replaced whole characters, so this never fails; if it ever did, nothing is shown rather than too much.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Whether a line is the beginning of a list of encrypted files, or such a list; the environments that they are for are names.
fn names_files(line: &str) -> bool {
    let of_files = line.split("environments").next().unwrap_or_default();
    let names = of_files.split('"').skip(1).step_by(2);
    line.starts_with('[') && !line.contains('\'') && names.into_iter().all(|name| Form::of(name).is_some())
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|b| !b"\r\n".contains(b)).for_each(|b| *b = b'*');
}

/// The inside of the quotes after `from`, or the rest of the line where there are none.
fn value(text: &str, from: usize) -> (usize, usize) {
    let start = from + text[from..].len() - text[from..].trim_start_matches([' ', '\t']).len();
    let rest = &text[start..];
    for quotes in ["\"\"\"", "'''", "\"", "'"] {
        let Some(inner) = rest.strip_prefix(quotes) else { continue };
        let mut escaped = false;
        let end = inner.char_indices().find(|(at, c)| {
            let closes = !escaped && inner[*at..].starts_with(quotes);
            escaped = *c == '\\' && !escaped && quotes.starts_with('"');
            closes || (quotes.len() == 1 && *c == '\n')
        });
        let open = start + quotes.len();
        return (open, open + end.map_or(inner.len(), |(at, _)| at));
    }
    (start, start + rest.find(['\r', '\n']).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_masked_in_place() {
        let text = "bearer = \"abc\\\"def\"\nx = { db_password = 'hünter', a = 1 }\ntoken = oops it is\nbearer = \"NAME_1\"\nu = \"https://me:pw@host/x\"\n";
        let masked = masked(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(
            masked,
            "bearer = \"********\"\nx = { db_password = '*******', a = 1 }\ntoken = **********\nbearer = \"NAME_1\"\nu = \"https://me:**@host/x\"\n"
        );
    }

    #[test]
    fn lists_of_encrypted_files_are_shown() {
        for text in [
            "secrets = [\"production.age\", \"a.enc.yaml\"]\n",
            "secrets = [{ file = \"b.env\", environments = [\"prod*\"] }]\n",
            "secrets = [\n",
        ] {
            assert_eq!(masked(text), text);
        }
        for text in ["secrets = [\"hunter2\", \"a.age\"]", "secrets = ['hunter2']", "secrets = \"hunter2.age\""] {
            assert!(!masked(text).contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn multi_line_secrets_keep_their_lines() {
        assert_eq!(masked("secret = \"\"\"a\nb\"\"\"\nc = 1"), "secret = \"\"\"*\n*\"\"\"\nc = 1");
    }
}
