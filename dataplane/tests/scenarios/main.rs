//! What hostile and broken frames get (TRACKING.md part 2, whose IDs name the tests), and what sound ones do.
//!
//! Each scenario asserts the verdict, the reason and exactly which counters moved; the bed asserts after each
//! step that the books balance, that no frame is lost, and that whatever left is sound.

#[path = "../bed/mod.rs"]
mod bed;

mod answers;
mod arp_nd;
mod crowd;
mod ethernet;
mod express;
mod forward;
mod fragments;
mod ipv4;
mod ipv6;
mod modes;
mod reload;
mod reports;
mod resolve;
mod restart;
mod stitch;
mod tap;
mod tcp;
mod workers;
mod world;
