//! What a page of HTML says to people: nobody reads tags in one line of a log.

use std::borrow::Cow;

/// The text of a body: of HTML its title and what it shows, of everything else what it is.
pub fn text(body: &str) -> Cow<'_, str> {
    let begins: String = body.trim_start().chars().take(15).collect::<String>().to_ascii_lowercase();
    match begins.starts_with("<!doctype html") || begins.starts_with("<html") || begins.starts_with("<head") {
        true => Cow::Owned(shown(body)),
        false => Cow::Borrowed(body),
    }
}

fn shown(page: &str) -> String {
    let title = inside(page, "title").map(plain).unwrap_or_default();
    let mut rest = inside(page, "body").unwrap_or(page).to_owned();
    for hidden in ["head", "script", "style", "svg"] {
        while let Some(part) = whole(&rest, hidden) {
            rest.replace_range(part, " ");
        }
    }
    let text = plain(&rest);
    match (title.is_empty(), text.starts_with(&title)) {
        (true, _) | (_, true) => text,
        (false, false) if text.is_empty() => title,
        (false, false) => format!("{title}: {text}"),
    }
}

/// From the beginning of an element to its end; to that of the page where it was cut off.
fn whole(page: &str, element: &str) -> Option<std::ops::Range<usize>> {
    let lower = page.to_ascii_lowercase();
    let begins = format!("<{element}");
    let ends_name = |at: &usize| lower[at + begins.len()..].starts_with(|c: char| !c.is_ascii_alphanumeric());
    let from = lower.match_indices(&begins).map(|(at, _)| at).find(ends_name)?;
    let close = format!("</{element}>");
    let to = lower[from..].find(&close).map_or(page.len(), |at| from + at + close.len());
    Some(from..to)
}

/// What stands in an element.
fn inside<'a>(page: &'a str, element: &str) -> Option<&'a str> {
    let part = &page[whole(page, element)?];
    let close = format!("</{element}>");
    let is_closed = part.to_ascii_lowercase().ends_with(&close);
    let part = if is_closed { &part[..part.len() - close.len()] } else { part };
    Some(part.split_once('>')?.1)
}

/// Without tags, with the characters that entities stand for, and with single blanks.
fn plain(html: &str) -> String {
    let (mut text, mut in_tag) = (String::new(), false);
    for c in html.chars() {
        match c {
            '<' => {
                in_tag = true;
                text.push(' ');
            }
            '>' if in_tag => in_tag = false,
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    let text = entities.into_iter().fold(text, |text, (entity, char)| text.replace(entity, char));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_its_words() {
        let nginx = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n\
                     <hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n";
        assert_eq!(text(nginx), "502 Bad Gateway nginx/1.22.1");
        let framework = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Server Error</title><style>body { color: red }</style></head>\
                         <body class=\"x\"><script>let a = '<b>';</script><p>SQLSTATE[HY000] &quot;gone&quot; &amp; away</p></body></html>";
        assert_eq!(text(framework), "Server Error: SQLSTATE[HY000] \"gone\" & away");
        // Cut off in the middle of a script, of a tag, or without any of it.
        assert_eq!(text("<html><body><p>No</p><script>var x"), "No");
        assert_eq!(text("<html><body><p>No</p>, and then <a hre"), "No , and then");
        assert_eq!(text("<html>"), "");
        // Other answers are what they are.
        assert_eq!(text("{\"error\": \"<b>no</b>\"}"), "{\"error\": \"<b>no</b>\"}");
        assert_eq!(text("header: <x>"), "header: <x>");
    }
}
