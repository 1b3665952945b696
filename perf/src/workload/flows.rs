//! Flows that the policy lets in.

use super::policy::{Allowance, Plan};
use classifier::addr::IpRange;
use random::Random;
use std::collections::HashSet;

/// Live hosts on one side, if the policy has few segments; at least one for each segment in any case. Hosts are
/// neighbours, of which a VLAN has thousands, not millions.
const HOSTS: u32 = 4_096;
/// The lowest source port that a system picks for itself (Linux, ip_local_port_range).
const LOWEST_SOURCE: u32 = 32_768;

/// A flow by the addresses and ports of its ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Flow {
    /// The opener, in the clients' VLAN.
    pub(crate) client: u32,
    /// The responder, in the servers' VLAN.
    pub(crate) server: u32,
    /// The opener's port.
    pub(crate) source: u16,
    /// The responder's port.
    pub(crate) destination: u16,
}

/// `count` different flows, each by a rule drawn at random.
pub(super) fn draw(plan: &Plan, count: u32, seed: u64) -> Vec<Flow> {
    // Another stream of numbers than the policy's.
    let mut random = Random::new(!seed);
    let hosts = (HOSTS / plan.segments).max(1);
    let mut known = HashSet::with_capacity(count as usize);
    let mut flows = Vec::with_capacity(count as usize);
    let mut rejected = 0_u64;
    while flows.len() < count as usize {
        let allowance: &Allowance = random.pick(&plan.allowances);
        let width = u32::from(allowance.ports.last - allowance.ports.first) + 1;
        let flow = Flow {
            client: host(allowance.clients, hosts, &mut random),
            server: host(allowance.servers, hosts, &mut random),
            source: (LOWEST_SOURCE + random.below(65_536 - LOWEST_SOURCE)) as u16,
            destination: allowance.ports.first + random.below(width) as u16,
        };
        if known.insert(flow) {
            flows.push(flow);
        } else {
            rejected += 1;
            assert!(rejected < 100 * u64::from(count), "the policy has room for fewer than {count} flows");
        }
    }
    flows
}

/// One of the first `hosts` addresses of the range.
fn host(range: IpRange, hosts: u32, random: &mut Random) -> u32 {
    match range {
        IpRange::V4(first, last) => first + random.below(hosts.min(last - first + 1)),
        IpRange::V6(..) => unreachable!("the generated policy is of IPv4"),
    }
}
