//! How the checks of a commit came out, as its forge says by its API: the latest word on each name counts, and of several that
//! are called alike the worst. Whatever is no answer (no permission, a limit, an accident) is told as such, and never as a
//! verdict on the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LINK, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::model::desired::forge::{ChecksFrom, Forge, StatusList};
use crate::model::format::fault;
use crate::model::ids::Sha;
use crate::model::observed::Fact;
use crate::model::origin::Origin;

use super::backoff::Backoff;
use super::fetch::{FetchError, Fetcher};
use super::inspect::known;
use super::source::Location;

/// So many pages of one list are read.
const PAGES: usize = 20;
/// One page has at most so many bytes: GitHub puts the summaries of checks into it.
const MOST: usize = 16 << 20;
/// Where a forge does not say when it may be asked again.
const PAUSE: Duration = Duration::from_secs(60);
/// It is asked again after that in any case.
const LONGEST: Duration = Duration::from_secs(3600);

impl Fetcher {
    /// How these checks came out for a commit. `token`: what it is asked with; it goes to no other origin than the API's.
    pub async fn statuses(
        &self,
        from: &ChecksFrom,
        sha: &Sha,
        token: Option<&str>,
        checks: &[String],
    ) -> Fact<BTreeMap<String, String>> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for (listing, address) in from.lists(sha) {
            let asked = Asked { from, sha, token };
            let said = match self.list(&asked, listing, &address).await {
                Ok(said) => said,
                Err(error) => return Fact::Unknown(error.to_string()),
            };
            for (name, word) in said {
                let is_bad_already = found.get(&name).is_some_and(|other| other != SUCCESS);
                if !is_bad_already {
                    found.insert(name, word.to_owned());
                }
            }
        }
        // What nobody asked for is told to nobody.
        found.retain(|name, _| checks.contains(name));
        Fact::Known(found)
    }

    /// One list, all of its pages: the latest word on each name.
    async fn list(
        &self,
        asked: &Asked<'_>,
        listing: StatusList,
        address: &str,
    ) -> Result<Vec<(String, &'static str)>, FetchError> {
        let place: Location = address.parse().map_err(|error: super::source::BadLocation| FetchError::Refused {
            place: asked.from.place(),
            reason: error.to_string(),
        })?;
        let Location::Http(mut url) = place.clone() else {
            return Err(FetchError::refused(&place, "the API of a forge is asked over https"));
        };
        let origin = Origin::of_url(&url);
        let mut latest: BTreeMap<(String, i64), Told> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for _ in 0..PAGES {
            let (bytes, next) = self.page(asked, &place, &url).await?;
            for entry in listing.entries(&bytes).map_err(|why| FetchError::refused(&place, why))? {
                if entry.sha.as_deref().is_some_and(|sha| sha != asked.sha.as_str()) {
                    return Err(FetchError::refused(&place, "it answered about another commit"));
                }
                let key = (entry.name.clone(), entry.by);
                if latest.get(&key).is_none_or(|known| known.id <= entry.id) {
                    latest.insert(key, entry);
                }
            }
            let Some(next) = next.and_then(|next| url.join(&next).ok()) else {
                return Ok(worst(latest.into_values()));
            };
            if Origin::of_url(&next) != origin || !seen.insert(next.to_string()) {
                return Err(FetchError::refused(&place, "its next page is at another server, or was read already"));
            }
            url = next;
        }
        Err(FetchError::refused(&place, format!("it has more than {PAGES} pages")))
    }

    /// One page, and where the next one is. Tried twice: whoever plans is waiting.
    async fn page(
        &self,
        asked: &Asked<'_>,
        place: &Location,
        url: &Url,
    ) -> Result<(Vec<u8>, Option<String>), FetchError> {
        let mut backoff = Backoff::new(1.min(self.settings.retries), self.settings.pause);
        loop {
            match self.ask(asked, place, url).await {
                Ok(page) => return Ok(page),
                Err(error) => backoff.pause(error).await?,
            }
        }
    }

    async fn ask(
        &self,
        asked: &Asked<'_>,
        place: &Location,
        url: &Url,
    ) -> Result<(Vec<u8>, Option<String>), FetchError> {
        let Some(origin) = Origin::of_url(url) else { return Err(FetchError::refused(place, "it is no web address")) };
        let now = Timestamp::now();
        if let Some(until) = self.limits.until(&origin, now) {
            return Err(limited(place, asked, until));
        }
        let answer = self
            .send(place, url, |client, url| {
                let is_home = Origin::of_url(&url).as_ref() == Some(&origin);
                client.get(url).headers(asked.headers(is_home))
            })
            .await?;
        if answer.status() == StatusCode::OK {
            let next = answer.headers().get(LINK).and_then(|link| next_of(link.to_str().ok()?));
            return Ok((self.body(place, answer, MOST).await?, next));
        }
        if let Some(until) = limit(answer.status(), answer.headers(), now) {
            self.limits.set(origin, until);
            return Err(limited(place, asked, until));
        }
        Err(asked.refused(place, answer.status()))
    }
}

