//! The application's user does not become the agent's: what it could have written is not acted on, and the commands that
//! `doctor` shows make the root usable again with nothing lost.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use soll::model::ids::{Digest, Epoch};
use soll::model::record::{Probation, QuarantineKey, Record};

use super::{give, mend, take};
use crate::support::world::{World, env, until};

/// An environment whose last two releases are `a` and, live, `b`.
fn deployed() -> World {
    let w = World::staging("");
    w.edit("release = \"<a>\"", "release = \"<b>\"");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    w
}

/// The record as a user of the host would like it: the live release on probation, its lease long over, with a command to
/// run on the way back.
fn forged(w: &World) -> Vec<u8> {
    let text = w.read("staging/.soll/record.json");
    let mut record: Record = serde_json::from_str(&text).unwrap();
    let live = record.confirmed.clone().unwrap();
    let names: Vec<_> = record.releases.keys().cloned().collect();
    let before = names.into_iter().find(|name| *name != live.release).unwrap();
    let (mut confirmed, sha) = (live.clone(), live.sha.clone().unwrap());
    confirmed.release = before.clone();
    confirmed.sha = record.releases[&before].sha.clone();
    record.confirmed = Some(confirmed);
    let key = QuarantineKey { sha: sha.clone(), bundle: None, config: Digest::of(b"x"), files: Digest::of(b"x") };
    record.probation = Some(Probation {
        release: live.release,
        sha,
        back_to: Some(before),
        epoch: Epoch(record.epoch.0),
        armed_at: Timestamp::UNIX_EPOCH,
        lease: Duration::from_secs(1),
        key,
        rollback: vec![soll::model::record::Command {
            name: "planted".to_owned(),
            run: format!("id -un > {}", w.path("pwned").display()),
            env: std::collections::BTreeMap::new(),
            timeout: Duration::from_secs(10),
            hides: vec![],
        }],
        activation: Default::default(),
        returning: false,
        watched: None,
    });
    serde_json::to_vec(&record).unwrap()
}

fn put(w: &World, record: &[u8]) {
    fs::write(w.path("staging/.soll/record.json"), record).unwrap();
    let _ = fs::remove_file(w.path("staging/.soll/heard"));
}

/// Every command that reaches a host, refused, without a trace of the planted command.
#[track_caller]
fn refuses(w: &World, what: &str) {
    let said = w.soll("plan").exits(6);
    assert!(said.stdout.contains("nothing was done"), "{what}: {}", said.stdout);
    let link = w.release("staging");
    for line in
        ["apply", "stop staging", "retry staging", "preflight staging", "adopt staging", "status", "why staging"]
    {
        let ran = w.soll(line);
        let told = ["status", "why staging"].contains(&line);
        assert!(told || ran.exit != 0, "{what}: soll {line} exits with {}: {}", ran.exit, ran.stdout);
        assert!(!w.path("pwned").exists(), "{what}: soll {line} ran the planted command");
    }
    assert_eq!(w.release("staging"), link, "{what}");
}

#[test]
fn a_planted_record_is_acted_on_only_where_the_agent_wrote_it() {
    let w = deployed();
    let (good, evil) = (fs::read(w.path("staging/.soll/record.json")).unwrap(), forged(&w));
    // The control: in the agent's own record this very command is run.
    put(&w, &evil);
    w.soll("apply");
    assert!(w.path("pwned").exists(), "the forged record is no exploit");
    fs::remove_file(w.path("pwned")).unwrap();

    // `provision --owner www-data` of the version before gave all of this away.
    put(&w, &evil);
    for path in ["staging", "staging/releases", "staging/.soll", "staging/.soll/record.json"] {
        give(&w.path(path));
    }
    refuses(&w, "a root of the application's user");
    let doctor = w.soll("doctor staging --output json").exits(1);
    for path in ["staging", "staging/releases", "staging/.soll"] {
        let path = w.path(path).display().to_string();
        assert!(doctor.stdout.contains(&format!("{path} (www-data:www-data 7")), "{path}: {}", doctor.stdout);
    }
    assert!(mend(&doctor) >= 4);
    // What a person found in the record when reading it, as the fix says.
    put(&w, &good);
    assert_eq!(w.soll("doctor staging --output json").json().to_string().matches("\"ownership\"").count(), 0);
    w.soll("apply").exits(0);
    w.edit("release = \"<b>\"", "release = \"<a>\"");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
    assert!(!w.path("pwned").exists());
}

