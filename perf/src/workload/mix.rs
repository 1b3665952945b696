//! What the measured part has beside frames of flows that are open: first frames of new ones, and frames that are
//! dropped.
//!
//! The frames of new flows come round like all others. By then their flows have ended, unanswered: with such a mix the
//! clock is simulated, and a round of the trace lasts a third longer than an unanswered flow lives. So it is a steady
//! state, in which as many flows end by their timers as begin, at whatever rate the engine keeps.

use crate::Protocol;
use clap::Args;
use conntrack::config::Timeouts;
use std::time::Duration;

/// Most new flows of a round: far more than caches hold, and fewer than a table of the default size has room for.
const MOST_NEW: f64 = 200_000.0;
/// Most frames of a round.
const MOST_FRAMES: f64 = 4_000_000.0;

/// What `engine` is told of its mix.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct MixArguments {
    /// The part of the packets that open a new flow, from above 0 to 1; the flows end unanswered, by their timeouts
    #[arg(long, value_parser = share)]
    pub(crate) new_flow_share: Option<f64>,
    /// The part of the packets that are of no known EtherType and dropped, evenly spread: other frames do not overtake them
    #[arg(long, conflicts_with = "new_flow_share", value_parser = share)]
    pub(crate) junk_share: Option<f64>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        Ok(_) | Err(_) => Err("a number above 0, and at most 1".to_owned()),
    }
}

impl MixArguments {
    /// New flows of a round of the trace.
    pub(crate) fn new_flows(&self) -> u32 {
        self.new_flow_share.map_or(0, |share| MOST_NEW.min(MOST_FRAMES * share) as u32)
    }

    /// How long a round of the trace lasts, where the clock is simulated.
    pub(crate) fn round(&self, protocol: Protocol) -> Option<Duration> {
        let timeouts = Timeouts::default();
        let unanswered = match protocol {
            Protocol::Udp => timeouts.udp,
            Protocol::Tcp => timeouts.tcp_syn_sent,
        };
        self.new_flow_share.map(|_| unanswered * 4 / 3)
    }
}

/// Spreads things evenly among others: whether the next is one of them.
#[derive(Debug)]
pub(super) struct Spread {
    share: f64,
    due: f64,
}

impl Spread {
    pub(super) fn new(share: f64) -> Spread {
        Spread { share, due: 0.0 }
    }

    pub(super) fn next(&mut self) -> bool {
        self.due += self.share;
        let is_due = self.due >= 1.0 - 1e-9;
        if is_due {
            self.due -= 1.0;
        }
        is_due
    }
}
