//! Projects of Docker Compose: what of them can be wrong before a host has looked at their files, and commands that run inside
//! a service.

use std::collections::{BTreeMap, BTreeSet};

use super::super::diagnose::{Diagnostic, Diagnostics, SourceFile};
use super::super::fields::ServiceName;
use super::super::load::Tables;
use super::super::raw::{self, Kind};
use super::super::{Address, ComposeFiles, Environment, FilesFrom, Hook, Phase, Registry, ReleaseRef, Shared, suggest};
use super::{Layered, Resolved, Scope, Span, TEN_MINUTES, Templates};
use crate::model::compose::{Transfer, Update};
use crate::model::shown::shell_word;
use crate::model::template::{fill, names};

/// The compose file where none is named.
const FILE: &str = "compose.yml";

impl Scope<'_> {
    pub(super) fn compose(
        &mut self,
        layered: &Layered,
        shared: &[Shared],
        templates: &mut Templates<'_>,
    ) -> Option<ComposeFiles> {
        let default = raw::Compose::default();
        let raw = self.raw.compose.as_ref().unwrap_or(&default);
        let project = raw.project.as_ref().map(|project| project.0.clone());
        if project.is_none() {
            let help = "for example: [apps.NAME.compose] project = \"platform\"";
            self.needs(layered, "does not say which `project` its services are", "needs `project`", help);
        }
        let from = self.files_from(layered, raw, templates);
        let (project, from) = (project?, from?);
        let files = raw
            .files
            .as_ref()
            .map_or_else(|| vec![FILE.to_owned()], |files| files.iter().map(|file| file.0.clone()).collect());
        let env_file = raw.env_file.as_ref().map(|file| file.0.clone());
        // What a commit of the application has, its host says when it resolves the project.
        if let FilesFrom::Directory { path, .. } = &from {
            for (index, file) in files.iter().enumerate() {
                let span = match raw.files {
                    Some(_) => self.at(&["compose", "files", &index.to_string()]),
                    None => self.at(&["compose", "directory"]),
                };
                self.must_be_there(path, file, span, templates);
            }
            if let Some(file) = env_file.as_ref().filter(|file| !shared.iter().any(|shared| shared.path == **file)) {
                self.must_be_there(path, file, self.at(&["compose", "env_file"]), templates);
            }
        }
        self.project(&project);
        let images: BTreeMap<String, String> = raw
            .images
            .iter()
            .filter_map(|(service, image)| Some((service.clone(), self.image(service, &image.0)?)))
            .collect();
        let once = raw.once.iter().flatten().map(|service| service.0.clone()).collect::<Vec<_>>();
        for (index, service) in once.iter().enumerate() {
            let span = self.at(&["compose", "once", &index.to_string()]);
            if once[..index].contains(service) {
                let error = Diagnostic::error(span, format!("the service `{service}` is run twice"));
                self.out.push(error.label("the second time").help("keep one of them"));
            }
            for (table, has) in
                [("scale", raw.scale.contains_key(service)), ("update", raw.update.contains_key(service))]
            {
                if has {
                    let message = format!("`{service}` ends, and `{table}` is for services that stay up");
                    let span = self.at(&["compose", table, service]);
                    self.out.push(
                        Diagnostic::error(span, message).label("no effect").help("remove it here, or from `once`"),
                    );
                }
            }
        }
        if matches!(from, FilesFrom::Directory { .. }) && self.raw.checks.iter().flatten().next().is_some() {
            let error =
                Diagnostic::error(self.at(&["checks"]), "nothing says where the results of these checks are recorded");
            let help = "a directory of the state repository has no build beside which they could lie: remove them";
            self.out.push(error.label("recorded nowhere").help(help));
        }
        let registry = |(host, registry): (&String, &raw::Registry)| {
            (host.clone(), Registry { user: registry.user.0.clone(), password: registry.password.0.clone() })
        };
        let update = |(service, way): (&String, &raw::Update)| match way {
            raw::Update::Recreate => None,
            raw::Update::StartFirst => Some((service.clone(), Update::StartFirst)),
        };
        Some(ComposeFiles {
            from,
            files,
            project,
            env_file,
            profiles: raw.profiles.iter().flatten().map(|profile| profile.0.clone()).collect(),
            images,
            registries: raw.registries.iter().map(registry).collect(),
            scale: raw.scale.iter().map(|(service, count)| (service.clone(), count.0)).collect(),
            once,
            update: raw.update.iter().filter_map(update).collect(),
            transfer: match raw.transfer {
                None | Some(raw::Transfer::Pull) => Transfer::Pull,
                Some(raw::Transfer::Push) => Transfer::Push,
            },
            replace_volumes: raw.replace_volumes.iter().flatten().map(|service| service.0.clone()).collect(),
        })
    }

    fn needs(&mut self, layered: &Layered, what: &str, label: &str, help: &str) {
        let message = format!("the application `{}` {what}", layered.app);
        self.out.push(Diagnostic::error(layered.app_key, message).label(label).help(help));
    }

    /// Where the files of the project are: where `directory` says, or in the commit that `checkout` takes.
    fn files_from(
        &mut self,
        layered: &Layered,
        raw: &raw::Compose,
        templates: &mut Templates<'_>,
    ) -> Option<FilesFrom> {
        let of_commit = self.node.get("checkout").is_some();
        if raw.directory.is_some() && of_commit {
            let message = "two places say where the files of the project are";
            let error = Diagnostic::error(self.at(&["compose", "directory"]), message).label("and `checkout` as well");
            let help = "keep `directory` where they lie beside the state file, and `checkout` where they lie in the repository of the \
                        application (its `directory` says where in it)";
            self.out.push(error.help(help));
        }
        match (&raw.directory, of_commit) {
            (Some(directory), _) => {
                let (path, tree) = self.tree(&directory.0, templates)?;
                Some(FilesFrom::Directory { path, tree })
            }
            (None, true) => self.checkout(layered).map(FilesFrom::Commit),
            (None, false) => {
                let help = "where they lie beside the state file: [apps.NAME.compose] directory = \"platform\"; where they lie in \
                            the repository of the application: checkout = { directory = \"deploy\" } in [apps.NAME]";
                let what = "does not say in which `directory` the files of its project are";
                self.needs(layered, what, "needs `directory` or `checkout`", help);
                None
            }
        }
    }

    /// The path of the project's directory in the state repository, and the id of what is in it.
    fn tree(&mut self, written: &str, templates: &Templates<'_>) -> Option<(String, String)> {
        let span = self.at(&["compose", "directory"]);
        let by = self.out.place(span).file;
        let written = written.trim_end_matches('/');
        let path = by.rsplit_once('/').map_or_else(|| written.to_owned(), |(folder, _)| format!("{folder}/{written}"));
        let why = match (templates.tree)(&path) {
            Ok(Some(tree)) => return Some((path, tree)),
            Ok(None) => "there is no such directory".to_owned(),
            Err(why) => why,
        };
        let error = Diagnostic::error(span, format!("the directory `{path}` of the project cannot be read: {why}"));
        let help = "it is relative to the file that names it; is it committed?";
        self.out.push(error.label("named here").help(help));
        None
    }

    fn must_be_there(&mut self, directory: &str, file: &str, span: Span, templates: &Templates<'_>) {
        let path = format!("{directory}/{file}");
        let why = match (templates.read)(&globset::escape(&path)) {
            Ok(found) => match found.into_iter().find(|found| found.path == path) {
                Some(SourceFile { unread: None, .. }) => return,
                Some(SourceFile { unread: Some(why), .. }) => why,
                None => "there is no such file".to_owned(),
            },
            Err(why) => why,
        };
        let error = Diagnostic::error(span, format!("`{path}` cannot be read: {why}"));
        self.out.push(error.label("named here").help("it is relative to `directory`; is it committed?"));
    }

    /// Part of the names of containers, networks and volumes: what made them must be found again.
    fn project(&mut self, written: &str) {
        let span = self.at(&["compose", "project"]);
        if self.only_of_the_environment(written, span, "the project", &[]) {
            return;
        }
        let name = fill(written, &self.values());
        let good = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        if !good {
            let error = Diagnostic::error(span, format!("`{name}` is not the name of a project"));
            let help = "small letters, digits, `-` and `_`, a letter or a digit first";
            self.out.push(error.label("this name").help(help));
        }
    }

    /// An image that is always the same for a commit (B4), with `{tag}` filled.
    fn image(&mut self, service: &str, written: &str) -> Option<String> {
        let span = self.at(&["compose", "images", service]);
        if self.only_of_the_environment(written, span, "an image", &["sha", "sha8", "tag"]) {
            return None;
        }
        let tag = self.raw.release.as_ref().map(|release| super::release::parse(&release.0));
        let named = names(written);
        let mut image = written.to_owned();
        if named.contains(&"tag") {
            let Some(ReleaseRef::Tag(tag)) = tag else {
                let error = Diagnostic::error(span, "`{tag}` is the tag of the release, and `release` names a commit");
                self.out.push(error.label("this image").help("write {sha} or {sha8}, or release a tag"));
                return None;
            };
            image = fill(written, &[("tag".to_owned(), tag)].into());
        }
        let filled = fill(&image, &self.values());
        let digest = filled.rsplit_once("@sha256:").map(|(_, digest)| digest);
        let is_digest =
            digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_digest && !["sha", "sha8", "tag"].iter().any(|name| named.contains(name)) {
            let error =
                Diagnostic::error(span, format!("the image of `{service}` may be another one at the same commit"));
            let help = "name the commit in it, \"…/api:{sha}\", or end it with its digest, \"…/api@sha256:…\"; an image that no \
                        release changes stands in the compose file, and is pinned where it is pulled first";
            self.out.push(error.label("does not change with the release").help(help));
        }
        if filled.contains(char::is_whitespace) || filled.starts_with(['-', '/', ':']) {
            let error = Diagnostic::error(span, format!("`{filled}` is not the reference of an image"));
            self.out.push(error.label("this image").help("for example: \"ghcr.io/acme/platform/api:{sha}\""));
        }
        Some(image)
    }

    /// What may stand in a template of a project. Nothing of a release or a host: it would be another service with each.
    /// Whether there was something else, which is said.
    fn only_of_the_environment(&mut self, text: &str, span: Span, what: &str, extra: &[&str]) -> bool {
        let variables: Vec<String> = self.raw.variables.keys().cloned().collect();
        let known: Vec<&str> =
            extra.iter().copied().chain(["env"]).chain(variables.iter().map(String::as_str)).collect();
        let unknown: Vec<&str> = names(text).into_iter().filter(|name| !known.contains(name)).collect();
        for name in &unknown {
            let error = Diagnostic::error(span, format!("`{{{name}}}` is not known in {what} of `{}`", self.name));
            let braced: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
            let help = match suggest::closest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => format!("known: {}", braced.join(" ")),
            };
            self.out.push(error.label("this text").help(help));
        }
        !unknown.is_empty()
    }

    fn values(&self) -> crate::model::template::Values {
        let mut values = self.raw.variables.clone();
        values.insert("env".to_owned(), self.name.to_owned());
        values
    }

    /// The service that a command names, where it may.
    pub(super) fn service<'a>(&mut self, kind: Kind, at: &[&str], named: Option<&'a ServiceName>) -> Option<&'a str> {
        let named = named?;
        if kind != Kind::Compose {
            let error =
                Diagnostic::error(self.at(at), "`service` means nothing here: it belongs to `kind = \"compose\"`");
            self.out.push(error.label("no effect").help("remove it, or give the application `kind = \"compose\"`"));
        }
        (kind == Kind::Compose).then_some(&named.0)
    }

    /// The hooks that run the services which must end. One that somebody wrote under the same name stands in its place.
    pub(super) fn once(&self, kind: Kind, taken: &BTreeSet<String>) -> Vec<Hook> {
        let of = self.raw.compose.as_ref().filter(|_| kind == Kind::Compose).and_then(|compose| compose.once.as_ref());
        let services = of.into_iter().flatten().filter(|service| !taken.contains(&service.0));
        let hook = |service: &ServiceName| Hook {
            name: service.0.clone(),
            phase: Phase::Migrate,
            run: format!("$SOLL_COMPOSE run --rm -T {}", service.0),
            on_failure: Phase::Migrate.default_on_failure(),
            timeout: TEN_MINUTES,
            reload: false,
        };
        services.map(hook).collect()
    }
}

