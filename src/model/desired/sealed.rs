//! Encrypted files of the state repository that hold secrets: files of age, and files of SOPS. What is told here is told
//! without any key: which form a file has, and whether it is encrypted at all. Pure; who opens them is `run::sealed`.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

/// A file has at most so many bytes.
pub const MOST: usize = 256 << 10;

/// An encrypted file whose secrets an environment may use. What stands in it stands here, so that an environment that stays as
/// an earlier commit has it keeps the secrets of that one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sealed {
    /// Where it is in the state repository.
    pub path: String,
    pub form: Form,
    /// As it is committed; of a binary file of age its armoured form.
    pub text: Arc<str>,
}

/// What encrypted a file, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    Age,
    SopsDotenv,
    SopsYaml,
    SopsJson,
}

/// Where armour begins and ends.
pub const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
pub const END: &str = "-----END AGE ENCRYPTED FILE-----";
/// How a file of age begins.
pub const MAGIC: &str = "age-encryption.org/v1\n";
/// Armour is so wide.
const WIDTH: usize = 64;
/// What SOPS puts in place of a value.
const ENC: &str = "ENC[";

impl Form {
    /// By the ending of the name; `None`: nothing says how it is to be read.
    pub fn of(path: &str) -> Option<Form> {
        let name = path.rsplit('/').next().unwrap_or_default();
        match name.rsplit_once('.')?.1 {
            "age" => Some(Form::Age),
            "env" | "dotenv" => Some(Form::SopsDotenv),
            "yaml" | "yml" => Some(Form::SopsYaml),
            "json" => Some(Form::SopsJson),
            _ => None,
        }
    }

    /// What makes such a file.
    pub fn tool(self) -> &'static str {
        match self {
            Form::Age => "age",
            Form::SopsDotenv | Form::SopsYaml | Form::SopsJson => "SOPS",
        }
    }

    /// The command that makes one in place of a file in clear text.
    pub fn remedy(self, path: &str) -> String {
        match self {
            Form::Age => format!("age -a -R RECIPIENTS -o {path} CLEAR_TEXT"),
            _ => format!("sops -e -i {path}"),
        }
    }
}

/// Why a file may not stand in a repository, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The file is not encrypted: whoever can read the repository can read its secrets.
    Clear,
    /// Only a part of the file is encrypted; these names have their values in clear text.
    ClearValues(Vec<String>),
    /// The file is encrypted in a form that cannot be used; half a sentence says why.
    Unfit(String),
}

/// What was read as text. A binary file of age comes in its armoured form, which is the same file.
///
/// # Errors
/// The bytes are neither UTF-8 nor a binary file of age.
pub fn text_of(bytes: Vec<u8>) -> Result<String, std::string::FromUtf8Error> {
    if !bytes.starts_with(MAGIC.as_bytes()) {
        return String::from_utf8(bytes);
    }
    let encoded = Base64::encode_string(&bytes);
    let lines = encoded.as_bytes().chunks(WIDTH).map(|line| std::str::from_utf8(line).unwrap_or_default());
    let lines: Vec<&str> = std::iter::once(BEGIN).chain(lines).chain([END]).collect();
    Ok(lines.join("\n") + "\n")
}

/// Looks whether a file is encrypted as its name says.
///
/// # Errors
/// What is wrong with it. No value is quoted.
pub fn check(form: Form, text: &str) -> Result<(), Fault> {
    match form {
        Form::Age => age(text),
        Form::SopsDotenv => values(dotenv(text)),
        Form::SopsYaml => values(yaml(text)),
        Form::SopsJson => values(json(text)),
    }
}

fn age(text: &str) -> Result<(), Fault> {
    let text = text.trim();
    match (text.starts_with(BEGIN), text.ends_with(END)) {
        (true, true) => Ok(()),
        (true, false) => Err(Fault::Unfit(format!("is cut off: its last line is not `{END}`"))),
        (false, _) => Err(Fault::Clear),
    }
}

/// The values of a file as SOPS writes it, by name, and whether it has what SOPS notes for itself.
#[derive(Default)]
struct Values<'a> {
    named: Vec<(String, &'a str)>,
    noted: bool,
    /// A value that is none: a list, a table.
    deep: Option<String>,
}

fn values(read: Result<Values<'_>, String>) -> Result<(), Fault> {
    let Values { named, noted, deep } = read.map_err(Fault::Unfit)?;
    if !noted {
        return Err(Fault::Clear);
    }
    // SOPS leaves an empty value as it is.
    let clear = named.into_iter().filter(|(_, value)| !value.is_empty() && !value.starts_with(ENC));
    let clear: Vec<String> = clear.map(|(name, _)| name).collect();
    match (deep, clear.is_empty()) {
        (Some(name), _) => Err(Fault::Unfit(format!(
            "is not flat: `{name}` is a list or a table; secrets are names with one value each"
        ))),
        (None, false) => Err(Fault::ClearValues(clear)),
        (None, true) => Ok(()),
    }
}

