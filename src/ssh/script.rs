//! The only shell text that is sent to a host: one fixed script to start an agent, one to put its binary there. Every
//! login shell takes them (single quotes, one line, no `!`), and everything variable in them is a word of letters that
//! mean nothing to a shell.

use crate::host::disk::token::token;

/// What both scripts begin with. `walk` says `unsafe PATH MODE UID` and ends, where another user than this one and root
/// could put another program in the place of one in this directory: it, and all above it, must belong to these two and be
/// writable by nobody else, unless it is sticky; a program must be a file of theirs, and `s` is its size. A host without `ls`
/// is taken as it is: who could take it away is root. One `ls` looks at all of them, from the directory upwards (`.`, `..`,
/// `../..`, which is also how it sorts them), because each start of a program costs a host one to two milliseconds. Who this
/// user is its `/proc/self` says in the same breath, sorted last; `id` where there is none. Of owners other than root the
/// first two are remembered: of two different ones at least one is another user.
macro_rules! safe {
    ($script:literal) => {
        concat!(
            r#"bad() { echo "$m unsafe $1 $2 $3"; exit; }; walk() { s=; if command -v ls >/dev/null 2>&1; then o=$PWD; g=$2; cd -P "$1" || return; q=$PWD; set -- .; r=..; w=${q%/*}; while test -n "$w"; do set -- "$@" $r; r=$r/..; w=${w%/*}; done; if test -n "$g"; then set -- "$@" "./${g##*/}"; fi; n=$#; l=$(LC_ALL=C ls -ldn "$@" /proc/self/ 2>/dev/null); cd "$o" || cd /; set -- $l; w=$q; u=; v=; z=; while test $# -ge 9; do case $9 in /*) u=$3; shift 9; continue;; ./*) b=$g; s=$5;; *) b=${w:-/}; w=${w%/*};; esac; case $1 in l*) bad "$b" $1 $3;; d????????[tT]*) ;; ?????w*|????????w*) bad "$b" $1 $3;; esac; case $3 in 0|$v) ;; *) if test -z "$v"; then v=$3; vb=$b; vm=$1; elif test -z "$z"; then z=$3; zb=$b; zm=$1; fi;; esac; n=$((n-1)); shift 9; done; test $n -eq 0 || bad "$q" unknown unknown; test -n "$u" || u=$(id -u 2>/dev/null) || return; test ${v:-$u} = $u || bad "$vb" $vm $v; test ${z:-$u} = $u || bad "$zb" $zm $z; fi; }; set -f; "#,
            $script
        )
    };
}

/// Starts the agent whose digest is given for this kind of machine, or says what is in the way. Arguments: the marker in
/// two halves, so that an echo of the command is no answer; the directory; how to start it; `machine=digest,size` for each
/// program. A file of another size is what a crash has left of one.
const START: &str = safe!(
    r#"m=$1$2; d=$3; x=$4; shift 4; case $d in "~/"*) d=$HOME/${d#??};; esac; a=$(uname -m); for p; do case $p in "$a="*) h=${p#*=}; f=$d/soll-${h%,*}; if test -f "$f"; then walk "$d" "$f"; test -n "$s" || s=$(wc -c <"$f"); if test $s -eq ${h#*,}; then if test -x "$f"; then echo "$m agent"; exec "$f" host-agent $x; fi; echo "$m noexec $d"; exit; fi; fi; echo "$m missing $a $d"; exit;; esac; done; echo "$m foreign $a""#
);

/// Takes a binary from the standard input. Arguments: the marker in two halves; the directory; digest; size; `gzip` or
/// `plain`; a name for the temporary file.
const PUT: &str = safe!(
    r#"m=$1$2; d=$3; umask 077; case $d in "~/"*) d=$HOME/${d#??};; esac; say() { echo "$m $*"; exit; }; mkdir -p "$d" || say nodir $d; walk "$d" ""; t=$d/.soll-$7; clean() { rm -f "$t"; }; trap clean EXIT; : >"$t" || say nowrite $d; chmod 700 "$t"; test -x "$t" || say noexec $d; if test $6 = gzip; then command -v gzip >/dev/null 2>&1 || say nogzip; echo "$m send"; gzip -dc >"$t" || say nowrite $d; else echo "$m send"; cat >"$t" || say nowrite $d; fi; test $(wc -c <"$t") -eq $5 || say nowrite $d; s=$(sha256sum <"$t" || busybox sha256sum <"$t" || shasum -a 256 <"$t" || openssl dgst -sha256 -r <"$t"); case $s in $4*) ;; "") say nosha;; *) say differs;; esac; sync "$t" || sync; mv -f "$t" "$d/soll-$4" || say nowrite $d; say done"#
);

/// A command line that starts the agent, or leads to one that runs: `how` is its argument.
pub fn start(marker: &Marker, dir: &str, how: &str, programs: &[String]) -> String {
    command(START, marker, [dir, how].into_iter().chain(programs.iter().map(String::as_str)))
}

