//! What is asked: one packet, from one place to another.

use crate::config::{Configuration, is_stitched};
use classifier::addr::VlanKey;
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{PortRange, Service};
use classifier::wire::protocol;
use dataplane::topology::{Topology, VlanRole};
use std::net::IpAddr;

/// The source port that stands for all of a client's: the first dynamic one (RFC 6335 §6).
const DYNAMIC: u16 = 49_152;

/// A new flow's first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The sender's address.
    pub source: IpAddr,
    /// Where it comes in, as far as that can be told.
    pub source_vlan: Option<VlanKey>,
    /// The address that it asks for.
    pub destination: IpAddr,
    /// Where it would leave, as far as that can be told.
    pub destination_vlan: Option<VlanKey>,
    /// Protocol and ports.
    pub packet: ServicePacket,
}

impl Question {
    /// Reads `ADDRESS[@VLAN]`, `ADDRESS[@VLAN]` and a service that means one packet. Where no source port is given,
    /// it is a dynamic one if the service has that.
    ///
    /// # Errors
    /// What is wrong with the texts.
    pub fn read(
        configuration: &Configuration,
        from: &str,
        to: &str,
        service: &str,
        source_port: Option<u16>,
    ) -> Result<Question, String> {
        let (source, source_vlan) = configuration.address_and_vlan(from)?;
        let (destination, destination_vlan) = configuration.address_and_vlan(to)?;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(format!(
                "no packet goes from {source} to {destination}: write two addresses of one family"
            ));
        }
        let source_vlan = source_vlan.or_else(|| configuration.locate(source));
        let destination_vlan = match destination_vlan {
            Some(vlan) => Some(vlan),
            None => egress(configuration, source_vlan, destination)?,
        };
        let services = configuration.service(service)?;
        let packet = one_packet(service, &services, source.is_ipv4(), source_port)?;
        Ok(Question { source, source_vlan, destination, destination_vlan, packet })
    }

    /// Both ends as the policy sees them. A destination on a routed VLAN has no MAC yet.
    #[must_use]
    pub fn endpoints(&self, configuration: &Configuration) -> (Endpoint, Endpoint) {
        let mac = |vlan: Option<VlanKey>, address| configuration.mac_of(vlan?, address);
        let stitched = self.destination_vlan.filter(|vlan| is_stitched(&configuration.topology, *vlan));
        let source = Endpoint {
            vlan: self.source_vlan,
            mac: mac(self.source_vlan, self.source),
            address: self.source,
        };
        let destination = Endpoint {
            vlan: self.destination_vlan,
            mac: mac(stitched, self.destination),
            address: self.destination,
        };
        (source, destination)
    }
}

/// Where the packet leaves: routing tells, but within a stitch only the prefixes of its VLANs can.
fn egress(
    configuration: &Configuration,
    ingress: Option<VlanKey>,
    destination: IpAddr,
) -> Result<Option<VlanKey>, String> {
    let topology = &configuration.topology;
    let Some(stitch) = ingress.and_then(|vlan| stitch_of(topology, vlan)) else {
        // From a routed VLAN there is no way into a stitch, even if one of its prefixes holds the address.
        let is_to_a_stitch = |vlan: &VlanKey| is_stitched(topology, *vlan);
        return Ok(configuration.locate(destination).filter(|v| ingress.is_none() || !is_to_a_stitch(v)));
    };
    let others: Vec<VlanKey> =
        topology.stitches[stitch].vlans.iter().copied().filter(|vlan| Some(*vlan) != ingress).collect();
    let holds = |vlan: &&VlanKey| {
        topology.vlans.iter().any(|v| match &v.role {
            VlanRole::Stitched { prefixes, .. } => {
                v.key == **vlan && prefixes.iter().any(|p| p.contains(destination))
            }
            VlanRole::Routed { .. } => false,
        })
    };
    let holding: Vec<&VlanKey> = others.iter().filter(holds).collect();
    match (holding.as_slice(), others.as_slice()) {
        ([vlan], _) => Ok(Some(**vlan)),
        (_, [vlan]) => Ok(Some(*vlan)),
        (_, _) => {
            let names: Vec<String> = others.iter().map(|vlan| topology.vlan_label(*vlan)).collect();
            Err(format!(
                "in a stitch an address may be on any VLAN: write `{destination}@VLAN` with one of {}",
                names.join(", ")
            ))
        }
    }
}

