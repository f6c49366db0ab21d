//! Opens files of age, version 1 (<https://age-encryption.org/v1>), with identities of X25519, which is what `age-keygen` makes.
//! The crate `age` decrypts; what stands here is what it is asked, and the words for what it answers. It is its 0.11, as 0.12
//! and this program's SSH want versions of ML-KEM that exclude each other.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read};

use ::age::DecryptError;
use ::age::armor::{ArmoredReadError, ArmoredReader};
/// What opens files.
pub use ::age::x25519::Identity;
use age_core::format::{FileKey, Stanza};
use zeroize::Zeroizing;

use crate::model::desired::sealed::{BEGIN, END, MAGIC};

/// Why there is no identity to open files with. Displays as half a sentence that goes on after the name of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("holds no identity of age, a line that begins with AGE-SECRET-KEY-1: make one with `age-keygen -o FILE`")]
    None,
    #[error("has an identity in line {0} that is damaged: copy it anew")]
    Damaged(usize),
    #[error(
        "is encrypted itself: nobody is there to type its passphrase; give soll an identity without one, readable by it alone"
    )]
    Locked,
    #[error(
        "has an identity of a plugin of age in line {0}, and plugins are not used here: `age-keygen` makes one that is"
    )]
    Plugin(usize),
    #[error(
        "has a post-quantum identity in line {0}, which this version does not read: `age-keygen` without `-pq` makes one that it does"
    )]
    Quantum(usize),
    #[error("is an SSH key: files are opened here with identities of `age-keygen`; add one of those to the recipients")]
    Ssh,
}

/// Why a file stays closed. Displays as half a sentence that goes on after its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shut {
    #[error(
        "is encrypted for other keys than those of this controller: encrypt it anew, for `age-keygen -y FILE` of the identity file as well"
    )]
    Others,
    #[error(
        "is encrypted with a passphrase, and nobody is there to type it: encrypt it for recipients (`age -R RECIPIENTS`)"
    )]
    Passphrase,
    #[error("is encrypted for recipients of the kind {0} alone, which are not read here: add one of `age-keygen`")]
    Kinds(String),
    #[error("is damaged or cut off ({0}): take it from an earlier commit, or encrypt it anew")]
    Damaged(&'static str),
}

/// Reads a file of identities, as `age-keygen` writes it: one or several, with comments.
///
/// # Errors
/// It holds none, or one that cannot be used.
pub fn identities(text: &str) -> Result<Vec<Identity>, Unfit> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with(BEGIN) || text.starts_with(MAGIC.trim_end()) {
        return Err(Unfit::Locked);
    }
    if text.contains("PRIVATE KEY-----") {
        return Err(Unfit::Ssh);
    }
    let mut found = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("AGE-PLUGIN-") {
            return Err(Unfit::Plugin(number));
        }
        if line.starts_with("AGE-SECRET-KEY-PQ-") {
            return Err(Unfit::Quantum(number));
        }
        if !line.starts_with("AGE-SECRET-KEY-") {
            return Err(Unfit::None);
        }
        found.push(line.parse().map_err(|_| Unfit::Damaged(number))?);
    }
    if found.is_empty() { Err(Unfit::None) } else { Ok(found) }
}

/// The contents of an armoured file.
///
/// # Errors
/// None of the identities opens it, or it is not whole.
pub fn open(armoured: &str, identities: &[Identity]) -> Result<Zeroizing<Vec<u8>>, Shut> {
    let armoured = armoured.trim();
    if !armoured.starts_with(BEGIN) || !armoured.ends_with(END) {
        return Err(Shut::Damaged("its armour"));
    }
    let file = ::age::Decryptor::new_buffered(ArmoredReader::new(armoured.as_bytes())).map_err(header)?;
    if file.is_scrypt() {
        return Err(Shut::Passphrase);
    }
    let kinds = Kinds::default();
    let all = identities.iter().map(|identity| identity as &dyn ::age::Identity);
    let mut contents = file.decrypt(all.chain([&kinds as &dyn ::age::Identity])).map_err(|error| match error {
        DecryptError::NoMatchingKeys => kinds.told(),
        other => header(other),
    })?;
    // Contents are shorter than their armour: this never grows, which would leave a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(armoured.len()));
    contents.read_to_end(&mut out).map_err(|error| damaged(&error, "its contents"))?;
    Ok(out)
}

