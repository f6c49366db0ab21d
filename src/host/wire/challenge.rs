//! How controller and agent know each other again on another stream: each gives a number, and answers the other's with a
//! key that the agent handed over on the first stream. The key is in no argument, no file and no name of a socket.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::host::wire::Secret;
use crate::model::ids::Digest;

/// Who answers. The answer of one side is none of the other: sent back as it came it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Agent,
    Controller,
}

/// Longer ones are none of ours.
const MOST: usize = 64;

/// What a side answers: `asked` is the number of the controller, `answered` that of the agent. `None`: one of them is no
/// number of ours.
pub fn proof(key: &Secret, side: Side, asked: &str, answered: &str) -> Option<Digest> {
    Some(Digest::from_bytes(mac(key, side, asked, answered)?.finalize().into_bytes().into()))
}

/// Whether an answer is that of this side. Takes as long whatever is wrong with it.
pub fn holds(key: &Secret, side: Side, asked: &str, answered: &str, proof: &Digest) -> bool {
    mac(key, side, asked, answered).is_some_and(|mac| mac.verify_slice(proof.as_bytes()).is_ok())
}

fn mac(key: &Secret, side: Side, asked: &str, answered: &str) -> Option<Hmac<Sha256>> {
    let good =
        |number: &str| !number.is_empty() && number.len() <= MOST && number.bytes().all(|b| b.is_ascii_hexdigit());
    if key.expose().is_empty() || !good(asked) || !good(answered) {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).ok()?;
    let side = match side {
        Side::Agent => "agent",
        Side::Controller => "controller",
    };
    mac.update(format!("soll-resume {side} {asked} {answered}").as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_one_key_one_side_and_these_numbers() {
        let (key, other) = (Secret::new("k1".to_owned()), Secret::new("k2".to_owned()));
        let answer = proof(&key, Side::Agent, "0a", "0b").unwrap();
        assert!(holds(&key, Side::Agent, "0a", "0b", &answer));
        assert!(!holds(&other, Side::Agent, "0a", "0b", &answer));
        assert!(!holds(&key, Side::Controller, "0a", "0b", &answer));
        assert!(!holds(&key, Side::Agent, "0b", "0a", &answer));
        assert!(!holds(&key, Side::Agent, "0a", "0c", &answer));
        for (asked, answered) in [("", "0b"), ("0a", ""), ("0a 0b", "0c"), (&*"0".repeat(65), "0b")] {
            assert!(proof(&key, Side::Agent, asked, answered).is_none(), "{asked}");
        }
        assert!(proof(&Secret::new(String::new()), Side::Agent, "0a", "0b").is_none(), "no key, no proof");
    }
}
