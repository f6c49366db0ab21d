//! The nouns: what is desired, what is observed, what a host remembers. Pure data and pure functions over it; this
//! room imports nothing of the others.

pub mod activation;
pub mod address;
pub mod approval;
pub mod authority;
pub mod backup;
pub mod calls;
pub mod causes;
pub mod compose;
pub mod desired;
mod digest;
pub mod epochs;
pub mod format;
pub mod ids;
pub mod image;
pub mod key_text;
pub mod machine;
pub mod mask;
pub mod observed;
pub mod origin;
pub mod place;
pub mod published;
pub mod rate;
pub mod record;
pub mod rendered;
pub mod schedule;
pub mod secret;
pub mod shown;
pub mod telling;
pub mod template;
pub mod tenancy;
