//! What stands in the digests of the rules of an environment, version 1: who decides, when, and in which order.

use serde::Serialize;

use super::asked::in_seconds;
use crate::model::desired::{
    Batch, Emergency, Match, Promote, Strategy, Track, Weekday, Window, WindowKind, pull::Pull,
};
use crate::model::ids::HostName;

#[derive(Serialize)]
pub struct PromoteV1<'a> {
    from: &'a str,
    soak: f64,
    by: &'static str,
}

impl<'a> From<&'a Promote> for PromoteV1<'a> {
    fn from(live: &'a Promote) -> Self {
        let Promote { from, soak, by } = live;
        let by = match by {
            Match::Sha => "sha",
            Match::Bundle => "bundle",
            Match::Tree => "tree",
        };
        PromoteV1 { from: from.as_str(), soak: in_seconds(*soak), by }
    }
}

#[derive(Serialize)]
pub struct TrackV1<'a> {
    branch: &'a str,
}

impl<'a> From<&'a Track> for TrackV1<'a> {
    fn from(live: &'a Track) -> Self {
        let Track { branch } = live;
        TrackV1 { branch }
    }
}

#[derive(Serialize)]
pub enum StrategyV1 {
    #[serde(rename = "all-at-once")]
    AllAtOnce,
    #[serde(rename = "rolling")]
    Rolling { batch: BatchV1, max_failures: u32, pause: f64 },
}

impl From<&Strategy> for StrategyV1 {
    fn from(live: &Strategy) -> Self {
        match live {
            Strategy::AllAtOnce => StrategyV1::AllAtOnce,
            Strategy::Rolling { batch, max_failures, pause } => {
                let batch = match batch {
                    Batch::Hosts(n) => BatchV1::Hosts(*n),
                    Batch::Percent(n) => BatchV1::Percent(*n),
                };
                StrategyV1::Rolling { batch, max_failures: *max_failures, pause: in_seconds(*pause) }
            }
        }
    }
}

#[derive(Serialize)]
pub enum BatchV1 {
    #[serde(rename = "hosts")]
    Hosts(u32),
    #[serde(rename = "percent")]
    Percent(u32),
}

#[derive(Serialize)]
pub struct WindowV1<'a> {
    kind: &'static str,
    days: Vec<&'static str>,
    from: u16,
    to: u16,
    zone: &'a str,
    reason: Option<&'a str>,
}

impl<'a> From<&'a Window> for WindowV1<'a> {
    fn from(live: &'a Window) -> Self {
        let Window { kind, days, from, to, zone, reason } = live;
        let kind = match kind {
            WindowKind::Allow => "allow",
            WindowKind::Deny => "deny",
        };
        let day = |day: &Weekday| match day {
            Weekday::Mon => "mon",
            Weekday::Tue => "tue",
            Weekday::Wed => "wed",
            Weekday::Thu => "thu",
            Weekday::Fri => "fri",
            Weekday::Sat => "sat",
            Weekday::Sun => "sun",
        };
        let days = days.iter().map(day).collect();
        WindowV1 { kind, days, from: *from, to: *to, zone, reason: reason.as_deref() }
    }
}

/// [`Emergency`].
#[derive(Serialize)]
pub struct EmergencyV1<'a> {
    release: &'a str,
    reason: &'a str,
    skip: &'a [String],
}

impl<'a> From<&'a Emergency> for EmergencyV1<'a> {
    fn from(live: &'a Emergency) -> Self {
        let Emergency { release, reason, skip } = live;
        EmergencyV1 { release: release.as_str(), reason, skip }
    }
}

#[derive(Serialize)]
pub struct PullV1<'a> {
    first: &'a str,
    others: Vec<&'a str>,
}

impl<'a> From<&'a Pull> for PullV1<'a> {
    fn from(live: &'a Pull) -> Self {
        let Pull { first, others } = live;
        PullV1 { first: first.as_str(), others: others.iter().map(HostName::as_str).collect() }
    }
}
