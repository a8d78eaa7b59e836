//! How the kernel paces what a socket sends (tcp(7), `TCP_CONGESTION`).
//!
//! Some congestion controls, BBR above all, set a timer for each piece that is sent. Over the world's lines that is what they are
//! good for; to readers that are near it can be most of what serving costs, in virtual machines before all
//! (`docs/decisions/0667`). So whoever serves may choose another one for itself, without changing the machine's.

use std::fmt;
use std::io;
use std::str::FromStr;

/// The name of a congestion control. Whether there is one of that name, only the kernel can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Congestion(String);

/// Not the name of a congestion control.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a name such as cubic, reno or bbr")]
pub struct InvalidCongestion;

impl FromStr for Congestion {
    type Err = InvalidCongestion;

    /// One to fifteen small letters, digits, `_` and `-`: what the kernel has room for.
    fn from_str(name: &str) -> Result<Self, InvalidCongestion> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        let fits = (1..=15).contains(&name.len()) && name.bytes().all(plain);
        if fits { Ok(Self(name.to_owned())) } else { Err(InvalidCongestion) }
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the kernel does not do as it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{}", sentence(name, source))]
pub struct NotPaced {
    name: Congestion,
    #[source]
    source: io::Error,
}

fn sentence(name: &Congestion, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "this kernel has no congestion control {name}: `sysctl net.ipv4.tcp_available_congestion_control` lists what it \
             has, `modprobe tcp_{name}` may load it"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "only root may choose the congestion control {name}, unless it stands in sysctl \
             net.ipv4.tcp_allowed_congestion_control"
        ),
        io::ErrorKind::Unsupported => "a congestion control can be chosen on Linux only".to_owned(),
        _ => format!("the congestion control {name} cannot be set"),
    }
}

impl Congestion {
    /// Paces what this socket sends, and every connection that it will accept if it listens.
    #[cfg(target_os = "linux")]
    pub fn pace(&self, socket: &impl std::os::fd::AsFd) -> Result<(), NotPaced> {
        let told = rustix::net::sockopt::set_tcp_congestion(socket, &self.0);
        told.map_err(|error| NotPaced { name: self.clone(), source: error.into() })
    }

    /// Linux alone is asked for it.
    #[cfg(not(target_os = "linux"))]
    pub fn pace<S>(&self, _: &S) -> Result<(), NotPaced> {
        Err(NotPaced { name: self.clone(), source: io::ErrorKind::Unsupported.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["cubic", "bbr", "reno", "a_long-name.2"] {
            assert_eq!(name.parse::<Congestion>().is_ok(), name != "a_long-name.2", "{name}");
        }
        for name in ["", "Cubic", "cubic ", "sixteen-letters0", "../cubic", "cubic\0"] {
            assert_eq!(name.parse::<Congestion>(), Err(InvalidCongestion), "{name:?}");
        }
    }

    #[test]
    fn one_that_cannot_be_had_is_a_sentence_with_what_to_do() {
        let sentence = |kind: io::ErrorKind| sentence(&"vegas".parse().expect("a name"), &kind.into());
        insta::assert_snapshot!(sentence(io::ErrorKind::NotFound), @"this kernel has no congestion control vegas: `sysctl net.ipv4.tcp_available_congestion_control` lists what it has, `modprobe tcp_vegas` may load it");
        insta::assert_snapshot!(sentence(io::ErrorKind::PermissionDenied), @"only root may choose the congestion control vegas, unless it stands in sysctl net.ipv4.tcp_allowed_congestion_control");
        insta::assert_snapshot!(sentence(io::ErrorKind::Unsupported), @"a congestion control can be chosen on Linux only");
        insta::assert_snapshot!(sentence(io::ErrorKind::InvalidInput), @"the congestion control vegas cannot be set");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_listener_accepts_is_paced_as_it_is() {
        use std::net::{TcpListener, TcpStream};
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        // A part of every kernel.
        "reno".parse::<Congestion>().expect("a name").pace(&listener).expect("paced");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        assert_eq!(rustix::net::sockopt::tcp_congestion(&accepted).expect("told"), "reno");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn one_that_no_kernel_has_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let error = "no-such-thing".parse::<Congestion>().expect("a name").pace(&listener).expect_err("not known");
        assert!(error.to_string().starts_with("this kernel has no congestion control no-such-thing"), "{error}");
    }
}
