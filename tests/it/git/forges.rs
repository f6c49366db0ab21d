//! Required checks as the forge of a repository tells them (B8): stand-ins that answer in the forms of GitHub, GitLab and
//! Gitea, with their pages, limits and refusals. What is no answer is never a verdict.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use soll::artifact::fetch::{FetchSettings, Fetcher};
use soll::artifact::origins::Rules;
use soll::model::desired::forge::{ChecksFrom, Forge as Kind};
use soll::model::observed::Fact;

use super::{app, desire, grow, staging};
use crate::support::answers::Web;
use crate::support::world::{World, sha};

const TOKEN: &str = "f0rge-planted-Xc91-token";

type Answers = Arc<Mutex<BTreeMap<String, (u16, String, String)>>>;

/// A forge: answers by path with its query, each a status, more headers, and a body.
struct Forge {
    web: Web,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Forge {
    /// One that refuses whoever does not log in so.
    fn start(login: &'static str) -> Forge {
        let (answers, asked) = (Answers::default(), Arc::new(Mutex::new(Vec::new())));
        let (known, heard) = (answers.clone(), asked.clone());
        let web = Web::answering(move |head| {
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            heard.lock().unwrap().push(head.to_owned());
            let is_in = head.to_ascii_lowercase().contains(&format!("authorization: {login}").to_ascii_lowercase());
            let found = known.lock().unwrap().get(&target).cloned();
            let (status, headers, body) = match found {
                _ if !login.is_empty() && !is_in => {
                    (401, String::new(), "{\"message\":\"Bad credentials\"}".to_owned())
                }
                Some(found) => found,
                None => (404, String::new(), "{\"message\":\"Not Found\"}".to_owned()),
            };
            let length = body.len();
            format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        });
        Forge { web, answers, asked }
    }

    fn answer(&self, target: &str, status: u16, headers: &str, body: &str) {
        self.answers.lock().unwrap().insert(target.to_owned(), (status, headers.to_owned(), body.to_owned()));
    }

    fn says(&self, target: &str, body: &str) {
        self.answer(target, 200, "", body);
    }

    /// How often it was asked since the last time.
    fn count(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

/// `staging` desires the second commit of an application whose forge is this one; the first runs.
fn world(forge: &Forge, kind: &str, checks: &str) -> (World, String) {
    let from = format!(
        "checks = {checks}\ncheckout = {{ checks_from = {{ forge = \"{kind}\", url = \"{}/api\", project = \"acme/web\", token = \"FORGE\" }} }}",
        forge.web.url()
    );
    let mut w = app("", "");
    w.soll("apply").exits(0);
    let second = grow(&w, &[("index.html", "two")]);
    desire(&w, &from, &staging(&second, ""));
    w.set("SOLL_SECRET_FORGE", TOKEN);
    (w, second)
}

fn runs(w: &World) -> String {
    w.read("staging/current/index.html")
}

#[test]
fn github_tells_statuses_and_check_runs() {
    let forge = Forge::start("Bearer f0rge-planted-Xc91-token");
    let (w, sha) = world(&forge, "github", "[\"ci/build\", \"test\", \"lint\"]");
    let commit = format!("/api/repos/acme/web/commits/{sha}");
    let (status, runs_at) =
        (format!("{commit}/status?per_page=100"), format!("{commit}/check-runs?filter=latest&per_page=100"));
    forge.says(
        &status,
        &format!(r#"{{"state":"success","statuses":[{{"url":"x","id":5,"state":"success","context":"ci/build","description":null,"target_url":null,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}}],"sha":"{sha}","total_count":1}}"#),
    );
    let run = |id: u32, name: &str, status: &str, conclusion: &str| {
        format!(
            r#"{{"id":{id},"head_sha":"{sha}","name":"{name}","status":"{status}","conclusion":{conclusion},"app":{{"id":15368,"slug":"github-actions"}},"output":{{"title":null,"summary":null}}}}"#
        )
    };
    let page = |runs: &[String]| format!(r#"{{"total_count":2,"check_runs":[{}]}}"#, runs.join(","));
    // The second page has what is asked for.
    let next = format!("Link: <{}{commit}/check-runs?page=2>; rel=\"next\", <x>; rel=\"last\"\r\n", forge.web.url());
    forge.answer(&runs_at, 200, &next, &page(&[run(1, "test", "completed", "\"success\"")]));
    let second = format!("{commit}/check-runs?page=2");
    forge.says(&second, &page(&[run(2, "lint", "in_progress", "null")]));
    w.soll("apply").exits(4).says("P0").says("lint (in_progress)").hides("test (").hides(TOKEN);
    assert_eq!(runs(&w), "one");
    for (conclusion, said) in
        [("\"failure\"", "lint (failure)"), ("\"skipped\"", "lint (skipped)"), ("null", "lint (no conclusion)")]
    {
        forge.says(&second, &page(&[run(2, "lint", "completed", conclusion)]));
        w.soll("plan").exits(0).says(said);
    }
    // A status and a run of one name must both be good.
    forge.says(
        &second,
        &page(&[run(2, "lint", "completed", "\"success\""), run(3, "ci/build", "completed", "\"failure\"")]),
    );
    w.soll("plan").exits(0).says("ci/build (failure)");
    // A later run of the same name is what counts.
    forge.says(
        &second,
        &page(&[run(2, "lint", "completed", "\"success\""), run(1, "lint", "completed", "\"failure\"")]),
    );
    w.soll("apply").exits(0).hides(TOKEN);
    assert_eq!(runs(&w), "two");
    let heads = forge.asked.lock().unwrap().join("\n");
    assert!(heads.contains("application/vnd.github+json") && heads.contains("x-github-api-version"), "{heads}");
}

#[test]
fn gitlab_tells_jobs_and_gitea_statuses() {
    let forge = Forge::start("Bearer f0rge-planted-Xc91-token");
    let (w, sha) = world(&forge, "gitlab", "[\"test\"]");
    let at = format!("/api/projects/acme%2Fweb/repository/commits/{sha}/statuses?per_page=100");
    let job = |id: u32, status: &str| {
        format!(
            r#"{{"id":{id},"sha":"{sha}","ref":"main","status":"{status}","name":"test","target_url":"x","description":null,"allow_failure":true,"coverage":null,"author":{{"id":1}}}}"#
        )
    };
    forge.says(&at, &format!("[{}]", job(1, "running")));
    w.soll("plan").exits(0).says("test (running)");
    forge.says(&at, &format!("[{},{}]", job(2, "failed"), job(1, "success")));
    w.soll("apply").exits(4).says("test (failed)");
    forge.says(&at, "[]");
    w.soll("plan").exits(0).says("test (missing)");
    forge.says(&at, &format!("[{}]", job(3, "success")).replace(&sha, &"0".repeat(40)));
    w.soll("plan").exits(0).says("about another commit");
    forge.says(&at, &format!("[{}]", job(3, "success")));
    w.soll("apply").exits(0);
    assert_eq!(runs(&w), "two");

    let forge = Forge::start("token f0rge-planted-Xc91-token");
    let (w, sha) = world(&forge, "gitea", "[\"ci / test\"]");
    let at = format!("/api/repos/acme/web/commits/{sha}/status?limit=50&page=1");
    forge.says(&at, &format!(r#"{{"state":"","sha":"{sha}","total_count":0,"statuses":null}}"#));
    w.soll("plan").exits(0).says("ci / test (missing)");
    for status in ["pending", "error", "warning", "success"] {
        forge.says(
            &at,
            &format!(r#"{{"state":"{status}","sha":"{sha}","total_count":1,"statuses":[{{"id":1,"status":"{status}","context":"ci / test","target_url":"","description":"","url":"x","creator":null,"created_at":"2026-01-01T00:00:00Z"}}]}}"#),
        );
        if status != "success" {
            w.soll("plan").exits(0).says(&format!("ci / test ({status})"));
        }
    }
    w.soll("apply").exits(0);
    assert_eq!(runs(&w), "two");
}

/// No permission, a limit, an accident, an answer of another kind: each with its own words, and nothing is condemned for it.
#[test]
fn what_is_no_answer_is_no_verdict() {
    let forge = Forge::start("Bearer f0rge-planted-Xc91-token");
    let (mut w, sha) = world(&forge, "gitlab", "[\"test\"]");
    let at = format!("/api/projects/acme%2Fweb/repository/commits/{sha}/statuses?per_page=100");
    let elsewhere = Forge::start("");
    elsewhere.says("/x", "<html>");
    let next = format!("Link: <{}/x>; rel=\"next\"\r\n", elsewhere.web.url());
    let redirect = format!("Location: {}/x\r\n", elsewhere.web.url());
    for (status, headers, body, said) in [
        (404, "", "{\"message\":\"404 Project Not Found\"}", "knows no acme/web"),
        (403, "", "{\"message\":\"403 Forbidden\"}", "the token FORGE may not read the statuses"),
        (422, "", "{}", "knows no commit"),
        (500, "", "", "the server answered 500"),
        (200, "", "<html>hunter2</html>", "no list of statuses"),
        (200, "", "{\"message\":\"hunter2\"}", "no list of statuses"),
        (200, next.as_str(), "[]", "its next page is at another server"),
        (302, redirect.as_str(), "", "no list of statuses"),
    ] {
        forge.answer(&at, status, headers, body);
        let ran = w.soll("apply").exits(4).says("P0").says("the record of the build cannot be read").says(said);
        ran.hides("hunter2").hides(TOKEN);
        assert_eq!(runs(&w), "one");
        assert!(w.quarantined("staging").is_empty());
    }
    let heard = std::mem::take(&mut *elsewhere.asked.lock().unwrap());
    assert!(!heard.is_empty() && !heard.join("\n").contains(TOKEN), "the token goes nowhere else: {heard:?}");
    w.set("SOLL_SECRET_FORGE", "another");
    w.soll("plan").exits(0).says("does not take the token FORGE (401)");
    w.set("SOLL_SECRET_FORGE", "");
    w.soll("plan").exits(0).says("asked with the token FORGE, which is empty");
    w.soll("doctor").says("asked for checks with the secret FORGE");
    // The token goes where the settings let it go.
    w.set("SOLL_SECRET_FORGE", TOKEN);
    w.set("SOLL_CONFIG", "$DIR/config.toml");
    w.write("config.toml", "[secrets.FORGE]\nuse = [\"health\"]\n");
    w.soll("plan").exits(0).says("use = [\"fetch\"]");
    w.write("config.toml", "[secrets.FORGE]\nuse = [\"fetch\"]\norigins = [\"https://gitlab.example.com\"]\n");
    w.soll("plan").exits(0).says("do not send to");
    w.write("config.toml", "bundle_origins = [\"https://gitlab.example.com\"]\n");
    w.soll("plan").exits(0).says("`bundle_origins` do not name");
    w.write("config.toml", "");
}

/// A forge that says when it may be asked again is not asked before, by nobody of this process.
#[test]
fn a_limit_is_kept() {
    let forge = Forge::start("");
    let from = ChecksFrom { forge: Kind::Github, api: forge.web.url(), project: "acme/web".to_owned(), token: None };
    let sha = sha('a');
    let at = format!("/repos/acme/web/commits/{sha}/status?per_page=100");
    let reset = Timestamp::now().as_second() + 3000;
    let spent = format!("X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: {reset}\r\n");
    forge.answer(&at, 403, &spent, "{\"message\":\"API rate limit exceeded\"}");
    let (fetcher, checks) = (Fetcher::new(FetchSettings::default()), ["test".to_owned()]);
    let ask = |fetcher: &Fetcher| {
        let (fetcher, sha) = (fetcher.clone(), sha.parse().unwrap());
        let said = tokio::runtime::Runtime::new().unwrap().block_on(fetcher.statuses(&from, &sha, None, &checks));
        let Fact::Unknown(why) = said else { panic!("{said:?}") };
        why
    };
    assert!(ask(&fetcher).contains("asked too often"));
    forge.says(&at, &format!("{{\"state\":\"success\",\"sha\":\"{sha}\",\"statuses\":[]}}"));
    let why = ask(&fetcher.under(Rules::default()));
    assert!(why.contains("is not asked again before") && why.contains("with a token"), "{why}");
    assert_eq!(forge.count(), 1);
    // Another server has limits of its own, and so has another process.
    assert!(!ask(&Fetcher::new(FetchSettings::default())).contains("too often"));
    assert_eq!(forge.count(), 2, "statuses, and then check runs, which are not there");
}

/// A branch is followed to what has succeeded, and a proposal makes nobody ask another forge.
#[test]
fn a_branch_is_followed_to_what_succeeded() {
    let forge = Forge::start("Bearer f0rge-planted-Xc91-token");
    let (mut w, second) = world(&forge, "gitlab", "[\"test\"]");
    let say = |sha: &str, status: &str| {
        let at = format!("/api/projects/acme%2Fweb/repository/commits/{sha}/statuses?per_page=100");
        forge.says(&at, &format!(r#"[{{"id":1,"sha":"{sha}","status":"{status}","name":"test"}}]"#));
    };
    say(&second, "success");
    w.edit("[environments.staging]\n", "[environments.staging]\ntrack = { branch = \"main\" }\n");
    w.soll("apply").exits(0);
    let third = grow(&w, &[("index.html", "three")]);
    let fourth = grow(&w, &[("index.html", "four")]);
    say(&third, "success");
    say(&fourth, "running");
    w.soll("apply").exits(0);
    assert_eq!(runs(&w), "three", "the newest whose checks have succeeded");
    say(&fourth, "success");
    w.soll("apply").exits(0);
    assert_eq!(runs(&w), "four");

    let other = Forge::start("");
    // One that is not on the host: to go back nobody is asked.
    let fifth = grow(&w, &[("index.html", "five")]);
    say(&fifth, "success");
    w.git(&["checkout", "-q", "-b", "proposal"]);
    w.edit(&forge.web.url(), &other.web.url());
    w.edit(&format!("release = \"{fourth}\""), &format!("release = \"{fifth}\""));
    w.git(&["checkout", "-q", "main"]);
    let plan = w.soll("plan --ref proposal").exits(0).says("not accepted");
    plan.says("names no record of checks at that place");
    assert_eq!(other.count(), 0, "nobody was asked on the word of a proposal");
    // Nor the same forge with another secret.
    w.set("SOLL_SECRET_OTHER", "0ther-planted-Yz33");
    w.git(&["checkout", "-q", "-b", "second", "main"]);
    w.edit("token = \"FORGE\"", "token = \"OTHER\"");
    w.edit(&format!("release = \"{fourth}\""), &format!("release = \"{fifth}\""));
    w.git(&["checkout", "-q", "main"]);
    forge.count();
    w.soll("plan --ref second").exits(0).says("names no record of checks at that place");
    assert_eq!(forge.count(), 0);
    // As the accepted commit asks, it is asked for another commit.
    w.git(&["checkout", "-q", "-b", "third", "main"]);
    w.edit(&format!("release = \"{fourth}\""), &format!("release = \"{fifth}\""));
    w.git(&["checkout", "-q", "main"]);
    w.soll("plan --ref third").exits(0).hides("names no record");
    assert!(forge.count() > 0);
    w.soll("doctor staging").says("acme/web at").says("tells of 1 of 1 checks");
    say(&fourth, "failed");
    w.soll("doctor staging").says("tells of 1 of 1 checks");
    w.set("SOLL_SECRET_FORGE", "another");
    w.soll("doctor staging").says("does not take the token FORGE (401)");
}

#[test]
fn where_the_forge_is_follows_from_the_repository_or_is_said() {
    let w = app("checks = [\"test\"]\ncheckout = { checks_from = { token = \"FORGE\" } }", "");
    w.soll("validate").exits(1).says("does not say which forge has it");
    let with = |from: &str, repository: &str| {
        let text = w.read("state/desired-state.toml");
        let (start, end) = (text.find("repository = ").unwrap(), text.find("[apps.web.health]").unwrap());
        let text = format!(
            "{}repository = \"{repository}\"\nchecks = [\"test\"]\ncheckout = {{ {from} }}\n{}",
            &text[..start],
            &text[end..]
        );
        w.write("state/desired-state.toml", &text);
        w.soll("validate $DIR/state/desired-state.toml")
    };
    with("checks_from = {}", "https://github.com/acme/api.git").exits(0);
    with("checks_from = { token = \"FORGE\" }", "git@codeberg.org:acme/api.git").exits(0);
    with("checks_from = { forge = \"gitlab\" }", "ssh://git@git.example.com:2222/a/b/c.git").exits(0);
    with("checks_from = {}", "https://git.example.com/acme/api.git").exits(1).says("needs `forge`");
    with("checks_from = { forge = \"gitea\" }", "/srv/git/api.git").exits(1).says("needs `url` and `project`");
    with("checks_from = { project = \"../x\" }", "https://github.com/acme/api.git")
        .exits(1)
        .says("is not how a forge calls");
    with("checks_from = { url = \"https://t0k@x/api\" }", "https://github.com/acme/api.git")
        .exits(1)
        .says("where an API begins");
    with("checks_from = {}, checks = \"checks.json\"", "https://github.com/acme/api.git").exits(1).says("two places");
    with("checks_from = { token = \"t0k\" }", "https://github.com/acme/api.git").exits(1).hides("t0k\"");
}
