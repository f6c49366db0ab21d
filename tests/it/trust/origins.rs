//! Where a commit makes this controller read and ask, and what it tells of what it found there.

use crate::support::answers::Web as Server;
use crate::support::web::Web;
use crate::support::world::{APP, World, env, sha};

const PLANTED: &str = "planted-Qw84-contents";

/// The usual application with another line for its bundles.
fn app(bundle: &str) -> String {
    APP.replace("bundle = { url = \"bundles/deployment-bundle-{sha}.tar.gz\" }", &format!("bundle = {{ {bundle} }}"))
}

const RELATIVE: &str = "url = \"bundles/deployment-bundle-{sha}.tar.gz\"";

/// What everybody may see of a commit.
fn look(w: &World, more: &str) {
    for form in ["text", "json", "markdown"] {
        w.soll(&format!("plan --output {form}{more}")).hides(PLANTED).hides("Qw84");
    }
}

#[test]
fn what_a_file_says_is_never_told() {
    let w = World::new();
    let shapes = [
        format!("root:$6${PLANTED}:19000:0:::"),
        PLANTED.to_owned(),
        format!("\"{PLANTED}\""),
        format!("[\"{PLANTED}\"]"),
        format!("{{\"{PLANTED}\": true}}"),
        format!("{{\"sha\": \"{PLANTED}\"}}"),
        format!("{{\"sha\": [\"{PLANTED}\"]}}"),
        format!("{{\"sha\": \"{}\", \"status\": \"{PLANTED}\"}}", sha('a')),
        format!("{{\"sha\": \"{}\", \"status\": \"completed\", \"conclusion\": \"{PLANTED}\"}}", sha('a')),
        format!("{{\"sha\": \"{}\", \"checks\": {{\"tests\": \"{PLANTED}\", \"{PLANTED}\": \"success\"}}}}", sha('a')),
        format!("{{\"sha\": \"{}\", \"checks\": \"{PLANTED}\"}}", sha('a')),
        format!("{}  {PLANTED}", "g".repeat(64)),
    ];
    w.bundle('a', &[]);
    for (file, others) in [("sha256", ""), ("checks", "")] {
        let place = format!("{RELATIVE}, {file} = \"file://$DIR/shadow\"{others}");
        w.commit(&format!("{}{}", app(&place), env("staging", 'a', "checks = [\"tests\"]\n")));
        for shape in &shapes {
            w.write("shadow", shape);
            look(&w, "");
            for command in ["apply", "preflight staging", "why staging", "history", "show --output json"] {
                w.soll(command).hides(PLANTED).hides("Qw84");
            }
        }
    }
    // The reason is told all the same.
    w.write("shadow", &shapes[0]);
    w.soll("plan").says("shadow cannot be used");
}

#[test]
fn a_proposed_commit_reads_no_file_of_this_machine() {
    let w = World::with(&env("staging", 'a', ""));
    w.write("shadow", PLANTED);
    w.soll("apply").exits(0);
    w.git(&["checkout", "-q", "-b", "proposal"]);
    for place in ["file://$DIR/shadow", "$DIR/shadow", "../shadow", "bundles/../../shadow", "file:///etc/hostname"] {
        w.commit(&format!("{}{}", app(&format!("{RELATIVE}, sha256 = \"{place}\"")), env("staging", 'b', "")));
        look(&w, " --ref proposal");
        w.soll("plan --ref proposal").says("not accepted").hides("cannot be used").hides("does not exist");
    }
    // A link in the work tree is a file of this machine, too.
    w.commit(&format!("{APP}{}", env("staging", 'e', "")));
    std::os::unix::fs::symlink(w.path("shadow"), format!("{}.sha256", w.archive('e').display())).unwrap();
    look(&w, " --ref proposal");
    w.soll("plan --ref proposal").says("leads out of the state repository");
}

