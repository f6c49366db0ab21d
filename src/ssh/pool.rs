//! The connections of this process: one per host, opened when it is needed, used by all runs and passes, opened anew when
//! it broke. A second one only where a host has more sessions open than one connection may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::agent::{self, DIR, Put, Started};
use super::program::Programs;
use crate::host::call::client::Client;
use crate::host::call::stream::{Reconnect, Stream};
use crate::host::wire::frame::Hello;
use crate::host::wire::{HostError, Op, Reply};
use crate::link::connection::Connection;
use crate::link::endpoint::Endpoint;
use crate::link::error::{Phase, SshError};
use crate::link::settings::{Accepted, Settings, SshHost};
use crate::link::way::way;

/// An agent that answered so lately is there.
const FRESH: Duration = Duration::from_secs(2);
/// An agent that has not answered for longer is pinged; the ping may take so long.
const PING: Duration = Duration::from_secs(5);

/// All hosts. Cheap to share behind an `Arc`.
pub struct Pool {
    settings: Settings,
    programs: OnceCell<Arc<Programs>>,
    hosts: Mutex<HashMap<Endpoint, Arc<Host>>>,
    /// By the way to them.
    jumps: Mutex<HashMap<Vec<String>, Arc<AsyncMutex<Connections>>>>,
}

#[derive(Default)]
struct Host {
    connections: AsyncMutex<Connections>,
    /// One agent for whatever holds nothing: observations, probes, samples. A run that needs an agent takes it for itself.
    reader: AsyncMutex<Option<Agent>>,
    /// Held by the caller that puts an agent there; the others wait for it.
    putting: AsyncMutex<()>,
}

/// An agent that runs on a host.
struct Agent {
    client: Client,
    over: Weak<Connection>,
}

#[derive(Default)]
struct Connections {
    open: Vec<Arc<Connection>>,
    /// The last attempt that failed: who waited for it hears its reason, instead of waiting as long once more.
    failed: Option<(Instant, SshError)>,
}

impl Connections {
    /// One that fits; nothing: the caller opens one, and notes it. An attempt that failed while this caller waited for
    /// its turn is not made again for it.
    fn take(
        &mut self,
        asked: Instant,
        fits: impl Fn(&Connection) -> bool,
    ) -> Result<Option<Arc<Connection>>, SshError> {
        self.open.retain(|connection| connection.is_usable());
        if let Some(connection) = self.open.iter().find(|connection| fits(connection)) {
            return Ok(Some(connection.clone()));
        }
        match &self.failed {
            Some((at, error)) if *at > asked => Err(error.clone()),
            _ => Ok(None),
        }
    }

    fn note(&mut self, opened: Result<Connection, SshError>) -> Result<Arc<Connection>, SshError> {
        let opened = opened.map(Arc::new);
        match &opened {
            Ok(connection) => self.open.push(connection.clone()),
            Err(error) => self.failed = Some((Instant::now(), error.clone())),
        }
        opened
    }
}

impl Pool {
    /// Nothing is connected yet.
    pub fn new(settings: Settings) -> Pool {
        Pool { settings, programs: OnceCell::new(), hosts: Mutex::default(), jumps: Mutex::default() }
    }

