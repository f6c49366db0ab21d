//! How a registry lets somebody in: it is asked, says what it wants, and is asked once more with that. What it was given last is
//! kept for a while, for each repository by itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use http_auth::ChallengeParser;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::artifact::fetch::{FetchError, Fetcher};
use crate::artifact::source::Location;
use crate::model::origin::is_loopback;

/// A token is good for at least a minute, says the one who invented them: for this long it is not asked for again.
const KEPT: Duration = Duration::from_secs(45);
/// No answer with a token is longer.
const MOST: usize = 1 << 20;

/// Who asks a registry.
#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, …)", self.user)
    }
}

/// What registries want to see, by repository.
#[derive(Debug, Default)]
pub struct Passes(Mutex<HashMap<String, (Instant, HeaderValue)>>);

impl Passes {
    /// What was good lately.
    pub fn of(&self, repository: &str) -> Option<HeaderValue> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(repository).filter(|(since, _)| since.elapsed() < KEPT).map(|(_, pass)| pass.clone())
    }

    /// Gets what a registry wants that has refused a request with these headers.
    ///
    /// # Errors
    /// It wants something that nobody here can give; in words that name the next move.
    pub async fn renew(
        &self,
        fetcher: &Fetcher,
        place: &Location,
        (repository, login): (&str, Option<&Login>),
        refused: &HeaderMap,
    ) -> Result<HeaderValue, FetchError> {
        let pass = match wanted(refused, repository).map_err(|why| FetchError::refused(place, why))? {
            Wanted::Password => {
                let login = login.ok_or_else(|| FetchError::refused(place, ANONYMOUS))?;
                basic(place, login)?
            }
            Wanted::Token(realm) => token(fetcher, place, realm, login).await?,
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(repository.to_owned(), (Instant::now(), pass.clone()));
        Ok(pass)
    }
}

const ANONYMOUS: &str = "the registry lets nobody in without a login: name one in `registries`, whose `password` is a secret of the controller";

/// What a registry wants of whoever asks.
#[derive(Debug, PartialEq)]
enum Wanted {
    Password,
    /// From there.
    Token(Url),
}

/// Of several ways the one with a token.
fn wanted(headers: &HeaderMap, repository: &str) -> Result<Wanted, String> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges: Vec<_> = texts.flat_map(|text| ChallengeParser::new(text).filter_map(Result::ok)).collect();
    let by = |scheme: &str| challenges.iter().find(|one| one.scheme.eq_ignore_ascii_case(scheme));
    let Some(bearer) = by("bearer") else {
        return match by("basic") {
            Some(_) => Ok(Wanted::Password),
            None => Err("the registry refuses, and names no way to log in that is known here".to_owned()),
        };
    };
    let param = |name: &str| {
        let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let realm = param("realm").and_then(|realm| Url::parse(&realm).ok());
    let mut realm = realm.ok_or("the registry names no address that gives tokens")?;
    let scope = param("scope").unwrap_or_else(|| format!("repository:{repository}:pull"));
    realm.query_pairs_mut().extend_pairs(param("service").map(|service| ("service", service)));
    realm.query_pairs_mut().append_pair("scope", &scope);
    Ok(Wanted::Token(realm))
}

fn basic(place: &Location, login: &Login) -> Result<HeaderValue, FetchError> {
    let pair = Zeroizing::new(format!("{}:{}", login.user, &*login.password));
    let text = Zeroizing::new(format!("Basic {}", &*Zeroizing::new(Base64::encode_string(pair.as_bytes()))));
    header(place, &text)
}

fn header(place: &Location, text: &str) -> Result<HeaderValue, FetchError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        FetchError::refused(place, "what is to be sent as a login has characters that no header may have")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// A token, from whoever gives them for this registry. The login goes there and nowhere that it leads to.
async fn token(
    fetcher: &Fetcher,
    place: &Location,
    realm: Url,
    login: Option<&Login>,
) -> Result<HeaderValue, FetchError> {
    let from = Location::Http(realm.clone());
    if realm.scheme() != "https" && !is_loopback(realm.host_str().unwrap_or_default()) {
        return Err(FetchError::refused(
            place,
            "it has its tokens from an address without https, where no login is sent",
        ));
    }
    let pass = login.map(|login| basic(place, login)).transpose()?;
    let request = |client: &reqwest::Client, url: Url| {
        let to_it = pass.as_ref().filter(|_| super::same_origin(&url, &realm));
        let request = client.get(url);
        match to_it {
            Some(pass) => request.header(AUTHORIZATION, pass.clone()),
            None => request,
        }
    };
    let answer = fetcher.send(&from, &realm, request).await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let why = match login {
                Some(login) => format!("it gives {} no token: is the password in `registries` still good?", login.user),
                None => ANONYMOUS.to_owned(),
            };
            return Err(FetchError::refused(place, why));
        }
        status => return Err(FetchError::status(&from, status)),
    }
    let bytes = Zeroizing::new(fetcher.body(&from, answer, MOST).await?);
    let given: Option<Given> = serde_json::from_slice(&bytes).ok();
    let text = given.and_then(|given| given.token.or(given.access_token)).map(Zeroizing::new);
    let text = text.ok_or_else(|| FetchError::refused(&from, "it answered with something else than a token"))?;
    header(place, &Zeroizing::new(format!("Bearer {}", &*text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_str(text).unwrap())])
    }

    #[test]
    fn what_a_registry_wants_is_understood() {
        assert_eq!(wanted(&said("Basic realm=\"x\""), "a/b"), Ok(Wanted::Password));
        let hub = r#"Bearer realm="https://auth.example.com/token?x=1",service="registry.example.com",scope="repository:a/b:pull""#;
        let Ok(Wanted::Token(url)) = wanted(&said(hub), "a/b") else { panic!() };
        assert_eq!(
            url.as_str(),
            "https://auth.example.com/token?x=1&service=registry.example.com&scope=repository%3Aa%2Fb%3Apull"
        );
        let Ok(Wanted::Token(url)) = wanted(&said(r#"Bearer realm="https://r.example/token""#), "a/b") else {
            panic!()
        };
        assert_eq!(url.query(), Some("scope=repository%3Aa%2Fb%3Apull"));
        for bad in ["Negotiate", "Bearer realm=\"nowhere\"", ""] {
            assert!(wanted(&said(bad), "a/b").is_err(), "{bad}");
        }
    }
}
