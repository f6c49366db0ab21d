//! Backups beside deployments: [`make`] makes one, [`due`] those whose time has come, [`prove`] tries whether one can be
//! restored, [`shelf`] says what lies on a target and what may go from there.

pub mod due;
pub mod import;
pub mod make;
mod ping;
pub mod prove;
pub mod shelf;

use crate::model::desired::{Desired, Environment, Target};

/// The host that has the data of an environment: its first one. `None`: that is another one than the host that this
/// controller acts for (pull mode), and its business.
pub fn saver<'a>(desired: &Desired, env: &'a Environment) -> Option<&'a Target> {
    let whole = desired.whole.get(&env.name).unwrap_or(env);
    let first = &whole.targets.first()?.name;
    env.targets.iter().find(|target| target.name == *first)
}
