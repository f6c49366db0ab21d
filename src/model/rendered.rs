//! Texts that are rendered for a host: `{variable}` and `{secret:NAME}` in a template of the state repository (A10, E4), and the
//! names under which what came of them lies below `ROOT/shared/`. Pure: who has which values is somebody else's business.

use std::ops::Range;

use super::desired::secret_name;
use super::ids::Digest;
use super::template::Values;

/// Below `ROOT/shared/`: every version of every rendered file that a release of the root uses.
pub const VERSIONS: &str = ".versions";

/// What lay at the place of a rendered file before it was rendered is kept beside it under this ending.
pub const BEFORE: &str = ".before-soll";

/// A template has at most so many bytes, and so has what comes of it.
pub const MOST: usize = 256 << 10;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// `{name}`: a variable, or what every environment has.
    Value(&'a str),
    /// `{secret:NAME}` or `{secret:NAME@2}`: a secret of the controller.
    Secret(&'a str),
}

/// What is wrong with a template, and where. Never holds a text that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The bytes of the template that it is about.
    pub span: Range<usize>,
    pub message: String,
    pub help: String,
}

/// Reads a template. Literal braces are doubled.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn parse(text: &str) -> Result<Vec<(Range<usize>, Piece<'_>)>, Vec<Fault>> {
    let (mut pieces, mut faults) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let Some(next) = rest.find(['{', '}']) else {
            pieces.push((at..text.len(), Piece::Text(rest)));
            break;
        };
        if next > 0 {
            pieces.push((at..at + next, Piece::Text(&rest[..next])));
            at += next;
            continue;
        }
        let brace = &rest[..1];
        if rest[1..].starts_with(brace) {
            pieces.push((at..at + 2, Piece::Text(brace)));
            at += 2;
            continue;
        }
        let line = rest.find('\n').unwrap_or(rest.len());
        match rest[1..line].find(['{', '}']).filter(|end| brace == "{" && rest[1 + end..].starts_with('}')) {
            Some(end) => {
                let span = at..at + end + 2;
                match piece(&rest[1..=end]) {
                    Ok(piece) => pieces.push((span.clone(), piece)),
                    Err((message, help)) => faults.push(Fault { span: span.clone(), message, help }),
                }
                at = span.end;
            }
            None => {
                let message = format!("this `{brace}` belongs to no placeholder");
                let help = format!("a brace that is meant as it stands is doubled: `{brace}{brace}`");
                faults.push(Fault { span: at..at + 1, message, help });
                at += 1;
            }
        }
    }
    if faults.is_empty() { Ok(pieces) } else { Err(faults) }
}

fn piece(inner: &str) -> Result<Piece<'_>, (String, String)> {
    if let Some(name) = inner.strip_prefix("secret:") {
        return match secret(name) {
            Some(_) => Ok(Piece::Secret(name)),
            None => Err((
                "this is not the name of a secret".to_owned(),
                "capitals, digits and `_`, and where it was renewed its version: {secret:DB_PASSWORD}, {secret:DB_PASSWORD@2}"
                    .to_owned(),
            )),
        };
    }
    let is_name = inner.starts_with(|c: char| c.is_ascii_lowercase())
        && inner.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    match is_name {
        true => Ok(Piece::Value(inner)),
        false => Err((
            "this is neither a variable nor a secret".to_owned(),
            "{name} of `variables`, or {secret:NAME}; braces that are meant as they stand are doubled: `{{` and `}}`"
                .to_owned(),
        )),
    }
}

/// A secret's name, and the version that it was renewed to: `NAME@2`. `None`: it is no name.
pub fn secret(name: &str) -> Option<(&str, Option<&str>)> {
    let (base, version) = match name.split_once('@') {
        Some((base, version)) => (base, Some(version)),
        None => (name, None),
    };
    let is_version = |version: &str| {
        !version.is_empty()
            && version.len() <= 6
            && !version.starts_with('0')
            && version.bytes().all(|b| b.is_ascii_digit())
    };
    (secret_name(base) && version.is_none_or(is_version)).then_some((base, version))
}

