//! What is to be thought of what a host said of itself. Pure but for the controller's own secrets.

use jiff::Timestamp;

use super::sudo::{Answer, ask, parse};
use super::units;
use super::{SKEW, TOO_MUCH, commands};
use crate::host::wire::examine::{Examine, Examined, Found, Nginx, keyed};
use crate::host::wire::{Exposed, cures};
use crate::model::activation::Activation;
use crate::model::address::redacted;
use crate::model::desired::{Environment, Target};
use crate::model::machine::{self, Machine};
use crate::model::observed::Current;
use crate::model::rendered;
use crate::model::template::fill;
use crate::run::accepted::AcceptedSnapshot;
use crate::run::doctor::bearers;
use crate::run::finding::Findings;
use crate::run::secrets::{Purpose, Use};
use crate::run::size::bytes;

/// The host's clock against ours: what is certain after the way there and back is taken off.
pub fn clock(findings: &mut Findings, before: Timestamp, seen: &Examined, after: Timestamp) {
    let ahead = seen.ended.duration_since(after).as_secs_f64();
    let behind = before.duration_since(seen.began).as_secs_f64();
    let skew = ahead.max(behind).max(0.0);
    let which = if ahead > behind { "ahead of" } else { "behind" };
    let message = format!("the host's clock is {skew:.1} s {which} the controller's");
    let fix = "let both follow one time server (chrony, systemd-timesyncd)";
    match skew {
        _ if skew > TOO_MUCH.as_secs_f64() => findings.fail("clock", message, fix),
        _ if skew > SKEW.as_secs_f64() => findings.warn("clock", message, fix),
        _ => findings.ok("clock", "the clocks agree"),
    }
}

/// Whether it is the machine that it is known to be. `known`: to the controller.
pub fn machine(findings: &mut Findings, target: &Target, known: Option<&Machine>, seen: &Examined) {
    let Err(other) = machine::judge(known, seen.pinned.as_ref(), seen.machine) else {
        return match (seen.machine, known.or(seen.pinned.as_ref())) {
            (None, _) => findings.warn(
                "machine",
                "it has no machine id (/etc/machine-id is missing or empty): another machine under its name would be \
                 noticed by its SSH key alone",
                "on the host, as root: systemd-machine-id-setup (or dbus-uuidgen --ensure=/etc/machine-id)",
            ),
            (Some(id), Some(known)) => {
                findings.ok("machine", format!("{}, as it has been known since {:.0}", id.short(), known.since));
            }
            (Some(id), None) => findings.ok("machine", format!("{}, to be noted at the first plan", id.short())),
        };
    };
    findings.fail("machine", other.to_string(), machine::cure(&target.name));
}

/// Everything else.
pub fn judge(findings: &mut Findings, env: &Environment, target: &Target, seen: &Examined) {
    places(findings, env, seen);
    ownership(findings, &seen.exposed);
    for one in &seen.above {
        findings.warn(
            "above",
            format!("{}: another root could be put in this one's place", one.what()),
            one.cure.join("; "),
        );
    }
    for one in &seen.misplaced {
        findings.fail("place", one.what.as_str(), one.cure.as_str());
    }
    for one in &seen.leftovers {
        let fix =
            format!("{}; name what {} writes into a release in `mutable` or in shared_dirs", one.cure(), one.owner);
        findings.warn("leftovers", one.what(), fix);
    }
    if let Some(why) = &seen.record {
        findings.fail("record", why.as_str(), "restore .soll/record.json, or move it away and run `soll adopt`");
    }
    if let Some(why) = &seen.unfinished {
        findings.fail("conversion", why.as_str(), format!("soll adopt {}", env.name));
    }
    room(findings, seen);
    tools(findings, env, target, seen);
    permissions(findings, env, target, seen);
    repository(findings, env, seen);
    shared(findings, env, seen);
    for (owner, why) in &seen.owners {
        match why {
            None => findings.ok("owner", format!("rendered files can be given to {owner}")),
            Some(why) => findings.fail(
                "owner",
                format!("rendered files are to belong to {owner}, and {why}"),
                "deploy as a user who may, or leave out `owner` and let a group of that user read them (`mode`)",
            ),
        }
    }
    reloads(findings, env, target, seen);
    units::judge(findings, target, &Activation::drained(env, target), seen);
    match &seen.nginx {
        None => {}
        Some(Nginx::Unknown(why)) => {
            findings.unknown("nginx", format!("its configuration cannot be read: {why}"), "allow `nginx -T` with sudo, or look for `$document_root` yourself");
        }
        Some(Nginx::Read { stale }) if stale.is_empty() => {
            findings.ok("nginx", "no server gives PHP a path through `current`");
        }
        Some(Nginx::Read { stale }) => findings.warn(
            "nginx",
            format!(
                "the server with root {} tells PHP `$document_root`: the path stays the same over a switch, so OPcache and the realpath cache keep serving the old release",
                stale.join(", ")
            ),
            "use `fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;` and DOCUMENT_ROOT $realpath_root",
        ),
    }
}

