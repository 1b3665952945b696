//! The compiled policy: immutable, and looked up without allocation.
//!
//! ```text
//! address ──► state ──(VLAN, MAC: where the policy speaks of them)──► class
//! (class, class) ──► cell ──(protocol, ports)──► outcome ──► judgement, decision
//! ```
//!
//! Here is the look-up alone; [`crate::compile`] builds. The layouts are in `v4`, `v6` (address), `place`
//! (VLAN and MAC), `group` (pairs of classes), `line` (ports) and `outcome` (what it comes to).

mod batch;
pub(crate) mod cells;
pub(crate) mod fast;
pub(crate) mod group;
pub(crate) mod journal;
pub(crate) mod lanes;
pub(crate) mod line;
pub(crate) mod outcome;
pub(crate) mod place;
pub(crate) mod ports;
mod prefix_map;

pub(crate) mod space;
pub(crate) mod space_v6;
mod statistics;
pub(crate) mod v4;
pub(crate) mod v6;
mod word_map;

pub use batch::{Classes, Places, Query};
pub use fast::Answer;
pub use lanes::Instructions;
pub use prefix_map::PrefixMap;
pub use statistics::{Form, Grouping, Statistics};
pub(crate) use word_map::WordMap;

use crate::addr::{Mac, VlanKey};
use crate::compile::{self, CompileError, Limits};
use crate::decision::{Decision, Judgement, Verdict};
use crate::endpoint::{Endpoint, ServicePacket};
use crate::policy::{Policy, SegmentId, Timestamp};
use fast::Fast;
use group::Grouped;
use lanes::portable::Portable;
use place::{LaterPlaces, PlaceTable};
use space::Space;
use space_v6::SpaceV6;
use std::net::IpAddr;
use std::sync::Arc;

/// All endpoints that the policy does not tell apart. Of one [`Tables`], and of no other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClassId(pub(crate) u32);

impl ClassId {
    /// Of no endpoint: what stands where none was looked up yet.
    pub const NONE: ClassId = ClassId(u32::MAX);
}

/// A value of a general line with this bit names a line of source ports instead of an outcome.
pub(crate) const BY_SOURCE_PORT: u32 = 1 << 31;

/// The compiled policy.
#[derive(Clone, Debug)]
pub struct Tables {
    pub(crate) policy: Arc<Policy>,
    pub(crate) now: Timestamp,
    pub(crate) instructions: Instructions,
    pub(crate) v4: Space,
    pub(crate) v6: Arc<SpaceV6>,
    /// What changed since `v6` was built: [`SpaceV6::UNCHANGED`] where it still holds.
    pub(crate) v6_changes: Option<Arc<SpaceV6>>,
    pub(crate) place: Arc<PlaceTable>,
    /// What there is to say of VLANs and MACs beyond `place`.
    pub(crate) later_places: Option<Arc<LaterPlaces>>,
    /// Whether each class is softened as a destination.
    pub(crate) softened: Arc<Vec<bool>>,
    /// Whether any is.
    pub(crate) any_softened: bool,
    /// The verdict of each code, towards a destination that is enforced, and one that is softened.
    pub(crate) verdicts: [[Verdict; 4]; 2],
    /// Segments of all classes, one class behind the other, each sorted by name.
    pub(crate) segments: Arc<Vec<SegmentId>>,
    /// Where the segments of each class end.
    pub(crate) segment_ends: Arc<Vec<u32>>,
    pub(crate) cells: CellTables,
    pub(crate) statistics: Statistics,
}

/// Pairs of classes → judgement.
// There is one of it per generation, and a box would cost each look-up a load.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub(crate) enum CellTables {
    /// A closed cell for each pair.
    Closed(Fast),
    /// What would be too large for that.
    Grouped(Grouped),
}

impl Tables {
    /// Compiles the policy as it stands at `now`: rules that have expired are left out.
    ///
    /// # Errors
    /// Where the policy is too entangled to be compiled within the limits.
    pub fn compile(policy: Arc<Policy>, now: Timestamp) -> Result<Tables, CompileError> {
        Self::compile_within(policy, now, &Limits::default())
    }

