//! Standard error, where people look on while something runs: lines, and below them, on a terminal, one line per host that
//! is redrawn. Everything that is written there comes through here, or it would be drawn over. Off a terminal not one
//! control character is written, whatever a command printed.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::shown;

/// `None`: nobody looks on, or it is no terminal that can move a cursor.
static LIVE: LazyLock<Option<MultiProgress>> = LazyLock::new(|| {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let live = std::io::stderr().is_terminal() && !dumb;
    live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
});

/// Whether there are lines that are redrawn.
pub fn live() -> bool {
    LIVE.is_some()
}

/// Several lines that stay, with their ends.
pub fn block(text: &str) {
    write(text.as_bytes());
}

/// One line that stays.
pub fn line(text: &str) {
    write(format!("{text}\n").as_bytes());
}

/// A line that is redrawn in place, below those that stay. `None` off a terminal.
pub fn bar(name: &str) -> Option<ProgressBar> {
    // Without colour in it, so that NO_COLOR is respected by all of it.
    let style =
        ProgressStyle::with_template("  {prefix:<24} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = LIVE.as_ref()?.add(ProgressBar::new_spinner().with_style(style));
    bar.set_prefix(name.to_owned());
    Some(bar)
}

/// What a command printed, without what would move a cursor or colour what follows.
pub fn plain(text: &str) -> String {
    shown::clean(&anstream::adapter::strip_str(text).to_string()).into_owned()
}

/// For those who write by themselves: the log.
pub struct Screen;

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write(bytes: &[u8]) {
    // What is told comes from commits, hosts and commands as well.
    let text = String::from_utf8_lossy(bytes);
    let text = shown::page(&text, super::out::colour_stderr());
    // Nobody reads any more: the run goes on all the same.
    let out = || drop(std::io::stderr().write_all(text.as_bytes()));
    match LIVE.as_ref() {
        Some(live) => live.suspend(out),
        None => out(),
    }
}
