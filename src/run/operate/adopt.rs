//! Taking over a root that something else has made: one with releases as it is, a plain checkout by moving it.

use std::sync::Arc;
use std::time::Duration;

use crate::host::wire::convert::{Convert, Kind, LyingKind, Survey, Surveyed};
use crate::host::wire::excerpt::Excerpt;
use crate::host::wire::{HostError, Lost, Op, Reply};
use crate::journal::operation::Action;
use crate::model::desired::{Environment, ReleaseRef, Target};
use crate::model::epochs::Exhausted;
use crate::model::ids::{Epoch, HostName, ReleaseName};
use crate::model::machine;
use crate::model::observed::Current;
use crate::model::record::Refusal;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::doctor;
use crate::run::finding::{Findings, Opinion};
use crate::run::look::reach::ask;
use crate::run::pass::hold::{Taking, holding};
use crate::run::pass::journaled::{Asked, OperateError, journaled};
use crate::run::size::bytes;
use crate::run::step::site::Site;
use crate::run::step::stop_request::StopRequest;
use crate::run::step::world::World;

/// A person's word on an adoption.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    pub dry_run: bool,
    pub undo: bool,
    /// Directories of `releases/` that are old releases.
    pub claim: Vec<ReleaseName>,
    pub survey: Survey,
    /// Why, for the record.
    pub reason: Option<String>,
}

const LEASE: Duration = Duration::from_secs(120);

/// Takes over every host of an environment, or says what would be done, which leaves no row.
pub async fn adopt(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    wishes: &Wishes,
) -> Vec<Findings> {
    if wishes.dry_run {
        return hosts(controller, snapshot, env, wishes).await;
    }
    let asked = Asked::of(Action::Adopt, controller, snapshot, env, wishes.reason.clone());
    let mut all = Vec::new();
    // What stands against it is in the findings, for people, and in the row.
    let _ = journaled(controller, asked, async |journal| {
        let step = if wishes.undo { "undo" } else { "convert" };
        let done = async {
            all = hosts(controller, snapshot, env, wishes).await;
            judged(&all)
        };
        journal.step(step, None, |()| String::new(), done).await
    })
    .await;
    all
}

/// What findings say of an operation.
fn judged(all: &[Findings]) -> Result<(), OperateError> {
    let mut failed = all.iter().flat_map(|findings| &findings.all).filter(|one| one.verdict == Opinion::Fail);
    let why = failed.next().map(|finding| format!("{}: {}: {}", finding.host, finding.check, finding.message));
    match why {
        Some(why) if all.iter().any(|findings| findings.unreachable) => Err(OperateError::Unreachable(why)),
        Some(why) => Err(OperateError::Refused(why)),
        None => Ok(()),
    }
}

async fn hosts(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
    wishes: &Wishes,
) -> Vec<Findings> {
    let mut all = Vec::new();
    let site = Site::new(controller.clone(), snapshot.clone(), Arc::new(StopRequest::default()), None);
    for target in &env.targets {
        let mut findings = Findings::about(target.name.as_str(), Some(&env.name));
        match ask(controller, snapshot, target, Op::Survey(Box::new(wishes.survey.clone()))).await {
            Ok(Reply::Surveyed(seen)) => match seen.epoch.next() {
                Some(epoch) => {
                    let held = Adoption { site: &site, env, target, epoch };
                    held.one(controller, *seen, wishes, &mut findings).await;
                }
                None => {
                    let (host, epoch) = (target.name.clone(), seen.epoch.0);
                    let fix = format!("soll acknowledge --host {host}");
                    findings.fail("epoch", Exhausted { host, epoch }.to_string(), fix);
                }
            },
            Ok(other) => findings.fail("root", format!("the host answered {other:?}"), "report this"),
            Err(error) => trouble(&mut findings, env, &target.name, &error),
        }
        all.push(findings);
    }
    all
}

struct Adoption<'a> {
    site: &'a Site,
    env: &'a Environment,
    target: &'a Target,
    epoch: Epoch,
}

