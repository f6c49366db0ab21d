//! From checked tables to effective environments: layers merged, names looked up, defaults applied. Everything that
//! cannot be right is reported with its place; what is returned counts only where nothing was.

mod backup;
mod checks;
mod compose;
mod delivery;
mod files;
mod hooks;
mod host;
mod policy;
mod sealed;
mod seat;
mod units;

pub(super) use self::files::Templates;

use std::collections::BTreeMap;
use std::time::Duration;

use super::diagnose::{Diagnostic, Diagnostics};
use super::formats::BUILT_IN;
use super::load::Tables;
use super::raw::Kind;
use super::tree::{Node, Span, Table, Value};
use super::{DriftPolicy, EnvFailure, Environment, Shared, Unreachable};
use super::{layers, raw, recipe, release, secrets, suggest, tree};
use crate::model::activation::SETTLE;
use crate::model::ids::AppName;
use crate::model::rendered::VERSIONS;
use crate::model::template;

/// One environment and the places that others want to know.
pub(super) struct Resolved {
    pub environment: Environment,
    /// The name where it is defined.
    pub key: Span,
    /// The value of `release`.
    pub release: Option<Span>,
}

/// Resolves every environment, then looks at them together.
pub(super) fn all(tables: &Tables, templates: &mut Templates<'_>, out: &mut Diagnostics) -> Vec<Resolved> {
    let mut recipes = Recipes::default();
    let secrets = sealed::Shared::read(&tables.secrets, templates, out);
    for (name, entry) in &tables.templates {
        if let Some(extends) = entry.node.get("extends") {
            let error = Diagnostic::error(extends.span, format!("the template `{name}` extends another one"));
            out.push(error.label("not here").help("only environments extend templates: write the shared part once"));
        }
    }
    let mut resolved = Vec::new();
    for (name, entry) in &tables.environments {
        let Some(layered) = layered(name, entry.key, &entry.node, tables, &mut recipes, out) else { continue };
        let raw = match serde_json::from_value::<raw::Environment>(layered.node.json()) {
            Ok(raw) => raw,
            // The walk was clean, so this is a value that only its type refuses.
            Err(error) => {
                out.push(Diagnostic::error(entry.key, format!("the environment `{name}` cannot be read: {error}")));
                continue;
            }
        };
        let mut scope =
            Scope { name, key: entry.key, node: &layered.node, recipe: layered.recipe_file, raw: &raw, out };
        if let Some(environment) = scope.environment(&layered, tables, &secrets, templates) {
            let release = layered.node.get("release").map(|node| node.span);
            resolved.push(Resolved { environment, key: entry.key, release });
        }
    }
    backup::all(tables, &mut resolved, out);
    policy::promotions(tables, &resolved, out);
    host::collisions(tables, &resolved, out);
    sealed::unused(&tables.secrets, &resolved, out);
    compose::collisions(tables, &resolved, out);
    resolved
}

/// An environment with its layers merged.
struct Layered {
    node: Node,
    app: AppName,
    app_key: Span,
    recipe: String,
    kind: Kind,
    repository: Option<String>,
    recipe_file: Option<usize>,
}

/// The recipes that were needed, parsed once.
#[derive(Default)]
struct Recipes(BTreeMap<(String, Kind), Node>);

impl Recipes {
    fn get(&mut self, name: &str, kind: Kind, out: &mut Diagnostics) -> Option<Node> {
        if let Some(node) = self.0.get(&(name.to_owned(), kind)) {
            return Some(node.clone());
        }
        let text = recipe::text(name, kind)?;
        let file = out.add_file(&format!("recipe {name}"), text);
        let node = tree::parse(file, text, out);
        self.0.insert((name.to_owned(), kind), node.clone());
        Some(node)
    }
}