#[test]
fn a_proposed_commit_leads_to_no_machine_that_is_not_named() {
    let (named, inner) = (Web::start(), Web::start());
    inner.set("/secret", 200, &format!("{}  x", "ab".repeat(32)));
    let target = inner.url("/secret");
    let port = named.url("").rsplit(':').next().unwrap().to_owned();
    let redirecting = Server::answering(move |head| match head.contains("/away") {
        true => format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        false => "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    });
    let w = World::with("");
    let bundle = format!("url = \"{}/{{sha}}.tar.gz\"", redirecting.url());
    w.commit(&format!("{}{}", app(&bundle), env("staging", 'a', "")));
    w.soll("plan").says("bundle-missing");
    w.git(&["checkout", "-q", "-b", "proposal"]);
    let away = format!("{bundle}, sha256 = \"{}/away\"", redirecting.url());
    let forms = |address: &str| format!("{bundle}, sha256 = \"http://{address}:{port}/x\"");
    let mut proposals = vec![away.clone(), format!("{bundle}, sha256 = \"{}\"", inner.url("/secret"))];
    proposals
        .extend(["127.0.0.1", "2130706433", "0x7f.1", "017700000001", "[::ffff:127.0.0.1]", "localhost"].map(forms));
    for proposal in proposals {
        w.commit(&format!("{}{}", app(&proposal), env("staging", 'b', "")));
        look(&w, " --ref proposal");
    }
    assert!(inner.seen().is_empty(), "a proposal made the controller ask {:?}", inner.seen());
    assert!(named.seen().is_empty(), "a proposal made the controller ask {:?}", named.seen());
    // Once it is accepted it may be led there.
    w.commit(&format!("{}{}", app(&away), env("staging", 'b', "")));
    w.git(&["branch", "-q", "-f", "main", "proposal"]);
    w.soll("plan").exits(0);
    assert!(!inner.seen().is_empty(), "an accepted commit may be redirected");
}

#[test]
fn the_settings_narrow_where_bundles_come_from() {
    let (good, evil) = (Web::start(), Web::start());
    let mut w = World::with(&env("staging", 'a', ""));
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    let origins = |list: &str| w.write("config.toml", &format!("bundle_origins = [{list}]\n"));
    // The work tree, by a dot; and a directory.
    origins(&format!("\"{}\"", good.url("")));
    w.soll("apply").exits(1).says("`bundle_origins` do not name its directory");
    assert!(!w.path("staging/current").exists());
    origins("\".\"");
    w.soll("apply").exits(0);
    w.commit(&format!(
        "{}{}",
        app("url = \"file://$DIR/state/bundles/deployment-bundle-{sha}.tar.gz\""),
        env("staging", 'b', "")
    ));
    origins("\"file://$DIR/state/bundles\"");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    // Servers, by each of the three places, and by what leads elsewhere.
    origins(&format!("\"{}\"", good.url("")));
    let target = evil.url("/x");
    let away = Server::answering(move |_| {
        format!("HTTP/1.1 307 Away\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    origins(&format!("\"{}\", \"{}\"", good.url(""), away.url()));
    for bundle in [
        format!("url = \"{}\"", evil.url("/{sha}")),
        format!("url = \"{}\", sha256 = \"{}\"", good.url("/{sha}"), evil.url("/x")),
        format!("url = \"{}\", checks = \"{}\"", good.url("/{sha}"), evil.url("/x")),
        format!("url = \"{}\", sha256 = \"{}/x\"", good.url("/{sha}"), away.url()),
        format!("url = \"{}\", fetch_from = \"host\"", evil.url("/{sha}")),
        format!("url = \"{}\", sha256 = \"{}\", fetch_from = \"host\"", evil.url("/{sha}"), good.url("/x")),
    ] {
        let checks = "checks = [\"tests\"]\n";
        w.commit(&format!("{}{}", app(&bundle), env("staging", 'd', checks)));
        for command in ["plan", "apply", "preflight staging"] {
            w.soll(command);
        }
        w.commit(&format!("{}{}", app(&bundle), env("staging", 'd', "")));
        for command in ["apply", "preflight staging"] {
            assert_ne!(w.soll(command).exit, 0, "{bundle}");
        }
    }
    assert!(evil.seen().is_empty(), "it was asked: {:?}", evil.seen());
    for bad in ["\"artifacts.example.com\"", "\"https://a.example/path\"", "\"https://*.example\"", "7"] {
        w.write("config.toml", &format!("\nbundle_origins = [{bad}]\n"));
        w.soll("plan").exits(1).says("config.toml").says("line 2");
    }
}
