//! The loop as people run it: `soll run`, real repositories, real hooks, real signals.

mod drift;
mod fencing;
mod follow;
mod interrupt;
mod notices;
mod slow_disk;
mod state;
mod tending;
mod trouble;