/// A PHP-FPM that hooks reload: requests that are under way then must be able to end.
fn reloads(findings: &mut Findings, env: &Environment, target: &Target, seen: &Examined) {
    let values = env.values(target, None, None);
    let commands: Vec<String> = env.hooks.iter().map(|hook| fill(&hook.run, &values)).collect();
    for (unit, spares) in &seen.fpm {
        let word = |command: &String| {
            let names = |word: &str| word.trim_end_matches(".service") == unit;
            command.contains(" reload ") && command.split_whitespace().any(names)
        };
        if !commands.iter().any(word) {
            continue;
        }
        match spares {
            true => findings.ok("php-fpm", format!("a reload of {unit} lets requests under way end")),
            false => findings.warn(
                "php-fpm",
                format!("a reload of {unit} cuts off the requests that are under way: they get a 502"),
                "process_control_timeout = 30s under [global], in php-fpm.conf or in a file of pool.d; then restart it once",
            ),
        }
    }
}

/// What another user of the host could change, each with the commands that mend it.
pub fn ownership(findings: &mut Findings, exposed: &[Exposed]) {
    for one in exposed {
        let first = match one.path.split_once("/.soll") {
            Some((root, _)) => format!("read {root}/.soll/record.json first, whose commands are run; then, as root: "),
            None => "as root: ".to_owned(),
        };
        findings.fail("ownership", one.what(), format!("{first}{}", cures(std::slice::from_ref(one))));
    }
}

fn described(found: &Found) -> String {
    format!("{}:{} {:o}", found.owner, found.group, found.mode)
}

fn places(findings: &mut Findings, env: &Environment, seen: &Examined) {
    for (place, check) in seen.places.iter().zip(["root", "releases", "shared"]) {
        let path = &place.path;
        match &place.found {
            None => findings.fail(check, format!("{path} is not there"), format!("soll provision {}", env.name)),
            Some(found) if !found.directory => {
                findings.fail(check, format!("{path} is no directory"), "move it away, then `soll provision`");
            }
            Some(found) if !found.writable => findings.fail(
                check,
                format!("{path} ({}) cannot be written by {}", described(found), seen.user),
                format!("chown {} {path}, or log in as {}", seen.user, found.owner),
            ),
            Some(found) if found.mode & 0o002 != 0 => findings.warn(
                check,
                format!("{path} ({}) can be written by everybody on the host", described(found)),
                format!("chmod o-w {path}"),
            ),
            Some(found) => findings.ok(check, format!("{path} ({})", described(found))),
        }
    }
    match &seen.current {
        Current::Release(release) => findings.ok("current", format!("leads to {release}")),
        Current::Missing if !seen.foreign.is_empty() => findings.fail(
            "current",
            format!(
                "there is no `current`, and the root holds what soll did not make: {}; nothing is deployed beside it",
                seen.foreign.told()
            ),
            format!("soll adopt {} --dry-run says how it is taken over", env.name),
        ),
        Current::Missing => findings.ok("current", "nothing is deployed yet"),
        Current::Elsewhere(to) => findings.fail(
            "current",
            format!("leads to {to}, which is no directory of releases/"),
            format!("soll adopt {} says what can be done", env.name),
        ),
        Current::NotALink => findings.fail(
            "current",
            "is a file or a directory of its own, not a link",
            format!("soll adopt {} says what can be done", env.name),
        ),
    }
}

