//! The places for backups, with what opens them: the state file names secrets, and their values go to whoever writes there.

use crate::model::desired::Environment;
use crate::model::desired::backup::{BackupTarget, Key, Place};
use crate::run::secrets::{Purpose, Store};

/// These targets with the keys of those that need one. Where one is not given, its target says why: it is left out, and the
/// others get the backup.
pub fn opened(secrets: &Store, env: &Environment, targets: Vec<BackupTarget>) -> Vec<BackupTarget> {
    targets.into_iter().map(|target| open(secrets, env, target)).collect()
}

fn open(secrets: &Store, env: &Environment, mut target: BackupTarget) -> BackupTarget {
    if let Place::S3(place) = &mut target.place {
        let url = place.url();
        let get = |name: &str| {
            let found = secrets.get(name, &Purpose::backup(&env.name, Some(&url)));
            found.map_err(|refused| format!("it is opened with the secret {name}, {}: {}", refused.why, refused.fix))
        };
        if let Key::Named { access, secret } = &place.key {
            let given = get(access).and_then(|access| Ok(Key::Given { access, secret: get(secret)? }));
            place.key = given.unwrap_or_else(Key::Refused);
        }
    }
    target
}
