//! A plan's graph as a picture: Mermaid for forges and pages, Graphviz for everything else. Node ids are numbers, so
//! that no name can break out of the picture's grammar.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::parts::what;
use crate::model::ids::HostName;
use crate::model::shown::clean;
use crate::plan::{Action, Step};

/// Mermaid's `flowchart TD`: a box per host.
pub fn mermaid(steps: &[Step]) -> String {
    let mut out = String::from("flowchart TD\n");
    for (n, (host, members)) in by_host(steps).into_iter().enumerate() {
        let title = host.map_or("controller", |h| h.as_str());
        let _ = writeln!(out, "  subgraph h{n}[\"{}\"]", for_mermaid(title));
        for (id, step) in members {
            let (open, close) = if step.irreversible { ("{{", "}}") } else { ("[", "]") };
            let _ = writeln!(out, "    n{id}{open}\"{}\"{close}{}", for_mermaid(&what(step)), class(step));
        }
        out.push_str("  end\n");
    }
    for (from, to) in edges(steps) {
        let _ = writeln!(out, "  n{from} --> n{to}");
    }
    out.push_str("  classDef irreversible stroke:#b00020,stroke-width:3px\n");
    out.push_str("  classDef back stroke:#b36b00,stroke-dasharray:4 3\n");
    out
}

/// Graphviz. `title` names the graph.
pub fn dot(title: &str, steps: &[Step]) -> String {
    let mut out = format!("digraph \"{}\" {{\n  rankdir=TB;\n  node [shape=box];\n", for_dot(title));
    for (n, (host, members)) in by_host(steps).into_iter().enumerate() {
        let title = host.map_or("controller", |h| h.as_str());
        let _ = writeln!(out, "  subgraph cluster_{n} {{\n    label=\"{}\";", for_dot(title));
        for (id, step) in members {
            let style = match class(step) {
                ":::irreversible" => ", color=\"#b00020\", penwidth=3",
                ":::back" => ", color=\"#b36b00\", style=dashed",
                _ => "",
            };
            let _ = writeln!(out, "    n{id} [label=\"{}\"{style}];", for_dot(&what(step)));
        }
        out.push_str("  }\n");
    }
    for (from, to) in edges(steps) {
        let _ = writeln!(out, "  n{from} -> n{to};");
    }
    out.push_str("}\n");
    out
}

type Members<'a> = Vec<(usize, &'a Step)>;

/// Steps with their numbers, by host in the order of their first step.
fn by_host(steps: &[Step]) -> Vec<(Option<&HostName>, Members<'_>)> {
    let mut groups: Vec<(Option<&HostName>, Members<'_>)> = Vec::new();
    for (id, step) in steps.iter().enumerate() {
        let host = step.host.as_ref();
        match groups.iter_mut().find(|(of, _)| *of == host) {
            Some((_, members)) => members.push((id, step)),
            None => groups.push((host, vec![(id, step)])),
        }
    }
    groups
}

fn edges(steps: &[Step]) -> Vec<(usize, usize)> {
    let ids: HashMap<&str, usize> = steps.iter().enumerate().map(|(n, s)| (s.id.as_str(), n)).collect();
    let lead = |(to, step): (usize, &Step)| -> Vec<(usize, usize)> {
        step.after.iter().filter_map(|before| Some((*ids.get(before.as_str())?, to))).collect()
    };
    steps.iter().enumerate().flat_map(lead).collect()
}

fn class(step: &Step) -> &'static str {
    match step.action {
        _ if step.irreversible => ":::irreversible",
        Action::Rollback { .. } | Action::Hold { .. } | Action::RevertCommit { .. } => ":::back",
        _ => "",
    }
}

/// Mermaid's own entities: a quote would end the label, a backtick would begin Markdown, a `<` HTML.
fn for_mermaid(text: &str) -> String {
    let mut out = String::new();
    for c in clean(text).chars() {
        match c {
            c if c.is_alphanumeric() || " -_.,:/=+@".contains(c) => out.push(c),
            c => {
                let _ = write!(out, "#{};", u32::from(c));
            }
        }
    }
    out
}

fn for_dot(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('"', "\\\"")
}
