//! Formats that outlive a version (law 12): what was written once is read for ever, and decides the same.

mod activated;
mod digests;
mod golden;
mod published;
mod upgrade;
mod wire;

fn fixtures() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}
