//! `release`, `promote`, `freeze`, `unfreeze`, `unpin`: commits to the state file, everything else in it kept byte for byte, one
//! commit for all environments that were named. What is committed is carried out by the daemon, or by the next `apply`.

use std::sync::Arc;

use clap::Args;

use super::chosen::{Chosen, Narrowed, must_be_said};
use super::global::{Global, Output, blocking};
use super::{CliError, Result, out, shortened};
use crate::model::ids::{EnvName, Sha};
use crate::model::observed::EnvObserved;
use crate::model::shown::counted;
use crate::plan::pick::promoted;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::choice::{Choice, Named};
use crate::run::commit::{Change, Line, Place, commit_all, known};
use crate::run::controller::{Controller, Snapshot};
use crate::run::look::observe::{Look, Scan, observe};

/// Commit a release.
#[derive(Args)]
#[command(
    override_usage = "soll release [OPTIONS] [ENV]... <RELEASE>",
    after_help = "\
Examples:
  soll release staging v1.4.0                 a tag, or a full commit id
  soll release 'customer-*' v1.4.0 -m Hotfix"
)]
pub struct Release {
    /// The environments, by name or glob ('customer-*'), and last the release: a full SHA, a tag, or the first digits of a
    /// commit that an environment wants or that was deployed here
    #[arg(value_name = "ENV… RELEASE", required = true)]
    arguments: Vec<String>,
    /// For the commit message
    #[arg(long, short)]
    message: Option<String>,
    /// With --template alone the line of the template is edited
    #[command(flatten)]
    narrowed: Narrowed,
}

/// Commit what one environment was released to, and has confirmed, as the release of others.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll promote staging production")]
pub struct Promote {
    from: EnvName,
    /// To these environments, by name or glob ('customer-*')
    to: Vec<Named>,
    /// What it has confirmed and runs, where it is to run something else by now
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    narrowed: Narrowed,
}

/// Commit a freeze.
#[derive(Args)]
#[command(after_help = "\
Examples:
  soll freeze production --reason Holidays
  soll unfreeze production")]
pub struct Freeze {
    #[command(flatten)]
    chosen: Chosen,
    #[arg(long)]
    reason: String,
}

/// Commit its end.
#[derive(Args)]
pub struct Unfreeze {
    #[command(flatten)]
    chosen: Chosen,
}

/// Commit that environments follow their template again.
#[derive(Args)]
pub struct Unpin {
    #[command(flatten)]
    chosen: Chosen,
}

impl Release {
    /// Commits.
    pub async fn run(self, global: &Global) -> Result {
        let Release { mut arguments, message, narrowed } = self;
        let release = arguments.pop().unwrap_or_default();
        let names = arguments.iter().map(|text| text.parse().map_err(CliError::usage));
        let choice = narrowed.of(names.collect::<Result<_>>()?)?;
        if choice.is_empty() {
            return Err(CliError::usage(format!("only `{release}` was said: which release of which environments?"))
                .hint("soll release ENV… RELEASE, or --app NAME, --template NAME or --all in place of ENV"));
        }
        let controller = global.controller()?;
        let release = blocking(move || {
            controller.repo.refresh()?;
            shortened::whole(&release, &controller)
        })
        .await?;
        let target = Target::releases(global, &choice).await?;
        let subject = format!("Release {} to {}", short(&release), target.told());
        let lines = target.lines(&Change::Release(release));
        Commit::of(target, lines, subject).with(message).run(global).await
    }
}

impl Promote {
    /// Looks at what is desired and confirmed there, and commits it here.
    pub async fn run(self, global: &Global) -> Result {
        let Promote { from, to, running, narrowed } = self;
        let choice = must_be_said(narrowed.of(to)?)?;
        let (controller, snapshot) = global.newest(&[]).await?;
        let mut names = choice.of(&snapshot)?;
        if choice.only().is_none() {
            // A glob that meets the source as well means the others.
            names.retain(|name| *name != from);
        }
        let seen = seen(&controller, &snapshot, &from).await?;
        let source = known(&snapshot, &from)?;
        let sha = promoted(source, &seen, &choice.to_string(), running).map_err(|unclear| {
            CliError::plain(unclear.message).hint(unclear.fix).exit(if unclear.unseen { 6 } else { 4 })
        })?;
        let target = match choice.whole_template() {
            Some(template) => Target::template(&snapshot, template),
            None => Target::Environments(names),
        };
        let subject = format!("Promote {} from {from} to {}", sha.short(), target.told());
        let lines = target.lines(&Change::Release(sha.to_string()));
        Commit::of(target, lines, subject).run(global).await
    }
}

