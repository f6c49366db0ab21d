//! Archives that no one builds by accident, and what becomes of each.

use soll::artifact::unpack::Limits;

use super::raw::{Head, Tar, gzip, pax, seal, zstd};

/// Small enough that a bomb fits into a test.
pub fn limits() -> Limits {
    Limits { total_bytes: 1 << 20, file_bytes: 512 << 10, entries: 1000, ratio: 100, ratio_after: 64 << 10 }
}

/// Names and bytes.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = paths();
    all.extend(doubles());
    all.extend(links());
    all.extend(kinds());
    all.extend(holes());
    all.extend(headers());
    all.extend(ends());
    all.extend(bombs());
    all.extend(neutralised());
    all
}

fn long(name: &[u8]) -> Vec<u8> {
    [name, b"\0"].concat()
}

fn paths() -> Vec<(&'static str, Vec<u8>)> {
    let file = |name: &[u8]| Tar::new().file("good", "x").file(name, "x").end();
    let named = |name: &[u8]| Tar::new().extension(b'L', long(name)).file("short", "x").end();
    vec![
        ("absolute path", file(b"/canary/new")),
        ("dot-dot", file(b"../canary/new")),
        ("dot-dot after a directory", file(b"a/../../canary/new")),
        ("dot-dot at the end", file(b"a/..")),
        ("dot-dot as a directory", Tar::new().dir("../").end()),
        ("empty part", file(b"a//b")),
        ("dot part", file(b"a/./b")),
        ("no name", file(b"")),
        ("not UTF-8", file(b"caf\xe9")),
        ("NUL in a PAX path", Tar::new().pax(&[("path", b"a\0/../../b")]).file("x", "x").end()),
        ("NUL in a long name", named(b"a\0b")),
        ("absolute long name", named(&[b"/".as_slice(), &[b'a'; 120]].concat())),
        ("dot-dot in the PAX path", Tar::new().pax(&[("path", b"../canary/new")]).file("harmless", "x").end()),
        ("dot-dot by way of the prefix", Tar::new().head(Head::new("canary/new", b'0').field(345, b"..")).end()),
        ("part too long", named(&[b'a'; 256])),
        ("path too long", Tar::new().pax(&[("path", "abc/".repeat(1100).as_bytes())]).dir("x").end()),
        ("long name that is far too long", Tar::new().extension(b'L', [b'a'; 5000]).file("x", "x").end()),
        ("terminal escapes in the name", file(b"/\x1b[2J\x1b]0;owned\x07")),
        ("our own records", Tar::new().dir(".soll").file(".soll/confirmed", "x").end()),
        ("our own records, in disguise", file(b"././.soll/confirmed")),
        ("a link to be our own records", Tar::new().link(".soll", "elsewhere").end()),
        ("the root is a file", file(b"./")),
        ("a file that ends like a directory", file(b"a/")),
    ]
}

fn doubles() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a file twice", Tar::new().file("a", "1").file("a", "2").end()),
        ("a file twice, spelt differently", Tar::new().file("a", "1").file("./a", "2").end()),
        ("a directory twice", Tar::new().dir("a").dir("a/").end()),
        ("a file, then a directory", Tar::new().file("a", "1").dir("a").end()),
        ("a directory, then a file", Tar::new().dir("a").file("a", "1").end()),
        ("a parent, then a link of that name", Tar::new().file("a/b", "1").link("a", "c").end()),
        ("a link, then a file of that name", Tar::new().link("a", "b").file("a", "1").end()),
        ("a file, then something below it", Tar::new().file("a", "1").file("a/b", "2").end()),
        ("link, then write through it", Tar::new().dir("d").link("l", "d").file("l/f", "x").end()),
        ("link out, then write through it", Tar::new().link("l", "../canary").file("l/new", "x").end()),
        ("link, then a directory through it", Tar::new().link("a", "b").dir("a/b").end()),
    ]
}

