//! The shape of a plan: a directed graph over its steps. Built with petgraph for what graphs are good at (order,
//! cycles), stored as the `after` lists that people read.

use std::collections::{BTreeSet, HashMap};

use petgraph::graph::{DiGraph, NodeIndex};

use super::step::{Action, Step};
use crate::model::desired::OnFailure;
use crate::model::ids::HostName;

/// Collects steps; each `push` names what comes first and gives the id to hang the next one on.
#[derive(Debug, Default)]
pub struct Builder {
    steps: Vec<Step>,
    taken: BTreeSet<String>,
}

impl Builder {
    /// Adds a step and gives its id, made unique where two hooks have one name.
    pub fn push(
        &mut self,
        host: Option<&HostName>,
        detail: Option<&str>,
        action: Action,
        after: &[String],
        on_failure: OnFailure,
        reason: impl Into<String>,
    ) -> String {
        let mut id = action.kind().to_owned();
        for part in host.map(HostName::as_str).into_iter().chain(detail) {
            id.push(':');
            id.push_str(part);
        }
        let plain = id.clone();
        for n in 2.. {
            if self.taken.insert(id.clone()) {
                break;
            }
            id = format!("{plain}-{n}");
        }
        let mut after = after.to_vec();
        after.sort();
        after.dedup();
        self.steps.push(Step {
            id: id.clone(),
            host: host.cloned(),
            after,
            on_failure,
            irreversible: matches!(action, Action::Migrate { .. }),
            action,
            reason: reason.into(),
            estimate_ms: None,
        });
        id
    }

    /// Says of the step that was pushed last that a rollback does not take it back.
    pub fn last_is_irreversible(&mut self) {
        if let Some(last) = self.steps.last_mut() {
            last.irreversible = true;
        }
    }

    /// The steps in the order in which they were pushed, which is a topological one.
    pub fn finish(self) -> Vec<Step> {
        self.steps
    }
}

/// The steps as a graph; edges lead from what comes first.
pub fn graph(steps: &[Step]) -> DiGraph<&Step, ()> {
    let mut graph = DiGraph::with_capacity(steps.len(), steps.len() * 2);
    let nodes: HashMap<&str, NodeIndex> = steps.iter().map(|step| (step.id.as_str(), graph.add_node(step))).collect();
    for step in steps {
        for before in &step.after {
            if let (Some(from), Some(to)) = (nodes.get(before.as_str()), nodes.get(step.id.as_str())) {
                graph.add_edge(*from, *to, ());
            }
        }
    }
    graph
}

/// The longest way through the graph by estimates, in milliseconds. `None`: no step has one, or the steps are no plan.
pub fn longest(steps: &[Step]) -> Option<u64> {
    steps.iter().find_map(|step| step.estimate_ms)?;
    let graph = graph(steps);
    let mut done = vec![0u64; graph.node_count()];
    for node in petgraph::algo::toposort(&graph, None).ok()? {
        let before = graph.neighbors_directed(node, petgraph::Direction::Incoming).map(|n| done[n.index()]).max();
        done[node.index()] = before.unwrap_or(0).saturating_add(graph[node].estimate_ms.unwrap_or(0));
    }
    done.into_iter().max()
}

/// Why a list of steps is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("step `{step}` comes after `{missing}`, which is not in the plan")]
    Dangling { step: String, missing: String },
    #[error("two steps are called `{0}`")]
    Twice(String),
    #[error("these steps wait for each other: {}", .0.join(", "))]
    Cycle(Vec<String>),
}

/// Refuses what could not be run to its end: a saved plan comes from outside.
pub fn check(steps: &[Step]) -> Result<(), Malformed> {
    let mut ids = BTreeSet::new();
    for step in steps {
        if !ids.insert(step.id.as_str()) {
            return Err(Malformed::Twice(step.id.clone()));
        }
    }
    for step in steps {
        if let Some(missing) = step.after.iter().find(|before| !ids.contains(before.as_str())) {
            return Err(Malformed::Dangling { step: step.id.clone(), missing: missing.clone() });
        }
    }
    let graph = graph(steps);
    let cycle = petgraph::algo::tarjan_scc(&graph)
        .into_iter()
        .find(|group| group.len() > 1 || group.iter().any(|n| graph.contains_edge(*n, *n)));
    match cycle {
        Some(group) => Err(Malformed::Cycle(group.into_iter().map(|n| graph[n].id.clone()).collect())),
        None => Ok(()),
    }
}
