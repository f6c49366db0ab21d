//! The address of a target as people write it (`url`, contract 1.8): `sftp://backup@nas/volume1/Backup/Server Name`. Blanks
//! may stand as they are; `%20` is one, too. An address holds no secret.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Where backups go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An absolute directory of the machine that writes.
    Directory(String),
    /// An absolute directory, as SFTP calls it.
    Sftp {
        /// `None`: as the SSH configuration says.
        user: Option<String>,
        /// A host name, an address, or a name of the SSH configuration.
        host: String,
        port: Option<u16>,
        path: String,
    },
    /// A bucket, and what stands before the name of each object.
    S3 { bucket: String, prefix: String },
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {cure}")]
pub struct BadAddress {
    pub what: String,
    pub cure: &'static str,
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Address, BadAddress> {
        const FORMS: &str = "write file:///DIRECTORY, sftp://USER@HOST/DIRECTORY or s3://BUCKET/PREFIX";
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(bad(format!("`{text}` is not the address of a target"), FORMS));
        };
        let (place, path) = match rest.split_once('/') {
            Some((place, path)) => (place, Some(path)),
            None => (rest, None),
        };
        match scheme {
            "file" if place.is_empty() => directory(path.unwrap_or_default()).map(Address::Directory),
            "file" => Err(bad(
                format!("`{place}` is a machine, and file:// means the one that writes"),
                "write three strokes: file:///DIRECTORY",
            )),
            "sftp" => {
                let (user, host, port) = machine(place)?;
                let path = directory(path.unwrap_or_default())?;
                Ok(Address::Sftp { user, host, port, path })
            }
            "s3" => {
                let good = (3..=63).contains(&place.len())
                    && place.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                    && place.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b));
                if !good {
                    let cure = "3 to 63 small letters, digits, `.` and `-`, beginning with a letter or digit";
                    return Err(bad(format!("`{place}` is not the name of a bucket"), cure));
                }
                let prefix = steps(path.unwrap_or_default())?.join("/");
                Ok(Address::S3 { bucket: place.to_owned(), prefix })
            }
            scheme => Err(bad(format!("targets of {scheme}:// are not known"), FORMS)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only what would be read as something else is written in another way.
        let told = |path: &str| path.replace('%', "%25");
        match self {
            Address::Directory(path) => write!(f, "file://{}", told(path)),
            Address::Sftp { user, host, port, path } => {
                f.write_str("sftp://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(&told(path))
            }
            Address::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Address::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{}", told(prefix)),
        }
    }
}

fn bad(what: String, cure: &'static str) -> BadAddress {
    BadAddress { what, cure }
}

/// `[user@]host[:port]`
fn machine(text: &str) -> Result<(Option<String>, String, Option<u16>), BadAddress> {
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, text),
    };
    if user.is_some_and(|user| user.contains(':')) {
        // It is not repeated: it may be one that somebody uses.
        let cure = "log in by a key of SSH, and take the password out of the state file and its history";
        return Err(bad("a password is no part of an address".to_owned(), cure));
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if port.is_empty() || port.starts_with(':') => (host, port.strip_prefix(':')),
            _ => ("", None),
        },
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let good = |word: &str| {
        !word.is_empty() && !word.starts_with('-') && !word.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let number = port.map(str::parse::<u16>).transpose();
    match number {
        Ok(number) if good(host) && user.is_none_or(good) && number != Some(0) => {
            Ok((user.map(str::to_owned), host.to_owned(), number))
        }
        _ => Err(bad(
            // It is not repeated: half of a password may stand in it.
            "what stands before the directory is no machine".to_owned(),
            "write USER@HOST or USER@HOST:PORT, an IPv6 address in brackets",
        )),
    }
}

/// An absolute directory; what is given is what comes after its first `/`.
fn directory(text: &str) -> Result<String, BadAddress> {
    let steps = steps(text)?;
    if steps.is_empty() {
        return Err(bad(
            "an address without a directory would be the root of everything".to_owned(),
            "name a directory for the backups",
        ));
    }
    Ok(format!("/{}", steps.join("/")))
}

/// The steps of a path, decoded.
fn steps(text: &str) -> Result<Vec<String>, BadAddress> {
    let step = |step: &str| {
        let decoded = percent_decode_str(step).decode_utf8();
        let decoded =
            decoded.map_err(|_| bad(format!("`{step}` is no text when it is decoded"), "write a literal % as %25"))?;
        match &*decoded {
            "." | ".." => Err(bad(format!("`{text}` goes up or stays"), "write the directory without `.` and `..`")),
            plain if plain.contains(['/', '\0']) || plain.contains(char::is_control) => {
                Err(bad(format!("`{step}` is no name of a directory"), "name another one"))
            }
            plain => Ok(plain.to_owned()),
        }
    };
    text.split('/').filter(|step| !step.is_empty()).map(step).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sftp(user: Option<&str>, host: &str, port: Option<u16>, path: &str) -> Address {
        Address::Sftp { user: user.map(str::to_owned), host: host.to_owned(), port, path: path.to_owned() }
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Address>().unwrap();
        let nas = "/volume1/homes/FSAdmin/Backup/Server Name";
        assert_eq!(
            read(&format!("sftp://backup@nas.example.com{nas}")),
            sftp(Some("backup"), "nas.example.com", None, nas)
        );
        assert_eq!(read("sftp://nas:2222//a//b%20c/"), sftp(None, "nas", Some(2222), "/a/b c"));
        assert_eq!(read("sftp://u@[fe80::1]:22/a"), sftp(Some("u"), "fe80::1", Some(22), "/a"));
        assert_eq!(read("file:///mnt/nas/100%25/"), Address::Directory("/mnt/nas/100%".to_owned()));
        let bucket = |prefix: &str| Address::S3 { bucket: "backups.shop".to_owned(), prefix: prefix.to_owned() };
        assert_eq!(read("s3://backups.shop"), bucket(""));
        assert_eq!(read("s3://backups.shop/a/b c/"), bucket("a/b c"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_next_move() {
        let told = |text: &str| text.parse::<Address>().unwrap_err().to_string();
        for (text, says) in [
            ("/mnt/nas", "is not the address of a target; write file:///DIRECTORY, sftp://"),
            ("ftp://nas/x", "targets of ftp:// are not known; write file:///DIRECTORY"),
            ("file://mnt/nas", "`mnt` is a machine"),
            ("file:///", "the root of everything"),
            ("sftp://nas", "the root of everything"),
            ("sftp:///backup", "is no machine"),
            ("sftp://-oProxyCommand=x/backup", "is no machine"),
            ("sftp://nas:port/backup", "is no machine"),
            ("sftp://backup:half/other@nas/backup", "what stands before the directory is no machine; write USER@HOST"),
            ("sftp://nas/a/../../etc", "goes up or stays"),
            ("sftp://nas/a%2fb", "is no name of a directory"),
            ("sftp://nas/%ff", "is no text when it is decoded"),
            ("s3://Backups/x", "is not the name of a bucket"),
        ] {
            assert!(told(text).contains(says), "{text}: {}", told(text));
        }
        let told = told("sftp://backup:hunter2@nas/backup");
        assert!(told.starts_with("a password is no part of an address") && !told.contains("hunter2"), "{told}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(
            text in "(file|sftp|s3)://([a-z]{1,4}@)?[a-z0-9]{0,5}(:[0-9]{1,3})?(/[a-z %.?#A-F0-9]{0,4}){0,3}",
        ) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