fn room(findings: &mut Findings, seen: &Examined) {
    const LITTLE: u64 = 1 << 30;
    let Some(room) = &seen.room else {
        return findings.unknown("disk", "the host does not say what is free", "look at `df` there");
    };
    let part = |free: u64, all: u64| if all == 0 { 1.0 } else { free as f64 / all as f64 };
    let free = part(room.free_bytes, room.bytes);
    let message = format!("{} of {} are free ({:.0} %)", bytes(room.free_bytes), bytes(room.bytes), free * 100.0);
    let quota = if room.quota { ", by the quota of this user" } else { "" };
    let message = format!("{message}{quota}");
    let fix =
        "make room, or lower `keep_releases`: what goes by it goes before a release is staged, where there is no room";
    match room.free_bytes {
        0..=104_857_600 => findings.fail("disk", message, fix),
        n if n < LITTLE || free < 0.05 => findings.warn("disk", message, fix),
        _ => findings.ok("disk", message),
    }
    let free = part(room.free_inodes, room.inodes);
    let message = match room.inodes {
        0 => "the file system counts no inodes".to_owned(),
        all => format!("{} of {all} inodes are free ({:.0} %)", room.free_inodes, free * 100.0),
    };
    match free {
        _ if room.inodes > 0 && room.free_inodes < 1000 => findings.fail("inodes", message, fix),
        free if free < 0.05 => findings.warn("inodes", message, fix),
        _ => findings.ok("inodes", message),
    }
    let rename = match room.noreplace {
        Some(true) => "renames that replace nothing",
        Some(false) => "no rename that replaces nothing (a directory is made first instead)",
        None => "renames that replace nothing: not known",
    };
    let copies = match room.reflink {
        Some(true) => "copies share their blocks",
        Some(false) => "copies take their room again",
        None => "copies: not tried",
    };
    findings.ok("file system", format!("{}: {rename}; {copies}", room.kind));
}

fn tools(findings: &mut Findings, env: &Environment, target: &Target, seen: &Examined) {
    for (tool, place) in &seen.tools {
        match place {
            Some(place) => findings.ok("tool", format!("{tool} is {place}")),
            None => {
                let needs = |first: bool| {
                    commands(env, target).into_iter().find(|(_, calls)| {
                        calls.iter().any(|call| (!first || call.first) && call.programs().contains(&tool.as_str()))
                    })
                };
                let fix = format!("install {tool}, or correct the command");
                if tool == "git" && seen.repository.is_some() {
                    let message = "git is not on the host's PATH, and the host fetches releases itself";
                    let fix = "install git, or leave `fetch_from = \"host\"` out of `checkout`";
                    findings.fail("tool", message, fix);
                    continue;
                }
                match (needs(true), needs(false)) {
                    (Some((who, _)), _) => {
                        findings.fail("tool", format!("{who} calls {tool}, which is not on the host's PATH"), fix)
                    }
                    (None, who) => {
                        let who = who.map_or_else(|| "a command".to_owned(), |(who, _)| who);
                        findings.warn("tool", format!("{who} may call {tool}, which is not on the host's PATH"), fix);
                    }
                }
            }
        }
    }
}

/// Whether the host reaches the repository that it fetches releases from itself.
fn repository(findings: &mut Findings, env: &Environment, seen: &Examined) {
    let place = env.repository.as_deref().map(redacted).unwrap_or_default();
    match &seen.repository {
        None => {}
        Some(Ok(said)) => findings.ok("repository", format!("{place} answers {} there: {said}", seen.user)),
        Some(Err(why)) => findings.fail(
            "repository",
            why.as_str(),
            format!(
                "give {} a key for it and its server's host key (`git ls-remote {place}` as {} must work), or leave \
                 `fetch_from = \"host\"` out of `checkout`",
                seen.user, seen.user
            ),
        ),
    }
}

