//! `soll init`: a first state file that is valid and says what to change.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use super::global::Global;
use super::kind::Kind;
use super::{CliError, Result, out};
use crate::model::desired::diagnose::SourceFile;
use crate::model::desired::load::load;
use crate::model::desired::{raw, recipe};
use crate::model::ids::{EnvName, HostName};
use crate::run::controller::ControllerError;

/// What stands for a commit that nobody has named yet.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// Write a first state file.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll init                                   a file to be edited
  soll init --recipe laravel --environment production --host web1.example.com
                                              for a server over SSH: its address
  soll init --repository https://git.example.com/acme/shop.git
                                              releases are commits of it")]
pub struct Init {
    /// Where
    #[arg(default_value = "desired-state.toml")]
    path: PathBuf,
    /// The recipe of the first app
    #[arg(long, default_value = "generic")]
    recipe: String,
    #[command(flatten)]
    kind: Kind,
    /// The first environment
    #[arg(long, value_name = "NAME", default_value = "staging")]
    environment: EnvName,
    /// Who logs in on the server that --host names [default: what the SSH configuration says]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The root of the environment, with `current`, `releases` and `shared`
    #[arg(long, value_name = "DIR", default_value = "/srv/app")]
    root: String,
    /// The repository whose commits are the releases: the kind is git
    #[arg(long, value_name = "URL|PATH")]
    repository: Option<String>,
    /// The release: a full SHA, or a tag
    #[arg(long, default_value = NO_COMMIT, hide_default_value = true)]
    release: String,
    /// The address that answers where a release is healthy
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/health")]
    health: String,
}

impl Init {
    /// Writes it; a file that is there is left alone.
    pub fn run(self, global: &Global) -> Result {
        let (kind, preset) = self.preset()?;
        let text = self.text(kind, preset, global.host.as_ref());
        let at = self.path.display();
        // What was said may be wrong: then nothing is written.
        let beside = |pattern: &str| {
            let is_project = kind == raw::Kind::Compose && pattern.ends_with("app/compose.yml");
            let file = || SourceFile::of(pattern, Ok(include_str!("init-compose.yml").to_owned()));
            Ok(is_project.then(file).into_iter().collect())
        };
        let found = load(SourceFile::of(at.to_string(), Ok(text.clone())), &beside);
        found.map_err(|found| CliError::from(ControllerError::Invalid(Box::new(found))).exit(64))?;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&self.path).map_err(|error| {
            match error.kind() {
                ErrorKind::AlreadyExists => CliError::plain(format!("{at} is there already: it is left as it is")),
                _ => CliError::plain(format!("cannot write {at}: {error}")),
            }
        })?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        out::text(&format!("wrote {at}\n"));
        if kind == raw::Kind::Compose {
            self.project()?;
        }
        out::text(&format!(
            "  next: edit it, then: {}soll validate, git commit, soll plan, soll apply\n",
            self.begin()
        ));
        Ok(0)
    }

    /// The kind of the application, and the text of its recipe.
    fn preset(&self) -> Result<(raw::Kind, &'static str)> {
        let git = self.repository.is_some();
        let kind = match self.kind.get(&self.recipe) {
            _ if git && !self.kind.is_said() => raw::Kind::Git,
            kind => kind,
        };
        if git && kind != raw::Kind::Git {
            let message = "--repository names where commits come from: it belongs to applications of --kind git";
            return Err(CliError::usage(message.to_owned()));
        }
        match recipe::text(&self.recipe, kind) {
            Some(preset) => Ok((kind, preset)),
            None => {
                let known: Vec<_> = recipe::names().filter(|name| recipe::text(name, kind).is_some()).collect();
                let (there, recipe) = (known.join(", "), &self.recipe);
                let of = Kind::word(kind);
                Err(CliError::usage(match recipe::names().any(|name| name == recipe) {
                    true => format!("the recipe `{recipe}` is not for applications of kind {of}; for those: {there}"),
                    false => format!("there is no recipe `{recipe}`; for applications of kind {of}: {there}"),
                }))
            }
        }
    }

    /// The file, with what was said in its places.
    fn text(&self, kind: raw::Kind, preset: &str, host: Option<&HostName>) -> String {
        let text = match kind {
            raw::Kind::Bundle => include_str!("init.toml"),
            raw::Kind::Git => include_str!("init-git.toml"),
            raw::Kind::Compose => include_str!("init-compose.toml"),
        };
        let wanted: Vec<_> = recipe::wants(preset).into_iter().map(|name| format!("{name} = \"app\"")).collect();
        let variables = match wanted.is_empty() {
            true => String::new(),
            false => format!("# What the recipe asks for.\nvariables = {{ {} }}\n", wanted.join(", ")),
        };
        let (host, hosts) = host.map_or_else(Default::default, |address| self.host(address));
        let repository = self.repository.as_deref().unwrap_or("https://git.example.com/acme/app.git");
        [
            ("@RECIPE@", self.recipe.clone()),
            ("@VARIABLES@", variables),
            ("@REPOSITORY@", quoted(repository)),
            ("@HOSTS@", hosts),
            ("@HOST@", host),
            ("@ENVIRONMENT@", key(self.environment.as_str())),
            ("@RELEASE@", quoted(&self.release)),
            ("@ROOT@", quoted(&self.root)),
            ("@HEALTH@", quoted(&self.health)),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (place, said)| text.replace(place, &said))
    }

    /// The table of the server, and the line of the environment that names it.
    fn host(&self, address: &HostName) -> (String, String) {
        let address = address.as_str();
        let short = address.split('.').next().unwrap_or(address);
        // An address of digits is no name.
        let name = if short.bytes().all(|b| b.is_ascii_digit()) { "web1" } else { short };
        let user = self.user.as_ref().map(|user| format!("user = {}\n", quoted(user))).unwrap_or_default();
        (format!("[hosts.{name}]\naddress = {}\n{user}\n", quoted(address)), format!("hosts = [{}]\n", quoted(name)))
    }

    /// What comes before the first commit, where no repository is around the file yet.
    fn begin(&self) -> &'static str {
        let dir = std::path::absolute(&self.path).unwrap_or_default();
        match dir.ancestors().skip(1).any(|dir| dir.join(".git").exists()) {
            true => "",
            false => "git init -b main, ",
        }
    }

    /// The project that the state file names, beside it.
    fn project(&self) -> Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("")).join("app");
        let file = dir.join("compose.yml");
        let failed = |error| CliError::plain(format!("cannot write {}: {error}", file.display()));
        if file.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&dir).map_err(failed)?;
        std::fs::write(&file, include_str!("init-compose.yml")).map_err(failed)?;
        out::text(&format!("wrote {}\n", file.display()));
        Ok(())
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A part of the name of a table: a point in it would begin another table.
fn key(name: &str) -> String {
    if name.contains('.') { quoted(name) } else { name.to_owned() }
}
