//! Formats that outlive a version (law 12): what was written once is read for ever, and decides the same.

mod digests;
