//! A deployment that is only tried: the bundle is fetched, checked, sent and unpacked beside everything else, linked,
//! asked its gates, and thrown away. On the host nothing is left but the number of the epoch it was held under.

use std::sync::Arc;
use std::time::Duration;

use crate::artifact::terms::Terms;
use crate::host::wire::examine::Examined;
use crate::host::wire::render::Version;
use crate::host::wire::trial::Trial;
use crate::host::wire::{HostError, Op, Reply};
use crate::model::desired::{Delivery, Environment, FetchFrom, GateTest, Phase, Target};
use crate::model::ids::{Digest, Epoch, Sha};
use crate::model::observed::{EnvObserved, HostObserved, HostState, Resolved};
use crate::model::record::Migration;
use crate::plan::forward::migration_key;
use crate::run::accepted::{AcceptedSnapshot, must_follow_hosts};
use crate::run::controller::{Controller, ControllerError};
use crate::run::doctor;
use crate::run::fill::command;
use crate::run::finding::Findings;
use crate::run::look::observe::{Look, Scan, observe};
use crate::run::pass::hold::{Taking, holding, next_epoch};
use crate::run::size::bytes;
use crate::run::sizes;
use crate::run::step::site::Site;
use crate::run::step::stop_request::StopRequest;
use crate::run::step::world::{Artifact, Bundle, RemoteBundle, World};

/// A trial that hears no controller for so long is given up by the host.
const LEASE: Duration = Duration::from_secs(60);

/// What is compressed takes up to so many times the room once it is unpacked.
const UNPACKED: u64 = 4;

/// Tries the desired release of an environment on each of its hosts.
///
/// # Errors
/// The hosts have acted on a commit that this one does not follow.
pub async fn preflight(
    controller: &Arc<Controller>,
    snapshot: &Arc<AcceptedSnapshot>,
    env: &Environment,
) -> Result<Vec<Findings>, ControllerError> {
    let names = [env.name.clone()];
    let mut own = doctor::secrets(snapshot, env);
    let observed = observe(controller, snapshot, &names, Look { health: false, drift: Scan::Last }).await;
    // What an older clone, or a rewritten branch, says of its gates is not what these hosts have acted on.
    must_follow_hosts(controller, snapshot, &observed, &env.name)?;
    let seen = observed.environments.get(&env.name).cloned().unwrap_or_default();
    let site = Site::new(controller.clone(), snapshot.clone(), Arc::new(StopRequest::default()), None);
    let artifact = artifact(&site, env, &seen, &mut own).await;
    let epoch = next_epoch(&observed, &env.name)?;
    let mut all = Vec::new();
    for target in &env.targets {
        let (mut findings, examined) = doctor::look(controller, snapshot, env, target).await;
        if let (Some(examined), Some(HostObserved::Reached(state))) = (examined, seen.hosts.get(&target.name)) {
            links(&mut findings, env, &examined);
            if let Some((sha, artifact)) = &artifact {
                migrations(&mut findings, env, target, sha, &seen);
                images(&mut findings, controller, snapshot, (env, sha), artifact, &examined).await;
                if free(&mut findings, state, &examined) {
                    let host = Host { site: &site, env, target, epoch, sha, artifact, examined: &examined };
                    host.attempt(&mut findings).await;
                }
            }
        }
        all.push(findings);
    }
    all.insert(0, own);
    Ok(all)
}

