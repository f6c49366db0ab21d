//! The way to a host: this machine, or an address behind SSH. Reading needs no run: here it happens in this process,
//! there by the agent that all passes share. What changes a root goes through an agent of the run's own (law 6).

use crate::health::prober::HealthProber;
use crate::host::call::client::Client;
use crate::host::serve::local;
use crate::host::wire::{HostError, Op, Reply};
use crate::model::desired::{Address, Target};
use crate::ssh::endpoint::Endpoint;

use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::Controller;

/// Where a host is reached by SSH; `None`: it is this machine.
pub fn endpoint(target: &Target) -> Option<Endpoint> {
    match &target.address {
        Address::Local => None,
        Address::Remote(address) => Some(Endpoint {
            address: address.clone(),
            user: target.user.clone(),
            port: target.port,
            agent_dir: target.agent_dir.clone(),
        }),
    }
}

/// Whether the settings let this controller act there. Asked by whoever is about to, whatever a plan said.
///
/// # Errors
/// [`HostError::Precondition`]: they do not.
pub fn permitted(controller: &Controller, target: &Target) -> Result<(), HostError> {
    let permitted = controller.local_roots.permit(target);
    permitted.map_err(|unmet| HostError::Precondition(format!("{}; {}", unmet.message, unmet.fix)))
}

/// An operation that holds nothing, on the word of an accepted commit (law 11): the target is one of its own.
///
/// # Errors
/// Those of [`permitted`] and of the operation; [`HostError::Connection`]: the host cannot be reached.
pub async fn ask(
    controller: &Controller,
    _word: &AcceptedSnapshot,
    target: &Target,
    op: Op,
) -> Result<Reply, HostError> {
    permitted(controller, target)?;
    if let Some(endpoint) = endpoint(target) {
        return controller.hosts.ask(&endpoint, &target.root, op).await;
    }
    let root = target.root.clone();
    let answer = tokio::task::spawn_blocking(move || local::call(&root, op, &HealthProber)).await;
    answer.unwrap_or_else(|error| Err(HostError::Io(error.to_string())))
}

/// A run holds nothing any more by this agent.
pub async fn give_back(controller: &Controller, endpoint: Option<&Endpoint>, client: Client) {
    if let Some(endpoint) = endpoint {
        controller.hosts.give_back(endpoint, client).await;
    }
}

/// An agent for one run.
///
/// # Errors
/// [`HostError::Connection`]: the host cannot be reached, or no agent can be started there.
pub async fn agent(controller: &Controller, endpoint: Option<&Endpoint>) -> Result<Client, HostError> {
    match endpoint {
        Some(endpoint) => controller.hosts.agent(endpoint).await,
        None => Client::spawn_local(&controller.exe).await,
    }
}
