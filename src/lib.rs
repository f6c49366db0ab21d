//! `soll`: GitOps for plain Linux servers. A Git repository says which release each environment should run (SOLL); the
//! hosts say what they run (IST); a pure planner says what to do about the difference; one executor does it.
//!
//! # Reading order: from a commit to a confirmed release
//! 1. [`model::desired`]: the state file, from TOML to typed environments, with every error at its place.
//! 2. [`state_repo`]: where a commit comes from, and whether it may be acted on (`advance`). A mistake in one of its parts (an
//!    included file, an environment) holds that where it is, and nothing else (`run::held`). While the newest commit may not be
//!    acted on, what runs is looked after and backed up, and nothing is changed.
//! 3. [`model::record`] and [`model::observed`]: what a host remembers, and what is seen of it. Every change of a
//!    record is a pure transition; the host and the simulated host of the law tests run the same ones. [`model::machine`]
//!    says whether a host is still the machine that it was: else nothing that it says is believed (`run::look::believe`).
//! 4. [`plan`]: `planner` (one environment), `intent` (what a host needs), `forward` (the graph), `delivery` (what differs
//!    from kind to kind before a release is complete on its host; [`run::look::build`] is the controller's side of that),
//!    `policy` (what blocks it), `heal` (what did not stay healed), `back` (the way back: the same graph, aimed at the confirmed
//!    release), `reviewable` (what a person's word can be about), `render`.
//! 5. [`journal`]: the events of a run, its state as a fold over them, and what a failure leads to (`consequence`). A run has
//!    a subject: a deployment, or an `operation` that a person asked for. `notice`: what people want to know beside runs. All
//!    of it is one sequence of numbers.
//! 6. [`run`]: `accepted` (which commit may be acted on), `world` (all that a run may ask of the world), `dispatch`
//!    (the only writer of run state), `way_back` (who goes back), `executor` (a match on the step), `reconcile` (one
//!    pass), `hold` (taking roots and giving them back), `daemon` (passes, again and again), `site` (the real world),
//!    `ahead` (what will be needed, while hosts are reached), `board` (what passes saw last: what a daemon shows and
//!    publishes is read from there, and touches no host), `teller` (what changed is told once, and on record).
//!    [`model::published`] is what others read of the board, `run::publish` makes it, `look::published` says what of it is
//!    believed. Secrets are given by `secrets`, for one purpose at a time; those in encrypted files of an accepted commit are
//!    opened when they are wanted (`sealed`, and [`seal`], which knows age and SOPS). [`run::operate`]: what people ask for
//!    beside deployments. [`run::planned`] and [`run::standing`]: what commands and pages show of an environment.
//! 7. [`host`]: the operations that happen on a root (`wire`, `serve::ops`, `release::switch`), and the agent that
//!    serves them. [`host::call::transport`] keeps the stream to an agent, and takes another one when it is lost;
//!    [`host::serve::reattach`] is the agent's side of that. [`link`]: from an address to a login, on the one machine
//!    that is meant (`dial`, `gatekeeper`, `known_hosts`, `connection`); [`ssh`]: from there to such an agent (`agent`, `pool`).
//!    Whether a release has room, and a place that can be used, is seen first (`host::disk`: `room`, `reserve`, `places`,
//!    `foreign`, `seat`). That what `current` leads to is what runs, forward and back, is [`model::activation`]'s to say and
//!    [`host::release::activate`]'s to do, with units of systemd ([`host::release::units`]) or a project of containers
//!    ([`host::release::compose`], [`model::compose`]). Beside runs: [`host::examine`], [`host::provision`],
//!    [`host::release::trial`] and [`host::convert`], asked by [`run`]'s `doctor`, `preflight` and `adopt`, which give
//!    [`run::finding`]s. What is sent to many hosts is packed once (`run`'s `parcel`, [`host::call::piece`]), or fetched by each
//!    (`host`'s `fetch`).
//! 8. [`artifact`]: from a bundle's address to a checked tree of blobs, on the terms of the application that takes it (`terms`),
//!    and what a forge says of a commit;
//!    [`state_repo::tree`] makes the same of a commit (`kind = "git"`), `state_repo::directory` of a directory of the state
//!    repository (`kind = "compose"`, whose images [`host::release::compose`] brings, and whose services it runs and sees;
//!    [`model::compose`] has the words for both sides; [`artifact::registry`] reads images where the controller sends them).
//!    [`health`]: one probe, and a verdict of many. A fleet: `consequence::Fleet` says without which hosts a rollout goes on;
//!    `model::desired::pull` is one host's share.
//! 9. Backups, the same line once more: [`model::desired::backup`] (what is declared), [`model::schedule`] and [`plan::due`]
//!    (when), [`run::pass::backup`] (who makes them, under the lock of the root, with a run of its own) and [`run::step::backup`]
//!    (one backup, also as a step of a deployment), [`host::backup`] (its operations on a host), [`backup`] (the stream from a
//!    dump or an archive to every target, and back to be compared; `load` and `prove` restore it and look at it),
//!    [`model::backup`] (names and the manifest, which is written last), [`plan::retention`] (what may go), [`run::step::shelf`]
//!    and [`run::step::prune`] (what lies on targets, and goes). [`run::pass::backup::prove`] tries whether one can be restored,
//!    [`run::operate::restore`] puts it back. What a host remembers of them is in [`model::record::backup`]; [`plan::backup`]
//!    says from that what is due and late.
//! 10. [`cli`] and [`web`]: shells. [`run::choice`]: which environments a command means; [`run::commit`]: the commit that it
//!     makes of all of them, whose lines [`model::desired::edit`] sets where [`model::desired::written`] says that they stand.
//!     [`demo`]: all of it at work in one folder; the quickest way to see what is meant here.
//!
//! # Who may import whom (held by `tests/it/house.rs`, which names the exceptions and why)
//! ```text
//! model  <-  plan, journal  <-  run  <-  cli, web, demo
//!        <-  artifact, health, host, link, state_repo, store  <-  run
//!                 link  <-  backup  <-  host  <-  ssh, seal  <-  run
//!                 link  <-  ssh
//!
//! host:  wire  <-  disk  <-  release  <-  backup, convert, examine, provision  <-  serve  <-  call
//! run:   what lies beside its floors (controller, settings, board, commit, files, finding, fill, ...)
//!              <-  look  <-  step, doctor  <-  pass  <-  operate
//! ```
//! - A floor imports only floors before it, and none beside it. What lies in a room beside its floors knows none of
//!   them.
//! - `model` imports no other room; `plan` only `model`; `journal` those two. None of the three knows I/O, a clock or
//!   tokio, so a plan of the same facts is the same bytes, and the laws are proven on the code that ships.
//! - `host` and `health` serve each other's calls through the trait `host::serve::ops::Prober`; `host` takes from
//!   `artifact` the form of a manifest, and its store where it fetches for itself (`host::release::fetch`), a commit by
//!   `state_repo::tree` (`host::release::checkout`). `store`
//!   knows events, not who makes them. No room below `run` knows `run`.
//! - `link` knows only `model`: what speaks SSH to other places than hosts (`backup::target`) stands on it, too.
//! - `ssh` knows `host::call` and the digest of a program (and `host::disk::stamp`, which says when a file need not be
//!   read again), and gives clients; only `run::look::reach` decides whether a host is this machine or behind SSH, so
//!   that everything above says "host" and means both.
//! - What is on a host is truth; what is in `store` is history, backoff, and a second note of the accepted commit and of
//!   the machine of each host: losing it loses no safety.
//!
//! # The laws, one line each (proven in `tests/it/laws*` and, with `kill -9`, on the real binary)
//! 1. `current` always leads to a complete release whose manifest matched: [`host`] seals, then switches by one rename.
//!    A file that looks as it did when it was read (`host::release::stamps`) is not read again, by an explicit plan
//!    either; the drift scan reads every byte, by its period.
//! 2. The confirmed release is never pruned: `model::record::Record::prunable`.
//! 3. One live run per environment; every effect carries an epoch, and the host refuses an older one: `Record::fence`.
//! 4. A verdict quarantines exactly its case; an error is retried with backoff and condemns nobody:
//!    `journal::consequence`.
//! 5. Intent is journaled before effect; after a crash nothing is resumed blindly: `run::step::dispatch`,
//!    `plan::policy`.
//! 6. Probation is on the host and has a lease: a host that hears no controller goes back by itself, and opens what was
//!    closed for maintenance (`Record::leased`): `host::serve::worker`. A return lasts until its units run (`Record::activated`).
//!    While it holds anything, an agent process serves one run alone, whose frames renew its leases: `ssh::pool`,
//!    `run::step::site`.
//! 7. Apply, then plan: empty. Plan twice: the same bytes. A newer commit supersedes at the next safe point.
//! 8. Exit code, history and every page say what one journal row says: `journal::RunResult`. A rollback is no success.
//! 9. No secret in arguments, logs, journal, plans: `host::wire::Secret`, `model::mask`, `state_repo::location`. The
//!    only shell text for a host is fixed: `ssh::script`.
//! 10. The accepted commit only moves forward, signed where that is required: `state_repo::advance`. No work tree is
//!     read.
//! 11. What is not accepted is text: whatever touches a host, runs a command, opens or sends a secret takes a
//!     `run::accepted::AcceptedSnapshot`. Another commit (`run::look::planned_commit`) is planned by `run::look::proposed`,
//!     and asks for bundles and tags only on `run::look::grounds`.

// What the outside world decides ends in an error that somebody can read, and in no panic.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

pub mod artifact;
pub mod backup;
pub mod cli;
pub mod demo;
pub mod fault;
pub mod health;
pub mod host;
pub mod journal;
pub mod link;
pub mod model;
pub mod plan;
pub mod run;
pub mod seal;
pub mod ssh;
pub mod state_repo;
pub mod store;
pub mod web;
