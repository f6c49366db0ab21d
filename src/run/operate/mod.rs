//! What people ask for beside deployments: taking over a root, trying a release without switching to it.

pub mod acknowledge;
pub mod adopt;
pub mod preflight;