impl Freeze {
    /// Commits: a line of each environment, so that each can be unfrozen alone.
    pub async fn run(self, global: &Global) -> Result {
        let Freeze { chosen, reason } = self;
        if reason.trim().is_empty() {
            return Err(CliError::usage("a freeze needs a reason that people understand"));
        }
        let target = Target::environments(global, &must_be_said(chosen.choice()?)?).await?;
        let subject = format!("Freeze {}: {reason}", target.told());
        let lines = target.lines(&Change::Set { key: "frozen", value: reason });
        Commit::of(target, lines, subject).run(global).await
    }
}

impl Unfreeze {
    /// Commits.
    pub async fn run(self, global: &Global) -> Result {
        let choice = must_be_said(self.chosen.choice()?)?;
        let (_, snapshot) = global.newest(&[]).await?;
        let names = choice.of(&snapshot)?;
        let thaw = Change::Remove { key: "frozen" };
        let mut lines = Vec::new();
        let whole = choice.whole_template().filter(|name| snapshot.written.templates[*name].frozen.is_some());
        lines.extend(whole.map(|name| Line { place: Place::Template(name.to_owned()), change: thaw.clone() }));
        for name in &names {
            if whole.is_none()
                && let Some((template, own)) = snapshot.written.template_of(name)
                && own.frozen.is_some()
            {
                return Err(CliError::plain(format!(
                    "{name} is frozen by its template {template}, with all that extend it"
                ))
                .hint(format!("soll unfreeze --template {template}")));
            }
            lines.push(Line::of(name.clone(), thaw.clone()));
        }
        let target = Target::Environments(names);
        let subject = format!("Unfreeze {}", target.told());
        Commit::of(target, lines, subject).run(global).await
    }
}

impl Unpin {
    /// Commits.
    pub async fn run(self, global: &Global) -> Result {
        let choice = must_be_said(self.chosen.choice()?)?;
        let (_, snapshot) = global.newest(&[]).await?;
        let names = choice.of(&snapshot)?;
        let pins: Vec<_> = names.iter().filter_map(|name| Some((name.clone(), snapshot.written.pin(name)?))).collect();
        if let (Some(name), []) = (choice.only(), &*pins) {
            let why = match snapshot.written.template_of(name) {
                Some((template, own)) if own.release.is_some() => format!("it follows its template {template} already"),
                Some((template, _)) => format!("its template {template} names no release that it could follow"),
                None => "it extends no template that it could follow".to_owned(),
            };
            return Err(CliError::plain(format!("{name} is not pinned: {why}")));
        }
        let lines = pins.iter().map(|(name, _)| Line::of(name.clone(), Change::Remove { key: "release" })).collect();
        let follows =
            pins.iter().map(|(name, pin)| format!("{name} follows {} to {}", pin.template, short(&pin.release)));
        let body = follows.collect::<Vec<_>>().join("\n");
        let target = Target::Environments(pins.into_iter().map(|(name, _)| name).collect());
        let subject = format!("Unpin {}", target.told());
        Commit { body: Some(body), ..Commit::of(target, lines, subject) }.run(global).await
    }
}

/// What a commit is about.
pub(super) enum Target {
    /// A line of each.
    Environments(Vec<EnvName>),
    /// The line of a template: who follows it, and who has a release of its own and stays.
    Template { name: String, follow: Vec<EnvName>, stay: Vec<(EnvName, String)> },
}

impl Target {
    /// The environments of a choice.
    async fn environments(global: &Global, choice: &Choice) -> Result<Target> {
        // Whether the one that is named is there is seen when it is edited.
        if let Some(name) = choice.only() {
            return Ok(Target::Environments(vec![name.clone()]));
        }
        let (_, snapshot) = global.newest(&[]).await?;
        Ok(Target::Environments(choice.of(&snapshot)?))
    }

    /// Where the releases of a choice stand: of a template that is named alone in its own line.
    async fn releases(global: &Global, choice: &Choice) -> Result<Target> {
        let Some(template) = choice.whole_template() else { return Target::environments(global, choice).await };
        let (_, snapshot) = global.newest(&[]).await?;
        crate::run::commit::template(&snapshot, template)?;
        Ok(Target::template(&snapshot, template))
    }

    /// A template that is there.
    pub(super) fn template(snapshot: &Snapshot, name: &str) -> Target {
        let (mut follow, mut stay) = (Vec::new(), Vec::new());
        for env in snapshot.written.extending(name) {
            match snapshot.written.environments.get(env).and_then(|own| own.release.clone()) {
                Some(release) => stay.push((env.clone(), release)),
                None => follow.push(env.clone()),
            }
        }
        Target::Template { name: name.to_owned(), follow, stay }
    }

