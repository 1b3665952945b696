//! Where stations of a stitch were last seen: the forwarding database of a bridge (IEEE 802.1Q §8.8).
//!
//! The table is bounded, with a quota per VLAN: a VLAN that makes up MACs can only fill its own share.

use crate::keyed::Keyed;
use crate::network::VlanIndex;
use classifier::addr::Mac;
use conntrack::time::Tick;
use std::collections::HashMap;
use std::time::Duration;

/// How long a station is remembered (IEEE 802.1Q table 8-6).
pub(crate) const AGEING: Duration = Duration::from_secs(300);
/// A station that turns up in another VLAN sooner than this is not believed.
pub(crate) const MOVE_HOLD: Duration = Duration::from_secs(1);
/// Stations that are remembered per VLAN.
pub(crate) const QUOTA: u32 = 4096;

#[derive(Clone, Copy, Debug)]
struct Station {
    vlan: VlanIndex,
    seen: Tick,
}

/// What seeing a station comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sighting {
    /// Its place is known now.
    Noted,
    /// The VLAN's quota is used up.
    Full,
    /// It was in another VLAN just now.
    Contradicted,
}

/// The stations of all stitches.
#[derive(Debug)]
pub(crate) struct Macs {
    stations: HashMap<(u16, Mac), Station, Keyed>,
    used: Vec<u32>,
}

impl Macs {
    /// An empty table for that many VLANs.
    #[must_use]
    pub(crate) fn new(vlans: usize) -> Self {
        let most = QUOTA as usize * vlans.min(256);
        Macs { stations: HashMap::with_capacity_and_hasher(most, Keyed::default()), used: vec![0; vlans] }
    }

    /// Notes that a frame from the station came in on the VLAN.
    pub(crate) fn see(&mut self, now: Tick, stitch: u16, mac: Mac, vlan: VlanIndex) -> Sighting {
        if let Some(station) = self.stations.get_mut(&(stitch, mac)) {
            if station.vlan == vlan {
                station.seen = now;
                return Sighting::Noted;
            }
            if now.since(station.seen) < MOVE_HOLD {
                return Sighting::Contradicted;
            }
            let left = usize::from(station.vlan.0);
            if self.used[usize::from(vlan.0)] >= QUOTA {
                return Sighting::Full;
            }
            *station = Station { vlan, seen: now };
            self.used[left] -= 1;
            self.used[usize::from(vlan.0)] += 1;
            return Sighting::Noted;
        }
        if self.used[usize::from(vlan.0)] >= QUOTA || self.stations.len() == self.stations.capacity() {
            return Sighting::Full;
        }
        self.stations.insert((stitch, mac), Station { vlan, seen: now });
        self.used[usize::from(vlan.0)] += 1;
        Sighting::Noted
    }

    /// The VLAN where the station was last seen, if that is not too long ago.
    #[must_use]
    pub(crate) fn find(&self, now: Tick, stitch: u16, mac: Mac) -> Option<VlanIndex> {
        let station = self.stations.get(&(stitch, mac))?;
        (now.since(station.seen) < AGEING).then_some(station.vlan)
    }

    /// All stations and the VLAN of each, in no order.
    pub(crate) fn views(&self) -> impl Iterator<Item = (VlanIndex, Mac)> {
        self.stations.iter().map(|((_, mac), station)| (station.vlan, *mac))
    }

    /// Forgets what is too old. Walks the whole table: once a minute will do.
    pub(crate) fn age(&mut self, now: Tick) {
        let used = &mut self.used;
        self.stations.retain(|_, station| {
            let keep = now.since(station.seen) < AGEING;
            if !keep {
                used[usize::from(station.vlan.0)] -= 1;
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const V1: VlanIndex = VlanIndex(0);
    const V2: VlanIndex = VlanIndex(1);

    fn at(millis: u64) -> Tick {
        Tick(millis * 1_000_000)
    }

    #[test]
    fn a_station_moves_only_after_it_was_silent_for_a_second() {
        let mut macs = Macs::new(2);
        assert_eq!(macs.see(at(0), 0, A, V1), Sighting::Noted);
        assert_eq!(macs.see(at(999), 0, A, V2), Sighting::Contradicted);
        assert_eq!(macs.find(at(999), 0, A), Some(V1));
        assert_eq!(macs.see(at(1000), 0, A, V2), Sighting::Noted);
        assert_eq!(macs.find(at(1000), 0, A), Some(V2));
        assert_eq!(macs.find(at(1000), 1, A), None, "another stitch knows nothing of it");
    }

    #[test]
    fn a_station_is_forgotten_after_five_minutes() {
        let mut macs = Macs::new(2);
        macs.see(at(0), 0, A, V1);
        assert_eq!(macs.find(at(299_999), 0, A), Some(V1));
        assert_eq!(macs.find(at(300_000), 0, A), None);
        macs.age(at(300_000));
        assert!(macs.stations.is_empty());
    }

    #[test]
    fn a_vlan_that_makes_up_stations_fills_only_its_own_share() {
        let mut macs = Macs::new(2);
        let station = |n: u32| Mac([2, 1, (n >> 24) as u8, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
        for n in 0..QUOTA {
            assert_eq!(macs.see(at(0), 0, station(n), V1), Sighting::Noted);
        }
        assert_eq!(macs.see(at(0), 0, station(QUOTA), V1), Sighting::Full);
        assert_eq!(macs.see(at(0), 0, station(QUOTA), V2), Sighting::Noted);
    }
}
