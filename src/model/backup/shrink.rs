//! Whether a backup is so much smaller than a good one before it that something must be missing (I20). Pure.

use super::name::BackupName;
use crate::model::shown::bytes;
use crate::model::shown::counted;

/// How much a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// As its files are stored.
    pub bytes: u64,
    /// The rows of all its tables; `None`: it has no database whose rows are known.
    pub rows: Option<u64>,
}

/// What is to be said of a backup that is smaller than `before` by more than `most` percent, in rows or in bytes; `None`: it is
/// plausible. With 100 everything is.
pub fn shrunk(now: Size, (name, before): (BackupName, Size), most: u32) -> Option<String> {
    let left = u128::from(100 - most.min(100));
    let fell = |now: u64, before: u64| u128::from(now) * 100 < u128::from(before) * left;
    let (has, had) = match (now.rows, before.rows) {
        (Some(now), Some(before)) if fell(now, before) => (counted(now, "row", "rows"), before.to_string()),
        _ if fell(now.bytes, before.bytes) => (bytes(now.bytes), bytes(before.bytes)),
        _ => return None,
    };
    Some(format!(
        "it has {has}, and {name} had {had}: more than {most} % are gone; where that is right, raise `max_shrink`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_bytes_may_fall_by_so_much_and_not_by_more() {
        let name: BackupName = "daily/20261129_010000".parse().unwrap();
        let size = |bytes, rows| Size { bytes, rows };
        let before = (name, size(1000, Some(20_001)));
        assert_eq!(shrunk(size(1000, Some(10_001)), before, 50), None);
        let told = shrunk(size(1000, Some(10_000)), before, 50).unwrap();
        assert_eq!(
            told,
            "it has 10000 rows, and daily/20261129_010000 had 20001: more than 50 % are gone; where that is right, raise \
             `max_shrink`"
        );
        assert!(shrunk(size(499, Some(20_001)), before, 50).unwrap().starts_with("it has 499 B, and "));
        // An empty database is one that has lost everything.
        assert!(shrunk(size(1000, Some(0)), before, 99).is_some());
        assert_eq!(shrunk(size(0, Some(0)), before, 100), None);
        // Nothing is known of the rows.
        assert_eq!(shrunk(size(600, None), before, 50), None);
    }
}
