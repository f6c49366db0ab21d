//! Keys as people and CI give them: the text where a file's name was expected, bent on its way through a secret store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use base64ct::{Base64, Encoding};

use crate::ssh::server::{Sshd, keygen, me, world};
use crate::support::world::World;

/// No line of the key, and no run of it that somebody could use, is in what was printed or lies below the world.
fn hides(world: &World, ran: crate::support::world::Ran, key: &str) {
    let all = format!("{}\n{}", ran.stdout, ran.stderr);
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!all.contains(line.get(..24).unwrap_or(line)), "a part of the key is printed:\n{all}");
    }
    let found = Command::new("grep").args(["-rlF", key.lines().nth(1).unwrap()]).arg(world.path("ctl")).output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "", "the key is on the disk");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_text_of_a_key_was_printed_into_the_pull_request() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let key = text(&world.path("key"));
    fs::remove_file(world.path("key")).unwrap();
    let base64 = Base64::encode_string(key.as_bytes());
    for bent in [
        key.clone(),
        key.trim_end().to_owned(),
        key.replace('\n', "\r\n"),
        key.replace('\n', " "),
        key.replace('\n', "\\n"),
        format!("\"{key}\""),
        base64.clone(),
        base64.as_bytes().chunks(76).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect(),
    ] {
        world.set("SOLL_SSH_KEY", &bent);
        hides(&world, world.soll("plan staging --output markdown").exits(0), &key);
    }
    hides(&world, world.soll("apply").exits(0), &key);
    assert_eq!(world.runs("staging"), "a");
    for line in ["status", "doctor", "preflight staging", "history"] {
        hides(&world, world.soll(line), &key);
    }
    // The same key refused: the host's error names the setting.
    keygen(&world.path("other"), &["ed25519"], "");
    sshd.allow(&world.path("other"));
    for line in ["plan staging --output markdown", "plan staging --output json", "status", "doctor", "apply"] {
        hides(&world, world.soll(line).says("refuses the text in SOLL"), &key);
    }
    hides(&world, world.soll("plan staging").exits(6).says("refuses the text in SOLL_SSH_KEY (SHA256:"), &key);
}

#[test]
fn what_is_no_private_key_is_told_by_its_name() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let (key, public) = (text(&world.path("key")), text(&sshd.path("key.pub")));
    fs::copy(sshd.path("key.pub"), world.path("key.pub")).unwrap();
    keygen(&world.path("closed"), &["rsa", "-b", "2048", "-m", "PEM"], "correct horse");
    let pem = text(&world.path("closed")).replace("AES-128-CBC", "DES-EDE3-CBC");
    let known = sshd.known("ed25519");
    for (given, said) in [
        (public.as_str(), "is a public half (ssh-ed25519)"),
        (known.as_str(), "known_hosts"),
        (&key[..200], "is cut off"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "is cut off"),
        (&key.replacen("AAAA", "A…A", 1), "is damaged"),
        (pem.as_str(), "`ssh-keygen -p -f KEY`"),
        ("PuTTY-User-Key-File-3: ssh-ed25519 Encryption: none", "puttygen"),
        (key.lines().nth(1).unwrap(), "SOLL_SSH_KEY"),
    ] {
        world.set("SOLL_SSH_KEY", given);
        world.soll("plan staging").exits(6).says(said).says("SOLL_SSH_KEY").hides(&given[given.len() / 2..]);
        world.write("bent", given);
        world.set("SOLL_SSH_KEY", "$DIR/bent");
        let ran = world.soll("plan staging").exits(6).says(&world.path("bent").display().to_string());
        hides(&world, ran, &key);
    }
    world.set("SOLL_SSH_KEY", "$DIR/key.pub");
    world.soll("plan staging").exits(6).says(&format!("is a public half: name {}", world.path("key").display()));
}

#[test]
fn keys_of_other_programs_are_read_or_told_how_to_rewrite() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let key = world.path("key").display().to_string();
    let run = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).current_dir(world.path("")).output().unwrap();
        assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run("puttygen", &[&key, "-O", "private", "-o", "putty.ppk"]);
    run("puttygen", &[&key, "-O", "private", "--ppk-param", "version=2", "-o", "putty2.ppk"]);
    fs::write(world.path("word"), "correct horse").unwrap();
    run("puttygen", &[&key, "-O", "private", "--new-passphrase", "word", "-o", "closed.ppk"]);
    for form in ["PEM", "PKCS8"] {
        for (name, kind) in [("rsa", &["rsa", "-b", "2048"][..]), ("ec", &["ecdsa", "-b", "256"])] {
            keygen(&world.path(&format!("{name}.{form}")), &[kind, &["-m", form]].concat(), "");
            keygen(&world.path(&format!("{name}.closed.{form}")), &[kind, &["-m", form]].concat(), "correct horse");
        }
    }
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "correct horse", "-f", "closed"]);
    for name in ["putty.ppk", "putty2.ppk", "rsa.PEM", "rsa.PKCS8", "ec.PEM", "ec.PKCS8"] {
        if !name.ends_with("ppk") {
            let public = Command::new("ssh-keygen").arg("-y").arg("-f").arg(world.path(name)).output().unwrap();
            fs::write(sshd.path("authorized"), public.stdout).unwrap();
        }
        world.set("SOLL_SSH_KEY", &format!("$DIR/{name}"));
        world.soll("plan staging").exits(0);
        world.set("SOLL_SSH_KEY", &text(&world.path(name)));
        world.soll("plan staging").exits(0);
    }
    for name in ["closed", "closed.ppk", "rsa.closed.PEM", "rsa.closed.PKCS8", "ec.closed.PEM", "ec.closed.PKCS8"] {
        world.set("SOLL_SSH_PASSPHRASE", "");
        world.set("SOLL_SSH_KEY", &format!("$DIR/{name}"));
        let said = world.soll("plan staging").exits(6);
        let cure = ["encrypted: set SOLL_SSH_PASSPHRASE", "`ssh-keygen -p -f KEY`"];
        assert!(cure.iter().any(|cure| said.stderr.contains(cure) || said.stdout.contains(cure)), "{name}");
        if name == "ec.closed.PEM" {
            continue;
        }
        let public =
            Command::new("ssh-keygen").args(["-y", "-P", "correct horse", "-f"]).arg(world.path(name)).output();
        let public = if name.ends_with("ppk") { text(&sshd.path("key.pub")).into() } else { public.unwrap().stdout };
        fs::write(sshd.path("authorized"), public).unwrap();
        world.set("SOLL_SSH_PASSPHRASE", "wrong horse");
        world.soll("plan staging").exits(6).says("does not open it");
        world.set("SOLL_SSH_PASSPHRASE", "correct horse");
        world.soll("plan staging").exits(0).hides("correct horse");
    }
}

