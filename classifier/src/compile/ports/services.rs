//! Services → service classes: what the rules tell apart of protocol and ports.

use crate::compile::intern::{Interner, WordHashMap};
use crate::compile::service::LineBuilder;
use crate::policy::{Policy, PortRange, Service};

/// Distinct services that classes are thought of for at all.
const SERVICES: usize = 1 << 14;
/// Combinations of classes of protocols and ports.
const COMBINATIONS: usize = 1 << 18;
/// Words of all combinations together, were there none alike.
const WORK: usize = 1 << 26;
/// Words of [`Bits`], of all services or of all sets of services.
pub(super) const BITS: usize = 1 << 22;

/// Numbers below some bound.
pub(super) type Bits = Vec<u64>;

/// The service classes of a policy.
pub(super) struct ServiceClasses {
    pub(super) protocols: Box<[u32; 256]>,
    pub(super) sources: Vec<u16>,
    pub(super) destinations: Vec<u16>,
    pub(super) services: Vec<u16>,
    /// How many classes there are.
    pub(super) width: usize,
    /// The classes that each service holds.
    pub(super) of_service: WordHashMap<Service, Bits>,
}

/// The class of each port, and a port of each class.
fn port_classes(ranges: impl Iterator<Item = PortRange>) -> (Vec<u16>, Vec<u16>) {
    let mut starts = vec![0u32];
    for range in ranges {
        starts.extend([u32::from(range.first), u32::from(range.last) + 1]);
    }
    starts.sort_unstable();
    starts.dedup();
    starts.retain(|start| *start <= 0xffff);
    let mut classes = vec![0; 1 << 16];
    for (class, start) in starts.iter().enumerate() {
        let end = starts.get(class + 1).copied().unwrap_or(1 << 16);
        classes[*start as usize..end as usize].fill(class as u16);
    }
    (classes, starts.into_iter().map(|start| start as u16).collect())
}

/// A bit for each of the services that is as wanted.
fn bits(services: &[Service], is_wanted: impl Fn(&Service) -> bool) -> Vec<u32> {
    // Without any service it is still no empty slice.
    let mut bits = vec![0; services.len().div_ceil(32).max(1)];
    for (at, _) in services.iter().enumerate().filter(|(_, service)| is_wanted(service)) {
        bits[at / 32] |= 1 << (at % 32);
    }
    bits
}

/// For each class of ports a bit for each of the services that hold it.
fn bits_by_class(
    services: &[Service],
    classes: &[u16],
    count: usize,
    range: impl Fn(&Service) -> PortRange,
) -> Vec<Vec<u32>> {
    let mut bits = vec![vec![0; services.len().div_ceil(32).max(1)]; count];
    for (at, service) in services.iter().enumerate() {
        let PortRange { first, last } = range(service);
        let (first, last) = (classes[usize::from(first)], classes[usize::from(last)]);
        for bits in &mut bits[usize::from(first)..=usize::from(last)] {
            bits[at / 32] |= 1 << (at % 32);
        }
    }
    bits
}

impl ServiceClasses {
    /// The classes, where the services of the policy are few enough.
    pub(super) fn new(policy: &Policy, builder: &LineBuilder<'_>) -> Option<Self> {
        let mut of_service: WordHashMap<Service, Bits> = WordHashMap::default();
        for ranked in builder.ranked() {
            for service in &policy.rule(ranked.rule).services {
                of_service.entry(*service).or_default();
            }
            if of_service.len() > SERVICES {
                return None;
            }
        }
        let mut services: Vec<Service> = of_service.keys().copied().collect();
        services.sort_unstable();
        let mut named: Vec<u8> = services.iter().filter_map(|s| s.protocol).collect();
        named.sort_unstable();
        named.dedup();
        let other = (0..=u8::MAX).find(|protocol| named.binary_search(protocol).is_err());
        let (mut source_classes, sources) = port_classes(services.iter().map(|s| s.source));
        let (destination_classes, destinations) = port_classes(services.iter().map(|s| s.destination));
        let combinations = (named.len() + 1) * sources.len() * destinations.len();
        let words = services.len().div_ceil(32);
        if combinations > COMBINATIONS
            || combinations * words > WORK
            || sources.len() * destinations.len() > usize::from(u16::MAX)
        {
            return None;
        }
        let mut protocols = Box::new([0; 256]);
        let block = sources.len() * destinations.len();
        for (class, protocol) in named.iter().enumerate() {
            protocols[usize::from(*protocol)] = ((class + 1) * block) as u32;
        }
        let by_source = bits_by_class(&services, &source_classes, sources.len(), |s| s.source);
        let by_destination =
            bits_by_class(&services, &destination_classes, destinations.len(), |s| s.destination);
        let mut known = Interner::new();
        let mut table = vec![0; combinations];
        let representatives = std::iter::once(other).chain(named.iter().map(|p| Some(*p)));
        // Classes are numbered so that those which differ in the source port alone are neighbours: few rules name
        // one, so that these fare alike.
        for (at, protocol) in representatives.enumerate() {
            let by_protocol = bits(&services, |s| s.protocol.is_none_or(|p| Some(p) == protocol));
            for (d, by_destination) in by_destination.iter().enumerate() {
                let near: Vec<u32> = by_destination.iter().zip(&by_protocol).map(|(a, b)| a & b).collect();
                for (s, by_source) in by_source.iter().enumerate() {
                    let matching: Vec<u32> = near.iter().zip(by_source).map(|(a, b)| a & b).collect();
                    // Number 0 is the empty slice, which is none of these.
                    let class = known.number(&matching) - 1;
                    table[at * block + s * destinations.len() + d] = class as u16;
                }
            }
        }
        let width = known.len() - 1;
        if width > 1 << 16 || services.len() * width.div_ceil(64) > BITS {
            return None;
        }
        let mut classes: Vec<Bits> = vec![vec![0; width.div_ceil(64)]; services.len()];
        for class in 0..width {
            for (at, word) in known.get(class as u32 + 1).iter().enumerate() {
                let mut word = *word;
                while word != 0 {
                    classes[at * 32 + word.trailing_zeros() as usize][class / 64] |= 1 << (class % 64);
                    word &= word - 1;
                }
            }
        }
        of_service.extend(services.iter().copied().zip(classes));
        if sources.len() == 1 {
            source_classes = Vec::new();
        }
        for class in &mut source_classes {
            *class *= destinations.len() as u16;
        }
        let (sources, destinations) = (source_classes, destination_classes);
        Some(ServiceClasses { protocols, sources, destinations, services: table, width, of_service })
    }
}