    /// Compiles the policy within other limits.
    ///
    /// # Errors
    /// Where the policy is too entangled to be compiled within the limits.
    pub fn compile_within(
        policy: Arc<Policy>,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Tables, CompileError> {
        compile::compile(policy, now, limits)
    }

    /// The policy that the tables answer for, with the changes that an [`Editor`](crate::compile::Editor) made.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The moment that the tables are for: rules that had expired then are left out.
    #[must_use]
    pub fn compiled_for(&self) -> Timestamp {
        self.now
    }

    /// The class of a source.
    #[must_use]
    #[inline]
    pub fn source_class(&self, vlan: VlanKey, mac: Mac, address: IpAddr) -> ClassId {
        self.class(Some(vlan), Some(mac), address)
    }

    /// The class of an IPv4 source.
    #[must_use]
    #[inline]
    pub fn source_class_v4(&self, vlan: VlanKey, mac: Mac, address: u32) -> ClassId {
        self.refine(self.v4.get(address), Some(vlan), Some(mac))
    }

    /// The class of an IPv6 source.
    #[must_use]
    #[inline]
    pub fn source_class_v6(&self, vlan: VlanKey, mac: Mac, address: u128) -> ClassId {
        self.refine(self.state_v6(address), Some(vlan), Some(mac))
    }

    /// The class of a destination; on a routed path it has no MAC.
    #[must_use]
    #[inline]
    pub fn destination_class(&self, vlan: VlanKey, mac: Option<Mac>, address: IpAddr) -> ClassId {
        self.class(Some(vlan), mac, address)
    }

    /// The class of an IPv4 destination.
    #[must_use]
    #[inline]
    pub fn destination_class_v4(&self, vlan: VlanKey, mac: Option<Mac>, address: u32) -> ClassId {
        self.refine(self.v4.get(address), Some(vlan), mac)
    }

    /// The class of an IPv6 destination.
    #[must_use]
    #[inline]
    pub fn destination_class_v6(&self, vlan: VlanKey, mac: Option<Mac>, address: u128) -> ClassId {
        self.refine(self.state_v6(address), Some(vlan), mac)
    }

    /// The class of an endpoint, which may lack its VLAN or MAC.
    #[must_use]
    pub fn class_of(&self, endpoint: &Endpoint) -> ClassId {
        self.class(endpoint.vlan, endpoint.mac, endpoint.address)
    }

    #[inline]
    fn class(&self, vlan: Option<VlanKey>, mac: Option<Mac>, address: IpAddr) -> ClassId {
        let state = match address {
            IpAddr::V4(a) => self.v4.get(a.into()),
            IpAddr::V6(a) => self.state_v6(a.into()),
        };
        self.refine(state, vlan, mac)
    }

    /// The state of an IPv6 address.
    fn state_v6(&self, address: u128) -> u32 {
        match self.v6_changes.as_ref().map(|changes| changes.get(address)) {
            None | Some(SpaceV6::UNCHANGED) => self.v6.get(address),
            Some(changed) => changed,
        }
    }

    #[inline]
    fn refine(&self, state: u32, vlan: Option<VlanKey>, mac: Option<Mac>) -> ClassId {
        ClassId(self.place.refine(state, vlan, mac, self.later_places.as_deref()))
    }

    /// What the rules say of a new flow.
    #[must_use]
    #[inline]
    pub fn judge(
        &self,
        source: ClassId,
        destination: ClassId,
        protocol: u8,
        source_port: u16,
        destination_port: u16,
    ) -> Judgement {
        let packet = ServicePacket { protocol, source_port, destination_port };
        match &self.cells {
            CellTables::Closed(fast) => {
                fast.judgement(fast.answer::<Portable>(source.0, destination.0, packet))
            }
            CellTables::Grouped(grouped) => grouped.judge(source.0, destination.0, packet),
        }
    }

    /// What happens to a new flow.
    #[must_use]
    #[inline]
    pub fn decide(
        &self,
        source: ClassId,
        destination: ClassId,
        protocol: u8,
        source_port: u16,
        destination_port: u16,
    ) -> Decision {
        let judgement = self.judge(source, destination, protocol, source_port, destination_port);
        Decision::of(&self.policy, judgement, self.is_softened(destination))
    }

    /// The segments of a class, sorted by name, without the built-in `any`.
    #[must_use]
    pub fn segments_of(&self, class: ClassId) -> &[SegmentId] {
        let at = class.0 as usize;
        let start = if at == 0 { 0 } else { self.segment_ends[at - 1] };
        &self.segments[start as usize..self.segment_ends[at] as usize]
    }

    /// Whether the default verdict is only recorded towards this class: it is in at least one segment, and
    /// all of its segments are in monitor mode.
    #[must_use]
    pub fn is_softened(&self, class: ClassId) -> bool {
        self.softened[class.0 as usize]
    }

    /// Makes the contents those of `source`, and copies little where one is a change of the other.
    pub(crate) fn renew(&mut self, source: &Tables) {
        let Tables {
            policy,
            now,
            instructions,
            v4,
            v6,
            v6_changes,
            place,
            later_places,
            softened,
            any_softened,
            verdicts,
            segments,
            segment_ends,
            cells,
            statistics,
        } = source;
        self.policy.clone_from(policy);
        (self.now, self.instructions) = (*now, *instructions);
        self.v4.renew(v4);
        self.v6.clone_from(v6);
        self.v6_changes.clone_from(v6_changes);
        self.place.clone_from(place);
        self.later_places.clone_from(later_places);
        self.softened.clone_from(softened);
        (self.any_softened, self.verdicts) = (*any_softened, *verdicts);
        self.segments.clone_from(segments);
        self.segment_ends.clone_from(segment_ends);
        match (&mut self.cells, cells) {
            (CellTables::Closed(own), CellTables::Closed(fast)) => own.renew(fast),
            (own, cells) => own.clone_from(cells),
        }
        self.statistics = *statistics;
    }

    /// How large the tables are.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }
}