#[test]
fn git_over_ssh_gets_the_key_that_is_only_a_text() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let state = world.path("state").display().to_string();
    let bundles = format!("file://{}/bundles", state);
    let file = world.read("state/desired-state.toml");
    // A remote repository has no files beside it.
    world.commit(&file.replace("\"bundles/", &format!("\"{bundles}/")));
    world.git(&["config", "receive.denyCurrentBranch", "ignore"]);
    world.set("SOLL_REPO", &format!("ssh://{}@127.0.0.1:{}{state}", me(), sshd.port));
    let key = text(&world.path("key"));
    let (rsa, closed) = (world.path("rsa"), world.path("closed"));
    keygen(&rsa, &["rsa", "-b", "2048"], "");
    keygen(&closed, &["ed25519"], "correct horse");
    let mut all = text(&sshd.path("key.pub"));
    for more in [&rsa, &closed] {
        all.push_str(&text(&more.with_extension("pub")));
    }
    fs::write(sshd.path("authorized"), all).unwrap();
    world.soll("plan staging").exits(0);
    fs::set_permissions(world.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    world.soll("plan staging").exits(0);
    fs::remove_file(world.path("key")).unwrap();
    for given in [key.clone(), Base64::encode_string(key.as_bytes()), text(&rsa), text(&rsa).replace('\n', " ")] {
        world.set("SOLL_SSH_KEY", &given);
        hides(&world, world.soll("plan staging").exits(0), &key);
    }
    world.set("SOLL_SSH_KEY", "$DIR/closed");
    world.soll("plan staging").says("SOLL_SSH_PASSPHRASE");
    world.set("SOLL_SSH_PASSPHRASE", "correct horse");
    world.soll("plan staging").exits(0);
    // What is edited is pushed with the same key, and signed with one that is a text, too.
    world.set("SOLL_SSH_KEY", &key);
    world.set("SOLL_SIGNING_KEY", &key.replace('\n', "\\n"));
    hides(&world, world.soll("freeze staging --reason incident").exits(0), &key);
    assert!(world.git(&["cat-file", "commit", "main"]).contains("gpgsig -----BEGIN SSH SIGNATURE-----"));
    // Nothing of it stays behind.
    world.set("SOLL_SSH_KEY", "-----BEGIN OPENSSH PRIVATE KEY-----");
    world.soll("plan staging").exits(1).says("the key cannot be used: the text in SOLL_SSH_KEY is cut off");
}

#[test]
fn a_key_in_any_other_setting_is_not_shown() {
    let sshd = Sshd::new("");
    let mut world = world(&sshd);
    let key = text(&world.path("key"));
    let base64 = Base64::encode_string(key.as_bytes());
    world.set("SOLL_SIGNING_KEY", &text(&sshd.path("key.pub")));
    world.soll("freeze staging --reason x").exits(1).says("is a public half").says("the text in SOLL_SIGNING_KEY");
    world.set("SOLL_SIGNING_KEY", "");
    world.write("config.toml", "");
    let usual = [
        ("SOLL_STATE_DIR", "$DIR/ctl"),
        ("SOLL_REPO", "$DIR/state"),
        ("SOLL_KNOWN_HOSTS", "$DIR/known_hosts"),
        ("SOLL_SSH_CONFIG", "$DIR/ssh_config"),
        ("SOLL_CONFIG", "$DIR/config.toml"),
        ("SOLL_BRANCH", "main"),
    ];
    for name in [
        "SOLL_KNOWN_HOSTS",
        "SOLL_SSH_CONFIG",
        "SOLL_ALLOWED_SIGNERS",
        "SOLL_SECRETS_DIR",
        "SOLL_STATE_DIR",
        "SOLL_CONFIG",
        "SOLL_REPO",
        "SOLL_BRANCH",
    ] {
        for given in [&key, &base64] {
            world.set(name, given);
            hides(&world, world.soll("plan staging").exits(1).says(name).says("not shown"), &key);
        }
        let usual = usual.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
        world.set(name, usual);
    }
    for line in [format!("ssh_kye = '''{key}'''"), format!("signing_key = {base64}"), format!("poll = \"{base64}\"")] {
        world.write("config.toml", &line);
        hides(&world, world.soll("plan staging").exits(1), &key);
        hides(&world, world.soll("plan staging").exits(1).hides(&base64[40..80]), &key);
    }
    world.set("SOLL_SSH_KEY", "");
    world.write("config.toml", &format!("ssh_key = '''{key}'''"));
    hides(&world, world.soll("plan staging").exits(0), &key);
}