/// Every configured command with `sudo` in it against what sudo allows without a password.
pub fn permissions(findings: &mut Findings, env: &Environment, target: &Target, seen: &Examined) {
    let Some(said) = &seen.sudo else { return };
    let allowed = match said {
        Ok(text) => parse(text),
        Err(why) => {
            let fix = format!("install sudo, and give {} the commands that are configured with NOPASSWD", seen.user);
            return findings.fail("sudo", format!("`sudo -n -l`: {why}"), fix);
        }
    };
    for (who, calls) in commands(env, target) {
        for words in calls.iter().filter_map(|call| call.behind_sudo()).filter(|words| !words.is_empty()) {
            let command = words.join(" ");
            let line =
                || format!("{} ALL=(root) NOPASSWD: {command}  # with the full path, in /etc/sudoers.d", seen.user);
            match ask(&allowed, words) {
                Answer::Yes => findings.ok("sudo", format!("{who}: `{command}` is allowed")),
                Answer::Password => findings.fail("sudo", format!("{who}: `{command}` wants a password"), line()),
                Answer::No(None) => {
                    findings.fail("sudo", format!("{who}: `{command}` is not allowed to {}", seen.user), line())
                }
                Answer::No(Some(near)) => findings.fail(
                    "sudo",
                    format!("{who}: `{command}` is not allowed to {}, but `{near}` is", seen.user),
                    format!("write `{near}` in the command, if that is what is installed; or allow it: {}", line()),
                ),
            }
        }
    }
}

fn shared(findings: &mut Findings, env: &Environment, seen: &Examined) {
    for fact in &seen.shared {
        let from = format!("shared/{}", fact.shared.from);
        match (&fact.found, fact.shared.directory) {
            // Where something is in the way of it, that is said as such.
            (None, true) if !seen.misplaced.is_empty() => {}
            (None, true) => findings.ok("shared path", format!("{from} will be made")),
            (None, false) => findings.fail(
                "shared path",
                format!("the file {from} is missing, and is never made empty"),
                format!("put it there, or `soll provision {} --env-file FILE`", env.name),
            ),
            (Some(found), directory) if found.directory != directory => {
                let (is, wants) = if directory { ("a file", "directory") } else { ("a directory", "file") };
                findings.fail(
                    "shared path",
                    format!("{from} is {is}"),
                    format!("a {wants} is configured: correct either"),
                );
            }
            (Some(found), false) if found.mode & 0o004 != 0 && from.ends_with(".env") => findings.warn(
                "shared path",
                format!("{from} ({}) can be read by everybody on the host", described(found)),
                format!("chmod o= {from}"),
            ),
            (Some(found), _) => findings.ok("shared path", format!("{from} ({})", described(found))),
        }
    }
    let is_rendered = env.env_file().is_some_and(|file| env.rendered(&file.from).is_some());
    if env.required_env.is_empty() || is_rendered {
        return;
    }
    let file = env.env_file().map_or_else(|| "the environment file".to_owned(), |file| format!("shared/{}", file.from));
    if seen.missing_env.is_empty() {
        findings.ok("variables", format!("{file} sets all {} that are required", env.required_env.len()));
    } else {
        findings.fail(
            "variables",
            format!("{file} does not set {}", seen.missing_env.join(", ")),
            "add what is missing",
        );
    }
}

/// The controller's secrets against those of the host's environment file (C5). Neither leaves its machine.
pub fn tokens(findings: &mut Findings, word: &AcceptedSnapshot, env: &Environment, asked: &Examine, seen: &Examined) {
    for name in &asked.tokens {
        let purpose = Purpose { wanted: Use::Health, environment: Some(&env.name), url: None };
        // Which version of it is sent, the checks say.
        let is_of = |sent: &&str| rendered::secret(sent).is_some_and(|(base, _)| base == name);
        let sent = bearers(env).map(|(sent, _)| sent).find(is_of).unwrap_or(name);
        let Ok(secret) = word.secrets().get(sent, &purpose) else { continue };
        let file =
            env.env_file().map_or_else(|| "an environment file".to_owned(), |file| format!("shared/{}", file.from));
        match seen.tokens.get(name) {
            None => findings.unknown(
                "token",
                format!("{file} sets no {name}, so it cannot be compared with the controller's secret"),
                "call the secret like the variable, if the application has one",
            ),
            Some(there) if *there == keyed(&asked.nonce, secret.expose()) => {
                findings.ok("token", format!("{name} is the same in {file} and on the controller"));
            }
            Some(_) => findings.fail(
                "token",
                format!("P1: {name} in {file} is another one than the controller's: checks would be refused"),
                format!("set SOLL_SECRET_{name} (or its file) to what the host has, or change it there"),
            ),
        }
    }
}