    /// An agent of its own for one run: the one that only looked until now, else a new one. What it holds is let go when
    /// the last clone of this is dropped, and its leases are renewed by this run's frames alone (law 6). It outlives its
    /// connection for a while, and is reached again over another.
    ///
    /// # Errors
    /// The host cannot be reached, or runs no agent: where, in which phase, why, and what to do.
    pub async fn agent(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Client, HostError> {
        let host = self.host(endpoint);
        // Everybody who uses it has taken a copy under this lock: unshared here means that nobody does.
        let idle = host.reader.lock().await.take_if(|agent| agent.client.is_unshared());
        let Agent { client, over } = match idle {
            // An agent that has not spoken for a while is pinged: it may have lost its stream unnoticed.
            Some(agent) if agent.client.is_there(FRESH, PING).await => agent,
            _ => self.started(endpoint, &host).await?,
        };
        if !self.settings.reattach.is_zero() {
            let reconnector = Reconnector { pool: self.clone(), endpoint: endpoint.clone(), used: Mutex::new(over) };
            client.reconnect_by(Some(Arc::new(reconnector)));
        }
        Ok(client)
    }

    /// Takes an agent back from a run that holds nothing any more: it may look from now on.
    pub async fn give_back(&self, endpoint: &Endpoint, client: Client) {
        let host = self.host(endpoint);
        let mut reader = host.reader.lock().await;
        if reader.as_ref().is_none_or(|agent| agent.client.is_dead()) && !client.is_dead() {
            client.reconnect_by(None);
            let over = match host.connections.lock().await.open.as_slice() {
                [only] => Arc::downgrade(only),
                // Over which one it is spoken to is not known: then none of them is blamed for its silence.
                _ => Weak::new(),
            };
            *reader = Some(Agent { client, over });
        }
    }

    /// An operation that holds nothing, by an agent that all share. A connection that broke since it was last used is
    /// opened anew.
    ///
    /// # Errors
    /// Those of the operation and of [`Pool::agent`].
    pub async fn ask(&self, endpoint: &Endpoint, root: &str, op: Op) -> Result<Reply, HostError> {
        let host = self.host(endpoint);
        let (client, fresh) = self.reader(endpoint, &host).await?;
        match client.call(root, op.clone()).await {
            Err(HostError::Connection(_)) if !fresh => {
                let (client, _) = self.reader(endpoint, &host).await?;
                client.call(root, op).await
            }
            answer => answer,
        }
    }

    /// What the shared agent of a host says of itself.
    ///
    /// # Errors
    /// Those of [`Pool::agent`], with their phase and their cure.
    pub async fn hello(&self, endpoint: &Endpoint) -> Result<Hello, SshError> {
        let (client, _) = self.reader(endpoint, &self.host(endpoint)).await?;
        Ok(client.hello().clone())
    }

    /// The hosts that were believed without being known, where that was asked for.
    pub fn accepted(&self) -> Vec<Accepted> {
        let accepted = self.settings.accept.as_ref();
        accepted.map(|all| all.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// The shared agent, and whether it was only started now.
    async fn reader(&self, endpoint: &Endpoint, host: &Arc<Host>) -> Result<(Client, bool), SshError> {
        let asked = Instant::now();
        let mut reader = host.reader.lock().await;
        if let Some(agent) = reader.as_ref().filter(|agent| !agent.client.is_dead()) {
            return Ok((agent.client.clone(), false));
        }
        *reader = None;
        if let Some((at, error)) = &host.connections.lock().await.failed
            && *at > asked
        {
            return Err(error.clone());
        }
        let agent = self.started(endpoint, host).await?;
        let client = agent.client.clone();
        *reader = Some(agent);
        Ok((client, true))
    }

    async fn started(&self, endpoint: &Endpoint, host: &Arc<Host>) -> Result<Agent, SshError> {
        let (programs, first) = tokio::join!(self.programs(endpoint), self.connection(endpoint, host));
        let (programs, mut first) = (programs?, Some(first?));
        let dir = endpoint.agent_dir.as_deref().unwrap_or(DIR);
        let (mut turn, mut done) = (None, false);
        loop {
            let connection = match first.take() {
                Some(connection) => connection,
                None => self.connection(endpoint, host).await?,
            };
            match agent::start(&connection, &programs, dir, self.settings.reattach).await? {
                Started::Agent(client) => return Ok(Agent { client, over: Arc::downgrade(&connection) }),
                // The next one is another connection.
                Started::Full => {}
                // Somebody else may be putting it there: look again when it is our turn.
                Started::Missing(_) if turn.is_none() => turn = Some(host.putting.lock().await),
                Started::Missing(_) if done => {
                    let what = format!("the agent was put into {dir}, and is not there");
                    let cure = "does something on the host remove it?";
                    return Err(SshError::new(&connection.place, Phase::Agent, what, cure));
                }
                Started::Missing(program) => done = agent::put(&connection, &program, dir).await? == Put::Done,
            }
        }
    }

    /// A connection with room for one more session.
    async fn connection(&self, endpoint: &Endpoint, host: &Arc<Host>) -> Result<Arc<Connection>, SshError> {
        let asked = Instant::now();
        let mut connections = host.connections.lock().await;
        let ready = connections.take(asked, Connection::has_room)?;
        if let Some(connection) = ready {
            return Ok(connection);
        }
        let opened = async {
            let way = way(&self.settings, endpoint).await?;
            self.travel(&way).await
        };
        let opened = opened.await;
        connections.note(opened)
    }

    /// A connection to the last of these. Those before are shared by all that lies behind them.
    async fn travel(&self, way: &[Arc<SshHost>]) -> Result<Connection, SshError> {
        let mut through = None;
        let Some((last, jumps)) = way.split_last() else { unreachable!("a way has an end") };
        for (index, jump) in jumps.iter().enumerate() {
            let asked = Instant::now();
            let shared = self.jump(&way[..=index]);
            let mut connections = shared.lock().await;
            through = Some(match connections.take(asked, Connection::is_usable)? {
                Some(connection) => connection,
                None => connections.note(Connection::open(&self.settings, jump.clone(), through).await)?,
            });
        }
        Connection::open(&self.settings, last.clone(), through).await
    }

    fn jump(&self, way: &[Arc<SshHost>]) -> Arc<AsyncMutex<Connections>> {
        let key = way.iter().map(ToString::to_string).collect();
        self.jumps.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }

    async fn programs(&self, endpoint: &Endpoint) -> Result<Arc<Programs>, SshError> {
        let read = || async {
            let settings = self.settings.clone();
            let read = tokio::task::spawn_blocking(move || Programs::read(&settings)).await;
            read.map_err(|error| error.to_string()).flatten().map(Arc::new)
        };
        let programs = self.programs.get_or_try_init(read).await;
        programs.cloned().map_err(|why| {
            SshError::new(endpoint, Phase::Bootstrap, why, "correct `[agents]` in the controller's settings")
        })
    }

    fn host(&self, endpoint: &Endpoint) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(endpoint.clone()).or_default().clone()
    }
}

/// How an agent of a run is reached again.
struct Reconnector {
    pool: Arc<Pool>,
    endpoint: Endpoint,
    /// The connection that it was reached over last.
    used: Mutex<Weak<Connection>>,
}

impl Reconnector {
    fn uses(&self, connection: &Arc<Connection>) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(connection);
    }
}

impl Reconnect for Reconnector {
    fn reconnect<'a>(&'a self, session: &'a str, silent: bool) -> BoxFuture<'a, Result<Stream, HostError>> {
        Box::pin(async move {
            let Reconnector { pool, endpoint, used } = self;
            let old = used.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
            if let Some(old) = old.filter(|_| silent) {
                old.give_up();
            }
            let (host, programs) = (pool.host(endpoint), pool.programs(endpoint).await?);
            let dir = endpoint.agent_dir.as_deref().unwrap_or(DIR);
            loop {
                let connection = pool.connection(endpoint, &host).await?;
                match agent::attach(&connection, &programs, dir, session).await? {
                    Started::Agent(stream) => {
                        self.uses(&connection);
                        return Ok(stream);
                    }
                    Started::Full => {}
                    Started::Missing(_) => {
                        let what = format!("the agent's program is not in {dir} any more");
                        let cure = "does something on the host remove it?";
                        return Err(SshError::new(&connection.place, Phase::Agent, what, cure).into());
                    }
                }
            }
        })
    }

    fn place(&self) -> String {
        self.endpoint.to_string()
    }

    fn patience(&self) -> Duration {
        self.pool.settings.reattach
    }
}