fn links() -> Vec<(&'static str, Vec<u8>)> {
    let mut chain = Tar::new();
    for i in 0..60 {
        chain = chain.link(format!("l{i}"), format!("l{}", i + 1));
    }
    vec![
        ("absolute link", Tar::new().link("l", "/etc/passwd").end()),
        ("link that leaves", Tar::new().link("a/l", "../../canary").end()),
        ("link that leaves and comes back", Tar::new().link("l", "a/../../release/x").end()),
        ("link that leaves through a link", Tar::new().link("here", ".").link("l", "here/../canary").end()),
        (
            "link that leaves through a link to a deeper place",
            Tar::new().dir("a/b").link("a/b/up", "..").link("l", "a/b/up/../../canary").end(),
        ),
        ("link that leaves through a later link", Tar::new().link("a", "b/c/..").link("b/c", "../x/../..").end()),
        ("links in a circle", Tar::new().link("a", "b").link("b", "a").end()),
        ("link to itself", Tar::new().link("a", "a").end()),
        ("a chain of links", chain.end()),
        ("link without a target", Tar::new().link("a", "").end()),
        ("link target with a NUL", Tar::new().pax(&[("linkpath", b"a\0b")]).link("l", "x").end()),
        ("link target not UTF-8", Tar::new().link("l", b"caf\xe9").end()),
        ("absolute long link target", Tar::new().extension(b'K', long(b"/etc/passwd")).link("l", "x").end()),
        ("link with contents", Tar::new().head(Head::new("l", b'2').target("x").size(1)).data("x").end()),
        ("hard link to the system", Tar::new().hard("h", "/etc/passwd").end()),
        ("hard link that leaves", Tar::new().hard("h", "../canary/secret").end()),
        ("hard link to a later file", Tar::new().hard("h", "f").file("f", "x").end()),
        ("hard link to a link", Tar::new().link("l", "f").file("f", "x").hard("h", "l").end()),
        ("hard link through a link", Tar::new().file("d/f", "x").link("l", "d").hard("h", "l/f").end()),
        ("hard link to a directory", Tar::new().dir("d").hard("h", "d").end()),
        ("hard link to itself", Tar::new().hard("h", "h").end()),
        (
            "hard link with contents",
            Tar::new().file("f", "").head(Head::new("h", b'1').target("f").size(1)).data("x").end(),
        ),
    ]
}

fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let kind = |kind: u8| Tar::new().head(Head::new("x", kind)).end();
    vec![
        ("character device", kind(b'3')),
        ("block device", kind(b'4')),
        ("named pipe", kind(b'6')),
        ("contiguous file", kind(b'7')),
        ("socket", kind(b's')),
        ("volume label", kind(b'V')),
        ("part of another volume", kind(b'M')),
        ("GNU sparse file without a map", Tar::new().head(Head::new("x", b'S').field(257, b"ustar  \0")).end()),
        ("sparse file of star", Tar::new().pax(&[("SCHILY.realsize", b"9")]).file("x", "x").end()),
        ("sparse file without the mark of GNU", kind(b'S')),
        ("directory of an incremental backup", kind(b'D')),
        ("PAX sparse file", Tar::new().pax(&[("GNU.sparse.major", b"1")]).file("x", "x").end()),
        (
            "PAX sparse file for all",
            Tar::new().extension(b'g', pax(&[("GNU.sparse.major", b"1")])).file("x", "x").end(),
        ),
        ("directory with contents", Tar::new().head(Head::new("d", b'5').size(3)).data("abc").end()),
    ]
}

/// A sparse file as GNU tar has it in its own format.
fn gnu_sparse(size: u64, parts: &[(u64, u64)], stored: &[u8]) -> Tar {
    let mut head = Head::new("x", b'S').field(257, b"ustar  \0").size(stored.len() as u64);
    let octal = |n: u64| format!("{n:011o}\0");
    for (n, (at, bytes)) in parts.iter().take(4).enumerate() {
        head = head.field(386 + n * 24, octal(*at).as_bytes()).field(398 + n * 24, octal(*bytes).as_bytes());
    }
    head = head.field(482, &[u8::from(parts.len() > 4)]).field(483, octal(size).as_bytes());
    let mut tar = Tar::new().head(head);
    let mut rest = parts.get(4..).unwrap_or_default();
    while !rest.is_empty() {
        let mut block = [0; 512];
        let (now, later) = rest.split_at(rest.len().min(21));
        for (n, (at, bytes)) in now.iter().enumerate() {
            block[n * 24..n * 24 + 12].copy_from_slice(octal(*at).as_bytes());
            block[n * 24 + 12..n * 24 + 24].copy_from_slice(octal(*bytes).as_bytes());
        }
        block[504] = u8::from(!later.is_empty());
        tar = tar.block(block);
        rest = later;
    }
    tar.data(stored)
}

