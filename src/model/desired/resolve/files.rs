//! Rendered files: each is one of the shared files, and its template can be read and filled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::diagnose::{Diagnostic, SourceFile};
use super::super::formats::BUILT_IN;
use super::super::{FILE_MODE, File, Shared, suggest};
use super::sealed::Problem;
use super::{Scope, Span};
use crate::model::rendered::{self, Piece};

/// Gives the files at a path of the state repository, or says why it cannot.
type Read<'a> = &'a dyn Fn(&str) -> Result<Vec<SourceFile>, String>;

/// Gives the id of what a directory of the state repository holds; `None`: there is no such directory.
type Tree<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

/// The templates and the encrypted files that were read, each once, whichever environments use it.
pub struct Templates<'a> {
    pub(super) read: Read<'a>,
    pub(super) tree: Tree<'a>,
    known: BTreeMap<String, Result<(usize, String), String>>,
    pub(super) sealed: BTreeMap<String, Result<Arc<str>, Problem>>,
}

impl<'a> Templates<'a> {
    /// Of what reads files, the same that reads included ones, and what knows directories.
    pub fn new(read: Read<'a>, tree: Tree<'a>) -> Self {
        Templates { read, tree, known: BTreeMap::new(), sealed: BTreeMap::new() }
    }
}

impl Scope<'_> {
    pub(super) fn files(&mut self, shared: &[Shared], templates: &mut Templates<'_>) -> Vec<File> {
        let raw = self.raw;
        let mut files: Vec<File> = Vec::new();
        for (index, raw) in raw.files.iter().enumerate() {
            let at = |scope: &Self, key: &str| scope.at(&["files", &index.to_string(), key]);
            let path = raw.path.0.clone();
            let Some(from) = shared.iter().find(|shared| !shared.directory && shared.path == path) else {
                let message = format!("`{path}` is rendered, and is none of the shared files of `{}`", self.name);
                let error = Diagnostic::error(at(self, "path"), message).label("not shared");
                let known: Vec<&str> = shared.iter().filter(|s| !s.directory).map(|s| s.path.as_str()).collect();
                let help = match suggest::closest(&path, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("for example: shared_files = [\"{path}\"]"),
                };
                self.out.push(error.help(help));
                continue;
            };
            if files.iter().any(|file| file.path == path) {
                let error = Diagnostic::error(at(self, "path"), format!("`{path}` is rendered twice"));
                self.out.push(error.label("the second time").help("keep one of them"));
                continue;
            }
            let place = at(self, "template");
            let Some((template, text)) = self.text(&raw.template.0, place, templates) else { continue };
            let mode = raw.mode.as_ref().map_or(FILE_MODE, |mode| mode.0);
            if mode & 0o007 != 0 && !rendered::secrets(&text).is_empty() {
                let message = format!("`{path}` holds secrets, and everybody on the host may read or change it");
                let help = "leave out `mode`, or give it to a group: mode = \"0640\", owner = \"deploy:www-data\"";
                self.out.push(Diagnostic::warning(at(self, "mode"), message).label("for everybody").help(help));
            }
            let owner = raw.owner.as_ref().map(|owner| owner.0.clone());
            files.push(File { path, from: from.from.clone(), template, text, mode, owner });
        }
        files
    }

    /// The path and the text of a template, whose names are all known here.
    fn text(&mut self, path: &str, place: Span, templates: &mut Templates<'_>) -> Option<(String, String)> {
        let by = self.out.place(place).file;
        let path = by.rsplit_once('/').map_or_else(|| path.to_owned(), |(folder, _)| format!("{folder}/{path}"));
        let known = templates.known.entry(path.clone()).or_insert_with(|| {
            let mut found = (templates.read)(&globset::escape(&path))?;
            let file =
                found.pop().filter(|file| file.path == path).ok_or_else(|| "there is no such file".to_owned())?;
            let text = file.unread.map_or(Ok(file.text), Err)?;
            if text.len() > rendered::MOST {
                return Err(format!("it has {} bytes, and a template has at most {}", text.len(), rendered::MOST));
            }
            Ok((self.out.add_part(&path, &text, place), text))
        });
        let (file, text) = match known {
            Ok((file, text)) => (*file, text.clone()),
            Err(why) => {
                let message = format!("the template `{path}` cannot be read: {why}");
                let help = "templates are relative to the file that names them; is it committed?";
                self.out.push(Diagnostic::error(place, message).label("named here").help(help));
                return None;
            }
        };
        let span = |range: &std::ops::Range<usize>| Span { file, start: range.start, end: range.end };
        let pieces = match rendered::parse(&text) {
            Ok(pieces) => pieces,
            Err(faults) => {
                for fault in faults {
                    self.out.push(Diagnostic::error(span(&fault.span), fault.message).help(fault.help));
                }
                return None;
            }
        };
        for (range, piece) in pieces {
            let Piece::Value(name) = piece else { continue };
            self.name_in_template(name, span(&range));
        }
        Some((path, text))
    }

    fn name_in_template(&mut self, name: &str, span: Span) {
        let built_in = BUILT_IN.into_iter().filter(|name| *name != "release");
        let known: Vec<&str> = built_in.chain(self.raw.variables.keys().map(String::as_str)).collect();
        if known.contains(&name) {
            return;
        }
        if name == "release" {
            let error = Diagnostic::error(span, "a rendered file does not name the release that it is rendered for");
            let help = "it would be another file with every attempt: leave it out, or use {sha}";
            self.out.push(error.label("not here").help(help));
            return;
        }
        let message = format!("`{{{name}}}` is not known in the environment `{}`", self.name);
        let help = match suggest::closest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{{{near}}}`?"),
            None => {
                let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
                format!("add it to `variables`; known: {}", known.join(" "))
            }
        };
        self.out.push(Diagnostic::error(span, message).label("no such variable").help(help));
    }
}
