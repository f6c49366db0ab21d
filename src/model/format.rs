//! Which version a document has. It is asked before anything else is read of it, so that what a newer program wrote is
//! called newer, never damaged, and is never read wrongly (law 12). Pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The program that this is, as documents that it writes name it.
pub const PROGRAM: &str = concat!("soll ", env!("CARGO_PKG_VERSION"), " (", env!("SOLL_COMMIT"), ")");

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The newest version that this program reads.
    pub known: u64,
    /// What a document without a version is: the first program that wrote some kinds gave them none. `None`: no document of ours.
    pub unsaid: Option<u64>,
}

/// Why a document is not read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error(
        "it has format {found}, and this soll reads formats up to {known}: {} wrote it. Use that one or a newer one",
        by.as_deref().unwrap_or("a newer soll")
    )]
    Newer {
        found: u64,
        known: u64,
        /// The program that wrote it, where it says so.
        by: Option<String>,
    },
    #[error("{0}")]
    Damaged(#[from] serde_json::Error),
}

/// What is wrong with a JSON text, and where: never what stands there, which may be somebody else's.
pub fn fault(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data if line == 0 => "it lacks something that belongs in it".to_owned(),
        serde_json::error::Category::Data => format!("line {line}, column {column} has another form"),
        serde_json::error::Category::Eof => "it ends too early".to_owned(),
        _ => format!("line {line}, column {column} is not JSON"),
    }
}

/// All that is read at first. Saved plans and observations say `schema`.
#[derive(Deserialize)]
struct Head {
    format: Option<u64>,
    schema: Option<u64>,
    #[serde(default)]
    by: By,
}

/// A newer program may say who it is in another way.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum By {
    Name(String),
    #[default]
    Nobody,
    Other(serde::de::IgnoredAny),
}

impl Form {
    /// Reads a document whose version is known here.
    ///
    /// # Errors
    /// [`Unreadable::Newer`], whatever else is in it; [`Unreadable::Damaged`]: it is no such document.
    pub fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Unreadable> {
        self.check(bytes)?;
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Whether the version of a document is known here.
    ///
    /// # Errors
    /// As [`Form::read`].
    pub fn check(self, bytes: &[u8]) -> Result<(), Unreadable> {
        let head: Head = serde_json::from_slice(bytes)?;
        match head.format.or(head.schema).or(self.unsaid) {
            Some(found) if found > self.known => {
                let by = match head.by {
                    By::Name(name) => Some(name.chars().filter(|c| !c.is_control()).take(80).collect()),
                    By::Nobody | By::Other(_) => None,
                };
                Err(Unreadable::Newer { found, known: self.known, by })
            }
            Some(_) => Ok(()),
            None => Err(Unreadable::Damaged(serde::de::Error::missing_field("format"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form { known: 2, unsaid: None };

    fn read(text: &str) -> String {
        match FORM.read::<serde_json::Value>(text.as_bytes()) {
            Ok(_) => "read".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_newer_is_called_newer_whatever_else_is_in_it() {
        assert_eq!(read(r#"{"format": 2, "epoch": []}"#), "read");
        let newer =
            read(r#"{"epoch": {"no": "number"}, "format": 18446744073709551615, "by": "soll 9.0\u001b (cafe)"}"#);
        assert_eq!(
            newer,
            "it has format 18446744073709551615, and this soll reads formats up to 2: soll 9.0 (cafe) wrote it. Use \
             that one or a newer one"
        );
        assert!(read(r#"{"schema": 3, "by": {"version": 9}}"#).contains("a newer soll wrote it"));
        for damaged in [r#"{"format": 2"#, r#"{"format": "three"}"#, r#"{"epoch": 1}"#, "[]", ""] {
            assert!(!read(damaged).contains("newer"), "{damaged}: {}", read(damaged));
            assert_ne!(read(damaged), "read", "{damaged}");
        }
        let unsaid = Form { unsaid: Some(1), ..FORM };
        assert!(unsaid.check(b"{}").is_ok());
    }
}