/// The stitch that a VLAN is in.
pub(super) fn stitch_of(topology: &Topology, vlan: VlanKey) -> Option<usize> {
    topology.stitches.iter().position(|stitch| stitch.vlans.contains(&vlan))
}

/// The one packet that the service means between addresses of a family.
fn one_packet(
    text: &str,
    services: &[Service],
    is_v4: bool,
    source_port: Option<u16>,
) -> Result<ServicePacket, String> {
    let (foreign, family, own) =
        if is_v4 { (protocol::ICMPV6, "IPv4", "icmp") } else { (protocol::ICMP, "IPv6", "icmpv6") };
    let fitting: Vec<&Service> = services.iter().filter(|s| s.protocol != Some(foreign)).collect();
    let several = || {
        Err(format!("`{text}` means many packets: write one, such as tcp/443, icmp/echo-request or proto/47"))
    };
    let service = match fitting.as_slice() {
        [] => return Err(format!("no {family} packet is `{text}`: write {own}/TYPE")),
        [one] => *one,
        [_, _, ..] => return several(),
    };
    let Some(number) = service.protocol else { return several() };
    let PortRange { first, last } = service.destination;
    let ([first_type, first_code], [last_type, last_code]) = (first.to_be_bytes(), last.to_be_bytes());
    let has_ports = matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP);
    let destination_port = match number {
        protocol::TCP | protocol::UDP | protocol::SCTP if first == last => first,
        // A type without a code is the type with code 0.
        protocol::ICMP | protocol::ICMPV6
            if first == last || (first_type == last_type && (first_code, last_code) == (0, 255)) =>
        {
            first
        }
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP | protocol::ICMPV6 => {
            return several();
        }
        _ => 0,
    };
    let source_port = match source_port {
        Some(_) if !has_ports => return Err(format!("`{text}` has no source port")),
        Some(port) if service.source.contains(port) => port,
        Some(port) => return Err(format!("`{text}` does not have the source port {port}")),
        None if !has_ports => 0,
        None if service.source.contains(DYNAMIC) => DYNAMIC,
        None => service.source.first,
    };
    Ok(ServicePacket { protocol: number, source_port, destination_port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(text: &str, is_v4: bool, source_port: Option<u16>) -> Result<(u8, u16, u16), String> {
        let Ok(service) = crate::config::inline_service(text) else { panic!("{text}") };
        one_packet(text, &[service], is_v4, source_port)
            .map(|p| (p.protocol, p.source_port, p.destination_port))
    }

    #[test]
    fn a_form_that_means_one_packet_is_taken() {
        assert_eq!(packet("tcp/443", true, None), Ok((6, 49_152, 443)));
        assert_eq!(packet("udp/53", false, Some(53)), Ok((17, 53, 53)));
        assert_eq!(packet("icmp/echo-request", true, None), Ok((1, 0, 0x0800)));
        assert_eq!(packet("icmp/3/4", true, None), Ok((1, 0, 0x0304)));
        assert_eq!(packet("icmpv6/128", false, None), Ok((58, 0, 0x8000)));
        assert_eq!(packet("proto/47", true, None), Ok((47, 0, 0)));
    }

    #[test]
    fn a_form_that_means_many_packets_is_refused() {
        for text in ["any", "tcp", "tcp/80-81", "udp", "icmp", "proto/6", "proto/1"] {
            let said = packet(text, true, None).unwrap_err();
            assert!(said.contains("means many packets"), "{text}: {said}");
        }
    }

    #[test]
    fn a_source_port_needs_a_protocol_that_has_one_and_no_family_has_the_icmp_of_the_other() {
        assert_eq!(packet("proto/47", true, Some(1)), Err("`proto/47` has no source port".to_owned()));
        let said = packet("icmp/echo-request", false, None).unwrap_err();
        assert_eq!(said, "no IPv6 packet is `icmp/echo-request`: write icmpv6/TYPE");
    }
}
