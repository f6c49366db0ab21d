//! Targets of backups: a directory, and real servers: OpenSSH's SFTP, also behind a chroot, with an account that may not do
//! everything, on a disk that is full, and cut off in the middle.

mod directory;
mod sftp;

use std::io::{Read, Write};

use soll::backup::target::Target;

/// Bytes that no compression and no repetition hides.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}

/// Writes a file in pieces of an odd size.
fn put(target: &Target, dir: &str, name: &str, bytes: &[u8]) -> Result<(), String> {
    let mut put = target.put(dir, name).map_err(|error| error.to_string())?;
    for piece in bytes.chunks(100_003) {
        put.write_all(piece).map_err(|error| error.to_string())?;
    }
    put.end().map_err(|error| error.to_string())
}

fn get(target: &Target, dir: &str, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut file = target.read(dir, name).map_err(|error| error.to_string())?;
    file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Names and sizes.
fn list(target: &Target, dir: &str) -> Vec<(String, u64)> {
    target.list(dir).unwrap().into_iter().map(|found| (found.name, found.bytes)).collect()
}

/// What every target does: files of all sizes come back as they were, none is overwritten, none counts before its end.
fn does_all_that_a_backup_needs(target: &Target) {
    assert!(list(target, "daily").is_empty());
    let sizes = [0, 1, 32 << 10, (128 << 10) + 1, (6 << 20) - 1, 6 << 20, (13 << 20) + 7];
    for size in sizes {
        let bytes = noise(size);
        put(target, "daily", &format!("{size}.bin"), &bytes).unwrap();
        assert!(get(target, "daily", &format!("{size}.bin")).unwrap() == bytes, "{size} bytes came back differently");
    }
    let mut expected: Vec<_> = sizes.iter().map(|size| (format!("{size}.bin"), *size as u64)).collect();
    expected.sort();
    assert_eq!(list(target, "daily"), expected);
    // What is there is not replaced, neither by what is as long nor by what is longer.
    for bytes in [noise(1), noise(7 << 20)] {
        let refused = put(target, "daily", "1.bin", &bytes).unwrap_err();
        assert!(refused.contains("1.bin is there already, and no backup is overwritten"), "{refused}");
    }
    assert_eq!(get(target, "daily", "1.bin").unwrap(), noise(1));
    // What is given up leaves nothing.
    let mut given_up = target.put("daily", "given-up.bin").unwrap();
    given_up.write_all(&noise(14 << 20)).unwrap();
    drop(given_up);
    assert_eq!(list(target, "daily"), expected);
    let missing = get(target, "daily", "given-up.bin").unwrap_err();
    assert!(missing.contains("daily/given-up.bin"), "{missing}");
    // What is for people lies beside the directories.
    put(target, "", "RESTORE.txt", b"by hand").unwrap();
    assert_eq!(list(target, ""), [("RESTORE.txt".to_owned(), 7)]);
    assert_eq!(get(target, "", "RESTORE.txt").unwrap(), b"by hand");
    target.remove("", "RESTORE.txt").unwrap();
    for size in sizes {
        target.remove("daily", &format!("{size}.bin")).unwrap();
    }
    assert!(list(target, "daily").is_empty());
}