fn layered(
    name: &str,
    key: Span,
    own: &Node,
    tables: &Tables,
    recipes: &mut Recipes,
    out: &mut Diagnostics,
) -> Option<Layered> {
    let template = match own.get("extends") {
        None => None,
        Some(node) => Some(&reference("template", node, &tables.templates, out)?.node),
    };
    let named = own.get("app").or_else(|| template?.get("app"));
    let (app, app_entry) = match (named, tables.apps.iter().next()) {
        (Some(node), _) => (node.text().unwrap_or_default(), reference("application", node, &tables.apps, out)?),
        (None, Some((only, entry))) if tables.apps.len() == 1 => (only.as_str(), entry),
        (None, first) => {
            let message = format!("the environment `{name}` does not say which application it runs");
            let help = match first {
                None => "there is none yet: add `[apps.NAME]`".to_owned(),
                Some(_) => suggest::list("`app` is one of", tables.apps.keys().map(String::as_str)),
            };
            out.push(Diagnostic::error(key, message).label("needs `app`").help(help));
            return None;
        }
    };
    let text = |key: &str| app_entry.node.get(key).and_then(Node::text).map(str::to_owned);
    // The walk was clean: it is one of the kinds.
    let kind = match text("kind").as_deref() {
        Some("git") => Kind::Git,
        Some("compose") => Kind::Compose,
        _ => Kind::Bundle,
    };
    let recipe_name = text("recipe").unwrap_or_else(|| recipe::GENERIC.to_owned());
    let Some(recipe_node) = recipes.get(&recipe_name, kind, out) else {
        let place = app_entry.node.at(&["recipe"]);
        if recipe::names().any(|known| known == recipe_name) {
            let message = format!("the recipe `{recipe_name}` is for applications of another kind");
            let help = match recipe::only_for(&recipe_name) {
                Some(_) => "give the application `kind = \"compose\"`",
                None => "with `kind = \"compose\"` take `recipe = \"compose\"`, or leave it out",
            };
            out.push(Diagnostic::error(place, message).label("not for this kind").help(help));
            return None;
        }
        let error = Diagnostic::error(place, format!("there is no recipe `{recipe_name}`"));
        out.push(error.label("not known").help(suggest::help(&recipe_name, "recipes", recipe::names())));
        return None;
    };
    let mut node = layers::layer(&recipe_node, &app_entry.node);
    for layer in template.into_iter().chain([own]) {
        checks::duplicates(layer, out);
        node = layers::layer(&node, layer);
    }
    checks::duplicates(&app_entry.node, out);
    if let Value::Table(table) = &mut node.value {
        for key in ["kind", "recipe", "repository"] {
            table.remove(key);
        }
    }
    let repository = text("repository");
    let recipe_file = Some(recipe_node.span.file);
    let app_key = app_entry.key;
    let app = app.parse().ok()?;
    Some(Layered { node, app, app_key, recipe: recipe_name, kind, repository, recipe_file })
}

/// What a name refers to, or the error with a suggestion.
fn reference<'t>(what: &str, node: &Node, table: &'t Table, out: &mut Diagnostics) -> Option<&'t tree::Entry> {
    let name = node.text().unwrap_or_default();
    let found = table.get(name);
    if found.is_none() {
        let known = suggest::help(name, &format!("{what}s"), table.keys().map(String::as_str));
        let error = Diagnostic::error(node.span, format!("there is no {what} `{name}`"));
        out.push(error.label("not defined").help(known));
    }
    found
}

/// One environment while it is resolved.
struct Scope<'a> {
    name: &'a str,
    key: Span,
    /// All layers.
    node: &'a Node,
    /// The file that stands for the recipe.
    recipe: Option<usize>,
    raw: &'a raw::Environment,
    out: &'a mut Diagnostics,
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

