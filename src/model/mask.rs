//! Takes a secret out of a text that people will see (law 9). Servers echo headers, some escape them, some cut them: the
//! value, its JSON and URL forms, and every run of [`RUN`] of its characters become `***`. Pure.

/// A run this long is recognisably a part of a token; shorter ones occur by chance in any text.
const RUN: usize = 8;
const STARS: &str = "***";

/// `text` without `secret`, and without parts of it.
pub fn mask(text: &str, secret: &str) -> String {
    if secret.is_empty() {
        return text.to_owned();
    }
    mask_runs(&mask_whole(text, secret), secret)
}

/// `text` without `value` as a whole: for what may be a secret and may be an address that people need to read.
pub fn mask_whole(text: &str, value: &str) -> String {
    let mut out = text.to_owned();
    for form in forms(value).iter().filter(|form| !form.is_empty()) {
        out = out.replace(form, STARS);
    }
    out
}

/// How the value may be written in a body: as it is, as JSON, as PHP's JSON (`\/`), in a URL.
fn forms(secret: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(secret).to_string();
    let json = quoted[1..quoted.len() - 1].to_owned();
    let mut url = String::new();
    for byte in secret.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    let mut forms = vec![secret.to_owned(), json.replace('/', "\\/"), json, url];
    // Longest first: a shorter form inside a longer one would leave the rest of it standing.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    forms
}

fn mask_runs(text: &str, secret: &str) -> String {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let end = |i: usize| chars.get(i).map_or(text.len(), |(at, _)| *at);
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let mut length = RUN;
        if i + RUN > chars.len() || !secret.contains(&text[end(i)..end(i + RUN)]) {
            out.push(chars[i].1);
            i += 1;
            continue;
        }
        while i + length < chars.len() && secret.contains(&text[end(i)..end(i + length + 1)]) {
            length += 1;
        }
        out.push_str(STARS);
        i += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_goes_in_every_form() {
        let secret = "a/b\"c+d=e";
        assert_eq!(mask("<a/b\"c+d=e>", secret), "<***>");
        assert_eq!(mask(r#"{"t":"a/b\"c+d=e"}"#, secret), r#"{"t":"***"}"#);
        assert_eq!(mask(r#"{"t":"a\/b\"c+d=e"}"#, secret), r#"{"t":"***"}"#);
        assert_eq!(mask("?t=a%2Fb%22c%2Bd%3De&x", secret), "?t=***&x");
        assert_eq!(mask("nothing here", secret), "nothing here");
    }

    #[test]
    fn parts_of_a_token_go_too_and_short_words_stay() {
        let secret = "0123456789abcdef-ünïcode";
        assert_eq!(mask("starts with 0123456789ab…", secret), "starts with ***…");
        assert_eq!(mask("f-ünïcod is eight", secret), "*** is eight");
        assert_eq!(mask("0123 is four", secret), "0123 is four");
        assert_eq!(mask("text", ""), "text");
    }
}
