//! HTTP as a prober needs it: one origin, no redirects, no proxy, no reused connection, bodies with a cap, and errors
//! that say whose fault they are.

use std::io;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, Response, Url, redirect};
use tokio_rustls::rustls;

use super::net::{Deadline, HostPort, refusal, resolve};
use super::{Finding, tls};
use crate::host::wire::Secret;
use crate::model::causes;

/// A client for one origin, with its addresses already resolved.
#[derive(Clone)]
pub(super) struct Session {
    client: Client,
    origin: Url,
    pub(super) place: HostPort,
}

/// What was read of a body.
pub(super) struct Body {
    bytes: Vec<u8>,
    /// There was more.
    pub(super) cut: bool,
}

impl Body {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// Prepares for requests to the origin of `url`. Every failure here is the prober's or the configuration's.
pub(super) async fn open(url: &str, deadline: &Deadline) -> Result<(Session, Url), Finding> {
    let (url, place) = parse(url)?;
    let addresses = resolve(&place, deadline).await?;
    let roots = match url.scheme() {
        "https" => Some(tls::system_roots().await?),
        _ => None,
    };
    let client = Client::builder()
        .tls_backend_preconfigured(tls::client_config(roots).map_err(Finding::unsure)?)
        .user_agent(concat!("soll/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        // As every proxy and every server has it; what else is built in is for others.
        .http1_only()
        .referer(false)
        // The next attempt is a new connection: an old one would prove only that an old worker still lives.
        .pool_max_idle_per_host(0)
        .resolve_to_addrs(&place.host, &addresses)
        .build()
        .map_err(|error| Finding::unsure(format!("cannot make an HTTP client here: {}", innermost(&error))))?;
    Ok((Session { client, origin: url.clone(), place }, url))
}

fn parse(text: &str) -> Result<(Url, HostPort), Finding> {
    let bad = |why: &str| Finding::unsure(format!("the URL of this check is not usable: {why}"));
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("only http:// and https:// are spoken"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it carries credentials; name a secret with `bearer` instead"));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(bad("it names no host"));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((url, HostPort { host, port }))
}

impl Session {
    /// One request, up to its status and headers.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        secret: Option<&Secret>,
        deadline: &Deadline,
    ) -> Result<Response, Finding> {
        if url.origin() != self.origin.origin() {
            return Err(Finding::unsure(format!("{url} is not on {}", self.place)));
        }
        let mut request = self.client.request(method, url);
        if let Some(secret) = secret {
            let mut value = HeaderValue::try_from(format!("Bearer {}", secret.expose())).map_err(|_| {
                Finding::unsure(
                    "the secret has characters that no header can carry, such as a line break: store it without",
                )
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let sent = deadline.within(request.send(), |after| self.late(&after)).await?;
        sent.map_err(|error| self.trouble(&error))
    }

    /// At most `cap` bytes of a body.
    pub(super) async fn read(&self, mut response: Response, cap: usize, deadline: &Deadline) -> Result<Body, Finding> {
        let mut bytes = Vec::new();
        loop {
            let chunk = deadline.within(response.chunk(), |after| self.late(&after)).await?;
            match chunk.map_err(|error| self.trouble(&error))? {
                Some(chunk) if bytes.len() + chunk.len() > cap => {
                    bytes.extend_from_slice(&chunk[..cap - bytes.len()]);
                    return Ok(Body { bytes, cut: true });
                }
                Some(chunk) => bytes.extend_from_slice(&chunk),
                None => return Ok(Body { bytes, cut: false }),
            }
        }
    }

    fn late(&self, after: &str) -> Finding {
        Finding::fail(format!("no complete answer from {} within {after}", self.place))
    }

    fn trouble(&self, error: &reqwest::Error) -> Finding {
        let place = &self.place;
        let all = || causes::causes(error).skip(1);
        if let Some(tls) = all().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return tls::broken(place, tls);
        }
        let found_io = all().filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
        match found_io {
            Some(io) if error.is_connect() => refusal(place, io),
            Some(io) if io.kind() == io::ErrorKind::ConnectionReset => {
                Finding::fail(format!("{place} reset the connection in the middle of its answer"))
            }
            _ => Finding::fail(format!("no complete HTTP answer from {place}: {}", innermost(error))),
        }
    }
}

/// The innermost reason: the outer ones only repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    causes::causes(error).last().map(ToString::to_string).unwrap_or_default()
}
