//! How releases come to be: `kind`, and the table that belongs to it.

use super::super::diagnose::Diagnostic;
use super::super::fields::BundleUrl;
use super::super::forge::{ChecksFrom, Forge, Home};
use super::super::raw::Kind;
use super::super::{Bundle, Checkout, Delivery, FetchFrom, Shared};
use super::{Layered, Scope, Templates};

impl Scope<'_> {
    /// Where the releases of this environment come from.
    pub(super) fn delivery(
        &mut self,
        layered: &Layered,
        shared: &[Shared],
        templates: &mut Templates<'_>,
    ) -> Option<Delivery> {
        if layered.kind != Kind::Compose {
            self.belongs_to("compose", "compose");
        }
        match layered.kind {
            Kind::Bundle => {
                self.belongs_to("checkout", "git");
                self.bundle(layered).map(Delivery::Bundle)
            }
            Kind::Git => {
                self.belongs_to("bundle", "bundle");
                self.checkout(layered).map(Delivery::Git)
            }
            Kind::Compose => {
                self.belongs_to("bundle", "bundle");
                self.compose(layered, shared, templates).map(|files| Delivery::Compose(Box::new(files)))
            }
        }
    }

    /// A table of another kind says what nobody would do.
    fn belongs_to(&mut self, table: &str, kind: &str) {
        if self.node.get(table).is_none() {
            return;
        }
        let message = format!("`{table}` means nothing here: it belongs to `kind = \"{kind}\"`");
        let error = Diagnostic::error(self.at(&[table]), message).label("no effect");
        self.out.push(error.help(format!("remove it, or give the application `kind = \"{kind}\"`")));
    }

    /// What of a commit becomes the release.
    pub(super) fn checkout(&mut self, layered: &Layered) -> Option<Checkout> {
        let Some(repository) = layered.repository.clone() else {
            let message = format!("the application `{}` does not say where its repository is", layered.app);
            let help = "for example: repository = \"https://git.example.com/acme/api.git\"";
            self.out.push(Diagnostic::error(layered.app_key, message).label("needs `repository`").help(help));
            return None;
        };
        let raw = self.raw.checkout.as_ref();
        let directory = raw.and_then(|raw| raw.directory.as_ref()).map(|path| path.0.trim_end_matches('/').to_owned());
        let checks = raw.and_then(|raw| raw.checks.as_ref()).map(|url| url.0.clone()).unwrap_or_default();
        let checks_from = self.checks_from(&repository);
        if !checks.is_empty() && checks_from.is_some() {
            let message = "two places say how the checks of a commit came out";
            let error = Diagnostic::error(self.at(&["checkout", "checks"]), message).label("and `checks_from` as well");
            self.out.push(error.help("keep one of them"));
        }
        if !checks.is_empty() {
            self.template(&checks, self.at(&["checkout", "checks"]), &[]);
        } else if checks_from.is_none() && self.raw.checks.iter().flatten().next().is_some() {
            let message = "nothing says where the results of these checks are recorded";
            let help = "ask the forge: checkout = { checks_from = { token = \"FORGE_TOKEN\" } }; or name the place of a record: \
                        checkout = { checks = \"https://ci.example.com/checks/{sha}.json\" }";
            self.out.push(Diagnostic::error(self.at(&["checks"]), message).label("recorded nowhere").help(help));
        }
        let fetch_from = raw.and_then(|raw| raw.fetch_from).unwrap_or_default();
        if fetch_from == FetchFrom::Host && !repository.contains(':') && !repository.starts_with('/') {
            let message = format!("the hosts cannot fetch from `{repository}`: it is a path on the controller");
            let help = "give `repository` as an address, or as an absolute path where it lies on each host";
            let place = self.at(&["checkout", "fetch_from"]);
            self.out.push(Diagnostic::error(place, message).label("from a relative path").help(help));
        }
        let submodules = raw.and_then(|raw| raw.submodules).unwrap_or_default();
        Some(Checkout {
            repository,
            directory: directory.unwrap_or_default(),
            submodules,
            fetch_from,
            checks,
            checks_from,
        })
    }

    /// The forge to ask, from what is said and from the address of the repository.
    fn checks_from(&mut self, repository: &str) -> Option<ChecksFrom> {
        let raw = self.raw.checkout.as_ref()?.checks_from.as_ref()?;
        let place = self.at(&["checkout", "checks_from"]);
        let home = Home::of(repository);
        let known = home.as_ref().and_then(|home| Forge::of_host(&home.host));
        let Some(forge) = raw.forge.or(known) else {
            let error = Diagnostic::error(place, "the address of the repository does not say which forge has it");
            let help = "forge = \"github\", \"gitlab\" or \"gitea\" (Forgejo is a Gitea here)";
            self.out.push(error.label("needs `forge`").help(help));
            return None;
        };
        let api = raw.url.as_ref().map(|url| url.0.trim_end_matches('/').to_owned());
        let api = api.or_else(|| home.as_ref().map(|home| home.api(forge)));
        let project = raw.project.as_ref().map(|project| project.0.trim_matches('/').to_owned());
        let project = project.or_else(|| home.map(|home| home.project));
        let (Some(api), Some(project)) = (api, project) else {
            let error = Diagnostic::error(place, "the repository is no address of a forge");
            let help = "say where it is: checks_from = { forge = \"gitlab\", url = \"https://git.example.com/api/v4\", project = \"acme/api\" }";
            self.out.push(error.label("needs `url` and `project`").help(help));
            return None;
        };
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && part != ".."
        };
        if !project.contains('/') || !project.split('/').all(is_name) {
            let error = Diagnostic::error(place, format!("`{project}` is not how a forge calls a repository"));
            self.out.push(error.label("this project").help("owner and name: project = \"acme/api\""));
            return None;
        }
        if api.contains(['{', '?', '#']) || api.split_once("://").is_some_and(|(_, rest)| rest.contains('@')) {
            let error =
                Diagnostic::error(self.at(&["checkout", "checks_from", "url"]), "this is not where an API begins");
            let help = "an address without a login, a query or a template: \"https://git.example.com/api/v4\"; a token has a key of its own";
            self.out.push(error.label("this address").help(help));
            return None;
        }
        Some(ChecksFrom { forge, api, project, token: raw.token.as_ref().map(|token| token.0.clone()) })
    }

    fn bundle(&mut self, layered: &Layered) -> Option<Bundle> {
        let Some(bundle) = &self.raw.bundle else {
            let message = format!("the application `{}` does not say where its bundles are", layered.app);
            let help =
                "for example: bundle = { url = \"https://artifacts.example.com/api/deployment-bundle-{sha}.tar.gz\" }";
            self.out.push(Diagnostic::error(layered.app_key, message).label("needs `bundle`").help(help));
            return None;
        };
        let or = |field: &Option<BundleUrl>, default: &str| {
            field.as_ref().map_or_else(|| default.to_owned(), |url| url.0.clone())
        };
        let made = Bundle {
            url: bundle.url.0.clone(),
            sha256: or(&bundle.sha256, "{url}.sha256"),
            checks: or(&bundle.checks, "{url}.checks.json"),
            fetch_from: bundle.fetch_from.unwrap_or_default(),
            strip: bundle.strip.unwrap_or_default(),
        };
        if made.fetch_from == FetchFrom::Host && !made.url.contains("://") && !made.url.starts_with(['/', '{']) {
            let message = format!("the hosts cannot fetch the bundle `{}`: it is a path on the controller", made.url);
            let help = "write an https:// address, or an absolute path where the file lies on each host";
            let error = Diagnostic::error(self.at(&["bundle", "url"]), message).label("relative to the state file");
            self.out.push(error.help(help));
        }
        self.template(&made.url, self.at(&["bundle", "url"]), &[]);
        self.template(&made.sha256, self.at(&["bundle", "sha256"]), &["url"]);
        self.template(&made.checks, self.at(&["bundle", "checks"]), &["url"]);
        Some(made)
    }
}