/// The names of the secrets that a template needs, each once, in the order of the text; none of one that cannot be read.
pub fn secrets(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (_, piece) in parse(text).unwrap_or_default() {
        if let Piece::Secret(name) = piece
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// Fills a template in one pass: what is filled in is never read as a template again. `secret`: gives the value of one.
///
/// # Errors
/// That of `secret`. A template that cannot be read, or a name without a value, is refused where it is loaded.
pub fn fill<E>(
    text: &str,
    values: &Values,
    mut secret: impl FnMut(&str, &mut String) -> Result<(), E>,
) -> Result<String, E> {
    let mut out = String::with_capacity(text.len() + 256);
    for (_, piece) in parse(text).unwrap_or_default() {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Value(name) => out.push_str(values.get(name).map_or("", String::as_str)),
            Piece::Secret(name) => secret(name, &mut out)?,
        }
    }
    Ok(out)
}

/// What a version of a rendered file is called: a digest over its contents, its mode and whom it belongs to.
pub fn version(contents: &Digest, mode: u32, owner: Option<&str>) -> Digest {
    Digest::of_json(&(contents, format!("{mode:04o}"), owner))
}

/// Where a version of the file `from` lies below `ROOT/shared/`.
pub fn place(from: &str, version: &str) -> String {
    format!("{VERSIONS}/{from}/{version}")
}

/// The file and the version that a place below `ROOT/shared/` is of; `None`: it is no version.
pub fn of_place(place: &str) -> Option<(&str, &str)> {
    place.strip_prefix(VERSIONS)?.strip_prefix('/')?.rsplit_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(text: &str) -> String {
        let values: Values = [("tenant".to_owned(), "a{b}".to_owned())].into();
        fill(text, &values, |name, out| {
            out.push_str(&format!("<{name}>"));
            Ok::<_, ()>(())
        })
        .unwrap()
    }

    #[test]
    fn values_and_secrets_are_filled_in_and_doubled_braces_are_single() {
        assert_eq!(filled("A={tenant}\nB=${{x}}\nC={secret:T_1}{secret:T@2}"), "A=a{b}\nB=${x}\nC=<T_1><T@2>");
        assert_eq!(secrets("{secret:A}{secret:B@2}{secret:A}{x}"), ["A", "B@2"]);
        assert_eq!(of_place(&place("a/.env", "77")), Some(("a/.env", "77")));
        assert_eq!(of_place("storage/.versions/x"), None);
    }

    #[test]
    fn faults_have_places_and_repeat_nothing_that_may_be_a_secret() {
        let text = "A={\nB=}\nC={hunter2!}\nD={secret:hunter2}\nE={secret:A@0}";
        let faults = parse(text).unwrap_err();
        let spans: Vec<&str> = faults.iter().map(|fault| &text[fault.span.clone()]).collect();
        assert_eq!(spans, ["{", "}", "{hunter2!}", "{secret:hunter2}", "{secret:A@0}"]);
        assert!(faults.iter().all(|fault| !format!("{}{}", fault.message, fault.help).contains("hunter2")));
    }

    proptest! {
        /// Whatever stands in a file can be written in a template.
        #[test]
        fn what_is_doubled_comes_out_single(text in "(?s).{0,64}") {
            let template = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(filled(&template), text);
        }

        /// No text makes the parser panic, and its pieces cover it.
        #[test]
        fn pieces_cover_a_text(text in "[{}a:\nA@2secret]{0,32}") {
            if let Ok(pieces) = parse(&text) {
                let ends = pieces.iter().try_fold(0, |at, (span, _)| (span.start == at).then_some(span.end));
                prop_assert_eq!(ends, Some(text.len()));
            }
        }
    }
}
