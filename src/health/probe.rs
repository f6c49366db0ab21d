//! One attempt at one check: dispatch by kind, stamp, mask. Knows nothing of retries (`run::judge`) and runs
//! no configured command.

use std::time::Instant;

use reqwest::header::LOCATION;
use reqwest::{Method, Response};

use super::net::{Deadline, HostPort};
use super::{Context, Finding, assets, bearer, block_on, http, mask, net, page, systemd, tls};
use crate::host::wire::Secret;
use crate::model::desired::Probe;
use crate::model::observed::Attempt;

/// How much of a body is searched for the text that a check asks for.
const BODY_CAP: usize = 1 << 20;
/// How much of an unexpected answer is read to quote from it.
const QUOTE_CAP: usize = 16 << 10;
/// Characters of a body that the quote is made from: enough to fill it when tokens and blanks are taken out.
const QUOTE_FROM: usize = 4096;
/// Characters of a body in the evidence.
const QUOTE_CHARS: usize = 120;

/// Makes one attempt. The probe's templates are filled; the evidence is for people and free of the secret (law 9).
///
/// Pass: the target gave the answer that was asked for. Fail: it gave another, or refused, reset, timed out or broke
/// off TLS. Inconclusive: a missing secret, an invalid URL, a name that does not resolve, a prober that cannot look.
pub async fn attempt(probe: &Probe, ctx: &Context<'_>) -> Attempt {
    let at = (ctx.now)();
    let started = Instant::now();
    let finding = look(probe, ctx).await;
    stamp(finding, at, started, ctx.secret)
}

/// [`attempt`] for a caller without an async runtime, such as the host agent. Not for use inside one.
pub fn attempt_blocking(probe: &Probe, ctx: &Context<'_>) -> Attempt {
    let at = (ctx.now)();
    let started = Instant::now();
    block_on(attempt(probe, ctx)).unwrap_or_else(|error| stamp(Finding::unsure(error), at, started, ctx.secret))
}

fn stamp(finding: Finding, at: jiff::Timestamp, started: Instant, secret: Option<&Secret>) -> Attempt {
    Attempt {
        at,
        verdict: finding.verdict,
        evidence: mask(&finding.evidence, secret),
        millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

async fn look(probe: &Probe, ctx: &Context<'_>) -> Finding {
    let found = match probe {
        Probe::Http { url, status, bearer, body } => {
            let wanted = Wanted { status: *status, body: body.as_deref() };
            http_check(url, wanted, bearer.as_deref(), ctx).await
        }
        Probe::Tcp { address } => tcp_check(address, ctx).await,
        Probe::Systemd { unit } => systemd::is_active(unit, ctx.timeout).await,
        Probe::Tls { address, min_days } => tls::check(address, *min_days, ctx).await,
        Probe::Assets { manifest, base_url } => assets::check(manifest, base_url, ctx).await,
        Probe::Run { .. } => Err(Finding::unsure(
            "this is a command check: it is run in the release directory of the host, not by the prober",
        )),
    };
    found.unwrap_or_else(|trouble| trouble)
}

/// What an HTTP check asks for.
struct Wanted<'a> {
    status: u16,
    body: Option<&'a str>,
}

async fn http_check(
    url: &str,
    wanted: Wanted<'_>,
    secret: Option<&str>,
    ctx: &Context<'_>,
) -> Result<Finding, Finding> {
    let secret = bearer(secret, ctx)?;
    let deadline = Deadline::after(ctx.timeout);
    let (session, url) = http::open(url, &deadline).await?;
    let response = session.send(Method::GET, url, secret, &deadline).await?;
    let (status, millis) = (response.status().as_u16(), deadline.elapsed_ms());
    if status != wanted.status {
        // The status is verdict enough: a body that breaks off only makes the evidence shorter.
        let to = leads_to(&response, ctx.secret);
        let quote = match session.read(response, QUOTE_CAP, &deadline).await {
            Ok(body) => quote(&page::text(&body.text()), ctx.secret),
            Err(_) => String::new(),
        };
        let colon = if quote.is_empty() { "" } else { ": " };
        let wanted = wanted.status;
        return Ok(Finding::fail(format!("{status} instead of {wanted} after {millis} ms{to}{colon}{quote}")));
    }
    if let Some(text) = wanted.body {
        let body = session.read(response, BODY_CAP, &deadline).await?;
        if !body.text().contains(text) {
            let part = if body.cut { "the first MiB of the " } else { "" };
            return Ok(Finding::fail(format!("{part}body does not contain \"{text}\" ({status} in {millis} ms)")));
        }
    }
    Ok(Finding::pass(format!("{status} in {millis} ms")))
}

/// Where a redirect leads, which mostly is why there is one: a login, another scheme, a host that nobody configured. Without its
/// query, which may hold what is nobody's business.
fn leads_to(response: &Response, secret: Option<&Secret>) -> String {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
    let location = location.map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned());
    let plain = location.as_deref().and_then(|location| location.split(['?', '#']).next());
    plain.map(|plain| format!(", Location: {}", quote(plain, secret))).unwrap_or_default()
}

async fn tcp_check(address: &str, ctx: &Context<'_>) -> Result<Finding, Finding> {
    let deadline = Deadline::after(ctx.timeout);
    let place: HostPort = address.parse().map_err(Finding::unsure)?;
    net::connect(&place, &deadline).await?;
    Ok(Finding::pass(format!("connected to {place} in {} ms", deadline.elapsed_ms())))
}

/// The beginning of a body on one line: printable, and masked before it is cut, so that no cut hides a token's end.
pub(super) fn quote(body: &str, secret: Option<&Secret>) -> String {
    let blank = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { ' ' } else { c };
    let printable: String = body.chars().take(QUOTE_FROM).map(blank).collect();
    let line = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    mask(&line, secret).chars().take(QUOTE_CHARS).collect::<String>().trim_end().to_owned()
}
