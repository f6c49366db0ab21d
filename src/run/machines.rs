//! What this controller knows of the machines that its hosts are: read before a host is believed or anything is sent there,
//! and noted at first contact.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::ids::{Digest, HostName};
use crate::model::machine::Machine;
use crate::run::controller::{Controller, ControllerError, now};

impl Controller {
    /// What the machines of hosts are filed under: a name means a host only in one state file.
    pub fn hosts_key(&self) -> String {
        format!("{}:{}", self.accepted_key(), self.settings.file)
    }

    /// Which machines these hosts are known to be.
    ///
    /// # Errors
    /// It cannot be read: then it is not known whether they may be believed.
    pub async fn machines(
        self: &Arc<Self>,
        hosts: Vec<HostName>,
    ) -> Result<BTreeMap<HostName, Machine>, ControllerError> {
        Ok(self.beside(move |controller| controller.store.machines(&controller.hosts_key(), &hosts)).await??)
    }

    /// Notes hosts that were met for the first time. One that cannot be noted is met once more the next time, and the record
    /// of its root knows the machine meanwhile.
    pub async fn note_machines(self: &Arc<Self>, found: BTreeMap<HostName, Digest>) {
        if found.is_empty() {
            return;
        }
        let noted =
            self.beside(move |controller| controller.store.note_machines(&controller.hosts_key(), &found, now())).await;
        if let Err(error) = noted.and_then(|noted| Ok(noted?)) {
            tracing::warn!(%error, "which machines hosts are could not be noted");
        }
    }
}
