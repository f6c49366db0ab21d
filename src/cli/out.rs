//! Printing: a closed pipe ends output quietly, colour only where somebody sees it.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::screen;
use crate::model::shown;

/// Prints a text for people, without what could steer their terminal.
pub fn text(text: &str) {
    write(&shown::page(text, colour()));
}

fn write(text: &str) {
    // `soll … | head` closes the pipe: that is no error.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a value as indented JSON.
pub fn json<T: Serialize>(value: &T) {
    match serde_json::to_string_pretty(value) {
        Ok(out) => write(&format!("{}\n", shown::json(&out))),
        Err(error) => screen::line(&format!("soll: cannot print as JSON: {error}")),
    }
}

/// Whether standard output wants colour.
pub fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Whether standard error wants colour.
pub fn colour_stderr() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
