//! What real roots, real archives, real CI and real people did to it: a case each, named after what happened.

mod addresses;
mod adopted;
mod agent_user;
mod authorities;
mod checkouts;
mod checksums;
mod enclosed;
mod healing;
mod hooks;
mod kept;
mod keys;
mod leftovers;
mod links_out;
mod live_roots;
mod many_files;
mod migrations;
mod mistakes;
mod one_place;
mod program;
mod promoting;
mod rebuilt;
mod stopping;
mod strangers;
mod suspects;
mod unread;
mod unseen;
