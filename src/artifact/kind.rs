//! What a file is that should have been a tar archive, by its first bytes: people are told its name and what to do. Nothing
//! of its contents is ever quoted: it may be something else.

/// By their first bytes: what it is, and what to do about it.
const MAGIC: [(&[u8], &str, &str); 32] = [
    (b"PK\x03\x04", ZIP, TAR_IT),
    (b"PK\x05\x06", ZIP, TAR_IT),
    (b"PK\x07\x08", ZIP, TAR_IT),
    (b"\xfd7zXZ\0", "packed with xz", "pack it with gzip: `xz -dc FILE | gzip -n`"),
    (b"\x5d\0\0", "packed with lzma", "pack it with gzip: `xz -dc FILE | gzip -n`"),
    (b"BZh", "packed with bzip2", "pack it with gzip: `bzip2 -dc FILE | gzip -n`"),
    (b"LZIP", "packed with lzip", "pack it with gzip: `lzip -dc FILE | gzip -n`"),
    (b"\x04\x22\x4d\x18", "packed with lz4", "pack it with gzip: `lz4 -dc FILE | gzip -n`"),
    (b"\x02\x21\x4c\x18", "packed with lz4", "pack it with gzip: `lz4 -dc FILE | gzip -n`"),
    (b"\x89LZO\0\r\n\x1a\n", "packed with lzop", "pack it with gzip: `lzop -dc FILE | gzip -n`"),
    (b"\x1f\x9d", "packed with compress", "pack it with gzip: `gzip -dc FILE | gzip -n`"),
    (b"\x1f\x8b", "packed with gzip", "unpack it once: `gzip -dc FILE`"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it once: `zstd -dc FILE`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", TAR_IT),
    (b"Rar!\x1a\x07", "a RAR archive", TAR_IT),
    (b"070701", "a cpio archive", TAR_IT),
    (b"070702", "a cpio archive", TAR_IT),
    (b"070707", "a cpio archive", TAR_IT),
    (b"\xc7\x71", "a cpio archive", TAR_IT),
    (b"\x71\xc7", "a cpio archive", TAR_IT),
    (b"!<arch>\ndebian-binary", "a Debian package", "pack what is in it: `dpkg-deb --fsys-tarfile FILE | gzip -n`"),
    (b"!<arch>\n", "an ar archive", TAR_IT),
    (b"\xed\xab\xee\xdb", "an RPM package", TAR_IT),
    (b"hsqs", "a squashfs image", TAR_IT),
    (b"\x7fELF", "a program", TAR_IT),
    (b"#!", "a script", TAR_IT),
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, not the file that it stands for",
        "fetch that first: `git lfs pull`",
    ),
    (b"# v2 git bundle", "a git bundle", TAR_IT),
    (b"# v3 git bundle", "a git bundle", TAR_IT),
    (b"age-encryption.org/", "encrypted with age", "upload it decrypted; who may read it is for the server to say"),
    (b"Salted__", "encrypted with openssl", "upload it decrypted; who may read it is for the server to say"),
    (b"H4sI", "a gzip archive in base64", "decode it before it is uploaded: `base64 -d FILE`"),
];

const ZIP: &str = "a zip archive (as are jar, war and whl files)";
const TAR_IT: &str = "pack the directory itself: `tar -C DIR -czf FILE .`, or `soll bundle DIR`";

/// What a file is that begins so, and what to do about it; where nothing is known, that is said, too.
pub(super) fn named(start: &[u8]) -> (&'static str, &'static str) {
    if start.is_empty() {
        return ("an empty file", "look at the job that makes it and uploads it");
    }
    if start.iter().all(|byte| *byte == 0) {
        return ("nothing but zeros", "look at the job that makes it and uploads it");
    }
    if let Some((_, what, next)) = MAGIC.iter().find(|(magic, ..)| start.starts_with(magic)) {
        return (what, next);
    }
    match text(start) {
        Some(text) => of_text(&text),
        None => ("neither tar, tar.gz nor tar.zst", TAR_IT),
    }
}

fn of_text(text: &str) -> (&'static str, &'static str) {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let digits = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    let checksum = digits == 64 && text[digits..].chars().next().is_none_or(char::is_whitespace);
    if checksum || text.starts_with("SHA256") {
        return (
            "a checksum, not the archive that it is of",
            "look at `url` and `sha256` of the bundle: are they swapped?",
        );
    }
    if text.starts_with("<?xml") || text.starts_with('{') || text.starts_with('[') {
        return ("the message of a server, not an archive", "look at the address and at who may read it");
    }
    if text.starts_with('<') {
        return ("a web page, not an archive", "look at the address and at who may read it");
    }
    if text.starts_with("-----BEGIN PGP MESSAGE") || text.starts_with("-----BEGIN AGE") {
        return ("encrypted", "upload it decrypted; who may read it is for the server to say");
    }
    ("a text, not an archive", "look at the address, and at the job that uploads it")
}

/// The beginning as a text, where it is one.
fn text(start: &[u8]) -> Option<String> {
    let start = &start[..start.len().min(256)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // Cut in the middle of a character.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&start[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(plain).then(|| text.to_owned())
}
