//! Opens encrypted files that hold secrets: files of age by itself, files of SOPS through its program. Knows no commit and no
//! environment: who may have what opened, and what for, is decided in `run::sealed` and `run::secrets`.

mod age;
mod plain;
mod sops;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::host::wire::Secret;
use crate::model::desired::Sealed;
use crate::model::desired::sealed::Form;
use crate::model::key_text::KeySource;

/// The secrets of a file, by name.
///
/// # Errors
/// Half a sentence that goes on after the file's name; never with a value.
pub fn open(sealed: &Sealed, identity: Option<&KeySource>) -> Result<BTreeMap<String, Secret>, String> {
    if sealed.form != Form::Age {
        let contents = sops::open(&sealed.text, sealed.form, identity)?;
        return plain::object(&contents, sealed.form == Form::SopsDotenv);
    }
    let Some(source) = identity else {
        return Err("is encrypted with age, and this controller has no identity: name a file of `age-keygen` with \
                    SOLL_AGE_IDENTITY (`age_identity` in the settings file)"
            .to_owned());
    };
    let identities = identities(source)?;
    let contents = age::open(&sealed.text, &identities).map_err(|shut| shut.to_string())?;
    plain::lines(&contents)
}

/// The identities of this controller.
fn identities(source: &KeySource) -> Result<Vec<age::Identity>, String> {
    let text = match source {
        KeySource::Text { text, .. } => text.clone(),
        KeySource::File(path) => {
            let read = std::fs::read_to_string(path).map(Zeroizing::new);
            read.map_err(|error| format!("stays closed: the identity {} cannot be read: {error}", path.display()))?
        }
    };
    age::identities(&text).map_err(|unfit| format!("stays closed: {} {unfit}", source.shown()))
}

/// Whether this controller has an identity that can be used.
///
/// # Errors
/// Why not, in words.
pub fn usable(source: &KeySource) -> Result<usize, String> {
    identities(source).map(|all| all.len())
}
