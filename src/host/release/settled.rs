//! Whether what was started has settled: a unit of systemd, or a container.

/// What is to be thought of one that was started, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is on its way, or not for long enough what it is; in these words where the time is over.
    Waits(String),
    Settled,
    /// It does not run, and waiting does not change that.
    Failed(String),
}