#[test]
fn each_way_into_the_record_is_closed_alone() {
    let w = deployed();
    let (good, evil) = (fs::read(w.path("staging/.soll/record.json")).unwrap(), forged(&w));
    let mode = |path: &str, mode: u32| {
        fs::set_permissions(w.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    type Plant<'a> = (&'a str, &'a dyn Fn());
    let ways: &[Plant<'_>] = &[
        ("ROOT belongs to the application", &|| give(&w.path("staging"))),
        ("the group may write ROOT", &|| mode("staging", 0o2775)),
        ("everybody may write ROOT", &|| mode("staging", 0o757)),
        ("releases/ belongs to the application", &|| give(&w.path("staging/releases"))),
        ("the group may write releases/", &|| mode("staging/releases", 0o775)),
        (".soll belongs to the application", &|| give(&w.path("staging/.soll"))),
        ("the group may write .soll", &|| mode("staging/.soll", 0o770)),
        ("everybody may write .soll, and it is sticky", &|| mode("staging/.soll", 0o1777)),
        ("the record belongs to the application", &|| give(&w.path("staging/.soll/record.json"))),
        ("the group may write the record", &|| mode("staging/.soll/record.json", 0o660)),
        ("everybody may write the record", &|| mode("staging/.soll/record.json", 0o602)),
        ("the record has another name", &|| {
            fs::hard_link(w.path("staging/.soll/record.json"), w.path("another-name")).unwrap();
        }),
    ];
    for (what, plant) in ways {
        put(&w, &evil);
        plant();
        refuses(&w, what);
        let doctor = w.soll("doctor staging --output json").exits(1);
        assert!(mend(&doctor) > 0, "{what}");
        put(&w, &good);
        let healed = w.soll("doctor staging --output json").json().to_string();
        assert!(!healed.contains("\"ownership\""), "{what}: {healed}");
        w.soll("apply").exits(0);
        assert!(!w.path("pwned").exists(), "{what}");
    }
    // A sticky ROOT that all may write keeps everybody from renaming what belongs to the agent.
    mode("staging", 0o1777);
    w.soll("apply").exits(0);
}

/// The mask of an access list stands where the group's bits were, which is what is looked at.
#[test]
fn an_access_list_is_seen_and_the_command_that_is_shown_closes_it() {
    let w = deployed();
    // Version 2; user rwx, www-data rwx, group r-x, mask rwx, others r-x.
    let entry =
        |tag: u16, perm: u16, id: u32| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 7, u32::MAX),
        entry(2, 7, super::APPLICATION),
        entry(4, 5, u32::MAX),
        entry(0x10, 7, u32::MAX),
        entry(0x20, 5, u32::MAX),
    ]
    .concat();
    let set =
        rustix::fs::setxattr(w.path("staging"), "system.posix_acl_access", &list, rustix::fs::XattrFlags::empty());
    if set == Err(rustix::io::Errno::OPNOTSUPP) {
        return;
    }
    set.unwrap();
    w.soll("plan").exits(6).says("or an access list, may write it");
    assert_eq!(mend(&w.soll("doctor staging --output json").exits(1)), 1);
    w.soll("apply").exits(0);
}

#[test]
fn nothing_of_ours_is_taken_through_a_link_or_from_a_pipe() {
    let w = deployed();
    let evil = forged(&w);
    // A directory of the agent's own, elsewhere, with a record that it would believe: only the link is wrong.
    fs::rename(w.path("staging/.soll"), w.path("aside")).unwrap();
    Command::new("cp").arg("-a").args([w.path("aside"), w.path("elsewhere")]).status().unwrap();
    fs::write(w.path("elsewhere/record.json"), &evil).unwrap();
    symlink(w.path("elsewhere"), w.path("staging/.soll")).unwrap();
    refuses(&w, ".soll is a link");
    fs::remove_file(w.path("staging/.soll")).unwrap();
    fs::rename(w.path("aside"), w.path("staging/.soll")).unwrap();

    let record = w.path("staging/.soll/record.json");
    let good = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    symlink(w.path("elsewhere/record.json"), &record).unwrap();
    refuses(&w, "the record is a link");
    fs::remove_file(&record).unwrap();
    // Whoever opens it and waits for a writer waits for ever.
    rustix::fs::mkfifoat(rustix::fs::CWD, &record, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    refuses(&w, "the record is a pipe");
    fs::remove_file(&record).unwrap();
    fs::write(&record, good).unwrap();
    w.soll("apply").exits(0);

    // A link in the layout is the administrator's where the administrator made it, and nobody's else.
    fs::rename(w.path("staging/releases"), w.path("disk")).unwrap();
    symlink(w.path("disk"), w.path("staging/releases")).unwrap();
    w.soll("apply").exits(0);
    give(&w.path("staging/releases"));
    w.soll("plan").exits(6).says("is a link that belongs to www-data");
    give(&w.path("disk"));
    std::os::unix::fs::lchown(w.path("staging/releases"), Some(0), Some(0)).unwrap();
    w.soll("plan").exits(6).says("belongs to www-data");
    take(&w.path("disk"));
    w.soll("apply").exits(0);
}

/// Who may write above ROOT puts another ROOT in its place while the agent is at work: everything that it reads
/// afterwards is judged again.
#[test]
fn a_root_that_is_exchanged_under_the_agent_is_not_believed() {
    let mut w = deployed();
    let evil = forged(&w);
    Command::new("cp").arg("-a").args([w.path("staging"), w.path("theirs")]).status().unwrap();
    fs::write(w.path("theirs/.soll/record.json"), &evil).unwrap();
    let _ = fs::remove_file(w.path("theirs/.soll/heard"));
    for path in ["theirs", "theirs/releases", "theirs/.soll", "theirs/.soll/record.json"] {
        give(&w.path(path));
    }
    w.edit("release = \"<b>\"", "release = \"<a>\"");
    w.set("SOLL_FAULT", "stop:host.acquire.after-lock");
    let apply = w.start("apply", "log");
    let root = w.path("staging");
    let stopped = until("the agent stands still with the lock", || {
        let here = |pid: &str| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let state = stat.rsplit_once(") ")?.1.chars().next()?;
            let holds = fs::read_to_string(root.join(".soll/lock")).ok()?;
            (state == 'T' && holds.contains(&format!("\"pid\":{pid}"))).then(|| pid.parse::<i32>().unwrap())
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| here(entry.file_name().to_str()?)).next()
    });
    fs::rename(&root, w.path("ours")).unwrap();
    fs::rename(w.path("theirs"), &root).unwrap();
    let pid = rustix::process::Pid::from_raw(stopped).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let code = apply.wait();
    assert!(code != Some(0), "{}", w.read("log"));
    assert!(!w.path("pwned").exists(), "the planted command was run: {}", w.read("log"));
    assert_eq!(fs::read(w.path("staging/.soll/record.json")).unwrap(), evil, "and nothing was written there");
}

