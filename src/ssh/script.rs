//! The only shell text that is sent to a host: one fixed script to start an agent, one to put its binary there. Every
//! login shell takes them (single quotes, one line, no `!`), and everything variable in them is a word of letters that
//! mean nothing to a shell.

use crate::host::disk::token::token;

/// Starts the agent whose digest is given for this kind of machine, or says what is in the way. Arguments: the marker in
/// two halves, so that an echo of the command is no answer; the directory; how to start it; `machine=digest,size` for each program. A file of another
/// size is what a crash has left of one.
const START: &str = r#"m=$1$2; d=$3; x=$4; shift 4; case $d in "~/"*) d=$HOME/${d#??};; esac; a=$(uname -m); for p; do case $p in "$a="*) h=${p#*=}; f=$d/soll-${h%,*}; if test -f "$f" && test $(wc -c <"$f") -eq ${h#*,}; then if test -x "$f"; then echo "$m agent"; exec "$f" host-agent $x; fi; echo "$m noexec $d"; exit; fi; echo "$m missing $a $d"; exit;; esac; done; echo "$m foreign $a""#;

/// Takes a binary from the standard input. Arguments: the marker in two halves; the directory; digest; size; `gzip` or
/// `plain`; a name for the temporary file.
const PUT: &str = r#"m=$1$2; d=$3; umask 077; case $d in "~/"*) d=$HOME/${d#??};; esac; say() { echo "$m $*"; exit; }; mkdir -p "$d" || say nodir $d; t=$d/.soll-$7; clean() { rm -f "$t"; }; trap clean EXIT; : >"$t" || say nowrite $d; chmod 700 "$t"; test -x "$t" || say noexec $d; if test $6 = gzip; then command -v gzip >/dev/null 2>&1 || say nogzip; echo "$m send"; gzip -dc >"$t" || say nowrite $d; else echo "$m send"; cat >"$t" || say nowrite $d; fi; test $(wc -c <"$t") -eq $5 || say nowrite $d; s=$(sha256sum <"$t" || busybox sha256sum <"$t" || shasum -a 256 <"$t" || openssl dgst -sha256 -r <"$t"); case $s in $4*) ;; "") say nosha;; *) say differs;; esac; sync "$t" || sync; mv -f "$t" "$d/soll-$4" || say nowrite $d; say done"#;

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
