//! One pass over one environment, and the daemon that repeats it: taking roots, planning under the lock, running,
//! giving the roots back, and when to do it again.

pub mod ahead;
pub mod daemon;
pub mod hold;
pub mod lane;
pub mod notices;
pub mod outcome;
pub mod reconcile;
mod recover;
mod see;
pub mod teller;
