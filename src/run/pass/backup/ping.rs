//! The dead man's switch of a job: a URL that hears when a backup is begun, and how it ended, and raises an alarm where it hears
//! nothing. What it answers never decides about a backup.

use std::time::Duration;

use crate::model::causes;
use crate::model::desired::{Backup, Environment};
use crate::run::secrets::{Purpose, Store};

/// Nobody waits longer for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// It gets so much to read.
const BODY: usize = 2000;

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat<'a> {
    Start,
    Success(&'a str),
    Fail(&'a str),
}

/// The switch of one backup. Where it was silent once, that is told once.
pub struct Switch {
    url: Result<String, String>,
    name: String,
    silent: Option<String>,
}

impl Switch {
    /// That of a job; `None`: it has none.
    pub fn of(secrets: &Store, env: &Environment, backup: &Backup) -> Option<Switch> {
        let name = backup.ping.clone()?;
        let get = |url: Option<&str>| {
            let purpose = Purpose::backup(&env.name, url);
            secrets
                .get(&name, &purpose)
                .map_err(|refused| format!("the secret {name}, {}: {}", refused.why, refused.fix))
        };
        // Where it may be sent is known once it is read.
        let url = get(None).and_then(|url| get(Some(url.expose())));
        let url = url.map(|url| url.expose().trim().to_owned());
        Some(Switch { url, name, silent: None })
    }

    /// Tells it. Whether it heard is kept.
    pub async fn tell(&mut self, beat: Beat<'_>) {
        let told = match &self.url {
            Ok(url) => send(url, beat).await.map_err(|why| format!("the address of {}: {why}", self.name)),
            Err(why) => Err(why.clone()),
        };
        if let (Err(why), None) = (told, &self.silent) {
            self.silent = Some(format!("the dead man's switch was not told ({why})"));
        }
    }

    /// What people should know of it.
    pub fn warning(self) -> Option<String> {
        self.silent
    }
}

async fn send(url: &str, beat: Beat<'_>) -> Result<(), String> {
    let (url, body) = request(url, beat)?;
    // The address is what nobody else may know: no error shows it, and no redirect carries it elsewhere.
    let shown = |error: reqwest::Error| causes::in_one_line(&error.without_url());
    let client = reqwest::Client::builder()
        .user_agent(concat!("soll/", env!("CARGO_PKG_VERSION")))
        .timeout(PATIENCE)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false);
    let answer = client.build().map_err(shown)?.post(url).body(body).send().await.map_err(shown)?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answers {status}")),
    }
}

/// As healthchecks.io and those who speak like it hear it: `/start`, nothing, `/fail`, before what follows a `?`.
fn request(url: &str, beat: Beat<'_>) -> Result<(reqwest::Url, String), String> {
    let mut url: reqwest::Url = url.parse().map_err(|_| "it is no URL".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it is no URL of http or https".to_owned());
    }
    let (end, body) = match beat {
        Beat::Start => ("/start", ""),
        Beat::Success(told) => ("", told),
        Beat::Fail(why) => ("/fail", why),
    };
    let path = format!("{}{end}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let body = body.lines().collect::<Vec<_>>().join(" ").chars().take(BODY).collect();
    Ok((url, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_as_such_switches_hear() {
        let of = |url, beat| request(url, beat).map(|(url, body)| (url.to_string(), body));
        let good = |url: &str, body: &str| Ok((url.to_owned(), body.to_owned()));
        let url = "https://hc.example.com/ping/abc/";
        assert_eq!(of(url, Beat::Start), good("https://hc.example.com/ping/abc/start", ""));
        assert_eq!(of(url, Beat::Success("2 rows")), good("https://hc.example.com/ping/abc", "2 rows"));
        assert_eq!(of(url, Beat::Fail("a\nb")), good("https://hc.example.com/ping/abc/fail", "a b"));
        assert_eq!(of("http://k.example.com/p?t=1", Beat::Fail("")), good("http://k.example.com/p/fail?t=1", ""));
        for bad in ["", "hc.example.com/abc", "ftp://hc.example.com/abc"] {
            assert!(of(bad, Beat::Start).is_err(), "{bad}");
        }
    }
}
