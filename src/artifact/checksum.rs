//! The checksum file beside a bundle, in every form in which people and tools write one. Pure.
//!
//! What is read is judged by lines: each that names a SHA-256 counts, with the file it is of; what stands around them
//! (headings, signatures, what other tools say) does not. Nothing of the file is ever quoted: it may be something else.

use std::collections::BTreeSet;

use crate::model::ids::Digest;

/// The digest that a checksum file gives for the bundle of this name. A file with one digest is of the bundle, whatever it
/// calls it; of several, the one with its name counts.
///
/// # Errors
/// What the file is instead, and the command that writes a right one.
pub(super) fn parse(bytes: &[u8], name: &str) -> Result<Digest, String> {
    let text = decode(bytes).ok_or_else(|| wrong("it is not a text", name))?;
    let lines: Vec<&str> = text.split(['\n', '\r', '\0']).map(str::trim).filter(|line| !line.is_empty()).collect();
    let Some(first) = lines.first() else { return Err(wrong("it is empty", name)) };
    if first.starts_with('<') {
        return Err("it is a web page, not a checksum; look at the address and at who may read it".to_owned());
    }
    let found: Vec<Sum> = lines.iter().copied().filter_map(Sum::of).collect();
    let ours = found.iter().filter(|sum| sum.names(name));
    let ours: BTreeSet<Digest> = ours.map(|sum| sum.digest).collect();
    let all: BTreeSet<Digest> = found.iter().map(|sum| sum.digest).collect();
    let counts = if ours.is_empty() { &all } else { &ours };
    match (counts.len(), counts.first()) {
        (1, Some(digest)) => Ok(*digest),
        (0, _) => Err(wrong(instead(&lines), name)),
        (n, _) if ours.is_empty() => {
            Err(wrong(&format!("it holds the SHA-256 of {n} files, and none of them is called `{name}`"), name))
        }
        (n, _) => Err(wrong(&format!("it gives {n} different SHA-256 for `{name}`"), name)),
    }
}

/// The reason with the next move.
fn wrong(why: &str, name: &str) -> String {
    let quoted = if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b)) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    };
    format!("{why}; `sha256sum {quoted} >{quoted}.sha256` beside the bundle writes a right one")
}

/// What a file without a single SHA-256 is.
fn instead(lines: &[&str]) -> &'static str {
    let longest = |digits: usize| {
        lines.iter().any(|line| line.split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() == digits))
    };
    match lines {
        ["null"] => "it says `null`: whoever wrote it found no bundle, and that is an error",
        _ if longest(64) => "the SHA-256 in it stands in a form that is not known here",
        _ if longest(128) => "it holds a SHA-512, and a SHA-256 (64 hexadecimal digits) was expected",
        _ if longest(96) => "it holds a SHA-384, and a SHA-256 (64 hexadecimal digits) was expected",
        _ if longest(56) => "it holds a SHA-224, and a SHA-256 (64 hexadecimal digits) was expected",
        _ if longest(40) => "it holds a SHA-1, and a SHA-256 (64 hexadecimal digits) was expected",
        _ if longest(32) => "it holds an MD5, and a SHA-256 (64 hexadecimal digits) was expected",
        _ => "it holds no SHA-256 (64 hexadecimal digits)",
    }
}

/// The text, where it is one: UTF-8, or UTF-16 in either order (what `>` of PowerShell writes), with its mark or without.
fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], order: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        // A newline that was added as one byte to what has two for each.
        let rest = rest.iter().all(|byte| matches!(byte, b'\n' | b'\r' | 0));
        rest.then(|| String::from_utf16(&pairs.iter().map(|pair| order(*pair)).collect::<Vec<_>>()).ok()).flatten()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [a, 0, b, 0, ..] if *a > 0 && *b > 0 => wide(bytes, u16::from_le_bytes),
        [0, a, 0, b, ..] if *a > 0 && *b > 0 => wide(bytes, u16::from_be_bytes),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// One line that gives a digest.
struct Sum {
    digest: Digest,
    /// Of which file; `None` where the line does not say.
    of: Option<String>,
}

impl Sum {
    fn of(line: &str) -> Option<Sum> {
        // A backslash in front says that the name is written with escapes.
        let (line, escaped) = match line.strip_prefix('\\') {
            Some(rest) => (rest, true),
            None => (line, false),
        };
        let (digest, name) = coreutils(line).or_else(|| tagged(line)).or_else(|| table(line))?;
        let name = if escaped { unescaped(name) } else { name.to_owned() };
        Some(Sum { digest, of: Some(name).filter(|name| !matches!(name.as_str(), "" | "-" | "stdin")) })
    }

    /// Whether it is of a file of this name, in whatever directory, with a mark for binary or portable reading or without.
    fn names(&self, name: &str) -> bool {
        let last = |path: &str| path.rsplit(['/', '\\']).next() == Some(name);
        self.of
            .as_deref()
            .is_some_and(|of| of == name || last(of) || of.strip_prefix(['*', '?', '^']).is_some_and(last))
    }
}

/// `HEX`, `HEX  NAME`, `HEX *NAME`.
fn coreutils(line: &str) -> Option<(Digest, &str)> {
    let (hex, name) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    Some((digest(hex)?, name.trim_start()))
}

/// `SHA256 (NAME) = HEX`, `SHA2-256(NAME)= HEX`, `SHA256:HEX`.
fn tagged(line: &str) -> Option<(Digest, &str)> {
    let algorithm = ["SHA256", "SHA2-256", "SHA-256"]
        .into_iter()
        .find(|tag| line.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)))?;
    let rest = line[algorithm.len()..].trim_start();
    if let Some(hex) = rest.strip_prefix([':', '=']) {
        return Some((digest(hex.trim())?, ""));
    }
    let (name, hex) = rest.strip_prefix('(')?.rsplit_once(')')?;
    Some((digest(hex.trim_start().strip_prefix('=')?.trim())?, name))
}

