//! Which machine this is. The machine id identifies it everywhere and is nobody's to publish (machine-id(5)), so that what
//! leaves the machine is a digest that is keyed with it and says nothing of it to other programs, made as
//! `sd_id128_get_machine_app_specific(3)` makes its own.

use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::host::disk::file;
use crate::model::ids::Digest;

const PLACE: &str = "/etc/machine-id";
/// No machine id has more bytes than this.
const MOST: u64 = 4096;
/// Two programs on one machine get two digests. Never changed: every host would be another machine after that.
const APPLICATION: &[u8] = b"soll: which machine a host is, 1";

/// The digest of this machine's id; `None`: it has none, or not yet.
pub fn id() -> Option<Digest> {
    let bytes = file::read(Path::new(PLACE), MOST).ok()?;
    digest(&String::from_utf8_lossy(&bytes))
}

/// That of the contents of `/etc/machine-id`.
fn digest(text: &str) -> Option<Digest> {
    // What systemd finds in an image that was not booted yet.
    let id = text.trim();
    if id.is_empty() || id == "uninitialized" {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(id.as_bytes()).ok()?;
    mac.update(APPLICATION);
    Some(Digest::from_bytes(mac.finalize().into_bytes().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_an_id_has_no_digest_and_the_digest_of_an_id_stays_what_it_is() {
        for none in ["", "\n", " \n", "uninitialized", "uninitialized\n"] {
            assert_eq!(digest(none), None, "{none:?}");
        }
        let one = digest("0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(Some(one), digest("0123456789abcdef0123456789abcdef"));
        assert_ne!(Some(one), digest("0123456789abcdef0123456789abcdee"));
        // Records and controllers remember it: another value here would make every host another machine.
        assert_eq!(one.to_string(), "5a7938fb193783e4c0a66327944965414d6aa9550034b797997a9734a3015f4c");
    }
}
