//! What happened, and what follows from it. Events are the only truth about a run; its state is a fold over them, and
//! what a failure leads to is a pure function of that state. Notices are what people want to know beside runs. No I/O.

pub mod consequence;
pub mod entry;
pub mod event;
pub mod notice;
pub mod operation;
pub mod state;
pub mod suspicion;

pub use entry::{Entry, What};
pub use event::{Event, Failure, FailureClass, RunResult, StepEnd};
pub use operation::{Operation, Subject};
pub use state::{RunState, StepState};