/// What commands inside a container know of the release.
const KNOWN: &str = r#"-e SOLL_ENV="$SOLL_ENV" -e SOLL_SHA="$SOLL_SHA" -e SOLL_RELEASE="$SOLL_RELEASE""#;

/// A command inside a container that is made for it, of a release that does not run yet. Nothing else is started for it.
pub(super) fn beside(service: &str, command: &str) -> String {
    format!("$SOLL_COMPOSE run --rm -T --no-deps {KNOWN} --entrypoint sh {service} -c {}", shell_word(command))
}

/// A command of this phase inside a service.
pub(super) fn within(service: &str, phase: Phase, command: &str) -> String {
    match phase {
        Phase::Prepare | Phase::PreSwitch => beside(service, command),
        // Its dependencies have to be there.
        Phase::Migrate => {
            format!("$SOLL_COMPOSE run --rm -T {KNOWN} --entrypoint sh {service} -c {}", shell_word(command))
        }
        _ => format!("$SOLL_COMPOSE exec -T {KNOWN} {service} sh -c {}", shell_word(command)),
    }
}

/// Two environments with one project on one machine would take each other's containers for their own.
pub(super) fn collisions(tables: &Tables, resolved: &[Resolved], out: &mut Diagnostics) {
    let mut seen: BTreeMap<(String, String), &Resolved> = BTreeMap::new();
    for this in resolved {
        let Some(files) = this.environment.delivery.compose() else { continue };
        let project = fill(&files.project, &this.environment.bundle_values());
        for machine in machines(&this.environment) {
            let Some(other) = seen.get(&(machine.clone(), project.clone())) else {
                seen.insert((machine, project.clone()), this);
                continue;
            };
            let (one, two) = (&other.environment.name, &this.environment.name);
            let entry = tables.environments.get(two.as_str());
            let span = entry.map_or(this.key, |entry| {
                let own = entry.node.get("compose").and_then(|compose| compose.get("project"));
                own.map_or(entry.key, |project| project.span)
            });
            let message = format!("`{one}` and `{two}` are one project `{project}` on {machine}");
            let help = "each needs a project of its own, for example with `{env}` in it";
            out.push(Diagnostic::error(span, message).label("the same project").help(help).beside(other.key));
            break;
        }
    }
}

fn machines(env: &Environment) -> BTreeSet<String> {
    let of = |address: &Address| match address {
        Address::Local => "this machine".to_owned(),
        Address::Remote(address) => address.to_ascii_lowercase(),
    };
    env.targets.iter().map(|target| of(&target.address)).collect()
}
