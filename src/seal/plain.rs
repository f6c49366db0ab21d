//! What stands in an opened file: names of secrets, each with its value. Pure; an error names lines and names, never a value.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::host::disk::envfile;
use crate::host::wire::Secret;
use crate::model::rendered;

/// The secrets of a file of lines, as in a file `.env`: `NAME=value`, `NAME@2=value`.
///
/// # Errors
/// Half a sentence that goes on after the file's name.
pub fn lines(contents: &[u8]) -> Result<BTreeMap<String, Secret>, String> {
    let text = std::str::from_utf8(contents).map_err(|_| "holds no text: lines NAME=value are expected".to_owned())?;
    let mut all = BTreeMap::new();
    for envfile::Assignment { number, name, value } in envfile::lines(text) {
        let name = name.ok_or_else(|| format!("holds something else than NAME=value in line {number}"))?;
        let named = secret_name(&name).ok_or_else(|| {
            format!("holds in line {number} what is not the name of a secret: capitals, digits and `_`, as in API_TOKEN, and API_TOKEN@2")
        })?;
        if all.insert(named.clone(), Secret::new(value)).is_some() {
            return Err(format!(
                "holds {named} twice, the second time in line {number}: keep one, or make it {named}@2"
            ));
        }
    }
    Ok(all)
}

/// The secrets of what SOPS gave: one flat object. `quoted`: its values are as they stand in lines, with their quotes, which
/// SOPS takes for a part of them.
///
/// # Errors
/// Half a sentence that goes on after the file's name.
pub fn object(contents: &[u8], quoted: bool) -> Result<BTreeMap<String, Secret>, String> {
    let read: Result<BTreeMap<String, serde_json::Value>, _> = serde_json::from_slice(contents);
    // The parser's own words may quote what stands there.
    let read = read.map_err(|_| "came from `sops` as something else than names with values".to_owned())?;
    let mut all = BTreeMap::new();
    for (name, value) in read {
        let Some(named) = secret_name(&name) else {
            return Err(format!(
                "holds `{}`, which is not the name of a secret: capitals, digits and `_`, as in API_TOKEN",
                crate::model::shown::clean(&name)
            ));
        };
        let value = match value {
            serde_json::Value::String(text) if quoted => unquoted(text),
            serde_json::Value::String(text) => text,
            serde_json::Value::Null => String::new(),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                return Err(format!("holds a list or a table under {named}: secrets are names with one value each"));
            }
            other => other.to_string(),
        };
        if all.insert(named.clone(), Secret::new(value)).is_some() {
            return Err(format!("holds {named} twice"));
        }
    }
    Ok(all)
}

/// A value without the quotes around it.
fn unquoted(text: String) -> String {
    let text = Zeroizing::new(text);
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote).map(str::to_owned);
    inner('"').or_else(|| inner('\'')).unwrap_or_else(|| text.to_string())
}

/// `NAME`, `NAME@2`; a version as the name of a variable has it (`NAME__2`) is the same.
fn secret_name(name: &str) -> Option<String> {
    let renewed = name.rsplit_once("__").map(|(base, version)| format!("{base}@{version}"));
    let renewed = renewed.filter(|name| rendered::secret(name).is_some());
    renewed.or_else(|| rendered::secret(name).map(|_| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(read: Result<BTreeMap<String, Secret>, String>) -> String {
        match read {
            Ok(all) => all.iter().map(|(name, value)| format!("{name}={:?}\n", value.expose())).collect(),
            Err(why) => why,
        }
    }

    #[test]
    fn lines_are_names_with_values() {
        let text = "# why\nA=1\nexport B='x # y'\nA@2=2\nC__3=3\nEMPTY=\nPEM=\"a\nb=\n\"\n";
        assert_eq!(
            shown(lines(text.as_bytes())),
            "A=\"1\"\nA@2=\"2\"\nB=\"x # y\"\nC@3=\"3\"\nEMPTY=\"\"\nPEM=\"a\\nb=\\n\"\n"
        );
        assert!(shown(lines(b"A=1\nhunter2\n")).contains("line 2"));
        assert!(shown(lines(b"A=1\nsmall=hunter2\n")).contains("line 2"));
        assert!(shown(lines(b"A=\"x\ny\"\n\nA=hunter2\n")).contains("A twice, the second time in line 4"));
        assert!(shown(lines(&[0xff])).contains("no text"));
        for bad in ["A=1\nhunter2\n", "hunter2=1", "A=hunter2\nA=hunter2"] {
            assert!(!shown(lines(bad.as_bytes())).contains("hunter2"), "{bad}");
        }
    }

    #[test]
    fn objects_are_flat() {
        assert_eq!(shown(object(b"{\"A\":\"x\",\"P\":5432,\"A@2\":null}", false)), "A=\"x\"\nA@2=\"\"\nP=\"5432\"\n");
        assert!(shown(object(b"{\"A\":{\"b\":1}}", false)).contains("under A"));
        assert!(shown(object(b"hunter2", false)).contains("something else"));
        assert!(shown(object(b"{\"a\":1}", false)).contains("`a`"));
        let quoted = br#"{"A":"\"x y\"","B":"'z'","C":"\"","D":"a\"b"}"#;
        assert_eq!(shown(object(quoted, true)), "A=\"x y\"\nB=\"z\"\nC=\"\\\"\"\nD=\"a\\\"b\"\n");
        assert!(shown(object(quoted, false)).starts_with("A=\"\\\"x y"));
    }
}
