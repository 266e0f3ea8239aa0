//! Ports that stay with a test.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

/// A port that stays ours while nobody listens on it: else it could be given to any other test.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _holder: OwnedFd,
}

impl Port {
    /// Takes a free one.
    pub(crate) fn take() -> rustix::io::Result<Self> {
        let holder = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Those who bind an address with this option can share it, as long as one at most listens.
        sockopt::set_socket_reuseaddr(&holder, true)?;
        bind(&holder, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        let address = SocketAddrV4::try_from(getsockname(&holder)?)?;
        Ok(Self { number: address.port(), _holder: holder })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
