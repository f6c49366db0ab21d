//! `soll host-agent` as a child that a test can freeze, kill and wait for.

use std::process::Stdio;

use rustix::process::{Pid, Signal};
use soll::host::call::client::Client;
use soll::host::wire::HostError;
use tokio::process::{Child, Command};

use crate::host::world::World;

pub struct Agent {
    pub world: World,
    child: Child,
}

impl Agent {
    pub async fn start(root: &str, fault: Option<&str>) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soll"));
        command.arg("host-agent").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        if let Some(fault) = fault {
            command.env("SOLL_FAULT", fault);
        }
        let mut child = command.spawn().unwrap();
        let (output, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let client = Client::over(output, input, false).await.unwrap();
        Agent { world: World::with(root, client), child }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("it runs");
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What a killed controller leaves: the agent's input ends. Gives the agent, to wait for.
    pub fn abandon(self) -> Child {
        self.child
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub async fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().await.unwrap()
    }
}

pub fn lost<T: std::fmt::Debug>(result: &Result<T, HostError>) -> bool {
    matches!(result, Err(HostError::Connection(_)))
}
