//! Plans for people: what they read first, and that nothing from outside gets out of its place.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use soll::model::desired::{DriftPolicy, Environment, Phase, Promote};
use soll::model::observed::DriftKind;
use soll::plan::render::{Style, graph, markdown, text, why};
use soll::plan::{Plan, back};

use crate::support::states::*;

/// Four environments: one changes, one is blocked, one is as desired, one has drifted.
fn four() -> Plan {
    let mut staging = environment("staging", 'b');
    staging.targets.push(target("web2"));
    staging.hooks = vec![hook(Phase::Migrate, "migrate"), hook(Phase::PostSwitch, "reload")];
    let old = Host::running(&staging, 'a');
    let mut production = environment("production", 'b');
    production.frozen = Some("incident 4711".to_owned());
    let soak = std::time::Duration::from_secs(3600);
    let by = soll::model::desired::Match::Sha;
    production.promote = Some(Promote { from: env_name("staging"), soak, by });
    let quiet = environment("demo", 'a');
    let drifted = environment("edge", 'a');
    let many: Vec<String> = (0..23).map(|n| format!("vendor/file{n:02}.php")).collect();
    let many: Vec<_> = many.iter().map(|p| (p.as_str(), DriftKind::Added)).collect();
    let case = Case::new(&staging, &[("web1", &old), ("web2", &old)])
        .and(&production, &[("web1", &Host::running(&production, 'a'))])
        .and(&quiet, &[("web1", &Host::running(&quiet, 'a'))])
        .and(&drifted, &[("web1", &Host::running(&drifted, 'a').drifted(&many))]);
    let mut plan = case.plan();
    let times = [("fetch", 4_200), ("upload:web1", 61_000), ("upload:web2", 850), ("switch:web1", 12)];
    let times: BTreeMap<_, _> = times.map(|(step, ms)| (step.to_owned(), ms)).into();
    plan.environments.iter_mut().for_each(|env| env.estimate(&times));
    plan
}

/// What a host and a state file could say to break out.
const HOSTILE: &str = "`|<img src=x onerror=alert(1)> @acme/admins #1 [x](javascript:a) https://evil.example\n\
                       # title\u{1b}[2J\u{202e} </details><!-- --> \"];x[\" \\";

fn hostile() -> Plan {
    let mut env = environment("production", 'b');
    env.frozen = Some(HOSTILE.to_owned());
    env.drift = DriftPolicy::Report;
    env.gates[0].name = HOSTILE.to_owned();
    let host = Host::running(&env, 'a').drifted(&[(HOSTILE, DriftKind::Changed)]);
    let host = host.with(|s| s.missing_env = vec![HOSTILE.to_owned()]);
    Case::new(&env, &[("web1", &host)]).plan()
}

#[test]
fn on_a_terminal() {
    assert_snapshot!("text", text(&four(), Style::Plain));
}

#[test]
fn colours_come_only_where_they_are_asked_for_and_change_no_word() {
    let plan = four();
    let plain = text(&plan, Style::Plain);
    assert!(!plain.contains('\u{1b}'));
    let colour = text(&plan, Style::Colour);
    assert!(colour.contains("\u{1b}["));
    assert_eq!(anstream::adapter::strip_str(&colour).to_string(), plain);
}

#[test]
fn nothing_from_outside_moves_a_cursor_or_forges_a_line() {
    let said = text(&hostile(), Style::Plain);
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
    assert!(!said.contains('\u{202e}') && !said.contains("\n# title"), "{said:?}");
}

#[test]
fn in_a_pull_request() {
    assert_snapshot!("markdown", markdown(&four()));
}

#[test]
fn a_pull_request_that_changes_nothing_gets_one_line() {
    let env = environment("production", 'a');
    let plan = Case::new(&env, &[("web1", &Host::running(&env, 'a'))]).plan();
    let said = markdown(&plan);
    assert_eq!(said.lines().count(), 2, "the marker and one line: {said}");
    assert!(said.starts_with("<!-- soll-plan -->\n**soll**: nothing changes (commit `c0ffee00`, plan `"), "{said}");
}

#[test]
fn nothing_from_outside_mentions_links_or_formats_in_a_pull_request() {
    let said = markdown(&hostile());
    assert_snapshot!("markdown_hostile", said);
    // Outside code spans and escapes, which a reader of Markdown takes away first.
    let open = unescaped(&said);
    for live in ["<img", "@acme", "#1", "](", "https://", "\n# title", "</details><!--"] {
        assert!(!open.contains(live), "{live:?} is live in {open}");
    }
    assert_eq!(said.matches("<details>").count(), open.matches("</details>").count());
}

