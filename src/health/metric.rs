//! One sample of a watched figure (C8): from an HTTP answer, or from a Prometheus server. A figure is a number or an
//! error with its reason, never a guess; whether it is good is [`super::verdict`]'s business. Runs no command.

use reqwest::{Method, Url};
use serde_json::Value;

use super::exposition::Selector;
use super::net::Deadline;
use super::probe::quote;
use super::{Context, Finding, bearer, block_on, http, mask};
use crate::model::desired::MetricSource;

/// Metric pages of busy services have some megabytes; a part of one would give a wrong sum.
const BODY_CAP: usize = 8 << 20;

/// Takes one sample. The error is a sentence for people, free of the secret (law 9). Never `NaN`.
pub async fn sample(source: &MetricSource, ctx: &Context<'_>) -> Result<f64, String> {
    let taken = match source {
        MetricSource::Http { url, select, bearer } => from_http(url, select.as_deref(), bearer.as_deref(), ctx).await,
        MetricSource::Prometheus { url, query, bearer } => from_prometheus(url, query, bearer.as_deref(), ctx).await,
        MetricSource::Run { .. } => Err(Finding::unsure(
            "this figure comes from a command: it is run in the release directory of the host, not by the prober",
        )),
    };
    taken.map_err(|finding| mask(&finding.evidence, ctx.secret))
}

/// [`sample`] for a caller without an async runtime, such as the host agent. Not for use inside one.
pub fn sample_blocking(source: &MetricSource, ctx: &Context<'_>) -> Result<f64, String> {
    block_on(sample(source, ctx))?
}

/// The figure of a command: the last line that it printed.
pub fn parse_last_number(output: &str) -> Result<f64, String> {
    match output.lines().rfind(|line| !line.trim().is_empty()) {
        // What a configured command printed may be told; what a server answered may not.
        Some(line) => {
            figure(line).ok_or_else(|| format!("`{}` is not a number", quote(line.trim(), None))).and_then(a_number)
        }
        None => Err("the command printed nothing: its last line must be a number".to_owned()),
    }
}