fn header(error: DecryptError) -> Shut {
    match error {
        DecryptError::Io(error) => damaged(&error, "its header"),
        _ => Shut::Damaged("its header"),
    }
}

/// What is wrong with a file that could not be read on, in this part of it.
fn damaged(error: &io::Error, part: &'static str) -> Shut {
    let is_armour = error.get_ref().is_some_and(|inner| inner.is::<ArmoredReadError>());
    Shut::Damaged(match error.kind() {
        _ if is_armour => "its armour",
        ErrorKind::UnexpectedEof => "its contents are missing",
        _ => part,
    })
}

/// Asked last, when no identity has opened a file: it opens none, and remembers for what kinds of recipients it is.
#[derive(Default)]
struct Kinds(RefCell<Vec<String>>);

impl ::age::Identity for Kinds {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.0.borrow_mut().push(stanza.tag.clone());
        None
    }
}

impl Kinds {
    fn told(self) -> Shut {
        let mut kinds = self.0.into_inner();
        if kinds.iter().any(|kind| kind == "X25519") {
            return Shut::Others;
        }
        // Some kinds are there to be ignored, and are named at random.
        kinds.retain(|kind| kind.len() <= 32 && !kind.ends_with("-grease"));
        kinds.dedup();
        Shut::Kinds(kinds.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ::age::armor::{ArmoredWriter, Format};

    use super::*;

    // Made with age 1.1.1 for these tests, and used nowhere else.
    const IDENTITY: &str = "AGE-SECRET-KEY-1ND8NLYQKZVFCKM2JE48U2Y3KYH5ADN5NY343D44ASFRY7KK4ZZZST7C5L7";
    const OTHER: &str = "AGE-SECRET-KEY-1V5FZT678DKCDAJP5X744SM6RHRX2N4SD2PCF5X2TCVZ8U0EFWYSQ26JM6T";
    const FILE: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n\
        YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBoei95MUFubVp0Umg3RXR2\n\
        MXhtK2cwQ1ZrelFxM1BER2hKUVNwdEZpZUZNCjFoRWk2VWhRekI0eStnQjhoSGdG\n\
        RFdQTis0TEtwRHAwZUxQRENjdzFTT1kKLS0tIGJFdXpVQW9zQTgrcFRsQzhPRGZO\n\
        M3ZqbjVXa1gxb3lIdXgxMFRSZ1R3cnMKoPVk63uf54a16eysSBpttayouhRt8geC\n\
        tbO6U1+qpkJ/eZ5uDPtaAl19\n\
        -----END AGE ENCRYPTED FILE-----\n";
    const PASSPHRASE: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n\
        YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBtOWZaa3lCNUwyMm1UNER4\n\
        ekhTUmtnIDE4Ck9XeGk4cjY1Qm1tNWtqRnVWNEJKY0dXTWdISjdIaCsveEdIMGxG\n\
        MGdnOEkKLS0tIG1lWGlpS3ZGaVp3MS9aTncrMENkVjJ2ZmluMDY3Q3NZT0k5QTlC\n\
        bndDTHcK3zoLa9bPF8p019twNpMrgaMeA3A+Mr1jimahzTbR8ovQJEaVwuT46Bmb\n\
        -----END AGE ENCRYPTED FILE-----\n";

    /// For an SSH key alone.
    const SSH: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n\
        YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNzaC1lZDI1NTE5IGtrandTZyAyUklj\n\
        QkJkUEFqQ0F1WkxwWGIwbnhLSXZCSWROTnpJVzdqaU9pOG1jVVZnCkYxcUk5OW9y\n\
        d0c0WlJuSC9TaXI0Z01SVTN5T2gwYUJyQmxuR0kzbm4yMTgKLS0tIFVDNFpTYysy\n\
        ZXdqbEJySkMxSTVPdXEvcFl5V3hXT0RZdUNubGpZeUt2UWsK7RnTMS8C/9AKNA2f\n\
        R/dJLi0mrIFiYS9aig8W3ji8MpZmoi3gt0yLm3iK\n\
        -----END AGE ENCRYPTED FILE-----\n";

    fn opened(file: &str, identity: &str) -> Result<String, Shut> {
        let contents = open(file, &identities(identity).unwrap())?;
        Ok(String::from_utf8(contents.to_vec()).unwrap())
    }

    #[test]
    fn a_file_is_opened_by_whom_it_is_encrypted_for() {
        assert_eq!(opened(FILE, IDENTITY), Ok("A=hunter2\n".to_owned()));
        assert_eq!(opened(FILE, &format!("# several\n{OTHER}\n{IDENTITY}\n")), Ok("A=hunter2\n".to_owned()));
        assert_eq!(opened(&FILE.replace('\n', "\r\n"), IDENTITY), Ok("A=hunter2\n".to_owned()));
        assert_eq!(opened(FILE, OTHER), Err(Shut::Others));
        assert_eq!(opened(PASSPHRASE, IDENTITY), Err(Shut::Passphrase));
        assert_eq!(opened(SSH, IDENTITY), Err(Shut::Kinds("ssh-ed25519".to_owned())));
    }

    #[test]
    fn what_is_damaged_is_named() {
        let said = |file: &str| opened(file, IDENTITY).unwrap_err();
        assert_eq!(said(&FILE.replacen("oei95", "oe*95", 1)), Shut::Damaged("its armour"));
        assert_eq!(said(FILE.trim_end_matches(['-', '\n'])), Shut::Damaged("its armour"));
        assert_eq!(said(&FILE.replacen("\nYWdl", "\nYWdm", 1)), Shut::Damaged("its header"));
        assert_eq!(said(&FILE.replacen("dXpV", "dXpW", 1)), Shut::Damaged("its header"));
        assert_eq!(said(&FILE.replacen("tbO6", "tbO7", 1)), Shut::Damaged("its contents"));
        assert_eq!(
            said(&FILE.replacen("oPVk63uf54a16eysSBpttayouhRt8geC\ntbO6U1+qpkJ/eZ5uDPtaAl19\n", "oA==\n", 1)),
            Shut::Damaged("its contents are missing")
        );
    }

    /// Whatever single byte is changed or wherever it is cut off: it stays closed, and nothing panics.
    #[test]
    fn a_damaged_file_stays_closed() {
        let mut bytes = Vec::new();
        ArmoredReader::new(FILE.as_bytes()).read_to_end(&mut bytes).unwrap();
        let armoured = |bytes: &[u8]| {
            let mut out = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap();
            out.write_all(bytes).unwrap();
            String::from_utf8(out.finish().unwrap()).unwrap()
        };
        assert!(opened(&armoured(&bytes), IDENTITY).is_ok());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(opened(&armoured(&changed), IDENTITY).is_err(), "byte {at}");
            assert!(opened(&armoured(&bytes[..at]), IDENTITY).is_err(), "cut off at {at}");
        }
        assert!(opened(&armoured(&[bytes.as_slice(), b"x"].concat()), IDENTITY).is_err());
    }

    #[test]
    fn what_is_no_identity_is_told_apart() {
        let said = |text: &str| identities(text).err();
        assert_eq!(said("hunter2"), Some(Unfit::None));
        assert_eq!(said("# nothing\n"), Some(Unfit::None));
        assert_eq!(said(&IDENTITY.replacen("SECRET-KEY-1", "SECRET-KEY-1QQQQ", 1)), Some(Unfit::Damaged(1)));
        assert_eq!(said(FILE), Some(Unfit::Locked));
        assert_eq!(said("#\nAGE-PLUGIN-YUBIKEY-1QQ"), Some(Unfit::Plugin(2)));
        assert_eq!(said("AGE-SECRET-KEY-PQ-1QQ"), Some(Unfit::Quantum(1)));
        assert_eq!(said("-----BEGIN OPENSSH PRIVATE KEY-----\n"), Some(Unfit::Ssh));
        for text in [IDENTITY, OTHER] {
            assert_eq!(identities(text).map(|all| all.len()).map_err(|unfit| unfit.to_string()), Ok(1));
        }
    }
}