/// Which origins want to be left alone, until when: shared by all who fetch here.
#[derive(Debug, Default)]
pub(super) struct Limits(std::sync::Mutex<BTreeMap<Origin, Timestamp>>);

impl Limits {
    fn until(&self, origin: &Origin, now: Timestamp) -> Option<Timestamp> {
        let known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(origin).copied().filter(|until| *until > now)
    }

    fn set(&self, origin: Origin, until: Timestamp) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(origin, until);
    }
}

struct Asked<'a> {
    from: &'a ChecksFrom,
    sha: &'a Sha,
    token: Option<&'a str>,
}

impl Asked<'_> {
    fn headers(&self, is_home: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let accept = match self.from.forge {
            Forge::Github => "application/vnd.github+json",
            Forge::Gitlab | Forge::Gitea => "application/json",
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if self.from.forge == Forge::Github {
            headers.insert(HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));
        }
        let token = self.token.filter(|_| is_home).map(|token| match self.from.forge {
            Forge::Gitea => format!("token {token}"),
            Forge::Github | Forge::Gitlab => format!("Bearer {token}"),
        });
        if let Some(mut token) = token.and_then(|token| HeaderValue::from_str(&token).ok()) {
            token.set_sensitive(true);
            headers.insert(AUTHORIZATION, token);
        }
        headers
    }

    /// An answer that is none, each with its own next move.
    fn refused(&self, place: &Location, status: StatusCode) -> FetchError {
        let (forge, project) = (self.from.forge.name(), &self.from.project);
        let commit = self.sha.short();
        let token = self.from.token.as_deref();
        let why = match (status.as_u16(), token) {
            (401, Some(token)) => {
                format!("{forge} does not take the token {token} (401): is it another server's, expired or revoked?")
            }
            (401, None) => {
                format!("{forge} wants a login (401): checks_from = {{ token = \"NAME\" }}, a secret of the controller")
            }
            (403, Some(token)) => format!(
                "the token {token} may not read the statuses of {project} (403): give it read access to commit statuses and checks"
            ),
            (403, None) => format!(
                "{forge} does not tell everybody (403): checks_from = {{ token = \"NAME\" }}, a secret of the controller"
            ),
            (404, Some(token)) => {
                format!("{forge} knows no {project}, or no commit {commit} in it, or not for the token {token} (404)")
            }
            (404, None) => {
                format!("{forge} knows no {project}, or no commit {commit} in it, or not without a token (404)")
            }
            (409 | 422, _) => {
                format!("{forge} knows no commit {commit} in {project} ({}): was it pushed there?", status.as_u16())
            }
            _ => return FetchError::status(place, status),
        };
        FetchError::refused(place, why)
    }
}

/// Until when a forge wants to be left alone, where that is what it says: 429, and what GitHub says by a 403.
fn limit(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let after = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse::<u64>().ok());
    let is_spent = ["x-ratelimit-remaining", "ratelimit-remaining"].iter().any(|name| number(name) == Some(0));
    let is_limit =
        status == StatusCode::TOO_MANY_REQUESTS || (status == StatusCode::FORBIDDEN && (is_spent || after.is_some()));
    if !is_limit {
        return None;
    }
    let reset = ["x-ratelimit-reset", "ratelimit-reset"].iter().find_map(|name| number(name));
    let reset = reset.and_then(|at| Timestamp::from_second(at).ok()).map(|at| at.duration_since(now));
    let pause = after.map(Duration::from_secs).or_else(|| reset.and_then(|left| Duration::try_from(left).ok()));
    let pause = pause.unwrap_or(PAUSE).clamp(Duration::from_secs(1), LONGEST);
    now.checked_add(SignedDuration::try_from(pause).ok()?).ok()
}

/// Refused rather than an accident: another try at once would be one more of too many.
fn limited(place: &Location, asked: &Asked<'_>, until: Timestamp) -> FetchError {
    let (forge, at) = (asked.from.forge.name(), until.strftime("%H:%M:%S UTC"));
    let more = if asked.token.is_none() { ", and with a token it may be asked more often" } else { "" };
    FetchError::refused(place, format!("{forge} was asked too often, and is not asked again before {at}{more}"))
}

/// `<address>; rel="next"` of a `Link` header.
fn next_of(link: &str) -> Option<String> {
    link.split(',').find_map(|one| {
        let (address, rest) = one.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = rest.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then(|| address.to_owned())
    })
}

const SUCCESS: &str = "success";

/// One word on one name.
struct Told {
    name: String,
    /// Whose word it is, where several may speak under one name.
    by: i64,
    /// A later word has a greater one.
    id: i64,
    sha: Option<String>,
    word: &'static str,
}

fn worst(entries: impl Iterator<Item = Told>) -> Vec<(String, &'static str)> {
    let mut all: BTreeMap<String, &'static str> = BTreeMap::new();
    for Told { name, word, .. } in entries {
        let kept = all.entry(name).or_insert(word);
        if *kept == SUCCESS {
            *kept = word;
        }
    }
    all.into_iter().collect()
}

