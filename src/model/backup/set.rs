//! From the names that a target lists to the backups that are there. What has no manifest is not finished, or was made by
//! other means: the manifest is written last (field notes), and says what else belongs to it.

use std::collections::BTreeMap;

use super::name::{BackupName, FileName, Kind, UNFINISHED, What};

/// One file as a target lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Relative to the target, with `/`: `daily/backup-db-20261130_010000.sql.gz`.
    pub path: String,
    pub bytes: u64,
}

/// The files of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSet {
    pub name: BackupName,
    /// What is there of it, with its size in bytes.
    pub files: BTreeMap<What, u64>,
    /// What has a checksum beside it.
    pub checksums: BTreeMap<What, u64>,
    /// The names of files that have not come to their end.
    pub unfinished: Vec<String>,
}

/// Everything that lies on a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub sets: BTreeMap<BackupName, BackupSet>,
}

impl BackupSet {
    /// How many bytes all of its files have.
    pub fn bytes(&self) -> u64 {
        self.files.values().chain(self.checksums.values()).fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// The paths of its files in the order in which they are removed: the manifest first, so that what is removed by
    /// half is no backup any more.
    pub fn paths(&self) -> Vec<String> {
        let path = |what: &What, checksum| {
            format!("{}/{}", self.name.kind, FileName { at: self.name.at, what: what.clone(), checksum })
        };
        let files = self.files.keys().map(|what| path(what, false)).rev();
        let files = files.chain(self.checksums.keys().map(|what| path(what, true)));
        files.chain(self.unfinished.iter().map(|file| format!("{}/{file}", self.name.kind))).collect()
    }
}

impl Contents {
    /// Sorts a list. What has another name, or lies in another directory, is nobody's business.
    pub fn of(list: impl IntoIterator<Item = Stored>) -> Contents {
        let mut all = Contents::default();
        for stored in list {
            let Some((kind, file)) = stored.path.split_once('/') else { continue };
            let Ok(kind) = kind.parse::<Kind>() else { continue };
            let (whole, unfinished) = match file.strip_suffix(UNFINISHED) {
                Some(whole) => (whole, true),
                None => (file, false),
            };
            let Ok(named) = whole.parse::<FileName>() else { continue };
            let name = BackupName { kind, at: named.at };
            let set = all.sets.entry(name).or_insert_with(|| BackupSet {
                name,
                files: BTreeMap::new(),
                checksums: BTreeMap::new(),
                unfinished: Vec::new(),
            });
            if unfinished {
                set.unfinished.push(file.to_owned());
                continue;
            }
            let files = if named.checksum { &mut set.checksums } else { &mut set.files };
            files.insert(named.what, stored.bytes);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_backups_and_what_is_none_is_left_alone() {
        let paths = [
            "daily/backup-db-20261130_010000.sql.gz",
            "daily/backup-db-20261130_010000.sql.gz.sha256",
            "daily/backup-manifest-20261130_010000.txt",
            "daily/backup-app-20261129_010000.tar.gz",
            "pre-deploy/backup-db-20261130_010000.sql.gz.part",
            "daily/notes.txt",
            "daily/backup-db.sql.part",
            "weekly/backup-db-20261130_010000.sql.gz",
            "backup-db-20261130_010000.sql.gz",
            "RESTORE.txt",
        ];
        let all = Contents::of(paths.map(|path| Stored { path: path.to_owned(), bytes: 10 }));
        let names: Vec<_> = all.sets.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["daily/20261129_010000", "daily/20261130_010000", "pre-deploy/20261130_010000"]);
        let whole = all.sets.values().find(|set| set.files.contains_key(&What::Manifest)).unwrap();
        assert_eq!(whole.bytes(), 30);
        let order: Vec<_> = whole.paths();
        assert_eq!(order, [paths[2], paths[0], paths[1]]);
        let begun = all.sets.values().find(|set| set.name.kind == Kind::PreDeploy).unwrap();
        assert_eq!((begun.bytes(), begun.paths()), (0, vec![paths[4].to_owned()]));
    }
}
