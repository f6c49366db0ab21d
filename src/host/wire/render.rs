//! Rendered files on their way to a host, and what is told of them: names of variables, never a value (law 9).

use serde::{Deserialize, Serialize};

use crate::host::wire::Secret;
use crate::model::ids::Digest;
use crate::model::rendered;

/// One version of a rendered file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// Relative to `ROOT/shared/`.
    pub from: String,
    pub contents: Secret,
    pub mode: u32,
    /// `user` or `user:group`; `None`: the agent's user.
    pub owner: Option<String>,
}

impl Version {
    /// What it is called.
    pub fn digest(&self) -> Digest {
        rendered::version(&Digest::of(self.contents.expose().as_bytes()), self.mode, self.owner.as_deref())
    }
}

/// How a version compares with what the live release reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Relative to `ROOT/shared/`.
    pub from: String,
    /// Nothing is there yet.
    pub first: bool,
    /// The contents are the same.
    pub same: bool,
    /// Names of variables.
    pub new: Vec<String>,
    pub changed: Vec<String>,
    pub gone: Vec<String>,
}

impl Compared {
    /// For people: `.env: 2 new (A, B), 1 changed (C)`.
    pub fn told(&self) -> String {
        let from = &self.from;
        if self.first {
            return format!("{from}: the first one");
        }
        if self.same {
            return format!("{from}: the same contents");
        }
        let parts = [("new", &self.new), ("changed", &self.changed), ("gone", &self.gone)];
        let told: Vec<String> = parts
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what} {}", names.join(", ")))
            .collect();
        match told.is_empty() {
            true => format!("{from}: other contents with the same variables"),
            false => format!("{from}: {}", told.join("; ")),
        }
    }
}
