//! How the kernel paces what a socket sends (tcp(7), `TCP_CONGESTION`).
//!
//! Some congestion controls, BBR above all, set a timer for each piece that is sent. Over the world's lines that is what they are
//! good for; to readers that are near it can be most of what serving costs, in virtual machines before all. So readers that
//! are near are spared it, unless the operator chose something else (`docs/decisions/0667`, `docs/decisions/0670`).

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

/// Round trips of readers that are near: a building's network, the same rack, this machine. What is lost there is sent again
/// before it is missed.
pub const NEAR: Duration = Duration::from_millis(2);
/// Controls that set timers, by the beginning of their names: bbr, bbr2, bbr3.
#[cfg(target_os = "linux")]
const TIMED: &str = "bbr";
/// Controls that do not, the better one first. The second is a part of every kernel, and everybody may choose it.
#[cfg(target_os = "linux")]
const UNTIMED: [&str; 2] = ["cubic", "reno"];

/// How what is sent is paced.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Pacing {
    /// Without timers to readers that are near, to all others as this machine is set.
    #[default]
    Auto,
    /// As this machine is set.
    System,
    /// Always with this control.
    Named(Congestion),
}

/// Neither a way of pacing nor the name of a congestion control.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected auto, system, or a name such as cubic, reno or bbr")]
pub struct InvalidPacing;

impl FromStr for Pacing {
    type Err = InvalidPacing;

    fn from_str(text: &str) -> Result<Self, InvalidPacing> {
        match text {
            "auto" => Ok(Self::Auto),
            "system" => Ok(Self::System),
            name => name.parse().map(Self::Named).map_err(|_| InvalidPacing),
        }
    }
}

impl Pacing {
    /// Sets a listener up. What comes back is to be told of every connection that this listener accepts.
    #[cfg(target_os = "linux")]
    pub fn listen(&self, listener: &impl std::os::fd::AsFd) -> Result<Paced, NotPaced> {
        match self {
            Self::System => Ok(Paced::default()),
            Self::Named(name) => name.pace(listener).map(|()| Paced::default()),
            Self::Auto => {
                let machines = rustix::net::sockopt::tcp_congestion(listener).ok();
                Ok(machines.and_then(|name| name.parse().ok()).map_or_else(Paced::default, |it| auto(listener, it)))
            }
        }
    }

    /// Linux alone is asked for it.
    #[cfg(not(target_os = "linux"))]
    pub fn listen<L>(&self, listener: &L) -> Result<Paced, NotPaced> {
        match self {
            Self::Auto | Self::System => Ok(Paced::default()),
            Self::Named(name) => name.pace(listener).map(|()| Paced::default()),
        }
    }
}

/// The listener's connections begin without timers, so that nothing is to be set for those who are near: most of them, mostly.
#[cfg(target_os = "linux")]
fn auto(listener: &impl std::os::fd::AsFd, machines: Congestion) -> Paced {
    let untimed = || UNTIMED.iter().any(|name| rustix::net::sockopt::set_tcp_congestion(listener, name).is_ok());
    let is_spared = machines.0.starts_with(TIMED) && untimed();
    Paced { far: is_spared.then_some(machines) }
}

/// What is still to be done for the connections of a listener.
#[derive(Clone, Debug, Default)]
pub struct Paced {
    /// What this machine is set to, for readers that are not near.
    far: Option<Congestion>,
}

impl Paced {
    /// To be called once for each accepted connection, before anything is sent.
    #[cfg(target_os = "linux")]
    pub fn accepted(&self, socket: &impl std::os::fd::AsFd) {
        self.accepted_within(socket, NEAR);
    }

    #[cfg(target_os = "linux")]
    fn accepted_within(&self, socket: &impl std::os::fd::AsFd, near: Duration) {
        let Some(far) = &self.far else { return };
        if round_trip(socket).is_none_or(|it| it > near) {
            // What a machine is set to may be chosen by everybody. For speed only: without it the reader is served as well.
            let _ = far.pace(socket);
        }
    }

    /// Linux alone is asked for it.
    #[cfg(not(target_os = "linux"))]
    pub fn accepted<S>(&self, _: &S) {}
}

