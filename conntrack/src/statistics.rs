//! What the tracker counts.

/// Counters since the tracker was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Flows that were opened, replaced ones included.
    pub opened: u64,
    /// Flows that were there before a restart; they are not counted as opened.
    pub restored: u64,
    /// Flows that replaced one that was closing.
    pub replaced: u64,
    /// Flows that ended because they were idle.
    pub expired: u64,
    /// TCP flows that ended because an RST answered their SYN.
    pub reset: u64,
    /// Closing flows that made room for another.
    pub evicted_closing: u64,
    /// Half-open and unreplied flows that made room for another.
    pub evicted_half_open: u64,
    /// Flows that ended by [`crate::Tracker::remove`].
    pub removed: u64,
    /// Openings that were refused for want of room.
    pub table_full: u64,
    /// Openings that were refused because their rule had as many flows as it may have.
    pub rule_limited: u64,
    /// Openings that were refused, though remembered, because they had not come before ([`crate::FloodLevel`]).
    pub flood_filtered: u64,
    /// Openings that were refused because too many flows of their source were half-open.
    pub source_limited: u64,
    /// Openings that were refused because too many flows to their destination were half-open.
    pub destination_limited: u64,
    /// Openings that were refused because too many flows of their segment pair were half-open.
    pub segment_limited: u64,
    /// How often a flood began.
    pub floods: u64,
    /// Packets that were refused as `ct-invalid`.
    pub invalid: u64,
    /// Of these, ICMP errors over the limit of their flow.
    pub errors_limited: u64,
    /// Of these, SYNs in live connections over the limit of their flow.
    pub stray_syns_limited: u64,
    /// Most flows at once.
    pub peak: u64,
}

impl Statistics {
    /// Flows that made room for another.
    #[must_use]
    #[inline]
    pub fn evicted(&self) -> u64 {
        self.evicted_closing + self.evicted_half_open
    }
}
