//! Datagrams to everybody on a network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// A socket that may speak to everybody.
#[derive(Debug)]
pub struct Broadcaster(UdpSocket);

impl Broadcaster {
    /// Any free port of this machine, of all its networks.
    pub fn open() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_broadcast(true)?;
        Ok(Self(socket))
    }

    /// Sends one datagram. Nobody answers, so nobody is waited for.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.0.send_to(datagram, to).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_arrives_as_it_was_sent() {
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let to = listener.local_addr().expect("an address");
        Broadcaster::open().expect("a socket").send(&[0xff; 102], to).expect("sent");
        let mut buffer = [0; 200];
        let length = listener.recv(&mut buffer).expect("a datagram");
        assert_eq!(buffer[..length], [0xff; 102]);
    }

    #[test]
    fn everybody_on_the_loopback_network_may_be_spoken_to() {
        let listener = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let everybody = Ipv4Addr::new(127, 255, 255, 255);
        Broadcaster::open().expect("a socket").send(b"up", (everybody, port).into()).expect("a broadcast is allowed");
        let mut buffer = [0; 20];
        let length = listener.recv(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..length], b"up");
    }
}
