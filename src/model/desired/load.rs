//! From texts to [`Desired`]: parse every file, check each against the schema, put the definitions together, resolve.
//! Pure: the caller reads files (from a commit or a folder) and hands their texts in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Desired;
use super::diagnose::{Diagnostic, Diagnostics, SourceFile};
use super::formats;
use super::part::Part;
use super::resolve;
use super::resolve::Templates;
use super::tree::{self, Entry, Node, Span, Table, Value};
use super::walk;
use super::written::{Own, Written};
use crate::model::ids::EnvName;

/// A state that may be acted on.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub desired: Desired,
    /// What should be looked at; render it like errors.
    pub warnings: Diagnostics,
    /// Where the `release` of each environment is written, for edits and messages. None where `track` has not found one.
    pub releases: BTreeMap<EnvName, ReleasePlace>,
    /// How environments and templates are written, for edits.
    pub written: Written,
    /// Every file that was read, the main one first.
    pub files: Vec<String>,
}

/// The value of one `release` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasePlace {
    pub file: String,
    /// Bytes of the value with its quotes.
    pub span: Range<usize>,
    pub line: usize,
}

/// The tables of all files together.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub apps: Table,
    pub hosts: Table,
    pub environments: Table,
    pub templates: Table,
    pub backups: Table,
    /// What `secrets` of the main file names.
    pub secrets: Vec<Node>,
}

/// What a state is read from beside its main file.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Gives the files that match a glob (relative to the root of the repository, as the path of the main file is), or says why
    /// it cannot; see [`matcher`].
    pub files: &'a dyn Fn(&str) -> Result<Vec<SourceFile>, String>,
    /// Gives the id of what a directory holds; `None`: there is no such directory.
    pub tree: &'a dyn Fn(&str) -> Result<Option<String>, String>,
}

/// Loads a state of which nobody knows what its directories hold. `includes` gives the files that match a glob (relative to the
/// root of the repository, as `main.path` is), or says why it cannot; see [`matcher`].
///
/// # Errors
/// Everything that is wrong in all files, with its places.
pub fn load(
    main: SourceFile,
    includes: &dyn Fn(&str) -> Result<Vec<SourceFile>, String>,
) -> Result<Loaded, Diagnostics> {
    let sources = Sources { files: includes, tree: &|_| Ok(Some(String::new())) };
    load_without(main, &sources, &BTreeSet::new())
}

/// Loads a state as if these parts of it defined nothing: whoever uses what they define is wrong.
///
/// # Errors
/// Those of [`load`], in the other parts.
pub fn load_without(
    main: SourceFile,
    &Sources { files: includes, tree }: &Sources<'_>,
    without: &BTreeSet<Part>,
) -> Result<Loaded, Diagnostics> {
    let mut out = Diagnostics::default();
    let left_out = without.iter().filter_map(|part| match part {
        Part::Environment { name, .. } => Some(name),
        Part::File(_) => None,
    });
    let (root, is_whole) = parse(&main, &left_out.collect::<Vec<_>>(), false, &mut out);
    let files = included(&main.path, &root, includes, &mut out);
    let mut roots = vec![root];
    for file in files.into_iter().filter(|file| !without.contains(&Part::File(file.path.clone()))) {
        let (root, _) = parse(&file, &[], true, &mut out);
        let own = |key: &str| root.table().and_then(|table| table.get(key));
        if let Some(entry) = own("include") {
            let error = Diagnostic::error(entry.key, "an included file cannot include others");
            out.push(error.label("not here").help(format!("name the files in `include` of {}", main.path)));
        }
        if let Some(entry) = own("secrets") {
            let error =
                Diagnostic::error(entry.key, "secrets for several environments are named by the state file itself");
            out.push(error.label("not here").help(format!(
                "name them in `secrets` of {}, or in `secrets` of an environment of this file",
                main.path
            )));
        }
        roots.push(root);
    }
    let secrets = roots[0].get("secrets").map(Node::items).unwrap_or_default().to_vec();
    let mut tables = Tables { secrets, ..Tables::default() };
    for root in &roots {
        collect(root, "apps", "application", &mut tables.apps, &mut out);
        collect(root, "hosts", "host", &mut tables.hosts, &mut out);
        collect(root, "environments", "environment", &mut tables.environments, &mut out);
        collect(root, "templates", "template", &mut tables.templates, &mut out);
        collect(root, "backups", "backup", &mut tables.backups, &mut out);
    }
    if out.has_errors() {
        return Err(if is_whole { owned(&roots[0], out) } else { out });
    }
    let files = out.files.iter().map(|file| file.path.clone()).collect();
    let mut templates = Templates::new(includes, tree);
    let environments = resolve::all(&tables, &mut templates, &mut out);
    if out.has_errors() {
        return Err(owned(&roots[0], out));
    }
    let mut loaded = Loaded {
        desired: Desired::default(),
        warnings: out.warnings(),
        releases: BTreeMap::new(),
        written: Written { templates: written(&tables.templates, &out).collect(), ..Written::default() },
        files,
    };
    for (name, own) in written(&tables.environments, &out) {
        if let Ok(name) = name.parse() {
            loaded.written.environments.insert(name, own);
        }
    }
    for resolved in environments {
        let name = resolved.environment.name.clone();
        if let Some(span) = resolved.release {
            let place = out.place(span);
            let place = ReleasePlace { file: place.file, span: span.range(), line: place.line };
            loaded.releases.insert(name.clone(), place);
        }
        loaded.desired.environments.insert(name, resolved.environment);
    }
    Ok(loaded)
}

