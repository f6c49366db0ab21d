//! When an environment may be changed.

use serde::{Deserialize, Serialize};

/// A time in which changes are allowed or denied: deny wins; with any allow window, only inside one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub kind: WindowKind,
    /// Empty: every day. A window that passes midnight belongs to the day on which it starts.
    pub days: Vec<Weekday>,
    /// Minutes after local midnight.
    pub from: u16,
    /// Minutes after local midnight; less than `from` passes midnight, equal is the whole day.
    pub to: u16,
    /// IANA name.
    pub zone: String,
    pub reason: Option<String>,
}

/// Whether changes are allowed inside a window, or denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WindowKind {
    Allow,
    Deny,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}