/// The bundle: checked and unpacked here, or what the hosts will fetch.
async fn artifact(site: &Site, env: &Environment, seen: &EnvObserved, own: &mut Findings) -> Option<(Sha, Artifact)> {
    let sha = match &seen.resolved {
        Resolved::Sha(sha) => sha.clone(),
        Resolved::Unknown(why) => {
            own.fail("release", why.as_str(), "name a commit that can be found");
            return None;
        }
        Resolved::NotAsked => {
            own.fail("release", format!("{} has no release yet", env.name), format!("soll release {} SHA", env.name));
            return None;
        }
    };
    let artifact = match env.delivery.fetch_from() {
        FetchFrom::Host => site.remote_bundle(env, &sha).await.map(Artifact::Remote),
        FetchFrom::Controller => match site.fetch(env, &sha).await {
            Ok(_) => site.verify(env, &sha).await.map(Artifact::Unpacked),
            Err(trouble) => Err(trouble),
        },
    };
    match artifact {
        Ok(artifact) => {
            let what = match &artifact {
                Artifact::Unpacked(Bundle { known_as, tree, .. }) => {
                    format!("{known_as}, {} files, {}", tree.manifest.files().count(), bytes(tree.manifest.bytes()))
                }
                Artifact::Remote(remote) => {
                    format!("{}, each host fetches it itself", remote.known_as)
                }
            };
            if let Artifact::Unpacked(bundle) = &artifact {
                bundle.notes.iter().for_each(|note| own.warn("bundle", note.as_str(), ""));
            }
            own.ok("bundle", format!("{}: {what}", sha.short()));
            Some((sha, artifact))
        }
        Err(trouble) => {
            let fix = match (&env.delivery, env.delivery.checkout()) {
                (Delivery::Bundle(_), _) => "let CI build it, with its checksum beside it; or correct `bundle`",
                (_, None) => "commit the files of the project",
                (_, Some(_)) => "push the commit, or correct `repository` or `checkout`",
            };
            own.fail("bundle", trouble.message, fix);
            None
        }
    }
}

/// Whether each shared file is a link in the live release, and where it comes out.
fn links(findings: &mut Findings, env: &Environment, examined: &Examined) {
    for fact in examined.shared.iter().filter(|fact| !fact.shared.directory) {
        let path = &fact.shared.path;
        match (&fact.link, &fact.leads_to) {
            (Some(text), Some(place)) => findings.ok("link", format!("current/{path} is a link ({text}) to {place}")),
            (Some(text), None) => findings.fail(
                "link",
                format!("current/{path} is a link ({text}) to nothing"),
                format!("put the file there, or `soll provision {} --env-file FILE`", env.name),
            ),
            (None, _) if examined.current.release().is_none() => {}
            (None, _) => findings.warn(
                "link",
                format!("current/{path} is no link: what is in it stays in that release"),
                format!("put it at shared/{}; the next release links there", fact.shared.from),
            ),
        }
    }
}

/// The migrate hooks that would run, on the first host.
fn migrations(findings: &mut Findings, env: &Environment, target: &Target, sha: &Sha, seen: &EnvObserved) {
    if env.targets.first().is_none_or(|first| first.name != target.name) {
        return;
    }
    for hook in env.hooks_of(Phase::Migrate) {
        let key = migration_key(sha, hook);
        let states = seen.hosts.values().filter_map(|host| match host {
            HostObserved::Reached(state) => state.record.migrations.get(&key),
            HostObserved::Unreachable(_) => None,
        });
        match states.max_by_key(|state| **state == Migration::Done) {
            Some(Migration::Done) => findings.ok("migration", format!("`{}` was run for {}", hook.name, sha.short())),
            Some(Migration::Begun) => findings.fail(
                "migration",
                format!("`{}` was begun and not seen to finish", hook.name),
                format!("look at the database, then: soll retry {} --migration done (or again)", env.name),
            ),
            Some(Migration::Failed) | None => {
                findings.ok("migration", format!("`{}` would run: {}", hook.name, hook.run));
            }
        }
    }
}

/// How large the images are that the host lacks, beside the room that its engine has.
async fn images(
    findings: &mut Findings,
    controller: &Controller,
    word: &AcceptedSnapshot,
    (env, sha): (&Environment, &Sha),
    artifact: &Artifact,
    examined: &Examined,
) {
    let engine = examined.engine.as_ref().and_then(|engine| Some((engine.platform.as_ref()?, engine)));
    let (Some(files), Some((platform, engine))) = (env.delivery.compose(), engine) else { return };
    let changed = files.images_of(sha, &env.bundle_values());
    let references = match controller.artifacts.get(&artifact.digest()) {
        Some(tree) => sizes::named(files, &changed, &tree),
        None => changed.into_values().collect(),
    };
    let sizes = sizes::sizes(controller, word, env, &references, (platform, &engine.chains)).await;
    for (reference, why) in &sizes.unknown {
        let fix =
            "an image that lies on the host already needs no registry; any other must be there before it is deployed";
        findings.unknown("image", format!("nobody can say how large {reference} is: {why}"), fix);
    }
    if sizes.known.is_empty() {
        return;
    }
    let (total, mut new) = (sizes.total(), Vec::new());
    new.extend(
        sizes.known.iter().filter(|(_, size)| **size > 0).map(|(name, size)| format!("{name} {}", bytes(*size))),
    );
    let told = match new.as_slice() {
        [] => "every layer that is needed is there already".to_owned(),
        new => format!("{} come here, compressed: {}", bytes(total), new.join(", ")),
    };
    match engine.room.as_ref().map(|room| room.free_bytes) {
        Some(free) if free / UNPACKED < total => findings.warn(
            "image sizes",
            format!("{told}; unpacked they take several times as much, and {} are free", bytes(free)),
            "make room where the engine keeps images: `docker system df` says what takes it",
        ),
        _ => findings.ok("image sizes", told),
    }
}

