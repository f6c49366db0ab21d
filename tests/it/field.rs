//! What real roots, real archives, real CI and real people did to it: a case each, named after what happened.

mod addresses;
mod agent_user;
mod checksums;
mod keys;
mod leftovers;
mod program;
mod strangers;
mod unread;
