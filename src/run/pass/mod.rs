//! One pass over one environment, and the daemon that repeats it: taking roots, planning under the lock, running,
//! giving the roots back, and when to do it again. And what is done on roots beside deployments: [`journaled`], on [`roots`] that
//! are held, first of all [`backup`].

pub mod ahead;
pub mod backup;
pub mod daemon;
pub mod hold;
pub mod journaled;
pub mod lane;
pub mod notices;
pub mod outcome;
pub mod reconcile;
mod recover;
pub mod roots;
mod see;
pub mod teller;