/// Text without escaped characters and code spans, by the rule of CommonMark: a span ends at as many backticks as
/// began it, and a backslash inside means nothing.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '\\']) {
        out.push_str(&rest[..at]);
        if rest[at..].starts_with('\\') {
            let escaped = rest[at + 1..].chars().next().map_or(0, char::len_utf8);
            rest = &rest[at + 1 + escaped..];
            continue;
        }
        let ticks = |text: &str| text.chars().take_while(|c| *c == '`').count();
        let fence = ticks(&rest[at..]);
        let mut end = at + fence;
        loop {
            let tick = rest[end..].find('`').expect("an open code span") + end;
            end = tick + ticks(&rest[tick..]);
            if end - tick == fence {
                break;
            }
        }
        rest = &rest[end..];
    }
    out + rest
}

#[test]
fn a_comment_is_never_longer_than_a_forge_takes() {
    let mut env = environment("production", 'b');
    env.targets = (0..400).map(|n| target(&format!("web{n}"))).collect();
    let old = Host::running(&env, 'a');
    let names: Vec<_> = env.targets.iter().map(|t| t.name.to_string()).collect();
    let hosts: Vec<_> = names.iter().map(|n| (n.as_str(), &old)).collect();
    let said = markdown(&Case::new(&env, &hosts).plan());
    assert!(said.len() <= 60_000 && said.len() > 50_000, "{} bytes", said.len());
    assert!(said.ends_with("the rest is left out here. All of it: `soll plan`.\n"), "{}", &said[said.len() - 200..]);
    assert_eq!(said.matches("<details>").count(), said.matches("</details>").count());
    // Blockers are not what is left out.
    let away = env
        .targets
        .iter()
        .take(100)
        .fold(Case::new(&env, &hosts), |case, t| case.unreachable("production", t.name.as_str()));
    let said = markdown(&away.plan());
    assert_eq!(said.matches("cannot be reached").count(), 100);
    assert!(said.len() <= 60_000);
    // One endless text is left out whole, not cut inside an escape.
    env.frozen = Some("`*_<".repeat(30_000));
    let said = markdown(&Case::new(&env, &hosts).plan());
    assert!(said.len() <= 60_000 && said.contains("the rest is left out here"), "{} bytes", said.len());
}

#[test]
fn as_a_picture() {
    let plan = four();
    let staging = plan.environments.iter().find(|e| e.name.as_str() == "staging").unwrap();
    assert_snapshot!("mermaid", graph::mermaid(&staging.steps));
    assert_snapshot!("dot", graph::dot("staging", &staging.steps));
    let env = environment("production", 'b');
    let confirmed = Some((release('a', 90), Some(sha('a'))));
    let activation = Default::default();
    let host = back::Host {
        name: host_name("web1"),
        switched: true,
        confirmed,
        activation,
        closed: false,
        drained: Default::default(),
    };
    let on_failure = soll::model::desired::OnFailure::Rollback;
    let cause = back::Cause { on_failure, reason: "503".to_owned(), verdict: None, revert: Some((sha('b'), sha('a'))) };
    assert_snapshot!("mermaid_back", graph::mermaid(&back::back(&env, &[host], &cause)));
}

#[test]
fn nothing_from_outside_gets_out_of_a_label() {
    let plan = hostile();
    let steps = &plan.environments[0].steps;
    for line in graph::mermaid(steps).lines().filter(|l| l.contains("gate")) {
        let label = line.trim().split_once('"').unwrap().1.strip_suffix("\"]").unwrap();
        assert!(label.chars().all(|c| c.is_alphanumeric() || " -_.,:/=+@#;".contains(c)), "{label}");
    }
    let gate = steps.iter().position(|s| s.action.kind() == "gate").unwrap();
    let dot = graph::dot(HOSTILE, steps);
    let line = dot.lines().find(|l| l.contains(&format!("n{gate} ["))).unwrap();
    let label = line.split_once("label=\"").unwrap().1.strip_suffix("\"];").unwrap();
    assert!(!label.replace("\\\\", "").replace("\\\"", "").contains('"'), "{label}");
    assert!(label.ends_with("\\\\"), "the last backslash does not escape the closing quote: {label}");
}

#[test]
fn why_in_words() {
    let plan = four();
    let of = |name: &str| why(plan.environments.iter().find(|e| e.name.as_str() == name).unwrap());
    assert_snapshot!("why_going", of("staging"));
    assert_snapshot!("why_blocked", of("production"));
    assert_snapshot!("why_still", of("demo"));
    assert_snapshot!("why_drifted", of("edge"));
    let pending = Environment { approvals: 1, ..environment("production", 'b') };
    let old = Host::running(&pending, 'a');
    assert_snapshot!("why_pending", why(&Case::new(&pending, &[("web1", &old)]).env("production")));
    let away = Case::new(&pending, &[]).unreachable("production", "web1").env("production");
    assert_snapshot!("why_unknown", why(&away));
}
