//! What one host is, or says, is its own trouble (law 13): no file of it holds anybody up, it answers in time or is gone,
//! and no number of it spoils what the others agree on.

mod files;
mod numbers;
mod silence;
