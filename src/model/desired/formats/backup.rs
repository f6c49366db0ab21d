//! The grammars of what a backup is declared with.

use super::{Checked, Fault, line};
use crate::model::backup::address::Address;
use crate::model::backup::name::PartName;
use crate::model::rate::Rate;
use crate::model::schedule::Schedule;

/// What a zone makes of it is looked at where the zone is known.
pub fn cron(text: &str) -> Checked {
    Schedule::parse(text, "UTC").map(drop).map_err(|why| {
        Fault::new(why.to_string()).help("minute, hour, day, month, weekday: \"0 2 * * *\" is every night at two")
    })
}

/// A part of the names of files.
pub fn backup_part(text: &str) -> Checked {
    let parsed: Result<PartName, _> = text.parse();
    parsed.map(drop).map_err(|why| Fault::new(why.to_string()).help("for example \"main\""))
}

/// Below ROOT or absolute, without `..`; returned without `./` and a `/` at the end.
pub fn data_path(text: &str) -> Result<String, Fault> {
    line(text)?;
    if text.split('/').any(|part| part == "..") {
        return Err(
            Fault::new(format!("`{text}` leads upwards")).help("leave out `..`: what it leads to depends on links")
        );
    }
    let parts: Vec<_> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() {
        return Err(Fault::new(format!("`{text}` names no path")).help("\"shared\", or \"/etc/nginx\""));
    }
    Ok(if text.starts_with('/') { format!("/{}", parts.join("/")) } else { parts.join("/") })
}

/// A password in it would be read by everyone who reads the repository.
pub fn backup_url(text: &str) -> Checked {
    line(text)?;
    let known = "file:///mnt/backups/shop, sftp://user@host/path or s3://bucket/prefix";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Fault::new("this is not the URL of a place for backups").help(known));
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err(Fault::new("a password stands in this URL").help("secrets are kept with the controller"));
    }
    match scheme {
        "file" if !rest.starts_with('/') => {
            Err(Fault::new(format!("`{text}` names no directory of the host"))
                .help("three slashes: file:///mnt/backups"))
        }
        "file" if rest.split('/').any(|part| part == "..") || rest.trim_matches('/').is_empty() => {
            Err(Fault::new(format!("`{text}` is no directory of its own")).help("for example file:///mnt/backups/shop"))
        }
        "file" => Ok(()),
        "sftp" | "s3" => match text.parse::<Address>() {
            Ok(_) => Ok(()),
            Err(why) => Err(Fault::new(why.what).help(why.cure)),
        },
        other => Err(Fault::new(format!("backups do not go to {other}://")).help(known)),
    }
}

/// As a line of `known_hosts` has it after the names.
pub fn host_key(text: &str) -> Checked {
    match text.trim().parse::<russh::keys::ssh_key::PublicKey>() {
        Ok(_) => Ok(()),
        Err(why) => Err(Fault::new(format!("this is not the key of an SSH server: {why}")).help(
            "kind and key, as `ssh-keyscan -t ed25519 HOST` prints them after the name; compare them on the server",
        )),
    }
}

/// For whom files are encrypted; never who can open them.
pub fn age_recipient(text: &str) -> Checked {
    if text.starts_with("AGE-SECRET-KEY-") {
        // Not repeated: whoever sees it opens every backup.
        return Err(Fault::new("this is a secret key of age, and everyone who reads this repository sees it")
            .help("make a new one, keep it away from here, and write its recipient: `age-keygen -y KEY.txt`"));
    }
    match text.parse::<age::x25519::Recipient>() {
        Ok(_) => Ok(()),
        Err(why) => Err(Fault::new(format!("`{text}` is not a recipient of age: {why}"))
            .help("the line that `age-keygen -y KEY.txt` prints: age1…")),
    }
}

/// `20MB/s`.
pub fn rate(text: &str) -> Result<Rate, Fault> {
    Rate::parse(text).map_err(|why| {
        Fault::new(format!("`{text}` is no speed: {why}")).help("bytes in a second: \"20MB/s\", \"800kB/s\"")
    })
}