/// Whether the root can be held without touching what somebody else has under way.
fn free(findings: &mut Findings, state: &HostState, examined: &Examined) -> bool {
    let next = "wait for it, or look at `soll status`; then run the preflight again";
    if let Some(holder) = &state.holder {
        findings.fail("trial", format!("{} holds the root since {}", holder.who, holder.since), next);
    } else if state.record.leased().is_some() {
        findings.fail("trial", "a release is on probation, or the root is closed for maintenance", next);
    } else if examined
        .places
        .iter()
        .any(|place| place.found.as_ref().is_none_or(|found| !found.directory || !found.writable))
    {
        // Said before, with its fix; making them is not for a preflight.
        return false;
    } else {
        return true;
    }
    false
}

struct Host<'a> {
    site: &'a Site,
    env: &'a Environment,
    target: &'a Target,
    epoch: Epoch,
    sha: &'a Sha,
    artifact: &'a Artifact,
    examined: &'a Examined,
}

impl Host<'_> {
    /// Holds the root, tries, clears up, lets go.
    async fn attempt(&self, findings: &mut Findings) {
        let taking = Taking::beside(self.site, "preflight", self.epoch, LEASE);
        let tried = holding(self.site, self.target, &taking, async || {
            if let Err(error) = self.tried(findings).await {
                trouble(findings, &error);
            }
            self.trial(Trial::Drop).await
        });
        if let Err(error) = tried.await {
            trouble(findings, &error);
        }
    }

    async fn trial(&self, trial: Trial) -> Result<Reply, HostError> {
        self.site.call(self.target, Op::Trial { epoch: self.epoch, trial }).await
    }

    async fn tried(&self, findings: &mut Findings) -> Result<(), HostError> {
        let (tree, brought) = match self.artifact {
            Artifact::Unpacked(bundle) => self.send(bundle, findings).await?,
            Artifact::Remote(remote) => self.fetch(remote, findings).await?,
        };
        let rendered = self.rendered(findings).await?;
        self.trial(Trial::Build { tree, shared: self.env.shared.clone(), rendered }).await?;
        findings.ok("unpacked", brought);
        self.gates(findings).await?;
        self.nginx(findings).await
    }

    /// The files that would be rendered, and how they compare with what the live release reads. Where one cannot be rendered, the
    /// trial goes on with what is there.
    async fn rendered(&self, findings: &mut Findings) -> Result<Vec<Version>, HostError> {
        if self.env.files.is_empty() {
            return Ok(Vec::new());
        }
        let files = match self.site.render(self.env, self.target, self.sha) {
            Ok(files) => files,
            Err(trouble) => {
                findings.fail("rendered", trouble.message, "the gates are asked with the files that are there now");
                return Ok(Vec::new());
            }
        };
        match self.site.call(self.target, Op::Compare { files: files.clone() }).await? {
            Reply::Rendered(all) => all.iter().for_each(|one| findings.ok("rendered", one.told())),
            _ => return Err(unfit()),
        }
        Ok(files)
    }

    /// The host fetches the bundle. Gives the tree in it, and what to say about it.
    async fn fetch(&self, remote: &RemoteBundle, findings: &mut Findings) -> Result<(Digest, String), HostError> {
        let (epoch, place, digest) = (self.epoch, remote.place.clone(), remote.digest);
        let terms = Terms::of(self.env);
        match self
            .site
            .call(self.target, Op::Fetch { epoch, place, digest, commit: remote.commit.clone(), terms, keep: None })
            .await?
        {
            Reply::Fetched { tree, bytes: taken, notes, .. } => {
                notes.iter().for_each(|note| findings.warn("bundle", note.as_str(), ""));
                Ok((tree, format!("fetched there, {} of it new", bytes(taken))))
            }
            _ => Err(unfit()),
        }
    }

    /// Sends what the host does not have. Gives the tree, and what to say about it.
    async fn send(&self, bundle: &Bundle, findings: &mut Findings) -> Result<(Digest, String), HostError> {
        let manifest = &bundle.tree.manifest;
        let offered = self.site.offer(self.target, self.epoch, &bundle.tree, None, None).await?;
        let Reply::Missing { files, free_bytes, .. } = offered else {
            return Err(unfit());
        };
        let needed = manifest.bytes();
        match free_bytes / 2 > needed {
            true => findings.ok("room", format!("the release takes {}, {} are free", bytes(needed), bytes(free_bytes))),
            false => findings.warn(
                "room",
                format!("the release takes {}, and {} are free", bytes(needed), bytes(free_bytes)),
                "make room, or lower `keep_releases`",
            ),
        }
        let (all, sent) = (manifest.files().count(), files.count());
        if sent > 0 {
            self.site.upload(self.target, self.epoch, bundle, files).await?;
        }
        Ok((bundle.tree.digest, format!("{all} files, {sent} of them sent")))
    }

    async fn gates(&self, findings: &mut Findings) -> Result<(), HostError> {
        for gate in &self.env.gates {
            if self.env.skips(self.sha, &gate.name).is_some() {
                findings.warn("gate", format!("`{}` is skipped by the emergency", gate.name), "");
                continue;
            }
            let command = match &gate.test {
                GateTest::Run(run) => {
                    Some(command(self.env, self.target, (None, Some(self.sha)), &gate.name, run, gate.timeout))
                }
                GateTest::File(_) | GateTest::Dir(_) => None,
            };
            match self.trial(Trial::Gate { gate: gate.clone(), command }).await? {
                Reply::Gate(said) if said.pass => findings.ok("gate", format!("`{}`: {}", gate.name, said.evidence)),
                Reply::Gate(said) => findings.fail(
                    "gate",
                    format!("`{}` says no: {}", gate.name, said.evidence),
                    "correct the build, or what the gate asks for",
                ),
                other => findings.fail("gate", format!("the host answered {other:?}"), "report this"),
            }
        }
        Ok(())
    }

    /// The `nginx -t` of a configured command, without what stands around it.
    async fn nginx(&self, findings: &mut Findings) -> Result<(), HostError> {
        if self.examined.nginx.is_none() {
            return Ok(());
        }
        let commands = doctor::commands(self.env, self.target);
        let tests =
            |words: &[String]| words.len() == 2 && words[0].rsplit('/').next() == Some("nginx") && words[1] == "-t";
        let configured =
            commands.iter().flat_map(|(_, calls)| calls).find(|call| tests(call.behind_sudo().unwrap_or(&call.words)));
        let Some(call) = configured else {
            findings.ok("nginx -t", "no configured command asks for it");
            return Ok(());
        };
        let run = call.words.join(" ").replacen("sudo ", "sudo -n ", 1);
        let ask = command(self.env, self.target, (None, Some(self.sha)), "nginx -t", &run, Duration::from_secs(30));
        match self.trial(Trial::Run { command: ask }).await? {
            Reply::Command(said) if said.ok() => findings.ok("nginx -t", "the configuration is good"),
            Reply::Command(said) => findings.fail("nginx -t", said.evidence(), "correct the configuration of nginx"),
            other => findings.fail("nginx -t", format!("the host answered {other:?}"), "report this"),
        }
        Ok(())
    }
}

fn unfit() -> HostError {
    HostError::Io("the host gave an answer that does not fit its question".to_owned())
}

fn trouble(findings: &mut Findings, error: &HostError) {
    findings.unreachable |= matches!(error, HostError::Connection(_));
    findings.fail("trial", error.to_string(), "correct what is named, and run the preflight again");
}