fn holes() -> Vec<(&'static str, Vec<u8>)> {
    let v0 = |records: &[(&str, &[u8])], stored: &str| Tar::new().pax(records).file("fake/x", stored).end();
    let v1 = |map: &str, size: &[u8], data: &str| {
        let mut stored = map.as_bytes().to_vec();
        stored.resize(map.len().next_multiple_of(512), 0);
        stored.extend(data.as_bytes());
        let records = [
            ("GNU.sparse.major", b"1".as_slice()),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"x"),
            ("GNU.sparse.realsize", size),
        ];
        Tar::new().pax(&records).file("fake/x", stored).end()
    };
    let many: Vec<(u64, u64)> = (0..60).map(|n| (n * 100, 1)).collect();
    vec![
        ("holes as GNU has them", gnu_sparse(5000, &[(1000, 3), (3000, 2), (5000, 0)], b"abcde").end()),
        ("holes in further headers", gnu_sparse(7000, &many, &[b'x'; 60]).file("y", "").end()),
        ("nothing but a hole", gnu_sparse(5000, &[(5000, 0)], b"").file("y", "").end()),
        ("a hole of gigabytes", gnu_sparse(8 << 30, &[(0, 1)], b"x").end()),
        ("a hole that is a bomb", gnu_sparse(500 << 10, &[(0, 1)], b"x").end()),
        ("parts that overlap", gnu_sparse(5000, &[(1000, 3), (1001, 2)], b"abcde").end()),
        ("parts in disorder", gnu_sparse(5000, &[(3000, 3), (1000, 2)], b"abcde").end()),
        ("parts behind the end", gnu_sparse(1001, &[(1000, 3), (3000, 2)], b"abcde").end()),
        ("more parts than contents", gnu_sparse(5000, &[(1000, 3), (3000, 7)], b"abcde").end()),
        ("less parts than contents", gnu_sparse(5000, &[(1000, 3)], b"abcde").end()),
        (
            "holes as PAX 0.0 has them",
            v0(
                &[
                    ("GNU.sparse.size", b"2000"),
                    ("GNU.sparse.numblocks", b"2"),
                    ("GNU.sparse.offset", b"0"),
                    ("GNU.sparse.numbytes", b"1"),
                    ("GNU.sparse.offset", b"1000"),
                    ("GNU.sparse.numbytes", b"2"),
                ],
                "abc",
            ),
        ),
        (
            "holes as PAX 0.1 has them",
            v0(&[("GNU.sparse.size", b"2000"), ("GNU.sparse.map", b"0,1,1000,2"), ("GNU.sparse.name", b"x")], "abc"),
        ),
        ("holes as PAX 1.0 has them", v1("2\n0\n1\n1000\n2\n", b"2000", "abc")),
        ("PAX 1.0, a map of letters", v1("2\n0\nx\n", b"2000", "abc")),
        ("PAX 1.0, a map without an end", v1(&"1".repeat(600), b"2000", "")),
        ("PAX 1.0, more parts than there can be", v1("99999999\n0\n", b"2000", "abc")),
        ("PAX 1.0, a size of letters", v1("1\n0\n3\n", b"-1", "abc")),
        ("PAX 0.1, half a pair", v0(&[("GNU.sparse.size", b"2000"), ("GNU.sparse.map", b"0,1,1000")], "abc")),
        ("PAX 0.0, a part without its place", v0(&[("GNU.sparse.size", b"9"), ("GNU.sparse.numbytes", b"3")], "abc")),
        ("a sparse file without a size", v0(&[("GNU.sparse.map", b"0,3")], "abc")),
        ("a sparse file of another form", v0(&[("GNU.sparse.major", b"2"), ("GNU.sparse.size", b"3")], "abc")),
        ("a sparse file with an unknown word", v0(&[("GNU.sparse.colour", b"red")], "abc")),
        (
            "a sparse file that leads out",
            v0(&[("GNU.sparse.size", b"3"), ("GNU.sparse.map", b"0,3"), ("GNU.sparse.name", b"../x")], "abc"),
        ),
    ]
}

fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let head = |head: Head| Tar::new().head(head).end();
    let plain = || Head::new("x", b'0');
    let mut wrong = plain().seal();
    wrong[0] = b'y';
    let mut letters = plain().seal();
    letters[148..156].copy_from_slice(b"checksum");
    let mut old = plain();
    old.block[257..265].fill(0);
    let mut old_wrong = old.clone().seal();
    old_wrong[0] = b'y';
    vec![
        ("wrong checksum", Tar::new().block(wrong).end()),
        ("checksum of letters", Tar::new().block(letters).end()),
        ("header without a format and with a wrong checksum", Tar::new().file("good", "x").block(old_wrong).end()),
        ("header without a format, damaged, first", Tar::new().block(old_wrong).end()),
        ("mode of nothing but blanks", head(plain().field(100, b"        "))),
        ("mode of letters", head(plain().field(100, b"rw-r--r-"))),
        ("size of letters", head(plain().field(124, b"lots of it!!"))),
        ("negative size", head(plain().field(124, &[0xff; 12]))),
        ("size beyond 64 bits", head(plain().field(124, &[0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]))),
        ("size of exabytes", head(plain().field(124, &[0x80, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0]))),
        ("PAX size differs", Tar::new().pax(&[("size", b"3")]).file("x", "x").end()),
        ("PAX size of letters", Tar::new().pax(&[("size", b"-1")]).file("x", "x").end()),
        ("PAX path for all", Tar::new().extension(b'g', pax(&[("path", b"x")])).file("a", "x").end()),
        ("PAX size for all", Tar::new().extension(b'g', pax(&[("size", b"1")])).file("a", "x").end()),
        ("PAX record too long", Tar::new().extension(b'x', "99 path=x\n").file("a", "x").end()),
        ("PAX record of length zero", Tar::new().extension(b'x', "0 path=x\n").file("a", "x").end()),
        ("PAX record without a newline", Tar::new().extension(b'x', "10 path=xx").file("a", "x").end()),
        ("PAX record without a key", Tar::new().extension(b'x', "7 path\n").file("a", "x").end()),
        ("PAX path twice", Tar::new().pax(&[("path", b"a"), ("path", b"b")]).file("c", "x").end()),
        ("PAX path and long name", Tar::new().pax(&[("path", b"a")]).extension(b'L', "b\0").file("c", "x").end()),
        ("two long names", Tar::new().extension(b'L', "a\0").extension(b'L', "b\0").file("c", "x").end()),
        ("long name of nothing", Tar::new().file("a", "x").extension(b'L', "a\0").end()),
        ("huge PAX header", Tar::new().head(Head::new("x", b'x').size(1 << 40)).end()),
        ("huge long name", Tar::new().head(Head::new("x", b'L').size(1 << 40)).end()),
    ]
}

