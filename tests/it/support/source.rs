//! The text of the program, in tokens.

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Word(String),
    /// `::`
    Colons,
    Sign(char),
    Text(String),
}

/// The tokens of a file that matter here, each with its line. Comments are none.
pub fn tokens(source: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut all) = (0, 1, Vec::new());
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        let (first, begun) = (chars[at], line);
        if first == '\n' {
            line += 1;
            at += 1;
        } else if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            while at < chars.len() {
                if starts(at, "/*") {
                    (depth, at) = (depth + 1, at + 2);
                } else if starts(at, "*/") {
                    (depth, at) = (depth - 1, at + 2);
                    if depth == 0 {
                        break;
                    }
                } else {
                    line += usize::from(chars[at] == '\n');
                    at += 1;
                }
            }
        } else if let Some(hashes) = raw_string(&chars[at..]) {
            at += chars[at..].iter().take_while(|c| **c != '"').count() + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            let start = at;
            while at < chars.len() && !starts(at, &end) {
                line += usize::from(chars[at] == '\n');
                at += 1;
            }
            all.push((begun, Token::Text(chars[start..at.min(chars.len())].iter().collect())));
            at += end.len();
        } else if first == '"' {
            at += 1;
            let start = at;
            while at < chars.len() && chars[at] != '"' {
                line += usize::from(chars[at] == '\n');
                at += 1 + usize::from(chars[at] == '\\');
            }
            all.push((begun, Token::Text(chars[start..at.min(chars.len())].iter().collect())));
            at += 1;
        } else if first == '\'' {
            // A character, or a lifetime.
            at += match (chars.get(at + 1), chars.get(at + 2)) {
                (Some('\\'), _) => 2 + chars[at + 2..].iter().skip(1).take_while(|c| **c != '\'').count() + 2,
                (_, Some('\'')) => 3,
                _ => 1,
            };
        } else if first.is_alphabetic() || first == '_' {
            let word: String = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
            at += word.chars().count();
            all.push((begun, Token::Word(word)));
        } else if starts(at, "::") {
            at += 2;
            all.push((begun, Token::Colons));
        } else {
            at += 1;
            if !first.is_whitespace() {
                all.push((begun, Token::Sign(first)));
            }
        }
    }
    all
}

/// How many `#` a raw string has that begins here.
fn raw_string(chars: &[char]) -> Option<usize> {
    let rest = chars.strip_prefix(&['b']).unwrap_or(chars).strip_prefix(&['r'])?;
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}