/// How long the handshake's answer took; `None` if it had to be sent twice, or was not remembered (SYN cookies).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a structure of numbers that the system fills in, for which there is no safe crate")]
fn round_trip(socket: &impl std::os::fd::AsFd) -> Option<Duration> {
    use std::os::fd::AsRawFd as _;

    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: all of it is numbers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is borrowed for the call, and both pointers are to what this function owns; the kernel writes no
    // more than the length says, which is the structure's.
    let told = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (told == 0 && info.tcpi_rtt > 0).then(|| Duration::from_micros(info.tcpi_rtt.into()))
}

/// The name of a congestion control. Whether there is one of that name, only the kernel can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Congestion(String);

/// Not the name of a congestion control.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a congestion control's name is one to fifteen small letters, digits, _ and -")]
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
    fn pace(&self, socket: &impl std::os::fd::AsFd) -> Result<(), NotPaced> {
        let told = rustix::net::sockopt::set_tcp_congestion(socket, &self.0);
        told.map_err(|error| NotPaced { name: self.clone(), source: error.into() })
    }

    /// Linux alone is asked for it.
    #[cfg(not(target_os = "linux"))]
    fn pace<S>(&self, _: &S) -> Result<(), NotPaced> {
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

    #[test]
    fn a_way_of_pacing_is_a_word_or_a_name() {
        assert_eq!("auto".parse(), Ok(Pacing::Auto));
        assert_eq!("system".parse(), Ok(Pacing::System));
        assert_eq!("cubic".parse(), Ok(Pacing::Named(Congestion("cubic".to_owned()))));
        for wrong in ["", "Auto", " auto", "cubic,reno", "/etc"] {
            assert_eq!(wrong.parse::<Pacing>(), Err(InvalidPacing), "{wrong:?}");
        }
    }

    /// A connection that a listener accepted, its other end, and what is still to be done for it.
    #[cfg(target_os = "linux")]
    fn accepted(machines: &str) -> (std::net::TcpStream, std::net::TcpStream, Paced) {
        use std::net::{TcpListener, TcpStream};
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let paced = auto(&listener, machines.parse().expect("a name"));
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        (accepted, client, paced)
    }

    #[cfg(target_os = "linux")]
    fn control(socket: &std::net::TcpStream) -> String {
        rustix::net::sockopt::tcp_congestion(socket).expect("told")
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn where_a_machine_sets_timers_those_who_are_near_are_spared_them() {
        let (near, _client, paced) = accepted("bbr");
        assert_eq!(paced.far, Some(Congestion("bbr".to_owned())));
        let untimed = control(&near);
        assert!(UNTIMED.contains(&untimed.as_str()), "{untimed}");
        paced.accepted_within(&near, Duration::from_mins(1));
        assert_eq!(control(&near), untimed);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn readers_that_are_not_near_are_paced_as_the_machine_is_set() {
        let (far, client, _) = accepted("bbr");
        let untimed = control(&far);
        // What everybody may choose: reno, and what the machine is set to, which the other end has.
        let other = if untimed == "reno" { control(&client) } else { "reno".to_owned() };
        let paced = Paced { far: other.parse().ok() };
        paced.accepted_within(&far, Duration::from_mins(1));
        assert_eq!(control(&far), untimed);
        paced.accepted_within(&far, Duration::ZERO);
        assert_eq!(control(&far), other);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_machine_that_sets_no_timers_is_left_as_it_is() {
        for machines in ["cubic", "reno", "westwood"] {
            let (socket, _client, paced) = accepted(machines);
            assert_eq!(paced.far, None);
            let before = control(&socket);
            paced.accepted_within(&socket, Duration::ZERO);
            assert_eq!(control(&socket), before);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_round_trip_on_one_machine_is_short_and_something() {
        let (socket, _client, _) = accepted("reno");
        let told = round_trip(&socket).expect("told");
        assert!(told > Duration::ZERO && told < Duration::from_secs(10), "{told:?}");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        assert_eq!(round_trip(&listener), None, "who has not been met has no round trip");
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        assert_eq!(round_trip(&datagrams), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn one_that_no_kernel_has_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let error = "no-such-thing".parse::<Congestion>().expect("a name").pace(&listener).expect_err("not known");
        assert!(error.to_string().starts_with("this kernel has no congestion control no-such-thing"), "{error}");
    }
}