/// A command line that takes the agent's binary.
pub fn put(marker: &Marker, dir: &str, digest: &str, size: u64, packed: bool) -> String {
    let (size, packed) = (size.to_string(), if packed { "gzip" } else { "plain" });
    command(PUT, marker, [dir, digest, size.as_str(), packed, marker.0[0].as_str()])
}

fn command<'a>(script: &str, marker: &'a Marker, words: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = format!("exec /bin/sh -c '{script}' soll {} {}", marker.0[0], marker.0[1]);
    for word in words {
        // Checked where they come from; what would be more than a word is not sent.
        debug_assert!(is_word(word), "{word}");
        line.push_str(&format!(" '{}'", word.replace(|c: char| !is_plain(c), "_")));
    }
    line
}

/// Whether a word is one to every shell.
pub fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-+=@,~".contains(c)
}

/// What precedes an answer, in two halves. Nothing that a profile prints can contain it.
#[derive(Debug, Clone)]
pub struct Marker([String; 2]);

impl Marker {
    /// A new one.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn new() -> std::io::Result<Marker> {
        let whole = token()?;
        let (one, other) = whole.split_at(whole.len() / 2);
        Ok(Marker([one.to_owned(), other.to_owned()]))
    }

    /// What an answer starts with.
    pub fn whole(&self) -> String {
        self.0.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_scripts_are_one_quoted_word_for_every_shell() {
        for script in [START, PUT] {
            assert!(!script.contains(['\'', '!', '\\', '\n', '`']), "{script}");
            let checked = Command::new("/bin/sh").args(["-n", "-c", script]).status().unwrap();
            assert!(checked.success());
        }
    }

    #[test]
    fn an_echo_of_the_command_is_no_answer() {
        let marker = Marker::new().unwrap();
        let line = start(&marker, "/opt/soll", "--linger=40", &["x86_64=00,1".to_owned()]);
        assert!(!line.contains(&marker.whole()));
        assert_ne!(marker.whole(), Marker::new().unwrap().whole());
    }

    /// The answer of a start whose program lies in this directory.
    fn started(dir: &std::path::Path, digest: &str) -> String {
        let marker = Marker::new().unwrap();
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        let program = format!("{machine}={digest},{}", "#!/bin/sh\n".len());
        let line = start(&marker, dir.to_str().unwrap(), "--linger=40", &[program]);
        let said = Command::new("/bin/sh").args(["-c", &line]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        said.trim().strip_prefix(&marker.whole()).unwrap_or_default().trim().to_owned()
    }

    #[test]
    fn a_program_that_others_could_exchange_is_not_started() {
        use std::fs::{self, Permissions};
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap().join("top");
        let (dir, digest) = (top.join("agents"), "11");
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join(format!("soll-{digest}"));
        fs::write(&file, "#!/bin/sh\n").unwrap();
        let mode = |path: &std::path::Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(&file, 0o700);
        assert_eq!(started(&dir, digest), "agent");
        let is_root = rustix::process::geteuid().is_root();
        for path in [&file, &dir, &top] {
            let before = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            for more in [0o020, 0o002] {
                mode(path, before | more);
                assert!(started(&dir, digest).starts_with(&format!("unsafe {} ", path.display())), "{path:?} {more:o}");
            }
            mode(path, before);
            if is_root {
                chown(path, Some(33), None).unwrap();
                let said = started(&dir, digest);
                assert!(said.starts_with(&format!("unsafe {} ", path.display())) && said.ends_with(" 33"), "{said}");
                chown(path, Some(0), None).unwrap();
            }
            assert_eq!(started(&dir, digest), "agent", "{path:?}");
        }
        // Nobody exchanges what belongs to another in a sticky directory.
        mode(&top, 0o1777);
        assert_eq!(started(&dir, digest), "agent");
        fs::rename(&file, top.join("elsewhere")).unwrap();
        symlink(top.join("elsewhere"), &file).unwrap();
        assert!(started(&dir, digest).starts_with(&format!("unsafe {} l", file.display())));
    }

    #[test]
    fn what_there_is_for_another_machine_is_not_started() {
        let marker = Marker::new().unwrap();
        let answer = |programs: &[&str]| {
            let programs: Vec<_> = programs.iter().map(|&p| p.to_owned()).collect();
            let line = start(&marker, "/nonexistent/dir", "--linger=40", &programs);
            let said = Command::new("/bin/sh").args(["-c", &line]).output().unwrap();
            String::from_utf8(said.stdout).unwrap()
        };
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        let whole = marker.whole();
        assert_eq!(answer(&["pdp11=00,1"]), format!("{whole} foreign {machine}\n"));
        let missing = format!("{whole} missing {machine} /nonexistent/dir\n");
        assert_eq!(answer(&["pdp11=00,1", &format!("{machine}=11,1")]), missing);
    }
}
