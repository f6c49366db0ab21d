//! Projects of containers on a host, against a real engine: what is brought, what runs, what is seen, and the way back.

mod changes;
mod doctor;
mod hardships;
mod verdicts;
mod world;
