//! Running `[[test]]`s: every packet that a test means is judged, without sampling and without trying each.
//!
//! A policy can change its mind only where a port range of one of its rules starts or ends. So one packet
//! from each stretch between two such places stands for all of the stretch.
//!
//! Who judges is not this module's business: it asks a [`Judge`].
