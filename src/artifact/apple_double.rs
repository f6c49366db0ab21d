//! What macOS puts beside files for what other file systems do not hold: `._NAME` beside NAME. It is no part of any release.

use super::tree::shown;

/// What such a file begins with.
pub(super) const MAGIC: [u8; 4] = [0, 5, 22, 7];

/// By name and contents: a file of the application that is only called so stays.
pub(super) fn is_one(path: &str, start: &[u8]) -> bool {
    is_called_so(path) && start.starts_with(&MAGIC)
}

/// By name alone: whether its contents need to be looked at.
pub(super) fn is_called_so(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last.starts_with("._"))
}

/// Those that were left out.
#[derive(Default)]
pub(super) struct LeftOut {
    count: usize,
    first: Option<String>,
}

impl LeftOut {
    /// One more.
    pub(super) fn add(&mut self, path: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| shown(path));
    }

    /// What to say of them; `None`: there was none.
    pub(super) fn told(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let (what, them) = match self.count {
            1 => (format!("`{first}` was left out, an AppleDouble file"), "it"),
            n => (format!("{n} AppleDouble files were left out, `{first}` first"), "them"),
        };
        Some(format!("{what} of macOS; `COPYFILE_DISABLE=1 tar …` packs without {them}"))
    }
}
