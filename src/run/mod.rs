//! From a plan to effects. `look` sees, `step` carries one run out, `pass` takes an environment from its commit to a
//! converged state and repeats that, `operate` does what people ask for beside it, `doctor` examines.

pub mod accepted;
pub mod ahead;
pub mod board;
pub mod commit;
pub mod controller;
pub mod doctor;
pub mod doors;
pub mod ear;
pub mod files;
pub mod fill;
pub mod finding;
pub mod held;
pub mod images;
pub mod local_roots;
pub mod look;
pub mod machines;
pub mod operate;
pub mod overdue;
pub mod pass;
pub mod pattern;
pub mod planned;
pub mod policies;
pub mod publish;
pub mod registries;
pub mod rendered;
pub mod sealed;
pub mod seats;
pub mod secrets;
pub mod settings;
pub mod size;
pub mod sizes;
pub mod sources;
pub mod standing;
pub mod step;
pub mod width;
