//! A host of the bed: an ordinary Linux network stack behind one interface, and what a user would try on it.

use super::bulk::{self, BulkError};
use super::icmp::{self, PingOutcome};
use super::iproute::ip_in;
use super::namespace::Namespace;
use super::raw::RawSocket;
use super::service::Service;
use classifier::addr::{Mac, Prefix};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How a host is to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostSpec {
    /// The VLAN of its access port; `None`: the untagged frames of the trunk.
    pub vlan: Option<u16>,
    /// The number of the trunk whose switch port it is on.
    pub trunk: usize,
    /// Its MAC; `None`: the kernel's choice.
    pub mac: Option<Mac>,
    /// Its addresses, with the lengths of their networks.
    pub addresses: Vec<Prefix>,
    /// Its default routers, one per family at most.
    pub gateways: Vec<IpAddr>,
}

/// How an attempt at a TCP connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpOutcome {
    /// It was made.
    Connected,
    /// A RST came back.
    Refused,
    /// An ICMP error came back, or there was no route.
    Unreachable,
    /// Nothing came back.
    TimedOut,
}

/// How a UDP request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UdpOutcome {
    /// An answer came back.
    Answered(Vec<u8>),
    /// ICMP port unreachable came back.
    Refused,
    /// Another ICMP error came back, or there was no route.
    Unreachable,
    /// Nothing came back.
    TimedOut,
}

/// A host; dropping it removes it.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespace: Namespace,
}

fn is_unreachable(error: &io::Error) -> bool {
    // An administratively prohibited destination is EHOSTUNREACH for IPv4 and EACCES for IPv6.
    matches!(
        error.raw_os_error(),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EACCES | libc::EPROTO | libc::ENOPROTOOPT)
    )
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

impl Host {
    /// The name of a host's one interface.
    pub const INTERFACE: &str = "eth0";

    pub(super) fn set_up(name: &str, namespace: Namespace, spec: &HostSpec) -> io::Result<Host> {
        let interface = Host::INTERFACE;
        namespace.sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
        if spec.addresses.iter().any(|a| a.address().is_ipv6()) {
            // Frames that the host would send of itself, at times that no test can foresee.
            for (setting, value) in [("router_solicitations", "0"), ("accept_ra", "0"), ("accept_dad", "0")] {
                namespace.sysctl(&format!("net/ipv6/conf/{interface}/{setting}"), value)?;
            }
        } else {
            namespace.sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1")?;
        }
        if let Some(mac) = spec.mac {
            ip_in(&namespace, &format!("link set {interface} address {mac}"))?;
        }
        ip_in(&namespace, &format!("link set {interface} up"))?;
        for address in &spec.addresses {
            let nodad = if address.address().is_ipv6() { "nodad" } else { "" };
            ip_in(&namespace, &format!("address add {address} dev {interface} {nodad}"))?;
        }
        for gateway in &spec.gateways {
            let family = if gateway.is_ipv6() { "-6" } else { "-4" };
            ip_in(&namespace, &format!("{family} route add default via {gateway} dev {interface}"))?;
        }
        Ok(Host { name: name.to_owned(), namespace })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// `ip ARGUMENTS` on the host.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn ip(&self, arguments: &str) -> io::Result<String> {
        ip_in(&self.namespace, arguments)
    }

    /// Sends one echo request and waits.
    ///
    /// # Errors
    /// What the kernel says, but for what is an outcome.
    pub fn ping(&self, to: IpAddr, timeout: Duration) -> io::Result<PingOutcome> {
        self.namespace.enter(|| icmp::ping(to, timeout))
    }

    /// Opens a TCP connection to be used.
    ///
    /// # Errors
    /// The kernel's.
    pub fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        self.namespace.enter(|| TcpStream::connect_timeout(&to, timeout))
    }

    /// Tries to open a TCP connection, and closes it.
    ///
    /// # Errors
    /// What the kernel says, but for what is an outcome.
    pub fn tcp_connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpOutcome> {
        match self.connect(to, timeout) {
            Ok(_) => Ok(TcpOutcome::Connected),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(TcpOutcome::Refused),
            Err(e) if is_unreachable(&e) => Ok(TcpOutcome::Unreachable),
            Err(e) if is_timeout(&e) => Ok(TcpOutcome::TimedOut),
            Err(e) => Err(e),
        }
    }

    /// A UDP socket on the host.
    ///
    /// # Errors
    /// The kernel's.
    pub fn udp_socket(&self, local: SocketAddr) -> io::Result<UdpSocket> {
        self.namespace.enter(|| UdpSocket::bind(local))
    }

    /// Sends a datagram and waits for an answer.
    ///
    /// # Errors
    /// What the kernel says, but for what is an outcome.
    pub fn udp_request(&self, to: SocketAddr, payload: &[u8], timeout: Duration) -> io::Result<UdpOutcome> {
        let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let exchange = || -> io::Result<Vec<u8>> {
            let socket = self.udp_socket(any)?;
            icmp::hear_errors(&socket, to.is_ipv6())?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(timeout))?;
            socket.send(payload)?;
            let mut buffer = vec![0; 65536];
            let length = socket.recv(&mut buffer)?;
            buffer.truncate(length);
            Ok(buffer)
        };
        match exchange() {
            Ok(answer) => Ok(UdpOutcome::Answered(answer)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(UdpOutcome::Refused),
            Err(e) if is_unreachable(&e) => Ok(UdpOutcome::Unreachable),
            Err(e) if is_timeout(&e) => Ok(UdpOutcome::TimedOut),
            Err(e) => Err(e),
        }
    }

    /// A TCP server that sends back what it gets.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tcp_echo(&self, local: SocketAddr) -> io::Result<Service> {
        self.namespace.enter(|| Service::tcp_echo(local))
    }

    /// A UDP server that sends back what it gets.
    ///
    /// # Errors
    /// The kernel's.
    pub fn udp_echo(&self, local: SocketAddr) -> io::Result<Service> {
        self.namespace.enter(|| Service::udp_echo(local))
    }

    /// A TCP server for [`Host::bulk_send`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn bulk_sink(&self, local: SocketAddr) -> io::Result<Service> {
        self.namespace.enter(|| Service::bulk_sink(local))
    }

    /// Sends many bytes to a sink and checks that they arrived as they were sent.
    ///
    /// # Errors
    /// [`BulkError`].
    pub fn bulk_send(&self, to: SocketAddr, bytes: u64, timeout: Duration) -> Result<(), BulkError> {
        let stream = self.connect(to, timeout).map_err(BulkError::Network)?;
        bulk::send(stream, bytes, timeout)
    }

    /// A socket for whole frames on the host's interface: to send what no decent host would, and to hear all that
    /// arrives.
    ///
    /// # Errors
    /// The kernel's.
    pub fn raw(&self) -> io::Result<RawSocket> {
        RawSocket::open(&self.namespace, Host::INTERFACE)
    }
}
