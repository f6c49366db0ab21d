//! Asset validation (C3): the Vite manifest of the live release is valid JSON, and everything that it names is served
//! below `base_url`. Names come from a file of the release, so they are checked before they become addresses.

use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::net::Deadline;
use super::{Context, Finding, http};

/// Requests in flight: enough to be quick, few enough for a small server.
const AT_ONCE: usize = 8;
/// So many bad names settle it, and fit in a line.
const SHOWN: usize = 5;
/// The check as a whole may take so many timeouts: a slow server must not hold a deployment for minutes.
const PATIENCE: u32 = 10;
/// Real manifests have some hundred kilobytes.
const MANIFEST_CAP: u64 = 16 << 20;

/// Reads the manifest and fetches what it names.
pub(super) async fn check(manifest: &str, base_url: &str, ctx: &Context<'_>) -> Result<Finding, Finding> {
    let dir = ctx.dir.ok_or_else(|| Finding::unsure(format!("there is no release here to read {manifest} from")))?;
    if !Path::new(manifest).components().all(|part| matches!(part, Component::Normal(_))) || manifest.is_empty() {
        return Err(Finding::unsure(format!("`{manifest}` is not a path inside the release")));
    }
    let text = read(&dir.join(manifest)).await.map_err(|why| Finding::fail(format!("{manifest} {why}")))?;
    let names = names(&text).map_err(|why| Finding::fail(format!("{manifest} {why}")))?;

    let whole = Deadline::after(ctx.timeout * PATIENCE);
    let (session, base) = http::open(base_url, &Deadline::after(ctx.timeout)).await?;
    let total = names.len();
    let late = |after| Finding::fail(format!("the {total} assets of {manifest} were not all served within {after}"));
    let problems = whole.within(fetch_all(session, &base, names, ctx.timeout), late).await?;
    if let Some(unsure) = problems.unsure {
        return Err(unsure);
    }
    let millis = whole.elapsed_ms();
    if problems.bad.is_empty() {
        return Ok(Finding::pass(format!("{total} assets of {manifest} served in {millis} ms")));
    }
    let more = if problems.stopped { " (and the rest was not tried)" } else { "" };
    let list = problems.bad.into_iter().collect::<Vec<_>>().join(", ");
    Ok(Finding::fail(format!("of the {total} assets of {manifest} these are missing: {list}{more}")))
}

