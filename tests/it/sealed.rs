//! Secrets in encrypted files of the state repository: files of the real age, and files of SOPS opened by a stand-in for its
//! program. They are for whom the commit says, they are opened for accepted commits alone, and none of them is shown.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::answers::Web;
use crate::support::world::{APP, Ran, World, env};

const KEY: &str = "k3y-sealed-Bd19-secret";
const OTHER: &str = "0ther-sealed-Pw82-secret";
const THIRD: &str = "th1rd-sealed-Lm46-secret";

/// What an environment needs for a rendered `.env`.
fn files(name: &str) -> String {
    format!(
        "shared_files = [\".env\"]\n[[environments.{name}.files]]\npath = \".env\"\ntemplate = \"env/app.env\"\nmode = \"0640\"\n"
    )
}

/// A world whose controller has the identity `ann`.
fn world() -> World {
    let mut w = World::with("");
    keygen(&w, "ann");
    w.set("SOLL_AGE_IDENTITY", "$DIR/ann.key");
    w.write("state/env/app.env", "APP_KEY={secret:APP_KEY}\n");
    w
}

/// A state with this line at its top and one environment, `staging`.
fn state(line: &str, more: &str) -> String {
    let app = APP.replacen("schema = 1\n", &format!("schema = 1\n{line}\n"), 1);
    format!("{app}{}", env("staging", 'a', &format!("{more}{}", files("staging"))))
}

