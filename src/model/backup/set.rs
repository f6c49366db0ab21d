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
}

/// Everything that lies on a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub sets: BTreeMap<BackupName, BackupSet>,
    /// Files of uploads that did not come to an end.
    pub unfinished: Vec<Stored>,
    /// Files in the directories of backups that have no name of theirs.
    pub strangers: Vec<Stored>,
}

impl BackupSet {
    /// Whether its manifest is there: only then is it finished, and this program's.
    pub fn is_finished(&self) -> bool {
        self.files.contains_key(&What::Manifest)
    }

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
        files.chain(self.checksums.keys().map(|what| path(what, true))).collect()
    }
}

impl Contents {
    /// Sorts a list. What lies in other directories is nobody's business.
    pub fn of(list: impl IntoIterator<Item = Stored>) -> Contents {
        let mut all = Contents::default();
        for stored in list {
            let Some((kind, file)) = stored.path.split_once('/') else { continue };
            let Ok(kind) = kind.parse::<Kind>() else { continue };
            if file.strip_suffix(UNFINISHED).is_some_and(|file| file.parse::<FileName>().is_ok()) {
                all.unfinished.push(stored);
                continue;
            }
            let Ok(file) = file.parse::<FileName>() else {
                all.strangers.push(stored);
                continue;
            };
            let name = BackupName { kind, at: file.at };
            let set = all.sets.entry(name).or_insert_with(|| BackupSet {
                name,
                files: BTreeMap::new(),
                checksums: BTreeMap::new(),
            });
            let files = if file.checksum { &mut set.checksums } else { &mut set.files };
            files.insert(file.what, stored.bytes);
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
        assert_eq!(names, ["daily/20261129_010000", "daily/20261130_010000"]);
        let finished: Vec<_> = all.sets.values().map(BackupSet::is_finished).collect();
        assert_eq!(finished, [false, true]);
        let whole = all.sets.values().last().unwrap();
        assert_eq!(whole.bytes(), 30);
        let order: Vec<_> = whole.paths();
        assert_eq!(order, [paths[2], paths[0], paths[1]]);
        let shown = |list: &[Stored]| list.iter().map(|stored| stored.path.clone()).collect::<Vec<_>>();
        assert_eq!(shown(&all.unfinished), ["pre-deploy/backup-db-20261130_010000.sql.gz.part"]);
        assert_eq!(shown(&all.strangers), ["daily/notes.txt", "daily/backup-db.sql.part"]);
    }
}