async fn read(path: &Path) -> Result<String, String> {
    let is_file = tokio::fs::metadata(path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist in the release".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    let regular = |meta: &std::fs::Metadata| meta.is_file().then_some(()).ok_or("is not a file".to_owned());
    regular(&is_file)?;
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // Opening a pipe would wait for a writer that never comes, and it may be one by now.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = tokio::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).await.map_err(cannot)?;
    regular(&file.metadata().await.map_err(cannot)?)?;
    let mut bytes = Vec::new();
    file.take(MANIFEST_CAP + 1).read_to_end(&mut bytes).await.map_err(cannot)?;
    if bytes.len() as u64 > MANIFEST_CAP {
        return Err(format!("is larger than {} MiB: is it the manifest?", MANIFEST_CAP >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "is not valid JSON: it is not UTF-8".to_owned())
}

/// Every asset that a manifest names, once. A manifest maps entries to chunks (`file`, `css`, `assets`), or, in
/// Vite 1 and Mix, to plain names; a list of either is read as well.
fn names(text: &str) -> Result<BTreeSet<String>, String> {
    let manifest: Value = serde_json::from_str(text)
        .map_err(|error| format!("is not valid JSON at line {}, column {}", error.line(), error.column()))?;
    let mut found = BTreeSet::new();
    match &manifest {
        Value::Object(entries) => {
            for (number, entry) in entries.values().enumerate() {
                collect(entry, number + 1, &mut found)?;
            }
        }
        Value::Array(entries) => {
            for (number, entry) in entries.iter().enumerate() {
                collect(entry, number + 1, &mut found)?;
            }
        }
        _ => return Err("is not a Vite manifest: an object of entries is expected".to_owned()),
    }
    if found.is_empty() {
        return Err("names no asset: the frontend was not built".to_owned());
    }
    match found.iter().all(|name| is_below(name)) {
        true => Ok(found),
        false => Err("names something that is not a plain path below the base URL".to_owned()),
    }
}

fn collect(entry: &Value, number: usize, found: &mut BTreeSet<String>) -> Result<(), String> {
    let odd = |what: &str| format!("is not a Vite manifest: {what} of entry {number} is no name");
    let mut add = |value: &Value, what: &str| match value {
        Value::String(name) => {
            found.insert(name.clone());
            Ok(())
        }
        _ => Err(odd(what)),
    };
    match entry {
        Value::Object(chunk) => {
            add(chunk.get("file").unwrap_or(&Value::Null), "`file`")?;
            for what in ["css", "assets"] {
                match chunk.get(what) {
                    None => {}
                    Some(Value::Array(names)) => names.iter().try_for_each(|name| add(name, what))?,
                    Some(one) => add(one, what)?,
                }
            }
            Ok(())
        }
        Value::Array(names) => names.iter().try_for_each(|name| add(name, "the entry")),
        one => add(one, "the entry"),
    }
}

/// Relative, without `.`, `..`, empty parts, backslashes or control characters: it cannot leave `base_url`.
fn is_below(name: &str) -> bool {
    name.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !name.contains(['\\', '\u{7f}'])
        && !name.chars().any(char::is_control)
}

#[derive(Default)]
struct Problems {
    /// Names with their reason, sorted: the same failure reads the same.
    bad: BTreeSet<String>,
    stopped: bool,
    unsure: Option<Finding>,
}

async fn fetch_all(session: http::Session, base: &Url, names: BTreeSet<String>, timeout: Duration) -> Problems {
    let session = Arc::new(session);
    let mut waiting = names.into_iter();
    let mut flying = JoinSet::new();
    let mut problems = Problems::default();
    loop {
        while flying.len() < AT_ONCE
            && problems.bad.len() < SHOWN
            && problems.unsure.is_none()
            && let Some(name) = waiting.next()
        {
            let (session, url) = (session.clone(), below(base, &name));
            flying.spawn(async move {
                let served = served(&session, url, &name, timeout).await;
                (name, served)
            });
        }
        let Some(done) = flying.join_next().await else { break };
        match done {
            Ok((_, Ok(None))) => {}
            Ok((name, Ok(Some(why)))) => _ = problems.bad.insert(format!("{name} ({why})")),
            Ok((name, Err(finding))) if finding.verdict == crate::model::observed::Verdict::Fail => {
                problems.bad.insert(format!("{name} ({})", finding.evidence));
            }
            Ok((_, Err(finding))) => problems.unsure = Some(finding),
            Err(error) => problems.unsure = Some(Finding::unsure(format!("the prober itself failed: {error}"))),
        }
        if problems.bad.len() >= SHOWN {
            problems.stopped = waiting.len() > 0 || !flying.is_empty();
            break;
        }
    }
    problems
}

/// `base` with the name's parts appended, each escaped: a `?` or `%` in a file name stays a part of the name.
fn below(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(name.split('/'));
    }
    url
}

/// `None`: 200 and not empty. HEAD is asked first; where it does not settle the matter, GET is.
async fn served(session: &http::Session, url: Url, name: &str, timeout: Duration) -> Result<Option<String>, Finding> {
    let deadline = Deadline::after(timeout);
    let head = session.send(Method::HEAD, url.clone(), None, &deadline).await?;
    if head.status() == StatusCode::OK && length(&head).is_some_and(|bytes| bytes > 0) {
        return Ok(wrong_type(&head, name));
    }
    let get = session.send(Method::GET, url, None, &deadline).await?;
    if get.status() != StatusCode::OK {
        return Ok(Some(get.status().as_u16().to_string()));
    }
    if let Some(why) = wrong_type(&get, name) {
        return Ok(Some(why));
    }
    match session.read(get, 1, &deadline).await?.is_empty() {
        true => Ok(Some("empty".to_owned())),
        false => Ok(None),
    }
}

fn length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A server that answers everything with its index page says 200 for what is missing; browsers refuse such a script
/// or stylesheet, so it counts as missing.
fn wrong_type(response: &Response, name: &str) -> Option<String> {
    let strict = [".js", ".mjs", ".css"].iter().any(|end| name.ends_with(end));
    let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    (strict && kind.starts_with("text/html")).then(|| "an HTML page is served in its place".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Result<Vec<String>, String> {
        names(text).map(|found| found.into_iter().collect())
    }

    #[test]
    fn every_form_of_a_manifest_is_read_once() {
        let vite = r#"{"a.js":{"file":"assets/a.1.js","css":["assets/a.css"],"assets":["assets/l.svg"],"imports":["_v"]},
                       "_v":{"file":"assets/v.js","css":["assets/a.css"]}}"#;
        assert_eq!(listed(vite).unwrap(), ["assets/a.1.js", "assets/a.css", "assets/l.svg", "assets/v.js"]);
        assert_eq!(listed(r#"{"main.js":"js/main.1.js","x":["a","b"]}"#).unwrap(), ["a", "b", "js/main.1.js"]);
        assert_eq!(listed(r#"[{"file":"a.js","css":"a.css"},"b.js"]"#).unwrap(), ["a.css", "a.js", "b.js"]);
    }

    #[test]
    fn what_is_no_manifest_says_why() {
        for (text, why) in [
            ("", "not valid JSON"),
            ("{]", "not valid JSON"),
            ("3", "an object of entries"),
            ("{}", "names no asset"),
            (r#"{"a":{"css":["a.css"]}}"#, "`file` of entry 1 is no name"),
            (r#"{"a":{"file":"a.js","css":[1]}}"#, "css of entry 1 is no name"),
        ] {
            let said = listed(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn names_cannot_leave_the_base_url() {
        for bad in ["../x", "/x", "a/../../x", "a//b", "https://evil.example/x.js", "a\\b", "", "a\nb", "./a"] {
            let text = serde_json::json!({ "a": { "file": bad } }).to_string();
            assert!(listed(&text).is_err(), "{bad:?}");
        }
        let base = Url::parse("https://x.example/build?x=1").unwrap();
        assert_eq!(
            below(&base, "assets/a b?c#d%2e.js").as_str(),
            "https://x.example/build/assets/a%20b%3Fc%23d%252e.js"
        );
        let slash = Url::parse("https://x.example/").unwrap();
        assert_eq!(below(&slash, "a.js").as_str(), "https://x.example/a.js");
    }
}