impl Adoption<'_> {
    async fn one(&self, controller: &Controller, seen: Surveyed, wishes: &Wishes, findings: &mut Findings) {
        let env = &self.env.name;
        if wishes.undo {
            if wishes.dry_run {
                if seen.steps.is_empty() {
                    findings.ok("root", "no conversion was made here: there is nothing to undo");
                }
                for step in seen.steps.iter().rev() {
                    findings.ok("would undo", step.to_string());
                }
                more(findings, "would undo", &seen.steps);
            } else {
                self.convert(findings, Convert::Undo).await;
            }
            return;
        }
        match seen.kind {
            Kind::Empty => {
                findings.ok("root", format!("there is nothing to take over: soll provision {env}, soll apply"))
            }
            Kind::Releases => {
                releases(findings, self.env, &seen);
                self.claim(findings, &seen, wishes).await;
                let (more, _) = doctor::look(controller, &self.site.snapshot, self.env, self.target).await;
                findings.unreachable |= more.unreachable;
                findings.all.extend(more.all);
            }
            Kind::Undoing => findings.fail(
                "root",
                "an undo was begun here and not finished",
                format!("go on with it: soll adopt {env} --undo"),
            ),
            Kind::Converting if wishes.dry_run => findings.warn(
                "root",
                "a conversion was begun here and not finished",
                format!("go on with it: soll adopt {env}; or take it back: soll adopt {env} --undo"),
            ),
            Kind::Converting => self.convert(findings, Convert::Do(wishes.survey.clone())).await,
            Kind::Checkout => {
                let good = checkout(findings, self.env, &seen, wishes);
                if good && !wishes.dry_run {
                    self.convert(findings, Convert::Do(wishes.survey.clone())).await;
                }
            }
        }
    }

    /// Old releases that a person names count as releases from now on.
    async fn claim(&self, findings: &mut Findings, seen: &Surveyed, wishes: &Wishes) {
        let stranger = |name: &&ReleaseName| {
            seen.releases.iter().any(|one| one.name == name.as_str() && one.kind == LyingKind::Stranger)
        };
        let releases: Vec<ReleaseName> = wishes.claim.iter().filter(stranger).cloned().collect();
        if releases.is_empty() {
            return;
        }
        let names: Vec<_> = releases.iter().map(ReleaseName::as_str).collect();
        let names = names.join(", ");
        if wishes.dry_run {
            return findings.ok("would count", format!("{names}: as old releases, which go in their turn"));
        }
        let who = format!("{} pid {}, adopt", self.site.controller.who, std::process::id());
        match self.site.call(self.target, Op::Claim { who, machine: None, releases }).await {
            Ok(_) => findings.ok("counted", format!("{names}: old releases from now on, which go in their turn")),
            Err(error) => trouble(findings, self.env, &self.target.name, &error),
        }
    }

    /// Under the lock of the root, so that nothing is deployed meanwhile.
    async fn convert(&self, findings: &mut Findings, convert: Convert) {
        let (epoch, env) = (self.epoch, &self.env.name);
        let taking = Taking::beside(self.site, "adopt", epoch, LEASE);
        let done = holding(self.site, self.target, &taking, async || {
            self.site.call(self.target, Op::Convert { epoch, convert }).await
        });
        match done.await {
            Ok(Reply::Converted { name: Some(name) }) => {
                findings.ok("converted", format!("current leads to releases/{name}; take it back with `soll adopt {env} --undo` until the first apply"));
            }
            Ok(Reply::Converted { name: None }) => findings.ok("undone", "everything is where it was"),
            Ok(other) => findings.fail("conversion", format!("the host answered {other:?}"), "report this"),
            Err(error) => trouble(findings, self.env, &self.target.name, &error),
        }
    }
}

fn trouble(findings: &mut Findings, env: &Environment, target: &HostName, error: &HostError) {
    findings.unreachable |= matches!(error, HostError::Connection(_));
    if let HostError::Connection(Lost { why, cure }) = error {
        let fix = cure.clone().unwrap_or_else(|| format!("soll doctor {}", env.name));
        return findings.fail("connection", why.as_str(), fix);
    }
    if let HostError::Exposed { found } = error {
        return doctor::host::ownership(findings, found);
    }
    if let HostError::Refused { refusal: Refusal::OtherMachine(other) } = error {
        let cure = machine::cure(target);
        return findings.fail("machine", other.to_string(), cure);
    }
    let fix = format!(
        "correct what is named and run it again; what was begun is taken back with `soll adopt {} --undo`",
        env.name
    );
    findings.fail("conversion", error.to_string(), fix);
}

