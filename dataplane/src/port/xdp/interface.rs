//! What is known of a Linux interface before it becomes a port.
#![allow(unsafe_code)] // An unsafe island for two of ethtool's commands with answers of fixed size.

use super::ioctl::Control;
use classifier::addr::Mac;
use std::io;

/// Whether frames can flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// Not switched on.
    Down,
    /// Switched on, but there is nobody at the other end.
    NoCarrier,
    /// Frames can flow.
    Up,
}

/// The facts about an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number in its network namespace.
    pub index: u32,
    /// Its MAC.
    pub mac: Mac,
    /// Bytes of IP in a frame.
    pub mtu: u32,
    /// The driver's name, as far as the driver gives one.
    pub driver: String,
    /// How many queues it receives on.
    pub receive_queues: u32,
    /// How many queues it sends on.
    pub transmit_queues: u32,
    /// Whether it is up.
    pub state: LinkState,
}

impl Interface {
    /// Asks the kernel, in the network namespace of this thread.
    ///
    /// # Errors
    /// `ENODEV` where there is no such interface.
    pub fn look_up(name: &str) -> io::Result<Interface> {
        let control = Control::open()?;
        let index = control.index(name)?;
        let (receive_queues, transmit_queues) = queues(&control, name);
        Ok(Interface {
            name: name.to_owned(),
            index,
            mac: Mac(control.hardware_address(name)?),
            mtu: control.mtu(name)?,
            driver: driver(&control, name),
            receive_queues,
            transmit_queues,
            state: state(control.flags(name)?),
        })
    }
}

fn state(flags: i32) -> LinkState {
    if flags & libc::IFF_UP == 0 {
        LinkState::Down
    } else if flags & libc::IFF_RUNNING == 0 {
        LinkState::NoCarrier
    } else {
        LinkState::Up
    }
}

/// `struct ethtool_drvinfo` is 196 bytes: a command, then the driver's name in 32 bytes, then more.
fn driver(control: &Control, name: &str) -> String {
    /// `ETHTOOL_GDRVINFO` (include/uapi/linux/ethtool.h).
    const GET_DRIVER: u32 = 0x3;
    let mut words = [0_u32; 49];
    words[0] = GET_DRIVER;
    // SAFETY: the answer is 196 bytes long, as are the words.
    let answer = unsafe { control.ethtool(name, &mut words) };
    if answer.is_err() {
        return String::from("unknown");
    }
    let text: Vec<u8> = words[1..9].iter().flat_map(|w| w.to_ne_bytes()).take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&text).into_owned()
}

/// `struct ethtool_channels` is nine words: the command, the four maxima, then receive, transmit, other and
/// combined. Drivers that don't say have one queue.
fn queues(control: &Control, name: &str) -> (u32, u32) {
    /// `ETHTOOL_GCHANNELS` (include/uapi/linux/ethtool.h).
    const GET_CHANNELS: u32 = 0x3c;
    let mut words = [0_u32; 9];
    words[0] = GET_CHANNELS;
    // SAFETY: the answer is nine words long.
    let answer = unsafe { control.ethtool(name, &mut words) };
    let [_, _, _, _, _, receive, transmit, _, combined] = words;
    match answer {
        Ok(()) => ((receive + combined).max(1), (transmit + combined).max(1)),
        Err(_) => (1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_known() {
        let lo = Interface::look_up("lo").expect("every namespace has a loopback interface");
        assert_eq!(lo.index, 1);
        assert!(lo.mtu >= 1500);
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        for name in ["no-such-one", "", "a-name-that-is-longer-than-any"] {
            let error = Interface::look_up(name).expect_err("there is no such interface");
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        }
    }
}
