//! Archives as real tools make them: each becomes the same release, or is called by its name with what to do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use soll::artifact::pack::Unpacked;
use soll::artifact::unpack::{Limits, unpack};

use super::{expected, found};

/// A directory for the tree, one for archives, and a shell in it.
struct Shop {
    dir: tempfile::TempDir,
}

impl Shop {
    fn new() -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let shop = Shop { dir };
        let tree = shop.tree();
        for (path, text) in [("artisan", "#!/bin/sh\n"), ("public/index.php", "<?php"), ("a b/ü.txt", ""), ("z", "z")]
        {
            fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            fs::write(tree.join(path), text).unwrap();
        }
        fs::set_permissions(tree.join("artisan"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("public", tree.join("www")).unwrap();
        fs::hard_link(tree.join("artisan"), tree.join("tool")).unwrap();
        fs::create_dir(tree.join("empty")).unwrap();
        shop
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    /// A name that no header holds, and a link to it.
    fn with_long_names(self) -> Shop {
        let long = format!("vendor/{}/{}", "long-directory-name-".repeat(6), "n".repeat(200));
        fs::create_dir_all(self.tree().join(&long).parent().unwrap()).unwrap();
        fs::write(self.tree().join(&long), "deep").unwrap();
        symlink(&long, self.tree().join("far")).unwrap();
        self
    }

    /// A file that is mostly holes, one that is nothing else, and one that ends in a hole.
    fn with_holes(self) -> Shop {
        use std::os::unix::fs::FileExt;
        for (name, size, parts) in [
            ("holes", 1_500_000, vec![100_000, 900_000]),
            ("nothing", 700_000, vec![]),
            ("public/many", 3_000_000, { (0..40).map(|n| n * 70_000).collect() }),
        ] {
            let file = fs::File::create(self.tree().join(name)).unwrap();
            file.set_len(size).unwrap();
            for at in parts {
                file.write_all_at(b"data between holes", at).unwrap();
            }
        }
        self
    }

    /// Runs a script beside the tree, which leaves `archive`.
    fn make(&self, script: &str) -> Vec<u8> {
        let archive = self.dir.path().join("archive");
        let _ = fs::remove_file(&archive);
        let mut shell = Command::new("bash");
        shell.args(["-ec", &format!("umask 022; {script}")]).current_dir(self.dir.path()).env("LC_ALL", "C.UTF-8");
        let done = shell.output().unwrap();
        assert!(done.status.success(), "{script}: {done:?}");
        fs::read(&archive).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    fn unpack(&self) -> Result<Unpacked, String> {
        let dest = self.dir.path().join("dest");
        let _ = fs::remove_dir_all(&dest);
        unpack(&self.dir.path().join("archive"), &dest, &Limits::default()).map_err(|error| error.to_string())
    }

    /// Each of these scripts packs the tree as it is.
    fn all_pack_the_tree(&self, scripts: &[&str]) {
        let wanted = expected(&self.tree());
        for script in scripts {
            self.make(script);
            let unpacked = self.unpack().unwrap_or_else(|error| panic!("{script}: {error}"));
            assert_eq!(found(&unpacked.manifest), wanted, "{script}");
            assert_eq!(unpacked.notes, [""; 0], "{script}");
        }
    }
}

const PYTHON: &str = "python3 - <<'END'\nimport tarfile, gzip, io\ndef pack(mode, **more):\n    with tarfile.open('archive', mode, **more) as t: t.add('tree', '.')\n";

#[test]
fn every_writer_of_short_names_is_read() {
    let shop = Shop::new();
    let python = |call: &str| format!("{PYTHON}{call}\nEND");
    let scripts = [
        "tar --format=v7 -czf archive -C tree .",
        "tar --format=oldgnu -czf archive -C tree .",
        "tar --format=gnu -czf archive -C tree .",
        "tar --format=ustar -czf archive -C tree .",
        "tar --format=posix -czf archive -C tree .",
        "tar -cf archive -C tree .",
        "tar -cf archive -C tree $(ls tree | grep -v ' ') 'a b'",
        "tar -czf archive -C tree z public/index.php public artisan tool www 'a b' empty",
        "tar -czf archive -C tree . ./artisan artisan public",
        "tar -cf archive -C tree . && tar -rf archive -C tree ./z ./public",
        "tar -b1 -cf archive -C tree .",
        "tar --owner=+3000000 --group=+2999999 --format=gnu -czf archive -C tree .",
        "tar --owner=+3000000 --group=+2999999 --format=posix -czf archive -C tree .",
        "tar --mtime=@-86400 --format=gnu -czf archive -C tree .",
        "tar --mtime=@-86400.5 --format=posix -czf archive -C tree .",
        "tar -V label --format=gnu -czf archive -C tree .",
        "tar -V label --format=posix -czf archive -C tree .",
        "tar --format=posix --pax-option=globexthdr.name=g,comment=c -czf archive -C tree .",
        "tar --format=posix --pax-option=exthdr.name=%d/x/%f,atime:=1 -czf archive -C tree .",
        "chmod 555 tree/empty; tar -czf archive -C tree .; chmod 755 tree/empty",
        "tar --hard-dereference -czf archive -C tree .",
        "(cd tree && find . -type f -o -type l -o -type d -empty | tar --no-recursion -czf ../archive -T -)",
        "bsdtar -czf archive -C tree .",
        "bsdtar --format=ustar -czf archive -C tree .",
        "bsdtar --format=gnutar -czf archive -C tree .",
        "bsdtar --format=v7 -czf archive -C tree .",
        "bsdtar --format=pax -czf archive -C tree .",
        "bsdtar --zstd -cf archive -C tree .",
        "busybox tar -czf archive -C tree .",
        "(cd tree && pax -w -x ustar .) | gzip >archive",
        "(cd tree && pax -w -x tar .) | gzip >archive",
        "(cd tree && find . | cpio -o -H ustar) 2>/dev/null | gzip >archive",
        "(cd tree && find . | cpio -o -H tar) 2>/dev/null | gzip >archive",
        "(cd tree && find . | bsdcpio -o -H ustar) 2>/dev/null | gzip >archive",
        "(cd tree && 7z a -ttar -snl -snh ../archive.tar . >/dev/null && mv ../archive.tar ../archive)",
        "(cd tree && git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm x && mkdir -p empty && \
         git archive --format=tar HEAD >../part && rm -rf .git && tar -rf ../part ./empty && mv ../part ../archive)",
        &python("pack('w:gz', format=tarfile.USTAR_FORMAT)"),
        &python("pack('w:gz', format=tarfile.GNU_FORMAT)"),
        &python("pack('w:gz', format=tarfile.PAX_FORMAT)"),
        &python("pack('w|gz')"),
        &python("pack('w:gz', format=tarfile.PAX_FORMAT, pax_headers={'comment': 'ü', 'vendor.key': 'x'})"),
    ];
    shop.all_pack_the_tree(&scripts);
    // Two names of one link: GNU tar and bsdtar write the second one as a hard link to the first.
    fs::hard_link(shop.tree().join("www"), shop.tree().join("zwww")).unwrap();
    shop.all_pack_the_tree(&["tar -czf archive -C tree .", "bsdtar -czf archive -C tree ."]);
}

#[test]
fn every_writer_of_long_names_is_read() {
    let python = |call: &str| format!("{PYTHON}{call}\nEND");
    Shop::new().with_long_names().all_pack_the_tree(&[
        "tar --format=oldgnu -czf archive -C tree .",
        "tar --format=gnu -czf archive -C tree .",
        "tar --format=posix -czf archive -C tree .",
        "bsdtar -czf archive -C tree .",
        "bsdtar --format=gnutar -czf archive -C tree .",
        "busybox tar -czf archive -C tree .",
        "(cd tree && 7z a -ttar -snl -snh ../archive.tar . >/dev/null && mv ../archive.tar ../archive)",
        &python("pack('w:gz', format=tarfile.GNU_FORMAT)"),
        &python("pack('w:gz', format=tarfile.PAX_FORMAT)"),
    ]);
}

/// Holes are zeros, however they are left out.
#[test]
fn holes_are_filled() {
    Shop::new().with_holes().all_pack_the_tree(&[
        "tar -S --format=gnu -czf archive -C tree .",
        "tar -S --format=oldgnu -cf archive -C tree .",
        "tar -S --format=posix --sparse-version=0.0 -czf archive -C tree .",
        "tar -S --format=posix --sparse-version=0.1 -czf archive -C tree .",
        "tar -S --format=posix --sparse-version=1.0 -czf archive -C tree .",
        "tar -S --hole-detection=raw --format=gnu -czf archive -C tree .",
        "bsdtar -cf archive -C tree .",
        "bsdtar -czf archive -C tree .",
        "bsdtar --read-sparse -czf archive -C tree .",
        "tar -czf archive -C tree .",
    ]);
    let long = Shop::new().with_holes().with_long_names();
    let names = "long-directory-name-".repeat(6);
    fs::copy(long.tree().join("holes"), long.tree().join("vendor").join(&names).join("h".repeat(150))).unwrap();
    let script = format!("cp --sparse=always tree/holes tree/vendor/{names}/{}; ", "h".repeat(150));
    long.all_pack_the_tree(&[
        &format!("{script}tar -S --format=gnu -czf archive -C tree ."),
        &format!("{script}tar -S --format=posix -czf archive -C tree ."),
        &format!("{script}bsdtar -czf archive -C tree ."),
    ]);
}

#[test]
fn every_packer_is_read() {
    Shop::new().with_long_names().all_pack_the_tree(&[
        "tar -c -C tree . | gzip -1 >archive",
        "tar -c -C tree . | gzip -9n --rsyncable >archive",
        "tar -cf x.tar -C tree . && gzip x.tar && mv x.tar.gz archive",
        "tar -c -C tree . | pigz >archive",
        "tar -c -C tree . | pigz -i -b 128 -p 4 >archive",
        "tar -c -C tree . | pigz -11 >archive",
        "tar -cf x -C tree . && zopfli -c --i1 x >archive",
        "tar -cf x -C tree . && 7z a -tgzip x.gz x >/dev/null && mv x.gz archive",
        "tar -c -C tree . | split -b 3000 --filter='gzip' - >archive",
        "tar -c -C tree . | gzip | dd of=archive bs=8192 conv=sync status=none",
        "tar -c -C tree . | zstd -q >archive",
        "tar -c -C tree . | zstd -q -19 --long=27 >archive",
        "tar -cf x -C tree . && pzstd -q -p 3 x -o archive",
        "tar -c -C tree . | split -b 3000 --filter='zstd -q' - >archive",
        "tar -c -C tree . | zstd -q --no-check | dd of=archive bs=8192 conv=sync status=none",
        "tar -c -C tree . | busybox gzip >archive",
    ]);
}

/// What it is, and what to do, for what no writer of tar archives makes.
#[test]
fn what_is_no_such_archive_is_called_by_its_name() {
    let shop = Shop::new();
    for (script, name, next) in [
        ("(cd tree && zip -qry ../archive.zip . && mv ../archive.zip ../archive)", "a zip archive", "tar -C DIR -czf"),
        ("tar -cJf archive -C tree .", "packed with xz", "xz -dc FILE | gzip -n"),
        ("tar -c -C tree . | xz --format=lzma >archive", "packed with lzma", "xz -dc FILE | gzip -n"),
        ("tar -cjf archive -C tree .", "packed with bzip2", "bzip2 -dc FILE | gzip -n"),
        ("tar -c -C tree . | lzip >archive", "packed with lzip", "lzip -dc FILE | gzip -n"),
        ("tar -c -C tree . | lz4 -q >archive", "packed with lz4", "lz4 -dc FILE | gzip -n"),
        ("(cd tree && 7z a -t7z ../x.7z . >/dev/null && mv ../x.7z ../archive)", "a 7z archive", "tar -C DIR -czf"),
        ("(cd tree && find . | cpio -o -H newc 2>/dev/null >../archive)", "a cpio archive", "tar -C DIR -czf"),
        ("(cd tree && find . | cpio -o -H odc 2>/dev/null >../archive)", "a cpio archive", "tar -C DIR -czf"),
        ("(cd tree && find . | cpio -o -H bin 2>/dev/null >../archive)", "a cpio archive", "tar -C DIR -czf"),
        (
            "(cd tree && find . | cpio -o -H newc 2>/dev/null | gzip >../archive)",
            "with gzip is a cpio archive",
            "tar -C",
        ),
        ("ar qc archive tree/z", "an ar archive", "tar -C DIR -czf"),
        ("tar -cz -C tree . | gzip >archive", "packed twice (gzip in gzip)", "gzip -dc FILE"),
        ("tar -cz -C tree . | zstd -q >archive", "packed twice (gzip in zstd)", "zstd -dc FILE"),
        ("tar -c -C tree . | zstd -q | gzip >archive", "packed twice (zstd in gzip)", "gzip -dc FILE"),
        ("tar -cJ -C tree . | gzip >archive", "with gzip is packed with xz", "xz -dc FILE"),
        ("(cd tree && zip -qr - . | gzip >../archive)", "with gzip is a zip archive", "tar -C DIR -czf"),
        ("gzip -c tree/public/index.php >archive", "is a web page", "look at the address"),
        ("(cat tree/artisan; head -c 600 /dev/zero | tr '\\0' x) >archive", "a script", "tar -C DIR"),
        ("cp /bin/true archive", "a program", "tar -C DIR"),
        (": >archive", "an empty file", "the job that makes it"),
        (": | gzip >archive", "with gzip is an empty file", "the job that makes it"),
        ("head -c 10240 /dev/zero >archive", "nothing but zeros", "the job that makes it"),
        ("tar -czf archive -T /dev/null", "nothing but zeros", "the job that makes it"),
        ("printf '\\n<!DOCTYPE html>' >archive", "a web page", "look at the address"),
        (
            "printf '<?xml version=\"1.0\"?><Error><Code>AccessDenied' >archive",
            "the message of a server",
            "may read it",
        ),
        ("printf '{\"message\":\"404 Not Found\"}' >archive", "the message of a server", "may read it"),
        (
            "printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:00' >archive",
            "a Git LFS pointer",
            "git lfs pull",
        ),
        ("sha256sum tree/z >archive", "a checksum", "swapped?"),
        ("sha256sum --tag tree/z >archive", "a checksum", "swapped?"),
        ("printf 'Not Found' >archive", "a text", "look at the address"),
        ("tar -cz -C tree . | base64 >archive", "in base64", "base64 -d FILE"),
        ("tar -cz -C tree . | openssl enc -aes-256-cbc -pbkdf2 -k x >archive", "encrypted with openssl", "decrypted"),
        (
            "head -c 5000 /dev/urandom | tr '\\0-\\177' '\\200-\\377' >archive",
            "neither tar, tar.gz nor tar.zst",
            "tar -C",
        ),
        (
            "(cd tree && git init -q . && git add z && git -c user.name=a -c user.email=a@b commit -qm x && git bundle create -q ../archive HEAD; rm -rf .git)",
            "a git bundle",
            "tar -C DIR",
        ),
        ("tar -cz -C tree . >archive; printf junk >>archive", "behind the end of its gzip stream", "appended"),
        ("tar -c -C tree . | zstd -q >archive; printf junk >>archive", "behind the end of its zstd stream", "appended"),
        ("tar -c -C tree . | head -c 3000 | gzip >archive", "truncated", "soll bundle DIR"),
        ("tar -cz -C tree . | head -c 200 >archive", "truncated", "soll bundle DIR"),
        (
            "tar -c -C tree z artisan >archive; cat archive archive >x; mv x archive",
            "one behind the other",
            "soll bundle",
        ),
        ("tar -g snapshot -czf archive -C tree .", "an incremental backup", "--listed-incremental"),
        ("mkfifo tree/pipe; tar -czf archive -C tree .; rm tree/pipe", "a named pipe", "leave it out"),
        ("tar -czPf archive $PWD/tree", "is absolute", "tar -C DIR -czf FILE ."),
        ("(cd tree/public && tar -czPf ../../archive ../z)", "a part `..`", "tar -C DIR -czf FILE ."),
        (
            "tar -czf archive -C tree z && mkdir -p other && echo 2 >other/z && gzip -d <archive >x && tar -rf x -C other z && mv x archive",
            "used before",
            "appended",
        ),
        (
            "(cd tree && touch $'caf\\351' && tar -czf ../archive . ; rm $'caf\\351')",
            "its name is not UTF-8",
            "rename it",
        ),
    ] {
        shop.make(script);
        match shop.unpack() {
            Ok(_) => panic!("{script}: it was taken"),
            Err(error) => assert!(error.contains(name) && error.contains(next), "{script}: {error}"),
        }
    }
}

/// The commands that the messages give, gone: what they make is taken.
#[test]
fn what_the_messages_propose_helps() {
    let shop = Shop::new();
    for (script, cure) in [
        ("tar -cJf FILE -C tree .", "xz -dc FILE | gzip -n >archive"),
        ("tar -c -C tree . | xz --format=lzma >FILE", "xz -dc FILE | gzip -n >archive"),
        ("tar -cjf FILE -C tree .", "bzip2 -dc FILE | gzip -n >archive"),
        ("tar -c -C tree . | lzip >FILE", "lzip -dc FILE | gzip -n >archive"),
        ("tar -c -C tree . | lz4 -q >FILE", "lz4 -dc FILE | gzip -n >archive"),
        ("tar -cz -C tree . | gzip >FILE", "gzip -dc FILE >archive"),
        ("tar -c -C tree . | zstd -q | gzip >FILE", "gzip -dc FILE >archive"),
        ("tar -cz -C tree . | base64 >FILE", "base64 -d FILE >archive"),
        (":", "tar -C tree -czf archive ."),
    ] {
        shop.all_pack_the_tree(&[&format!("{script}; {cure}")]);
    }
}

/// Where macOS is not at hand: its files beside files are made by their contents.
#[test]
fn what_macos_puts_beside_files_is_left_out_and_told() {
    let shop = Shop::new();
    let wanted = expected(&shop.tree());
    let double = [&[0, 5, 22, 7, 0, 2, 0, 0][..], b"Mac OS X        "].concat();
    fs::write(shop.tree().join("._artisan"), &double).unwrap();
    fs::write(shop.tree().join("public/._index.php"), [double.clone(), vec![1; 400_000]].concat()).unwrap();
    for script in ["tar -czf archive -C tree .", "bsdtar --disable-copyfile -czf archive -C tree ."] {
        shop.make(script);
        let unpacked = shop.unpack().unwrap();
        assert_eq!(found(&unpacked.manifest), wanted, "{script}");
        let [note] = &unpacked.notes[..] else { panic!("{:?}", unpacked.notes) };
        assert!(note.starts_with("2 AppleDouble files were left out") && note.contains("COPYFILE_DISABLE=1"), "{note}");
        let dest = shop.dir.path().join("dest");
        assert_eq!(
            Unpacked::open(&dest).unwrap().notes,
            unpacked.notes,
            "it is told again when it comes from the cache"
        );
    }
    // A file of the application that is only called so stays.
    for path in ["._artisan", "public/._index.php"] {
        fs::write(shop.tree().join(path), vec![b'x'; 300_000]).unwrap();
    }
    shop.all_pack_the_tree(&["tar -czf archive -C tree ."]);
}