/// A root with releases: what the first apply makes of it.
fn releases(findings: &mut Findings, env: &Environment, seen: &Surveyed) {
    match &seen.current {
        Current::Release(name) => {
            let desired = match &env.release {
                ReleaseRef::Sha(sha) => Some(sha),
                _ => None,
            };
            let next = match desired {
                Some(sha) if name.names(sha) => {
                    "the first apply checks its health and takes it over as it is: nothing is switched".to_owned()
                }
                Some(sha) => format!("the first apply takes it over as the way back, then deploys {}", sha.short()),
                None => "the first apply takes it over as it is where its name ends with the desired commit".to_owned(),
            };
            findings.ok("adoption", format!("current leads to {name}; {next}"));
        }
        Current::Missing => findings.warn(
            "adoption",
            "there are releases, and no `current`",
            "make the link by hand, if one of them is live; without it the first apply starts anew",
        ),
        // Said with its fix by the look that follows.
        Current::Elsewhere(_) | Current::NotALink => {}
    }
    let live = seen.current.release().map(ReleaseName::as_str);
    for one in seen.releases.iter() {
        let size = one.bytes.map_or_else(|| "too many files to count".to_owned(), bytes);
        let place = format!("releases/{} ({size})", one.name);
        match one.kind {
            LyingKind::Other => findings.warn(
                "not understood",
                format!("{place} has no name that a release can have, or is no directory: it is left alone"),
                "rename it (letters, digits and `._-+`), or move it away",
            ),
            LyingKind::Stranger if live == Some(&one.name) => {}
            LyingKind::Stranger => findings.warn(
                "stranger",
                format!("{place} was not made by soll, and is never removed"),
                format!(
                    "if it is an old release that may go in its turn: soll adopt {} --release {}",
                    env.name, one.name
                ),
            ),
            LyingKind::Release => findings.ok("release", format!("{place} is one, and goes in its turn")),
        }
    }
}

/// A plain checkout: what would be moved where, and what stands against it.
fn checkout(findings: &mut Findings, env: &Environment, seen: &Surveyed, wishes: &Wishes) -> bool {
    for (what, next) in seen.refused.iter() {
        findings.fail("refused", what.as_str(), next.as_str());
    }
    more(findings, "refused", &seen.refused);
    for (path, why) in seen.uncovered.iter() {
        findings.fail(
            "data",
            format!("`{path}` ({why}) is covered by no shared path: the next release would not have it"),
            format!("--shared {path} (and list it in the state file), or --leave {path} if no release needs it"),
        );
    }
    more(findings, "data", &seen.uncovered);
    for path in &seen.missing {
        findings.warn(
            "missing",
            format!("the shared file `{path}` is not there"),
            "put it into shared/ before the first apply",
        );
    }
    for path in seen.edited.iter() {
        findings.warn(
            "edited",
            format!("`{path}` was edited here"),
            "commit the change to the application, or the next release undoes it",
        );
    }
    more(findings, "edited", &seen.edited);
    for path in seen.rebuilt.iter() {
        findings.ok("goes along", format!("`{path}` stays with this release: every build makes it anew"));
    }
    more(findings, "goes along", &seen.rebuilt);
    for added in wishes.survey.shared.iter().filter(|one| !env.shared.iter().any(|known| known.path == one.path)) {
        findings.warn(
            "state file",
            format!("`{}` is shared from now on, and {} does not list it", added.path, env.name),
            "add it to `shared_dirs` or `shared_files` before the first apply",
        );
    }
    let good = seen.refused.is_empty() && seen.uncovered.is_empty();
    let check = if wishes.dry_run || !good { "would do" } else { "does" };
    for step in seen.steps.iter() {
        findings.ok(check, step.to_string());
    }
    more(findings, check, &seen.steps);
    if !wishes.survey.keep_links {
        findings.warn(
            "web server",
            format!("nothing is left at {}/public and the like", findings_root(env)),
            "let the web server point at ROOT/current/…, or leave links with --keep-links until it does",
        );
    }
    good
}

/// What is not told one by one.
fn more<T>(findings: &mut Findings, check: &str, list: &Excerpt<T>) {
    if let Some(more) = list.and_more() {
        findings.ok(check, more);
    }
}

fn findings_root(env: &Environment) -> &str {
    env.targets.first().map_or("ROOT", |target| target.root.as_str())
}

/// `YYYYMMDD_HHMMSS`, UTC.
pub fn time() -> String {
    now().strftime("%Y%m%d_%H%M%S").to_string()
}