impl StatusList {
    fn entries(self, bytes: &[u8]) -> Result<Vec<Told>, String> {
        let unread = |error: serde_json::Error| format!("it is no list of statuses: {}", fault(&error));
        let status = |Status { id, name, context, status, state, sha }: Status| {
            let word = status.or(state);
            Some(Told { name: context.or(name)?, by: 0, id, sha, word: word.as_deref().map_or("no status", known) })
        };
        match self {
            StatusList::Combined => {
                let Combined { sha, statuses } = serde_json::from_slice(bytes).map_err(unread)?;
                let entries = statuses.unwrap_or_default().into_iter().filter_map(status);
                Ok(entries
                    .map(|entry| Told { sha: entry.sha.or_else(|| sha.clone().filter(|sha| !sha.is_empty())), ..entry })
                    .collect())
            }
            StatusList::Jobs => {
                let jobs: Vec<Status> = serde_json::from_slice(bytes).map_err(unread)?;
                Ok(jobs.into_iter().filter_map(status).collect())
            }
            StatusList::CheckRuns => {
                let CheckRuns { check_runs } = serde_json::from_slice(bytes).map_err(unread)?;
                let entry = |CheckRun { id, name, head_sha, status, conclusion, app }: CheckRun| {
                    let word = match status.as_str() {
                        "completed" => conclusion.as_deref().map_or("no conclusion", known),
                        status => known(status),
                    };
                    Told { name, by: app.map_or(0, |app| app.id), id, sha: head_sha, word }
                };
                Ok(check_runs.into_iter().map(entry).collect())
            }
        }
    }
}

#[derive(Deserialize)]
struct Combined {
    sha: Option<String>,
    statuses: Option<Vec<Status>>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    id: i64,
    name: Option<String>,
    context: Option<String>,
    status: Option<String>,
    state: Option<String>,
    sha: Option<String>,
}

#[derive(Deserialize)]
struct CheckRuns {
    check_runs: Vec<CheckRun>,
}

#[derive(Deserialize)]
struct CheckRun {
    id: i64,
    name: String,
    head_sha: Option<String>,
    status: String,
    conclusion: Option<String>,
    app: Option<App>,
}

#[derive(Deserialize)]
struct App {
    id: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_word_counts_and_of_several_the_worst() {
        let read = |listing: StatusList, text: &str| {
            let mut latest = BTreeMap::new();
            for entry in listing.entries(text.as_bytes()).unwrap() {
                let key = (entry.name.clone(), entry.by);
                if latest.get(&key).is_none_or(|known: &Told| known.id <= entry.id) {
                    latest.insert(key, entry);
                }
            }
            worst(latest.into_values()).into_iter().map(|(name, word)| format!("{name}={word}")).collect::<Vec<_>>()
        };
        let jobs = r#"[{"id":2,"name":"a","status":"success"},{"id":1,"name":"a","status":"failed"},{"id":3,"name":"b","status":"hunter2"}]"#;
        assert_eq!(read(StatusList::Jobs, jobs), ["a=success", "b=another word than any that is known"]);
        let runs = r#"{"total_count":4,"check_runs":[{"id":1,"name":"t","status":"completed","conclusion":"failure","app":{"id":7}},
            {"id":2,"name":"t","status":"completed","conclusion":"success","app":{"id":8}},
            {"id":3,"name":"l","status":"in_progress","conclusion":null},{"id":4,"name":"s","status":"completed","conclusion":"skipped"}]}"#;
        assert_eq!(read(StatusList::CheckRuns, runs), ["l=in_progress", "s=skipped", "t=failure"]);
        assert_eq!(read(StatusList::Combined, r#"{"state":"","statuses":null}"#), [""; 0]);
        assert!(StatusList::Jobs.entries(b"{\"message\":\"hunter2\"}").is_err_and(|why| !why.contains("hunter2")));
    }

    #[test]
    fn a_limit_is_told_apart_from_a_refusal() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let until = |status: u16, headers: &[(&'static str, &str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
            let until = limit(StatusCode::from_u16(status).unwrap(), &headers.collect(), now);
            until.map(|until| until.as_second() - 1_000_000)
        };
        assert_eq!(until(403, &[("x-ratelimit-remaining", "12")]), None);
        assert_eq!(until(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000090")]), Some(90));
        assert_eq!(until(403, &[("retry-after", "30")]), Some(30));
        assert_eq!(until(429, &[]), Some(60));
        assert_eq!(
            until(429, &[("ratelimit-reset", "9000000")]),
            Some(3600),
            "a slip of a clock is not believed for days"
        );
        assert_eq!(until(500, &[("retry-after", "30")]), None);
    }

    #[test]
    fn the_next_page_is_found() {
        let link = "<https://x/y?page=1>; rel=\"prev\", <https://x/y?page=3>; rel=\"next\", <https://x/y?page=9>; rel=\"last\"";
        assert_eq!(next_of(link).as_deref(), Some("https://x/y?page=3"));
        assert_eq!(next_of("<https://x/y?page=1>; rel=\"first\""), None);
    }
}