fn keygen(w: &World, name: &str) {
    let made = w.program("age-keygen").arg("-o").arg(w.path(&format!("{name}.key"))).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Encrypts for these identities, to a file of the state repository.
fn seal(w: &World, to: &[&str], options: &[&str], path: &str, text: &str) {
    let mut age = w.program("age");
    age.args(options).arg("-o").arg(w.path(&format!("state/{path}")));
    for name in to {
        let public = w.program("age-keygen").arg("-y").arg(w.path(&format!("{name}.key"))).output().unwrap();
        age.arg("-r").arg(String::from_utf8(public.stdout).unwrap().trim());
    }
    let _ = fs::remove_file(w.path(&format!("state/{path}")));
    let mut child = age.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// One environment that runs with a secret of an age file.
fn settled() -> World {
    let w = world();
    seal(&w, &["ann"], &["-a"], "production.age", &format!("# of the web\nAPP_KEY={KEY}\n"));
    w.commit(&state("secrets = [\"production.age\"]", ""));
    w.soll("apply").exits(0).hides(KEY);
    w
}

fn live(w: &World, name: &str) -> String {
    w.read(&format!("{name}/current/.env"))
}

fn hides(ran: Ran) -> Ran {
    ran.hides(KEY).hides(OTHER).hides(THIRD)
}

/// All that this controller and its hosts keep, the place of the file itself aside.
fn kept(w: &World, dir: &str) -> String {
    let mut found = String::new();
    let mut open = vec![w.path(dir)];
    while let Some(path) = open.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            found.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn a_secret_of_an_encrypted_file_is_rendered_and_shown_nowhere() {
    let w = settled();
    assert_eq!(live(&w, "staging"), format!("APP_KEY={KEY}\n"));
    hides(w.soll("plan --detailed-exitcode")).exits(0);
    // Another value, in a binary file, for several people.
    keygen(&w, "eve");
    seal(&w, &["eve", "ann"], &[], "production.age", &format!("APP_KEY={OTHER}\n"));
    w.commit_all("another value");
    hides(w.soll("plan --detailed-exitcode")).exits(2).says("changed APP_KEY");
    hides(w.soll("apply")).exits(0);
    assert_eq!(live(&w, "staging"), format!("APP_KEY={OTHER}\n"));
    hides(w.soll("plan --detailed-exitcode")).exits(0);
    // Encrypted anew, with the same contents: no change of what runs.
    seal(&w, &["ann"], &["-a"], "production.age", &format!("APP_KEY={OTHER}\n"));
    w.commit_all("encrypted anew");
    w.soll("plan --detailed-exitcode").exits(0);
    for line in ["history", "show last", "status --output json", "why staging", "diff staging", "doctor"] {
        hides(w.soll(line));
    }
    for dir in ["ctl", "staging/.soll", "state"] {
        let all = kept(&w, dir);
        assert!(!all.is_empty() && !all.contains(KEY) && !all.contains(OTHER), "{dir}");
    }
}

/// Both versions are there; the state file says which one is used, and the old one goes when nothing names it.
#[test]
fn a_secret_is_renewed_beside_the_old_one() {
    let w = settled();
    seal(&w, &["ann"], &["-a"], "production.age", &format!("APP_KEY={KEY}\nAPP_KEY@2={OTHER}\n"));
    w.commit_all("the new one beside the old one");
    w.soll("plan --detailed-exitcode").exits(0);
    w.write("state/env/app.env", "APP_KEY={secret:APP_KEY@2}\n");
    w.commit_all("the new one is used");
    hides(w.soll("apply")).exits(0);
    assert_eq!(live(&w, "staging"), format!("APP_KEY={OTHER}\n"));
    seal(&w, &["ann"], &["-a"], "production.age", &format!("APP_KEY__2={OTHER}\n"));
    w.commit_all("the old one is gone");
    w.soll("plan --detailed-exitcode").exits(0);
}

/// Each environment has the secrets of its own files: under one name, and none of another.
#[test]
fn a_file_is_for_the_environments_that_the_state_file_says() {
    let w = world();
    fs::create_dir_all(w.path("state/environments")).unwrap();
    seal(&w, &["ann"], &["-a"], "staging.age", &format!("APP_KEY={KEY}\n"));
    seal(&w, &["ann"], &[], "production.age", &format!("APP_KEY={OTHER}\n"));
    seal(&w, &["ann"], &["-a"], "environments/acme.age", &format!("APP_KEY={THIRD}\n"));
    let bound = "include = [\"environments/*.toml\"]\nsecrets = [{ file = \"staging.age\", environments = [\"stag*\"] }, { file = \"production.age\", environments = [\"production\"] }]";
    let both = format!("{}{}", state(bound, ""), env("production", 'a', &files("production")));
    let own = files("acme").replace("env/app.env", "app.env");
    w.write("state/environments/app.env", "APP_KEY={secret:APP_KEY}\n");
    w.write("state/environments/acme.toml", &env("acme", 'a', &format!("secrets = [\"acme.age\"]\n{own}")));
    w.commit(&both);
    hides(w.soll("apply")).exits(0);
    for (name, value) in [("staging", KEY), ("production", OTHER), ("acme", THIRD)] {
        assert_eq!(live(&w, name), format!("APP_KEY={value}\n"), "{name}");
    }
    // A commit that is wrong in the file of one customer leaves that one with the secrets that it had.
    seal(&w, &["ann"], &["-a"], "environments/acme.age", &format!("APP_KEY={OTHER}\n"));
    w.write(
        "state/environments/acme.toml",
        &env("acme", 'a', &format!("secrets = [\"acme.age\"]\nmistake = 1\n{own}")),
    );
    w.commit_all("a mistake");
    hides(w.soll("plan --detailed-exitcode")).exits(0).says("mistake");
    w.write("state/environments/acme.toml", "");
    w.edit("environments = [\"production\"]", "environments = [\"nobody\"]");
    w.soll("validate").exits(0).says("no environment `nobody`");
    w.edit("environments = [\"nobody\"]", "environments = [\"stag*\"]");
    w.commit_all("production has none, staging two");
    let said = hides(w.soll("apply")).exits(1);
    said.says("staging.age and production.age both hold APP_KEY").says("which this controller does not have");
}

/// What the controller has itself goes before, the tables of the settings hold for both, and doctor says what is not used.
#[test]
fn the_settings_are_above_the_files() {
    let mut w = settled();
    w.soll("doctor").says("production.age can be opened: 1 in it").says("can be used: 1 in it");
    w.set("SOLL_SECRET_APP_KEY", THIRD);
    hides(w.soll("doctor")).says("APP_KEY of production.age is not used");
    hides(w.soll("apply")).exits(0);
    assert_eq!(live(&w, "staging"), format!("APP_KEY={THIRD}\n"));
    w.set("SOLL_SECRET_APP_KEY__9", "unused");
    w.set("SOLL_SECRET_APP_KEY", "");
    w.soll("apply").exits(1).says("APP_KEY").says("empty");
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", "[secrets.APP_KEY]\nenvironments = [\"prod*\"]\n");
    hides(w.soll("apply")).exits(1).says("do not give to the environment staging");
    fs::set_permissions(w.path("ann.key"), fs::Permissions::from_mode(0o644)).unwrap();
    w.soll("doctor").says("everybody on this machine may read").says("ann.key");
}

/// Each thing that can be wrong is told with the file, and what to do; never with a value.
#[test]
fn what_cannot_be_opened_says_why() {
    let mut w = settled();
    let tried = |w: &mut World, identity: &str, text: Option<&str>, said: &str| {
        w.set("SOLL_AGE_IDENTITY", identity);
        if let Some(text) = text {
            seal(w, &["ann"], &["-a"], "production.age", text);
            w.commit_all("another file");
        }
        let ran = hides(w.soll("apply")).exits(1).says("P0").says("production.age").says(said);
        hides(w.soll("doctor")).says(said);
        drop(ran);
        assert_eq!(live(w, "staging"), format!("APP_KEY={KEY}\n"), "what ran before still does");
    };
    keygen(&w, "eve");
    // Another secret is wanted, so that there is something to do.
    w.write("state/env/app.env", "APP_KEY={secret:APP_KEY@2}\n");
    w.commit_all("renewed");
    tried(&mut w, "$DIR/ann.key", None, "and production.age neither");
    tried(&mut w, "", None, "SOLL_AGE_IDENTITY");
    tried(&mut w, "$DIR/eve.key", None, "for other keys than those of this controller");
    tried(&mut w, "$DIR/nobody.key", None, "nobody.key cannot be read");
    w.write("broken.key", "AGE-SECRET-KEY-1QQQQ\n");
    tried(&mut w, "$DIR/broken.key", None, "line 1 that is damaged");
    tried(&mut w, "$DIR/ann.key", Some(&format!("A={OTHER}\nA={THIRD}\n")), "holds A twice, the second time in line 2");
    tried(&mut w, "$DIR/ann.key", Some(&format!("{OTHER}\n")), "something else than NAME=value in line 1");
    tried(&mut w, "$DIR/ann.key", Some(&format!("small={OTHER}\n")), "not the name of a secret");
    // Cut off in the middle of its contents, as a binary file can be.
    seal(&w, &["ann"], &[], "production.age", &format!("APP_KEY={OTHER}\n"));
    let whole = fs::read(w.path("state/production.age")).unwrap();
    fs::write(w.path("state/production.age"), &whole[..whole.len() - 5]).unwrap();
    w.commit_all("cut off");
    tried(&mut w, "$DIR/ann.key", None, "damaged or cut off");
    // The text of an identity will do, and is shown by nobody.
    fs::write(w.path("state/production.age"), &whole).unwrap();
    w.write("state/env/app.env", "APP_KEY={secret:APP_KEY}\n");
    w.commit_all("whole again");
    let text = w.read("ann.key").lines().find(|line| line.starts_with("AGE-")).unwrap().to_owned();
    w.set("SOLL_AGE_IDENTITY", &text);
    hides(w.soll("apply")).exits(0).hides(&text);
    w.soll("doctor").says("the text in SOLL_AGE_IDENTITY can be used").hides(&text);
    w.set("SOLL_AGE_IDENTITY", &text.replacen("1", "1QQ", 1));
    w.soll("doctor").says("damaged").hides(&text[20..]);
}

/// Clear text in Git is refused where it is read, before anything is done, and its values are not repeated.
#[test]
fn clear_text_is_refused() {
    let w = settled();
    w.write("state/production.age", &format!("APP_KEY={OTHER}\n"));
    let validate = |w: &World| hides(w.soll("validate $DIR/state/desired-state.toml"));
    validate(&w).exits(1).says("`production.age` is not encrypted").says("in clear text").says("renew them");
    w.commit_all("by mistake");
    hides(w.soll("plan")).exits(1).says("is not encrypted");
    hides(w.soll("apply")).exits(1);
    assert_eq!(live(&w, "staging"), format!("APP_KEY={KEY}\n"));
    for (name, text, said) in [
        ("app.yaml", format!("APP_KEY: {OTHER}\n"), "is not encrypted"),
        ("app.yaml", format!("APP_KEY: {OTHER}\nsops:\n    mac: ENC[x]\n"), "is encrypted in part: APP_KEY"),
        ("app.env", format!("APP_KEY={OTHER}\n"), "is not encrypted"),
        ("app.json", format!("{{\"APP_KEY\":\"{OTHER}\"}}"), "is not encrypted"),
        ("app.json", "{\"APP_KEY\":".to_owned(), "cut off"),
        ("app.txt", "x".to_owned(), "not the name of an encrypted file"),
    ] {
        w.write(&format!("state/{name}"), &text);
        w.write("state/desired-state.toml", &state(&format!("secrets = [\"{name}\"]"), ""));
        validate(&w).exits(1).says(said);
    }
    w.write("state/desired-state.toml", &state("secrets = [\"missing.age\"]", ""));
    validate(&w).exits(1).says("missing.age").says("relative to the file that names them");
    w.write("state/desired-state.toml", &state(&format!("secrets = [\"{OTHER}\"]"), ""));
    validate(&w).exits(1);
}

/// A stand-in for `sops`: it says what it was asked, with which settings, and opens what begins with `ENC[`.
fn sops(w: &mut World) {
    w.write(
        "bin/sops",
        "#!/bin/sh\necho \"$*\" >> $DIR/asked\nenv | grep -E '^(SOPS|SOLL)' >> $DIR/heard\ntest ! -e $DIR/refuses || { echo 'Failed to get the data key' >&2; exit 128; }\ntext=$(cat)\ncase $text in *ENC*) cat $DIR/opened ;; *) exit 1 ;; esac\n",
    );
    fs::set_permissions(w.path("bin/sops"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    w.set("PATH", &format!("$DIR/bin:{path}"));
}

#[test]
fn files_of_sops_are_opened_by_its_program() {
    let mut w = world();
    w.set("SOLL_SECRET_UNRELATED", THIRD);
    let forms = [
        ("app.enc.yaml", "yaml", "APP_KEY: ENC[a]\nsops:\n    mac: ENC[m]\n"),
        ("app.json", "json", "{\"APP_KEY\": \"ENC[b]\", \"sops\": {\"mac\": \"ENC[m]\"}}"),
        ("app.env", "dotenv", "APP_KEY=ENC[c]\nsops_mac=ENC[m]\n"),
    ];
    w.write("state/app.enc.yaml", forms[0].2);
    w.commit(&state("secrets = [\"app.enc.yaml\"]", ""));
    hides(w.soll("apply")).exits(1).says("there is no `sops`").says("app.enc.yaml");
    sops(&mut w);
    for ((name, kind, text), value) in forms.into_iter().zip([KEY, OTHER, THIRD]) {
        w.write(&format!("state/{name}"), text);
        w.write("opened", &format!("{{\"APP_KEY\":\"{value}\"}}"));
        let _ = fs::remove_file(w.path("asked"));
        w.commit(&state(&format!("secrets = [\"{name}\"]"), ""));
        hides(w.soll("apply")).exits(0);
        assert_eq!(live(&w, "staging"), format!("APP_KEY={value}\n"));
        assert_eq!(w.read("asked").trim(), format!("-d --input-type {kind} --output-type json /dev/stdin"), "once");
    }
    let heard = w.read("heard");
    assert!(heard.contains(&w.fill("SOPS_AGE_KEY_FILE=$DIR/ann.key")) && !heard.contains("SOLL_"), "{heard}");
    w.write("refuses", "");
    hides(w.soll("plan")).exits(0).says("was not opened by `sops`").says("Failed to get the data key");
    fs::remove_file(w.path("refuses")).unwrap();
    w.write("opened", &format!("{{\"APP_KEY\":{{\"deep\":\"{OTHER}\"}}}}"));
    hides(w.soll("plan")).exits(0).says("a list or a table under APP_KEY");
}

/// Of a commit that is not accepted nothing is opened (law 11), whatever it names.
#[test]
fn a_proposal_opens_nothing() {
    let mut w = world();
    sops(&mut w);
    w.write("opened", &format!("{{\"APP_KEY\":\"{KEY}\"}}"));
    w.write("state/app.yaml", "APP_KEY: ENC[a]\nsops:\n    mac: ENC[m]\n");
    w.commit(&state("secrets = [\"app.yaml\"]", ""));
    w.soll("apply").exits(0);
    let asked = |w: &World| w.read("asked").lines().count();
    w.git(&["checkout", "-q", "-b", "proposal"]);
    w.write("state/other.json", "{\"APP_KEY\": \"ENC[b]\", \"sops\": {\"mac\": \"ENC[m]\"}}");
    w.commit(&state("secrets = [\"other.json\"]", ""));
    w.git(&["checkout", "-q", "main"]);
    let before = asked(&w);
    let plan = hides(w.soll("plan --ref proposal")).exits(0).says("not accepted");
    plan.hides("does not have");
    // The accepted commit's own file is opened, for what its hosts are looked at with; of the proposal none is.
    assert!(asked(&w) > before && !w.read("asked").contains("json /dev/stdin --"), "{}", w.read("asked"));
    assert!(!w.read("asked").contains("--input-type json"), "{}", w.read("asked"));
    w.git(&["merge", "-q", "proposal"]);
    w.soll("plan").exits(0);
    assert!(w.read("asked").contains("--input-type json"), "accepted, it is opened");
}

/// What a check sends may come from a file as well, and goes no further than the settings let it.
#[test]
fn a_check_sends_a_secret_of_a_file() {
    let mut w = world();
    let seen = Web::answering(|head| {
        let good = head.contains(&format!("Bearer {KEY}"));
        let status = if good { "200 OK" } else { "401 No" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    let url = seen.url();
    seal(&w, &["ann"], &["-a"], "production.age", &format!("APP_KEY={KEY}\nPROBE={KEY}\n"));
    let check = format!(
        "\n[environments.staging.health]\nattempts = 1\n[[environments.staging.health.checks]]\nname = \"asked\"\nhttp = \"{url}/\"\nbearer = \"PROBE\"\nfrom = \"controller\"\n"
    );
    w.write("state/env/app.env", "APP_KEY={secret:APP_KEY}\nPROBE={secret:PROBE}\n");
    w.commit(&format!("{}{check}", state("secrets = [\"production.age\"]", "")));
    hides(w.soll("apply")).exits(0);
    // The digests alone are compared (C5).
    hides(w.soll("doctor staging")).says("PROBE is the same in shared/.env and on the controller");
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", "[secrets.PROBE]\nuse = [\"health\"]\norigins = [\"https://api.example.com\"]\n");
    hides(w.soll("doctor staging")).says("do not send to");
}