    /// `staging`, `30 environments`, `the template customer`.
    pub(super) fn told(&self) -> String {
        match self {
            Target::Environments(names) => match &**names {
                [name] => name.to_string(),
                names => counted(names.len() as u64, "environment", "environments"),
            },
            Target::Template { name, .. } => format!("the template {name}"),
        }
    }

    fn lines(&self, change: &Change) -> Vec<Line> {
        match self {
            Target::Environments(names) => names.iter().map(|name| Line::of(name.clone(), change.clone())).collect(),
            Target::Template { name, .. } => {
                vec![Line { place: Place::Template(name.clone()), change: change.clone() }]
            }
        }
    }

    /// What a commit says below its subject of several environments: which.
    fn names(&self) -> Option<String> {
        match self {
            Target::Environments(names) if names.len() > 1 => {
                Some(names.iter().map(EnvName::as_str).collect::<Vec<_>>().join("\n"))
            }
            _ => None,
        }
    }

    /// For people: whom it is about, where the subject does not say so.
    fn whom(&self) -> String {
        match self {
            Target::Environments(names) if names.len() > 1 => {
                let names: Vec<_> = names.iter().map(EnvName::as_str).collect();
                format!("  {}\n", names.join(", "))
            }
            Target::Environments(_) => String::new(),
            Target::Template { follow, stay, .. } => {
                let mut text = match follow.len() {
                    1 => "  1 environment follows it\n".to_owned(),
                    n => format!("  {n} environments follow it\n"),
                };
                for (name, release) in stay {
                    text.push_str(&format!(
                        "  {name} is pinned to {}, and stays; to let it follow: soll unpin {name}\n",
                        short(release)
                    ));
                }
                text
            }
        }
    }
}

/// One commit of one or more lines.
pub(super) struct Commit {
    pub target: Target,
    pub lines: Vec<Line>,
    pub subject: String,
    pub body: Option<String>,
    /// The environments that stay behind their template from now on.
    pub pins: Vec<EnvName>,
}

impl Commit {
    /// These lines; where they are those of several environments, the message names all of them.
    pub(super) fn of(target: Target, lines: Vec<Line>, subject: String) -> Commit {
        Commit { body: target.names(), target, lines, subject, pins: Vec::new() }
    }

    /// With more in its message.
    fn with(self, more: Option<String>) -> Commit {
        let parts: Vec<_> = more.into_iter().chain(self.body).collect();
        Commit { body: (!parts.is_empty()).then(|| parts.join("\n\n")), ..self }
    }

    /// Commits, and says so.
    pub(super) async fn run(self, global: &Global) -> Result {
        let Commit { target, lines, subject, body, pins } = self;
        let controller = global.controller()?;
        let message = body.map_or(subject.clone(), |body| format!("{subject}\n\n{body}\n"));
        let (before, after) = blocking(move || {
            controller.repo.refresh()?;
            let before = controller.repo.head()?;
            let after = if lines.is_empty() { before } else { commit_all(&controller, &lines, &message)? };
            Ok::<_, CliError>((before, after))
        })
        .await?;
        let changed = before != after;
        if global.output == Output::Json {
            let mut json = serde_json::json!({ "commit": after.to_string(), "changed": changed, "subject": subject });
            match &target {
                Target::Environments(names) if names.len() == 1 => {}
                Target::Environments(names) => json["environments"] = serde_json::json!(names),
                Target::Template { name, follow, stay } => {
                    json["template"] = name.as_str().into();
                    json["environments"] = serde_json::json!(follow);
                    json["pinned"] = stay.iter().map(|(name, _)| name.as_str()).collect();
                }
            }
            out::json(&json);
        } else if changed {
            out::text(&format!("{subject} (commit {})\n{}", after.short(), target.whom()));
            if !pins.is_empty() {
                let names = pins.iter().map(EnvName::as_str).collect::<Vec<_>>();
                let (listed, named) = (names.join(", "), names.join(" "));
                out::text(&format!("  pinned: {listed}; to follow the template again: soll unpin {named}\n"));
            }
        } else {
            out::text("nothing to commit: it says so already\n");
        }
        Ok(0)
    }
}

/// An environment as it is now.
async fn seen(controller: &Arc<Controller>, snapshot: &Arc<AcceptedSnapshot>, name: &EnvName) -> Result<EnvObserved> {
    known(snapshot, name)?;
    let look = Look { health: false, drift: Scan::Last };
    let mut observed = observe(controller, snapshot, std::slice::from_ref(name), look).await;
    Ok(observed.environments.remove(name).unwrap_or_default())
}

/// A release as people read it: the first digits of a commit, a tag as it is.
pub(super) fn short(release: &str) -> &str {
    if release.parse::<Sha>().is_ok() { &release[..8] } else { release }
}
