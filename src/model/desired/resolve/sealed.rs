//! Encrypted files with secrets: which environments may use which, and that none of them is in clear text.

use std::sync::Arc;

use super::super::diagnose::{Diagnostic, Diagnostics, SourceFile};
use super::super::load::matcher;
use super::super::sealed::{Fault, Form, MOST, Sealed, check};
use super::super::tree::{Node, Span};
use super::{Resolved, Scope, Templates};

/// The files that the top level of the state file names.
#[derive(Default)]
pub struct Shared {
    files: Vec<(Sealed, Vec<globset::GlobMatcher>)>,
}

impl Shared {
    /// Reads them. `items`: the entries of `secrets`.
    pub fn read(items: &[Node], templates: &mut Templates<'_>, out: &mut Diagnostics) -> Shared {
        let mut files = Vec::new();
        for item in items {
            let named = item.get("file").unwrap_or(item);
            let Some(sealed) = named.text().and_then(|path| read(path, named.span, templates, out)) else { continue };
            let globs = item.get("environments").map(Node::items).unwrap_or_default();
            // The schema walk has reported what is no glob.
            let globs: Vec<_> = globs.iter().filter_map(|glob| matcher(glob.text()?).ok()).collect();
            files.push((sealed, globs));
        }
        Shared { files }
    }

    /// Those that are for an environment of this name.
    fn of(&self, name: &str) -> impl Iterator<Item = &Sealed> {
        let is_for = move |globs: &[globset::GlobMatcher]| globs.is_empty() || globs.iter().any(|g| g.is_match(name));
        self.files.iter().filter(move |(_, globs)| is_for(globs)).map(|(sealed, _)| sealed)
    }
}

/// A glob that means no environment is a slip mostly. It is a warning: the environment may be in a file that is wrong, and
/// keeps nobody else from going on.
pub fn unused(items: &[Node], resolved: &[Resolved], out: &mut Diagnostics) {
    let globs = items.iter().filter_map(|item| item.get("environments")).flat_map(Node::items);
    for glob in globs {
        let Some((text, Ok(matches))) = glob.text().map(|text| (text, matcher(text))) else { continue };
        if !resolved.iter().any(|one| matches.is_match(one.environment.name.as_str())) {
            let warning = Diagnostic::warning(glob.span, format!("there is no environment `{text}`"));
            out.push(warning.label("means none").help("a name of `environments`, or a glob over them: \"customer-*\""));
        }
    }
}

impl Scope<'_> {
    /// The files of an environment: those of the top level that are for it, and its own.
    pub(super) fn sealed(&mut self, shared: &Shared, templates: &mut Templates<'_>) -> Vec<Sealed> {
        let mut files: Vec<Sealed> = shared.of(self.name).cloned().collect();
        let raw = self.raw;
        for (index, path) in raw.secrets.iter().flatten().enumerate() {
            let place = self.at(&["secrets", &index.to_string()]);
            let Some(sealed) = read(&path.0, place, templates, self.out) else { continue };
            if !files.iter().any(|known| known.path == sealed.path) {
                files.push(sealed);
            }
        }
        files
    }
}

/// Reads one file, once, whoever names it.
fn read(path: &str, place: Span, templates: &mut Templates<'_>, out: &mut Diagnostics) -> Option<Sealed> {
    let by = out.place(place).file;
    let path = by.rsplit_once('/').map_or_else(|| path.to_owned(), |(folder, _)| format!("{folder}/{path}"));
    // The schema walk has reported another ending.
    let form = Form::of(&path)?;
    let open = templates.read;
    let found = templates.sealed.entry(path.clone()).or_insert_with(|| {
        let found: Vec<SourceFile> = open(&globset::escape(&path)).map_err(Problem::Unread)?;
        let file = found.into_iter().find(|file| file.path == path);
        let file = file.ok_or_else(|| Problem::Unread("there is no such file".to_owned()))?;
        let text = file.unread.map_or(Ok(file.text), |why| Err(Problem::Unread(why)))?;
        if text.len() > MOST {
            return Err(Problem::Unread(format!("it has {} bytes, and at most {MOST} are read", text.len())));
        }
        check(form, &text).map_err(Problem::Fault)?;
        Ok(Arc::from(text))
    });
    let problem = match found {
        Ok(text) => return Some(Sealed { path, form, text: text.clone() }),
        Err(problem) => problem,
    };
    let public = "whoever can read this repository has read them: renew them where they are used, then ";
    let (message, label, help) = match problem {
        Problem::Unread(why) => (
            format!("the secrets of `{path}` cannot be read: {why}"),
            "named here",
            "secrets are named relative to the file that names them; is it committed?".to_owned(),
        ),
        Problem::Fault(Fault::Clear) => (
            format!("`{path}` is not encrypted: its secrets stand in Git in clear text"),
            "in clear text",
            format!("{public}encrypt the file: {}", form.remedy(&path)),
        ),
        Problem::Fault(Fault::ClearValues(names)) => (
            format!("`{path}` is encrypted in part: {} stand in Git in clear text", names.join(", ")),
            "partly in clear text",
            format!(
                "{public}have SOPS encrypt them as well (no `unencrypted_…`, no `encrypted_regex` that leaves them out)"
            ),
        ),
        Problem::Fault(Fault::Unfit(why)) => {
            (format!("`{path}` {why}"), "cannot be used", format!("make it anew: {}", form.remedy(&path)))
        }
    };
    out.push(Diagnostic::error(place, message).label(label).help(help));
    None
}

/// Why a file cannot be used.
pub enum Problem {
    Unread(String),
    Fault(Fault),
}