fn figure(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// The figure in what a server answered.
fn answered(text: &str, what: &str) -> Result<f64, String> {
    figure(text).ok_or_else(|| format!("{what} is not a number")).and_then(a_number)
}

/// `NaN` is what a division by no traffic gives: the absence of a figure, which no limit can judge.
fn a_number(value: f64) -> Result<f64, String> {
    if value.is_nan() { Err("the figure is NaN: there was nothing to measure".to_owned()) } else { Ok(value) }
}

async fn fetch(
    url: &str,
    with: Option<Url>,
    secret: Option<&str>,
    ctx: &Context<'_>,
) -> Result<(u16, String), Finding> {
    let secret = bearer(secret, ctx)?;
    let deadline = Deadline::after(ctx.timeout);
    let (session, plain) = http::open(url, &deadline).await?;
    let response = session.send(Method::GET, with.unwrap_or(plain), secret, &deadline).await?;
    let status = response.status().as_u16();
    let body = session.read(response, BODY_CAP, &deadline).await?;
    if body.cut {
        return Err(Finding::unsure(format!("the answer of {} is larger than {} MiB", session.place, BODY_CAP >> 20)));
    }
    Ok((status, body.text().into_owned()))
}

async fn from_http(url: &str, select: Option<&str>, secret: Option<&str>, ctx: &Context<'_>) -> Result<f64, Finding> {
    let (status, body) = fetch(url, None, secret, ctx).await?;
    if status != 200 {
        return Err(Finding::unsure(format!("{status} instead of 200")));
    }
    select_figure(&body, select).map_err(Finding::unsure)
}

fn select_figure(body: &str, select: Option<&str>) -> Result<f64, String> {
    match select {
        None => answered(body, "the answer"),
        Some(pointer) if pointer.starts_with('/') => {
            let not_json = |error: serde_json::Error| {
                format!("the answer is not JSON at line {}, column {}", error.line(), error.column())
            };
            let json: Value = serde_json::from_str(body).map_err(not_json)?;
            match json.pointer(pointer) {
                Some(Value::Number(number)) => a_number(number.as_f64().unwrap_or(f64::NAN)),
                Some(Value::String(text)) => answered(text, &format!("{pointer} in the answer")),
                Some(_) => Err(format!("{pointer} in the answer is not a number")),
                None => Err(format!("there is no {pointer} in the answer")),
            }
        }
        Some(selector) => match Selector::parse(selector)?.sum(body)? {
            (_, 0) => Err(format!("there is no sample {selector} in the answer")),
            (sum, _) => a_number(sum),
        },
    }
}

async fn from_prometheus(url: &str, query: &str, secret: Option<&str>, ctx: &Context<'_>) -> Result<f64, Finding> {
    let asked = Url::parse(url).map(|base| instant_query(base, query)).ok();
    let (status, body) = fetch(url, asked, secret, ctx).await?;
    let answer: Value = serde_json::from_str(&body)
        .map_err(|_| Finding::unsure(format!("{status}, and no answer of a Prometheus server")))?;
    read_answer(&answer).map_err(|why| Finding::unsure(quote(&why, ctx.secret)))
}

/// `url` is the server, with or without the path of its query endpoint.
fn instant_query(mut url: Url, query: &str) -> Url {
    let base = url.path().trim_end_matches('/').trim_end_matches("/api/v1/query").to_owned();
    url.set_path(&format!("{base}/api/v1/query"));
    url.query_pairs_mut().append_pair("query", query);
    url
}

fn read_answer(answer: &Value) -> Result<f64, String> {
    if answer["status"] != "success" {
        let said = answer["error"].as_str().unwrap_or("it does not say why");
        return Err(format!("Prometheus refused the query: {said}"));
    }
    let (kind, result) = (answer["data"]["resultType"].as_str().unwrap_or("nothing"), &answer["data"]["result"]);
    let pair = match (kind, result.as_array()) {
        ("scalar", Some(_)) => result,
        ("vector", Some(series)) => match series.as_slice() {
            [] => return Err("the query found nothing: no series matches".to_owned()),
            [one] => &one["value"],
            many => return Err(format!("the query found {} series: aggregate them to one, as with sum()", many.len())),
        },
        (kind, _) => return Err(format!("the query gave a {kind}: an instant vector or a scalar is needed")),
    };
    answered(pair[1].as_str().ok_or("the answer of Prometheus has no value")?, "the value that Prometheus gives")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_command_is_its_figure() {
        assert_eq!(parse_last_number("counting…\n 12.5 \n\n"), Ok(12.5));
        assert_eq!(parse_last_number("-3"), Ok(-3.0));
        assert_eq!(parse_last_number("3\ndone\n"), Err("`done` is not a number".to_owned()));
        assert!(parse_last_number("\n \n").is_err() && parse_last_number("nan").is_err());
    }

    #[test]
    fn figures_are_selected() {
        let json = r#"{"queue":{"size":7,"text":"1e3","on":true}}"#;
        assert_eq!(select_figure(json, Some("/queue/size")), Ok(7.0));
        assert_eq!(select_figure(json, Some("/queue/text")), Ok(1000.0));
        assert!(select_figure(json, Some("/queue/on")).is_err() && select_figure(json, Some("/x")).is_err());
        assert!(select_figure("{", Some("/x")).unwrap_err().starts_with("the answer is not JSON"));
        assert_eq!(select_figure(" 42\n", None), Ok(42.0));
        assert_eq!(select_figure("a 1\na{b=\"c\"} 2\n", Some("a")), Ok(3.0));
        assert!(select_figure("a NaN\n", Some("a")).unwrap_err().contains("NaN"));
        assert_eq!(select_figure("a 1\n", Some("b")), Err("there is no sample b in the answer".to_owned()));
    }

    #[test]
    fn the_query_endpoint_is_found_below_any_prefix() {
        let of = |url: &str| instant_query(Url::parse(url).unwrap(), "sum(rate(x[5m])) > 0").to_string();
        let query = "/api/v1/query?query=sum%28rate%28x%5B5m%5D%29%29+%3E+0";
        assert_eq!(of("http://p:9090"), format!("http://p:9090{query}"));
        assert_eq!(of("http://p/prom/"), format!("http://p/prom{query}"));
        assert_eq!(of("http://p/prom/api/v1/query"), format!("http://p/prom{query}"));
    }
}