#[test]
fn a_new_root_is_right_at_once_whatever_the_umask() {
    for umask in ["000", "077", "002"] {
        let mut w = World::with(
            &env("staging", 'a', "root = \"$DIR/srv/www/staging\"").replace("root = \"$DIR/staging\"\n", ""),
        );
        let script = format!("umask {umask}; exec \"$@\"");
        w.inside = ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
        w.soll("apply").exits(0);
        let mode = |path: &str| fs::metadata(w.path(&format!("srv/www/{path}"))).unwrap().permissions().mode() & 0o7777;
        for path in ["", "staging", "staging/releases", "staging/shared"] {
            assert_eq!(mode(path), 0o755, "umask {umask}: {path}");
        }
        for path in ["", "/manifests", "/incoming", "/staging", "/trash"] {
            assert_eq!(mode(&format!("staging/.soll{path}")), 0o700, "umask {umask}: .soll{path}");
        }
        for file in fs::read_dir(w.path("srv/www/staging/.soll")).unwrap().flatten() {
            let meta = file.metadata().unwrap();
            assert!(meta.is_dir() || meta.permissions().mode() & 0o022 == 0, "umask {umask}: {:?}", file.path());
        }
        w.soll("plan --detailed-exitcode").exits(0);
    }
}

/// A checkout of the application's user is not converted until ROOT is the agent's, and then it is, data and all.
#[test]
fn a_checkout_of_the_application_is_adopted_after_the_commands_that_are_shown() {
    let w = World::with(&env("staging", 'a', "shared_dirs = [\"storage\"]"));
    w.write("staging/index.html", "live");
    w.write("staging/storage/rows", "rows");
    for path in ["staging", "staging/index.html", "staging/storage", "staging/storage/rows"] {
        give(&w.path(path));
    }
    for line in ["adopt staging --dry-run", "adopt staging"] {
        w.soll(line).exits(1).says(&format!("chown root {}", w.path("staging").display()));
        assert!(!w.path("staging/.soll").exists() && !w.path("staging/releases").exists(), "{line}");
    }
    assert_eq!(mend(&w.soll("adopt staging --dry-run --output json").exits(1)), 1);
    w.soll("adopt staging").exits(0);
    assert_eq!(w.read("staging/current/storage/rows"), "rows");
    let rows = fs::metadata(w.path("staging/shared/storage/rows")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&rows), super::APPLICATION, "the application's data stay its own");
}

/// Where the directory above is another user's, ROOT is still judged by itself; `doctor` says what that user could do.
#[test]
fn a_directory_above_that_others_may_write_is_told() {
    let w = World::with(&env("staging", 'a', "root = \"$DIR/www/staging\"").replace("root = \"$DIR/staging\"\n", ""));
    w.soll("apply").exits(0);
    give(&w.path("www"));
    w.soll("apply").exits(0);
    let doctor = w.soll("doctor staging");
    doctor
        .says("another root could be put in this one's place")
        .says(&format!("chown root {}", w.path("www").display()));
}
