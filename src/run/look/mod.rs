//! Looking at hosts, bundles, words and branches: everything that a plan is made from. Changes nothing on a host.

pub mod believe;
pub mod build;
pub mod grounds;
pub mod hear;
mod makers;
pub mod observe;
mod others;
pub mod planned_commit;
pub mod proposed;
pub mod published;
pub mod reach;
pub mod rerendered;
pub mod sample;
pub mod track;