impl Scope<'_> {
    fn environment(
        &mut self,
        layered: &Layered,
        tables: &Tables,
        secrets: &sealed::Shared,
        templates: &mut Templates<'_>,
    ) -> Option<Environment> {
        let raw = self.raw;
        self.variables();
        let release = self.release(layered.repository.as_deref());
        let shared = self.shared();
        let delivery = self.delivery(layered, &shared, templates);
        let files = self.files(&shared, templates);
        let sealed = self.sealed(secrets, templates);
        let gates = self.gates(layered.kind);
        let targets = self.targets(tables);
        let (units, drains) = self.units(layered.kind);
        let environment = Environment {
            name: self.name.parse().ok()?,
            app: layered.app.clone(),
            recipe: layered.recipe.clone(),
            release: release?,
            targets: targets?,
            repository: layered.repository.clone(),
            delivery: delivery?,
            mutable: raw.mutable.iter().flatten().map(|glob| glob.0.clone()).collect(),
            links_out: raw.links_out.iter().flatten().map(|glob| glob.0.clone()).collect(),
            keep_releases: raw.keep_releases.unwrap_or(5),
            required_env: raw.required_env.iter().flatten().map(|name| name.0.clone()).collect(),
            hooks: self.hooks(layered.kind),
            units,
            drains,
            settle: raw.settle.as_ref().map_or(SETTLE, |time| time.0),
            checks: raw.checks.iter().flatten().map(|check| check.0.clone()).collect(),
            variables: raw.variables.clone(),
            health: self.health(layered.kind),
            watch: self.watch(),
            drift: raw.drift.unwrap_or(DriftPolicy::Report),
            drift_every: raw.drift_every.as_ref().map_or(TEN_MINUTES, |time| time.0),
            on_failure: raw.on_failure.unwrap_or(EnvFailure::Rollback),
            revert_commit: raw.revert_commit.unwrap_or(false),
            frozen: raw.frozen.as_ref().map(|reason| reason.0.clone()),
            promote: self.promote(tables, layered.repository.as_deref()),
            approvals: raw.approvals.unwrap_or(0),
            approvals_for_rollback: raw.approvals_for_rollback,
            not_author: raw.approvers.as_ref().is_some_and(|approvers| approvers.not_author),
            immutable: raw.immutable.unwrap_or(false),
            track: self.track(layered.repository.as_deref()),
            strategy: self.strategy(),
            deadline: raw.deadline.as_ref().map_or(Duration::from_secs(120), |time| time.0),
            unreachable: raw.unreachable.unwrap_or(Unreachable::Block),
            windows: self.windows(),
            emergency: self.emergency(&gates),
            backups: Vec::new(),
            pull: None,
            bounds: Default::default(),
            gates,
            shared,
            files,
            sealed,
        };
        if environment.env_file().is_none() && !environment.required_env.is_empty() {
            let span = self.at(&["required_env"]);
            let error = Diagnostic::error(span, "there is no shared environment file that could hold these variables");
            self.out.push(error.label("looked for nowhere").help("for example: shared_files = [\".env\"]"));
        }
        Some(environment)
    }

    /// The place of a merged value; the environment's own name where there is none.
    fn at(&self, path: &[&str]) -> Span {
        match path.first().and_then(|first| self.node.get(first)) {
            Some(_) => self.node.at(path),
            None => self.key,
        }
    }

    fn shared(&mut self) -> Vec<Shared> {
        let mut shared: Vec<(Shared, Span)> = Vec::new();
        for (index, dir) in self.raw.shared_dirs.iter().flatten().enumerate() {
            let span = self.at(&["shared_dirs", &index.to_string()]);
            shared.push((Shared { path: dir.0.clone(), from: dir.0.clone(), directory: true }, span));
        }
        for (index, file) in self.raw.shared_files.iter().flatten().enumerate() {
            let span = self.at(&["shared_files", &index.to_string()]);
            let (path, from) = match file {
                raw::SharedFile::Same(path) => (&path.0, &path.0),
                raw::SharedFile::Other(file) => (&file.path.0, &file.from.0),
            };
            shared.push((Shared { path: path.clone(), from: from.clone(), directory: false }, span));
        }
        for (this, span) in &shared {
            if this.from.split('/').next() == Some(VERSIONS) {
                let message = format!("`{}` is where soll keeps the versions of rendered files", this.from);
                self.out.push(Diagnostic::error(*span, message).label("taken").help("give it another name in `from`"));
            }
        }
        for (index, (this, span)) in shared.iter().enumerate() {
            for (other_index, (other, _)) in shared.iter().enumerate().filter(|(other, _)| *other != index) {
                let inside = this.path.strip_prefix(&other.path).is_some_and(|rest| rest.starts_with('/'));
                if inside {
                    let message = format!("`{}` lies inside the shared path `{}`", this.path, other.path);
                    let error = Diagnostic::error(*span, message).label("shared already");
                    self.out.push(error.help("a link cannot lead through another link: share one of them"));
                }
                if other_index < index && (this.path == other.path || this.from == other.from) {
                    let message = format!("`{}` and `{}` are the same shared path", other.path, this.path);
                    self.out.push(Diagnostic::error(*span, message).label("the second one").help("keep one of them"));
                }
            }
        }
        shared.into_iter().map(|(shared, _)| shared).collect()
    }

    fn variables(&mut self) {
        for name in self.raw.variables.keys().filter(|name| secrets::speaks_of_secrets(name)) {
            let span = self.node.get("variables").map_or(self.key, |node| node.key(name));
            let message =
                format!("the variable `{name}` looks like a secret, and everyone who reads this repository sees it");
            let help = "keep secrets in the shared environment file (`required_env` checks that they are there), or with the controller";
            self.out.push(Diagnostic::warning(span, message).label("is this a secret?").help(help));
        }
    }

    /// In URLs an unknown `{name}` is a mistake; in commands it may be the shell's.
    fn template(&mut self, text: &str, span: Span, extra: &[&str]) {
        let variables = self.raw.variables.keys().map(String::as_str);
        let known: Vec<&str> = BUILT_IN.into_iter().chain(extra.iter().copied()).chain(variables).collect();
        for name in template::names(text).into_iter().filter(|name| !known.contains(name)) {
            let braced = |name: &str| format!("{{{name}}}");
            if Some(span.file) == self.recipe {
                let message = format!("the recipe of `{}` wants the variable `{name}`", self.name);
                let help = format!("for example: variables = {{ {name} = \"…\" }}");
                self.out.push(Diagnostic::error(self.key, message).label("needs a variable").help(help));
                continue;
            }
            let message = format!("`{{{name}}}` is not known in the environment `{}`", self.name);
            let help = match suggest::closest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{}`?", braced(near)),
                None => format!(
                    "add it to `variables`; known: {}",
                    known.iter().map(|name| braced(name)).collect::<Vec<_>>().join(" ")
                ),
            };
            self.out.push(Diagnostic::error(span, message).label("this text").help(help));
        }
    }

    /// A command of a recipe has no braces of its own, so there an unknown name is a missing variable.
    fn command(&mut self, text: &str, span: Span) {
        if Some(span.file) == self.recipe {
            self.template(text, span, &["cache"]);
        }
    }

    fn release(&mut self, repository: Option<&str>) -> Option<super::ReleaseRef> {
        let Some(text) = &self.raw.release else {
            if self.raw.track.is_some() {
                return Some(super::ReleaseRef::Awaited);
            }
            let message = format!("the environment `{}` names no release", self.name);
            let help = "release = \"<full commit id>\", or track = { branch = \"main\" } to follow a branch";
            self.out.push(Diagnostic::error(self.key, message).label("needs `release`").help(help));
            return None;
        };
        let parsed = release::parse(&text.0);
        let span = self.at(&["release"]);
        if let super::ReleaseRef::Tag(tag) = &parsed {
            if self.raw.immutable == Some(true) {
                let message = format!("`{tag}` is a tag, and `{}` takes only what can never change", self.name);
                let help = format!(
                    "a tag can be moved to another commit (B4): write the full id, `git rev-parse {tag}^{{commit}}`"
                );
                self.out.push(Diagnostic::error(span, message).label("not a full commit id").help(help));
            } else if release::MOVING.contains(&tag.as_str()) {
                let message = format!("`{tag}` sounds like a tag that moves");
                let help = "what runs then depends on when it is looked up; a full commit id never does";
                self.out.push(Diagnostic::warning(span, message).label("a moving tag").help(help));
            }
            if repository.is_none() {
                let message = format!("`{tag}` is a tag, and nothing says in which repository");
                let help = "add `repository = \"…\"` to the application, or write the full commit id";
                self.out.push(Diagnostic::error(span, message).label("cannot be looked up").help(help));
            }
        }
        Some(parsed)
    }
}