/// What stands in each of these tables itself, by name.
fn written<'a>(tables: &'a Table, out: &'a Diagnostics) -> impl Iterator<Item = (String, Own)> + 'a {
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    tables.iter().map(move |(name, Entry { key, node })| {
        let own = Own {
            file: out.files.get(key.file).map(|file| file.path.clone()).unwrap_or_default(),
            extends: text(node, "extends"),
            release: text(node, "release"),
            frozen: text(node, "frozen"),
        };
        (name.clone(), own)
    })
}

/// The environments that a file defines, as far as it can be read.
pub fn mentioned(text: &str) -> BTreeSet<EnvName> {
    let root = tree::parse(0, text, &mut Diagnostics::default());
    let names = root.get("environments").and_then(Node::table).map(|table| table.keys());
    names.into_iter().flatten().filter_map(|name| name.parse().ok()).collect()
}

/// The `release` that stands in one table of a file itself, as far as it can be read.
pub fn release_in(text: &str, section: &str, name: &str) -> Option<String> {
    let root = tree::parse(0, text, &mut Diagnostics::default());
    root.get(section)?.get(name)?.get("release")?.text().map(str::to_owned)
}

/// How the globs of `include` match: `*` stays inside one directory.
///
/// # Errors
/// The reason why it is no glob.
pub fn matcher(pattern: &str) -> Result<globset::GlobMatcher, String> {
    let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.to_string())
}

/// A file as a tree, checked against the schema as far as its syntax is whole, and whether it is. `without`: as if these
/// environments did not stand in it.
fn parse(file: &SourceFile, without: &[&EnvName], included: bool, out: &mut Diagnostics) -> (Node, bool) {
    let index = out.add_file(&file.path, &file.text);
    let mut syntax = Diagnostics::default();
    let mut root = tree::parse(index, &file.text, &mut syntax);
    if let Some(why) = &file.unread {
        out.push(Diagnostic::error(root.span, why.clone()));
        return (root, false);
    }
    if let Value::Table(table) = &mut root.value
        && let Some(Entry { node: Node { value: Value::Table(environments), .. }, .. }) = table.get_mut("environments")
    {
        environments.retain(|name, _| !without.iter().any(|out| out.as_str() == name));
    }
    let mut found = Diagnostics::default();
    walk::file(&root, included, &mut found);
    // Where the syntax is broken, what seems to be missing may be in the broken part, and a broken line says enough.
    let line = |span: Span| file.text[..span.start].matches('\n').count();
    let broken: Vec<_> = syntax.iter().map(|error| line(error.span)).collect();
    let sure =
        |d: &&Diagnostic| broken.is_empty() || !(d.label.starts_with("needs ") || broken.contains(&line(d.span)));
    found.iter().filter(sure).chain(syntax.iter()).for_each(|error| out.push(error.clone()));
    (root, broken.is_empty())
}

/// Says of all that stands in the table of an environment in the state file itself that it is that environment's alone.
fn owned(main: &Node, mut out: Diagnostics) -> Diagnostics {
    for (name, entry) in main.get("environments").and_then(Node::table).into_iter().flatten() {
        if let Ok(name) = name.parse() {
            let mut spans = vec![entry.key];
            entry.node.spans(&mut spans);
            out.owns(&name, spans);
        }
    }
    out
}

/// The files that the main one includes, each once.
fn included(
    main: &str,
    root: &Node,
    includes: &dyn Fn(&str) -> Result<Vec<SourceFile>, String>,
    out: &mut Diagnostics,
) -> Vec<SourceFile> {
    let mut files: BTreeMap<String, SourceFile> = BTreeMap::new();
    for item in root.get("include").map(Node::items).unwrap_or_default() {
        let Some(pattern) = item.text() else { continue };
        // The schema walk has reported what is no pattern.
        if !matches!(formats::check("soll-include", pattern), Some(Ok(()))) {
            continue;
        }
        let folder = main.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
        match includes(&format!("{folder}{pattern}")) {
            Err(why) => {
                let error = Diagnostic::error(item.span, format!("`{pattern}` cannot be read: {why}"));
                out.push(error.label("included here"));
            }
            Ok(found) => {
                let found: Vec<_> = found.into_iter().filter(|file| file.path != main).collect();
                if found.is_empty() {
                    let error = Diagnostic::error(item.span, format!("`{pattern}` matches no file"));
                    let help = "globs are relative to this file; are the files committed?";
                    out.push(error.label("nothing there").help(help));
                }
                files.extend(found.into_iter().map(|file| (file.path.clone(), file)));
            }
        }
    }
    files.into_values().collect()
}

/// Adds the definitions of one kind; the same name twice is an error that names both places (B7).
fn collect(root: &Node, section: &str, what: &str, into: &mut Table, out: &mut Diagnostics) {
    let Some(table) = root.get(section).and_then(Node::table) else { return };
    for (name, Entry { key, node }) in table {
        if let Some(first) = into.get(name) {
            let first = out.place(first.key);
            let error = Diagnostic::error(*key, format!("the {what} `{name}` is defined twice"));
            out.push(
                error.label("the second definition").help(format!("the first one is at {first}: keep one of them")),
            );
            continue;
        }
        into.insert(name.clone(), Entry { key: *key, node: node.clone() });
    }
}
