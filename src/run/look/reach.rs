//! The way to a host: this machine, or an address behind SSH. Reading needs no run: here it happens in this process,
//! there by the agent that all passes share. What changes a root goes through an agent of the run's own (law 6).

use std::time::Duration;

use tokio::sync::oneshot;

use crate::health::prober::HealthProber;
use crate::host::call::client::Client;
use crate::host::serve::local;
use crate::host::wire::{HostError, Op, Reply};
use crate::link::endpoint::Endpoint;
use crate::model::desired::{Address, Target};
use crate::run::accepted::AcceptedSnapshot;
use crate::run::controller::{Controller, now};
use crate::run::overdue::{Asked, Late};
use crate::run::rendered;
use crate::run::width;

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
    word: &AcceptedSnapshot,
    target: &Target,
    op: Op,
) -> Result<Reply, HostError> {
    permitted(controller, target)?;
    let (endpoint, root, patience, doing) = (endpoint(target), target.root.clone(), op.patience(), op.doing());
    let (pool, place) = (controller.hosts.clone(), place(endpoint.as_ref()));
    let asked = Asked { place: place.clone(), root: root.clone(), doing };
    let answer = async move {
        match endpoint {
            Some(endpoint) => pool.ask(&endpoint, &root, op).await,
            None => here(root, op).await,
        }
    };
    let answer = controller.overdue.within(asked, patience, now, answer);
    let answer = width::wait(width::turn(), answer).await.unwrap_or_else(|late| {
        Err(match late {
            Late::Now => unanswered(target, doing, patience),
            Late::Since(since) => {
                let (name, root) = (&target.name, &target.root);
                let why = format!(
                    "{name} ({place}) has not answered since {since}, {doing} {root}, and is not asked again before it does: {HANGS}"
                );
                HostError::Connection(why.into())
            }
        })
    });
    answer.map(|mut reply| {
        rendered::hide(word, target, &mut reply);
        reply
    })
}

/// In this process, by a thread of its own: one that hangs in the kernel keeps nobody from going on, nor this program from
/// ending, and takes no place from those who wait for disks.
async fn here(root: String, op: Op) -> Result<Reply, HostError> {
    let (tell, told) = oneshot::channel();
    let work = move || drop(tell.send(local::call(&root, op, &HealthProber)));
    let started = std::thread::Builder::new().name("look".to_owned()).spawn(work);
    started.map_err(|error| HostError::Io(format!("a thread cannot be started here: {error}")))?;
    told.await.unwrap_or_else(|_| Err(HostError::Io("the look broke off: please report this".to_owned())))
}

/// Where it is, for people.
pub fn place(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(|| "this machine".to_owned(), ToString::to_string)
}

/// What to look for where a host is there and does not answer.
pub const HANGS: &str = "something there hangs. Look for processes in state D or T with `ps -eo pid,stat,wchan:30,args`, \
                         and at its disks and network file systems";

/// There was no answer to an operation.
pub fn unanswered(target: &Target, doing: &str, patience: Duration) -> HostError {
    let place = place(endpoint(target).as_ref());
    let (name, seconds, root) = (&target.name, patience.as_secs(), &target.root);
    let why = format!(
        "{name} ({place}) did not answer within {seconds} s, {doing} {root}: {HANGS}; whether it happened is unknown until \
         the host is observed again"
    );
    HostError::Connection(why.into())
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
