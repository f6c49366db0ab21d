//! The watch after a switch (C8): figures from an endpoint, a command, a Prometheus query; what is broken goes back.

use crate::support::web::Web;
use crate::support::world::World;

/// `staging` runs `a`, unwatched; then `b` is desired and watched for a moment.
fn watched(metric: &str) -> World {
    let w = World::staging("");
    let watch =
        "\n[environments.staging.watch]\nfor = \"300ms\"\nevery = \"50ms\"\n[[environments.staging.watch.metrics]]\n";
    w.write("state/desired-state.toml", &(w.read("state/desired-state.toml") + watch + metric));
    w.commit_all("watch");
    w.soll("release staging <b>").exits(0);
    w
}

fn prometheus(figure: &str) -> String {
    format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{{\"metric\":{{}},\"value\":[1700000000,\"{figure}\"]}}]}}}}"
    )
}

#[test]
fn a_broken_figure_goes_back() {
    let web = Web::start();
    web.set("/queue", 200, "{\"size\": 1001}");
    web.set("/metrics", 200, "# TYPE failed_jobs gauge\nfailed_jobs{queue=\"mail\"} 11\n");
    web.set("/api/v1/query", 200, &prometheus("0.06"));
    let sources = [
        (format!("http = \"{}\"\nselect = \"/size\"\nabove = 1000", web.url("/queue")), "1001"),
        (format!("http = \"{}\"\nselect = 'failed_jobs{{queue=\"mail\"}}'\nabove = 10", web.url("/metrics")), "11"),
        ("run = \"echo disk; echo 86\"\nabove = 85".to_owned(), "86"),
        ("run = \"echo 0.99\"\nbelow = 0.995".to_owned(), "0.99"),
        (format!("prometheus = \"{}\"\nquery = \"error_rate\"\nabove = 0.05", web.url("")), "0.06"),
    ];
    for (source, figure) in sources {
        let w = watched(&format!("name = \"figure\"\n{source}\n"));
        w.soll("apply").exits(3).says("watch on local").says(figure);
        assert_eq!((w.runs("staging"), w.quarantined("staging")), ("a".into(), vec!["b".into()]), "{source}");
    }
    assert!(web.seen().iter().any(|head| head.contains("query=error_rate")));
}

#[test]
fn good_figures_are_confirmed_and_kept_as_evidence() {
    let w = watched("name = \"memory\"\nrun = \"echo 42\"\nabove = 80\n");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "b");
    let run = w.soll("history --output json").json()[0]["run"].as_str().unwrap().to_owned();
    let shown = w.soll(&format!("show {run}")).exits(0).stdout;
    assert!(shown.matches("memory = 42").count() >= 2, "{shown}");
    // Going back to what ran before is not watched again: it is quick (A6).
    w.soll("rollback staging").exits(0);
    let steps = w.soll("plan --output json").json()["environments"][0]["steps"].as_array().unwrap().clone();
    assert!(steps.iter().all(|step| step["kind"] != "watch"), "{steps:?}");
    w.soll("apply").exits(0);
    assert_eq!(w.runs("staging"), "a");
}

#[test]
fn some_bad_samples_are_forgiven_where_that_is_said() {
    let counted = "run = \"echo x >> $DIR/count; if [ $(wc -l < $DIR/count) -le 2 ]; then echo 99; else echo 1; fi\"";
    let w = watched(&format!("name = \"figure\"\nabove = 80\nfailure_limit = 2\n{counted}\n"));
    w.soll("apply").exits(0);
    let w = watched(&format!("name = \"figure\"\nabove = 80\nfailure_limit = 1\n{counted}\n"));
    w.soll("apply").exits(3);
}

#[test]
fn a_metric_that_warns_only_warns() {
    let w = watched("name = \"figure\"\nrun = \"echo 99\"\nabove = 80\non_failure = \"warn\"\n");
    w.soll("apply").exits(0).says("figure");
    assert_eq!(w.runs("staging"), "b");
}

#[test]
fn no_evidence_is_an_error_and_no_verdict() {
    let w = watched("name = \"figure\"\nrun = \"exit 1\"\nabove = 80\n");
    w.edit("root = ", "deadline = \"2s\"\nroot = ");
    w.soll("apply").exits(1).says("has no evidence");
    assert_eq!(w.quarantined("staging"), Vec::<String>::new());
}