fn ends() -> Vec<(&'static str, Vec<u8>)> {
    let good = Tar::new().file("a", "x".repeat(2000)).end();
    let zipped = gzip(&good);
    let mut bad_crc = zipped.clone();
    let crc = bad_crc.len() - 8;
    bad_crc[crc] ^= 1;
    let mut bad_length = zipped.clone();
    let length = bad_length.len() - 4;
    bad_length[length] ^= 1;
    let noise: Vec<u8> = (0..50_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let packed = zstd(&Tar::new().file("a", &noise).end());
    vec![
        ("nothing", Vec::new()),
        ("a text", b"not an archive".to_vec()),
        ("a web page", b"<!doctype html>".to_vec()),
        ("nothing, compressed", gzip(b"")),
        ("a text, compressed", gzip(b"not an archive")),
        ("no entries", gzip(&Tar::new().end())),
        ("only the root", gzip(&Tar::new().dir("./").end())),
        ("cut in a header", good[..300].to_vec()),
        ("cut in the contents", good[..1500].to_vec()),
        ("cut in the padding", good[..2530].to_vec()),
        ("cut between members", good[..good.len() - 1024].to_vec()),
        ("cut in the end", good[..good.len() - 512].to_vec()),
        ("a second archive after the end", [good.clone(), Tar::new().file("../b", "x").end()].concat()),
        ("one block of zeros, then more", Tar::new().file("a", "").block([0; 512]).file("b", "").end()),
        ("gzip, cut in the middle", zipped[..zipped.len() / 2].to_vec()),
        ("gzip, cut in the trailer", zipped[..zipped.len() - 3].to_vec()),
        ("gzip, wrong checksum", bad_crc),
        ("gzip, wrong length", bad_length),
        ("gzip, garbage after it", [zipped.clone(), b"garbage".to_vec()].concat()),
        ("gzip, zeros after it", [zipped.clone(), vec![0; 512]].concat()),
        ("gzip, another archive after it", [zipped.clone(), gzip(&Tar::new().file("b", "x").end())].concat()),
        ("gzip within gzip", gzip(&zipped)),
        ("zstd, cut", packed[..packed.len() / 2].to_vec()),
        ("zstd, garbage after it", [packed, b"garbage".to_vec()].concat()),
    ]
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let many = (0..1001).fold(Tar::new(), |tar, i| tar.file(format!("f{i}"), ""));
    let zeros = vec![0; 300 << 10];
    let half = |i: usize| -> Vec<u8> { (0..400 << 10).map(|n: usize| ((n * (i + 7)) >> 3) as u8).collect() };
    let parents = Tar::new().pax(&[("path", "a/".repeat(1500).as_bytes())]).dir("x");
    vec![
        ("too many entries", many.end()),
        ("too many implied directories", parents.end()),
        ("a file that is too large", Tar::new().head(Head::new("x", b'0').size(600 << 10)).end()),
        ("too much altogether", Tar::new().file("a", half(0)).file("b", half(1)).file("c", half(2)).end()),
        ("too much by hard links", Tar::new().file("a", half(0)).hard("b", "a").hard("c", "a").end()),
        ("gzip bomb", gzip(&Tar::new().file("a", &zeros).file("b", &zeros).end())),
        ("zstd bomb", zstd(&Tar::new().file("a", &zeros).file("b", &zeros).end())),
        (
            "bomb in the padding at the end",
            gzip(&Tar::new().file("a", "").end().into_iter().chain(vec![0; 4 << 20]).collect::<Vec<_>>()),
        ),
        ("bomb of zeros without compression", [Tar::new().file("a", "").end(), vec![0; 8 << 20]].concat()),
    ]
}

fn neutralised() -> Vec<(&'static str, Vec<u8>)> {
    let whole = Tar::new().file("a/b", "x".repeat(600)).end();
    let (one, two) = whole.split_at(700);
    let mut dirty = Head::new("clean\0/../../canary/new", b'0');
    seal(&mut dirty.block);
    let ancient = |name: &str, kind: u8| {
        let mut head = Head::new(name, kind);
        head.block[257..265].fill(0);
        head
    };
    let mut signed = Head::new("\u{fc}", b'0');
    signed.block[148..156].fill(b' ');
    let sum: i32 = signed.block.iter().map(|byte| i32::from(byte.cast_signed())).sum();
    let signed = signed.field(148, format!("{sum:06o}\0 ").as_bytes()).block;
    let star = Head::new("f", b'0').field(345, b"d").field(476, b"12345670123 12345670123 ").field(508, b"tar\0");
    let wide = Head::new("f", b'0').field(108, &[0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0]).field(136, &[0xff; 12]);
    vec![
        ("the root as a slash", Tar::new().dir("/").file("f", "x").end()),
        ("the root as a slash and a dot", Tar::new().dir("/.").dir(".//").file("f", "x").end()),
        ("slashes and dots that say nothing", Tar::new().file("a//b", "x").file("a/./c", "x").dir("a/.//").end()),
        ("header without a format", Tar::new().file("good", "x").head(ancient("old", b'0')).end()),
        (
            "an archive from before there were formats",
            Tar::new()
                .head(ancient("d/", 0))
                .head(ancient("d/f", 0).mode(0o755))
                .head(ancient("h", b'1').target("d/f"))
                .head(ancient("l", b'2').target("d/f"))
                .end(),
        ),
        ("a checksum of signed bytes", Tar::new().block(signed).end()),
        ("times where a prefix could end", Tar::new().head(star).end()),
        ("owners and times that are wide or negative", Tar::new().head(wide).end()),
        ("a contiguous file", Tar::new().head(Head::new("f", b'7')).end()),
        ("a label", Tar::new().head(Head::new("label", b'V')).file("f", "x").end()),
        ("an extended header of Solaris", Tar::new().extension(b'X', pax(&[("path", b"f")])).file("short", "x").end()),
        (
            "PAX records that take back",
            Tar::new().pax(&[("path", b""), ("size", b""), ("linkpath", b"")]).file("f", "x").end(),
        ),
        (
            "PAX size where the header has none",
            Tar::new().pax(&[("size", b"3")]).head(Head::new("f", b'0')).data("abc").end(),
        ),
        ("one block of zeros at the end", Tar::new().file("f", "x").block([0; 512]).0),
        ("the same file twice", Tar::new().file("f", "x").file("./f", "x").end()),
        ("the same link twice", Tar::new().link("l", "x").link("l", "x").end()),
        ("a file that is a hard link to itself", Tar::new().file("f", "x").hard("f", "f").end()),
        ("two names of one link", Tar::new().link("l", "f").hard("h", "l").end()),
        ("a file that is only called like macOS's", Tar::new().file("._f", "text").file("._", "").end()),
        ("files beside files", Tar::new().file("f", "x").file("d/._f", b"\0\x05\x16\x07\0\x02\0\0").end()),
        (
            "directories after what is in them",
            Tar::new().file("a/b", "x").dir("a").dir("a/").head(Head::new("a", b'5').mode(0)).end(),
        ),
        (
            "setuid, setgid, sticky",
            Tar::new().head(Head::new("d", b'5').mode(0o7777)).head(Head::new("d/f", b'0').mode(0o6755)).end(),
        ),
        ("unreadable", Tar::new().head(Head::new("d", b'5').mode(0)).head(Head::new("d/f", b'0').mode(0)).end()),
        ("writable by all", Tar::new().head(Head::new("f", b'0').field(108, b"0000000\0").mode(0o666)).end()),
        ("capabilities", Tar::new().pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02")]).file("f", "x").end()),
        ("comment for all", Tar::new().extension(b'g', pax(&[("comment", b"f0959baf")])).file("f", "x").end()),
        ("leading dots", Tar::new().dir("./").dir("./a/").file("././a/f", "x").end()),
        ("missing parents", Tar::new().file("a/b/c", "x").dir("a").end()),
        (
            "links that stay",
            Tar::new().link("public/storage", "../storage/app/public").link("x", "./public/../y").end(),
        ),
        ("hard link to an earlier file", Tar::new().head(Head::new("f", b'0').mode(0o755)).hard("./h", "./f").end()),
        ("the same contents many times", Tar::new().file("a", "x").file("b", "x").file("c", "").file("d", "").end()),
        ("names for other systems", Tar::new().file("C:\\x", "1").file("con", "2").file("A", "3").file("a", "4").end()),
        ("one archive in two gzip members", [gzip(one), gzip(two)].concat()),
        ("what follows a NUL in the header", Tar::new().block(dirty.block).end()),
        ("zeros after the end", Tar::new().file("f", "x").block([0; 10240]).end()),
        ("zstd", zstd(&Tar::new().file("f", "x").end())),
    ]
}