/// What `Get-FileHash` shows: `SHA256  HEX  PATH` as a table, `Hash : HEX` as a list.
fn table(line: &str) -> Option<(Digest, &str)> {
    let (first, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    if first.eq_ignore_ascii_case("hash") {
        return Some((digest(rest.strip_prefix(':')?.trim())?, ""));
    }
    first.eq_ignore_ascii_case("sha256").then(|| coreutils(rest)).flatten()
}

fn digest(hex: &str) -> Option<Digest> {
    hex.parse().ok()
}

fn unescaped(name: &str) -> String {
    let mut out = String::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        let after = if c == '\\' { chars.next() } else { None };
        out.push(match after {
            None => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some(other) => other,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "bundle.tar.gz";

    fn hex() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn forms_that_are_read() {
        let (hex, other) = (hex(), "cd".repeat(32));
        let mut all = vec![
            hex.clone(),
            format!("{hex}\n"),
            format!("{hex}  bundle.tar.gz\n"),
            format!("{hex} *bundle.tar.gz\r\n"),
            format!("{hex}\tbundle.tar.gz"),
            format!("{hex}  bundle.tar.gz\0"),
            format!("{hex}  named-otherwise.tar.gz\n"),
            format!("\u{feff}\n\\{}  odd\\nname\n", hex.to_uppercase()),
            format!("{hex}  -\n"),
            format!("SHA256 (bundle.tar.gz) = {hex}\n"),
            format!("SHA256(bundle.tar.gz)= {hex}\n"),
            format!("SHA2-256(stdin)= {hex}\n"),
            format!("sha256:{hex}\n"),
            format!("{other}  a.tar.gz\n{hex}  bundle.tar.gz\n{other}  bundle.tar.gz.asc\n"),
            format!("{other} *dist\\a.zip\r\n{} *dist\\bundle.tar.gz\r\n", hex.to_uppercase()),
            format!("{other}  ./dist/a.tar.gz\n{hex}  ./dist/bundle.tar.gz\n"),
            format!("SHA256 (a (1).tar.gz) = {other}\nSHA256 (out/bundle.tar.gz) = {hex}\nMD5 (bundle.tar.gz) = 00\n"),
            format!("{hex}  bundle.tar.gz\n{hex}  again/bundle.tar.gz\n"),
            format!("\\{other}  a\\nb\n\\{hex}  C:\\\\ci\\\\bundle.tar.gz\n"),
            format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{hex}  bundle.tar.gz\n\
                 -----BEGIN PGP SIGNATURE-----\n\niHUEARYIAB0\n-----END PGP SIGNATURE-----\n"
            ),
            format!(
                "SHA256 hash of bundle.tar.gz:\r\n{hex}\r\nCertUtil: -hashfile command completed successfully.\r\n"
            ),
            format!(
                "\r\nAlgorithm       Hash    Path\r\n---------       ----    ----\r\nSHA256          {} C:\\ci\\bundle.tar.gz\r\n\r\n",
                hex.to_uppercase()
            ),
            format!("Algorithm : SHA256\r\nHash      : {hex}\r\nPath      : C:\\ci\\bundle.tar.gz\r\n"),
        ];
        all.push(format!("# sums of today\n{}", all[13]));
        for good in all {
            assert_eq!(parse(good.as_bytes(), NAME).map(|d| d.to_string()), Ok(hex.clone()), "{good:?}");
            let units: Vec<u16> = good.trim_start_matches('\u{feff}').encode_utf16().collect();
            let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            for wide in [[b"\xff\xfe", &little[..]].concat(), [b"\xfe\xff", &big[..]].concat(), little, big] {
                assert_eq!(parse(&wide, NAME).map(|d| d.to_string()), Ok(hex.clone()), "{good:?}");
            }
        }
        let odd = format!("{}  a\n\\{hex}  it's\\\\1\\n2\n", "cd".repeat(32));
        assert_eq!(parse(odd.as_bytes(), "it's\\1\n2").map(|d| d.to_string()), Ok(hex));
    }

    #[test]
    fn what_is_refused_says_what_it_is_and_never_what_stands_in_it() {
        let (hex, other) = (hex(), "cd".repeat(32));
        let mut refused = String::new();
        for bad in [
            String::new(),
            "\n \n".to_owned(),
            "null\n".to_owned(),
            "<!doctype html><title>hunter2</title>".to_owned(),
            "d41d8cd98f00b204e9800998ecf8427e  hunter2".to_owned(),
            format!("{}  hunter2", "a".repeat(40)),
            format!("{}  hunter2", "a".repeat(128)),
            format!("{hex}ff"),
            format!("+{}", &hex[1..]),
            "SHA256 (hunter2) = 00".to_owned(),
            "root:hunter2:0:0".to_owned(),
            "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=".to_owned(),
            format!("{{\"sha256\":\"{hex}\"}}"),
            format!("{hex}  hunter2\n{other}  hunter3\n"),
            format!("{hex}  bundle.tar.gz\n{other}  dist/bundle.tar.gz\n"),
        ] {
            refused += &format!("{}\n", parse(bad.as_bytes(), NAME).unwrap_err());
        }
        refused += &format!("{}\n", parse(b"\xff\xfeh\0\x00\xd8x\0", NAME).unwrap_err());
        refused += &format!("{}\n", parse(b"", "it's mine.tar.gz").unwrap_err());
        assert!(!refused.contains("hunter"), "{refused}");
        insta::assert_snapshot!(refused);
    }
}
