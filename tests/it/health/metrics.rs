//! Watched figures (C8) from pages, JSON, Prometheus text and a Prometheus server.

use soll::health::Context;
use soll::health::metric::sample;
use soll::host::wire::Secret;
use soll::model::desired::MetricSource;

use super::server::{Reply, Server};
use super::{TOKEN, context};

pub fn whole_body(url: &str) -> MetricSource {
    MetricSource::Http { url: url.to_owned(), select: None, bearer: None }
}

fn selected(url: &str, select: &str) -> MetricSource {
    MetricSource::Http { url: url.to_owned(), select: Some(select.to_owned()), bearer: None }
}

fn query(url: &str, query: &str) -> MetricSource {
    let bearer = Some("PROMETHEUS_TOKEN".to_owned());
    MetricSource::Prometheus { url: url.to_owned(), query: query.to_owned(), bearer }
}

#[tokio::test]
async fn a_figure_is_read_from_a_body() {
    let server = Server::start(|request| match request.path.as_str() {
        "/number" => Reply::ok(" 12.5\n"),
        "/json" => Reply::ok(r#"{"queue":{"size":1001}}"#),
        "/metrics" => {
            Reply::ok("# TYPE jobs gauge\njobs{state=\"failed\",q=\"a\"} 7\njobs{state=\"failed\",q=\"b\"} 4\n")
        }
        "/endless" => Reply::Endless("HTTP/1.1 200 OK\r\n\r\n"),
        "/redirect" => Reply::with(302, "location: /number\r\n", ""),
        _ => Reply::status(500, "no database"),
    })
    .await;
    let of = async |source: MetricSource| sample(&source, &context()).await;
    assert_eq!(of(whole_body(&server.url("/number"))).await, Ok(12.5));
    assert_eq!(of(selected(&server.url("/json"), "/queue/size")).await, Ok(1001.0));
    assert_eq!(of(selected(&server.url("/metrics"), "jobs{state=\"failed\"}")).await, Ok(11.0));
    let error = async |source: MetricSource| of(source).await.unwrap_err();
    assert_eq!(error(whole_body(&server.url("/down"))).await, "500 instead of 200");
    assert_eq!(error(whole_body(&server.url("/redirect"))).await, "302 instead of 200");
    assert!(error(whole_body(&server.url("/endless"))).await.ends_with("is larger than 8 MiB"));
    assert_eq!(error(selected(&server.url("/json"), "/queue/age")).await, "there is no /queue/age in the answer");
    let command = MetricSource::Run { command: "echo 1".to_owned() };
    assert!(error(command).await.contains("comes from a command"));
}

#[tokio::test]
async fn a_prometheus_server_gives_exactly_one_figure() {
    let server = Server::start(|request| {
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Reply::status(401, request.header("authorization").unwrap_or("who are you?"));
        }
        let value = |kind: &str, result: &str| {
            Reply::ok(&format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#))
        };
        match request.path.strip_prefix("/prom/api/v1/query?query=").unwrap_or_default() {
            "sum%28rate%28x%5B5m%5D%29%29" => value("vector", r#"[{"metric":{},"value":[1700000000.1,"0.25"]}]"#),
            "scalar" => value("scalar", r#"[1700000000.1,"3"]"#),
            "infinite" => value("scalar", r#"[1700000000.1,"+Inf"]"#),
            "idle" => value("vector", r#"[{"metric":{},"value":[1700000000.1,"NaN"]}]"#),
            "none" => value("vector", "[]"),
            "two" => value("vector", r#"[{"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"2"]}]"#),
            "range" => value("matrix", "[]"),
            "echo" => Reply::status(400, &format!(r#"{{"status":"error","error":"bad token {TOKEN} in query"}}"#)),
            _ => Reply::ok("<html>not prometheus</html>"),
        }
    })
    .await;
    let secret = Secret::new(TOKEN.to_owned());
    let ctx = Context { secret: Some(&secret), ..context() };
    let of = async |text: &str| sample(&query(&server.url("/prom"), text), &ctx).await;
    assert_eq!(of("sum(rate(x[5m]))").await, Ok(0.25));
    assert_eq!(of("scalar").await, Ok(3.0));
    assert_eq!(of("infinite").await, Ok(f64::INFINITY));
    let error = async |text: &str| of(text).await.unwrap_err();
    assert_eq!(error("idle").await, "the figure is NaN: there was nothing to measure");
    assert_eq!(error("none").await, "the query found nothing: no series matches");
    assert_eq!(error("two").await, "the query found 2 series: aggregate them to one, as with sum()");
    assert_eq!(error("range").await, "the query gave a matrix: an instant vector or a scalar is needed");
    assert_eq!(error("echo").await, "Prometheus refused the query: bad token *** in query");
    assert_eq!(error("other").await, "200, and no answer of a Prometheus server");

    let without = sample(&query(&server.url("/prom"), "scalar"), &context()).await.unwrap_err();
    assert!(without.contains("SOLL_SECRET_PROMETHEUS_TOKEN"), "{without}");
    let wrong = Secret::new("wrong-token-1234567".to_owned());
    let refused = sample(&query(&server.url("/prom"), "scalar"), &Context { secret: Some(&wrong), ..context() }).await;
    assert_eq!(refused, Err("401, and no answer of a Prometheus server".to_owned()));
}