fn dotenv(text: &str) -> Result<Values<'_>, String> {
    let mut read = Values::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((name, value)) = line.split_once('=') else { continue };
        match name.starts_with("sops_") {
            true => read.noted |= name == "sops_mac" && value.starts_with(ENC),
            false => read.named.push((name.to_owned(), value)),
        }
    }
    Ok(read)
}

/// SOPS writes each value of a flat file into one line.
fn yaml(text: &str) -> Result<Values<'_>, String> {
    let mut read = Values::default();
    let mut top = "";
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let is_inside = line.starts_with([' ', '\t', '-']);
        if line == "---" {
            continue;
        }
        if is_inside {
            match top {
                "sops" => {
                    let mac = line.trim_start().strip_prefix("mac:").map(str::trim_start);
                    read.noted |= mac.is_some_and(|mac| mac.trim_start_matches(['"', '\'']).starts_with(ENC));
                }
                other => read.deep = read.deep.or_else(|| Some(other.to_owned())),
            }
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { return Err("is no YAML that can be read".to_owned()) };
        top = name.trim().trim_matches(['"', '\'']);
        let value = value.trim().trim_matches(['"', '\'']);
        if top != "sops" {
            read.named.push((top.to_owned(), value));
        }
    }
    Ok(read)
}

fn json(text: &str) -> Result<Values<'_>, String> {
    // The parser's own words may quote what stands there.
    let unread = |error: serde_json::Error| match error.is_eof() {
        true => "is cut off".to_owned(),
        false => format!("is no JSON that can be read: line {}", error.line()),
    };
    let all: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(text).map_err(unread)?;
    let mut read = Values::default();
    for (name, value) in all {
        if name == "sops" {
            read.noted = value.get("mac").and_then(|mac| mac.as_str()).is_some_and(|mac| mac.starts_with(ENC));
            continue;
        }
        match value {
            serde_json::Value::String(text) if text.is_empty() || text.starts_with(ENC) => {}
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => read.deep = read.deep.or(Some(name)),
            _ => read.named.push((name, "in clear text")),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOTENV: &str =
        "#ENC[x]\nA=ENC[AES256_GCM,data:1,type:str]\nB@2=ENC[2]\nC=\nsops_version=3.9\nsops_mac=ENC[m]\n";
    const YAML: &str = "A: ENC[AES256_GCM,data:1]\n\"B@2\": \"ENC[2]\"\nC: \"\"\nsops:\n    age:\n        - recipient: age1x\n    mac: ENC[m]\n    version: 3.9\n";
    const JSON: &str =
        "{\"A\": \"ENC[1]\", \"B@2\": \"ENC[2]\", \"C\": \"\", \"sops\": {\"mac\": \"ENC[m]\", \"age\": []}}";

    #[test]
    fn an_encrypted_file_is_told_by_its_form_and_one_in_clear_text_too() {
        assert_eq!(Form::of("secrets/prod.enc.yaml"), Some(Form::SopsYaml));
        assert_eq!(Form::of("a.b/production"), None);
        for (form, text) in [(Form::SopsDotenv, DOTENV), (Form::SopsYaml, YAML), (Form::SopsJson, JSON)] {
            assert_eq!(check(form, text), Ok(()), "{form:?}");
            assert_eq!(check(form, &text.replace("ENC[m]", "x")), Err(Fault::Clear), "{form:?}: nothing of SOPS in it");
            let some = text.replacen("ENC[2]", "hunter2", 1);
            assert_eq!(check(form, &some), Err(Fault::ClearValues(vec!["B@2".to_owned()])), "{form:?}");
        }
        assert_eq!(check(Form::Age, "A=hunter2\n"), Err(Fault::Clear));
        let deep = check(Form::SopsYaml, &YAML.replacen("A: ENC", "A:\n    x: ENC", 1));
        assert!(matches!(&deep, Err(Fault::Unfit(why)) if why.contains("`A`")), "{deep:?}");
        let deep = check(Form::SopsJson, &JSON.replacen("\"ENC[1]\"", "{}", 1));
        assert!(matches!(&deep, Err(Fault::Unfit(why)) if why.contains("`A`")), "{deep:?}");
        let cut = check(Form::SopsJson, &JSON[..30]);
        assert!(matches!(&cut, Err(Fault::Unfit(why)) if why.contains("cut off")), "{cut:?}");
    }

    #[test]
    fn a_binary_file_of_age_is_read_in_its_armour() {
        let binary = [MAGIC.as_bytes(), &[0xff; 100]].concat();
        let text = text_of(binary.clone()).unwrap();
        assert_eq!(check(Form::Age, &text), Ok(()));
        let inner: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(Base64::decode_vec(&inner).unwrap(), binary);
        assert!(text.lines().all(|line| line.len() <= WIDTH));
        assert!(matches!(check(Form::Age, text.trim_end().strip_suffix(END).unwrap()), Err(Fault::Unfit(_))));
        assert!(text_of(vec![0xff]).is_err());
    }
}
