//! DNS SRV over UDP, just enough to find a server that nobody named (RFC 1035, 2782): one question, bounded answers.
//!
//! Messages are read without trust: at most `MAX_MESSAGE` bytes, names of at most 255 bytes, compression pointers that
//! only lead backwards, and only an answer to the very question that was asked.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// What a datagram may have: more than a server may send without being asked for it.
const MAX_MESSAGE: usize = 4096;
/// Records that are looked at.
const MAX_RECORDS: u16 = 64;
/// Servers in `resolv.conf` that are asked, and search domains that are tried: as the C library does.
const MAX_SERVERS: usize = 3;
const MAX_DOMAINS: usize = 6;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;

/// Where a service is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SrvRecord {
    /// The lowest is asked first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host, without the last dot; never empty.
    pub target: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SrvError {
    /// The name cannot be asked for.
    #[error("\"{0}\" is no name that can be asked for in DNS")]
    Name(String),
    /// The answer is damaged, or none to the question.
    #[error("the answer of the DNS server cannot be read: {0}")]
    Answer(&'static str),
    /// The server says that it cannot tell.
    #[error("the DNS server answered with error {0}")]
    Refused(u8),
    /// Nobody answered.
    #[error("no DNS server answered")]
    Network(#[from] io::Error),
    /// No server is known.
    #[error("no DNS server is known: /etc/resolv.conf names none")]
    NoServer,
}

/// What `/etc/resolv.conf` says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Resolver {
    /// Who is asked, in order.
    pub servers: Vec<SocketAddr>,
    /// The domains of this computer, in order, without dots at the ends.
    pub domains: Vec<String>,
}

impl Resolver {
    /// Reads the file's text; what is not understood is passed over. The last of `domain` and `search` counts.
    pub fn from_resolv_conf(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines().take(1000) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if resolver.servers.len() < MAX_SERVERS => {
                    let address = words.next().unwrap_or_default();
                    let bare = address.split('%').next().unwrap_or_default();
                    let ip =
                        bare.parse::<Ipv4Addr>().map(Into::into).or_else(|_| bare.parse::<Ipv6Addr>().map(Into::into));
                    resolver.servers.extend(ip.ok().map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("search" | "domain") => {
                    let domains = words.map(|word| word.trim_matches('.').to_ascii_lowercase());
                    resolver.domains = domains.filter(|domain| is_domain(domain)).take(MAX_DOMAINS).collect();
                }
                _ => {}
            }
        }
        resolver
    }

    /// Asks the servers in turn, each for `patience`; no record is an empty answer.
    pub fn srv(&self, name: &str, patience: Duration) -> Result<Vec<SrvRecord>, SrvError> {
        let mut last = SrvError::NoServer;
        for server in &self.servers {
            match ask(*server, name, patience) {
                Ok(records) => return Ok(records),
                Err(error @ SrvError::Name(_)) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Which one to use: of the lowest priority, by chance as the weights say (RFC 2782). `random` is below 2³².
pub fn choose(records: &[SrvRecord], random: u32) -> Option<&SrvRecord> {
    let lowest = records.iter().map(|record| record.priority).min()?;
    let candidates = || records.iter().filter(|record| record.priority == lowest);
    // A weight of 0 is a small chance, not none.
    let share = |record: &SrvRecord| u64::from(record.weight) * 16 + 1;
    let total: u64 = candidates().map(share).sum();
    let mut left = u64::from(random) % total;
    candidates().find(|record| {
        let mine = share(record);
        let found = left < mine;
        left = left.saturating_sub(mine);
        found
    })
}

/// Is the host the domain, or below it?
pub fn is_below(host: &str, domain: &str) -> bool {
    let (host, domain) =
        (host.trim_end_matches('.').to_ascii_lowercase(), domain.trim_end_matches('.').to_ascii_lowercase());
    !domain.is_empty() && (host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.')))
}

fn is_domain(name: &str) -> bool {
    name.len() <= 200 && !name.is_empty() && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn ask(server: SocketAddr, name: &str, patience: Duration) -> Result<Vec<SrvRecord>, SrvError> {
    let id = getrandom::u32().map_or(0x5a17, |number| u16::try_from(number & 0xffff).unwrap_or_default());
    let question = question(id, name)?;
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local)?;
    // Connected, it hears nobody else; and hears at once if nobody is there.
    socket.connect(server)?;
    let mut answer = vec![0; MAX_MESSAGE];
    // A datagram may be lost: asked twice.
    for _ in 0..2 {
        socket.send(&question)?;
        let until = Instant::now() + patience / 2;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut answer) {
                // Somebody may shoot wrong ids at the port: they are not answers, and do not end the wait.
                Ok(length) if is_answer_to(&answer[..length], &question) => return read(&answer[..length], &question),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(io::Error::from(io::ErrorKind::TimedOut).into())
}

fn question(id: u16, name: &str) -> Result<Vec<u8>, SrvError> {
    let refuse = || SrvError::Name(name.chars().take(80).collect());
    if name.len() > 250 || !name.split('.').all(is_label) {
        return Err(refuse());
    }
    let mut message = Vec::with_capacity(name.len() + 18);
    message.extend(id.to_be_bytes());
    // Recursion desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).map_err(|_| refuse())?);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(TYPE_SRV.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    Ok(message)
}

/// The id, a reply, and the question repeated (in any case of letters).
fn is_answer_to(message: &[u8], question: &[u8]) -> bool {
    message.len() >= question.len()
        && message[..2] == question[..2]
        && message[2] & 0x80 != 0
        && message[4..6] == question[4..6]
        && message[12..question.len()].eq_ignore_ascii_case(&question[12..])
}

fn read(message: &[u8], question: &[u8]) -> Result<Vec<SrvRecord>, SrvError> {
    let number = |at: usize| -> Result<u16, SrvError> {
        let bytes = message.get(at..at + 2).ok_or(SrvError::Answer("it ends too early"))?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    match message.get(3).map(|byte| byte & 0x0f) {
        // No such name: an answer, too.
        Some(3) => return Ok(Vec::new()),
        Some(0) => {}
        Some(error) => return Err(SrvError::Refused(error)),
        None => return Err(SrvError::Answer("it ends too early")),
    }
    let is_cut = message[2] & 0x02 != 0;
    let mut records = Vec::new();
    let mut at = question.len();
    for _ in 0..number(6)?.min(MAX_RECORDS) {
        let record = (|| {
            let (_, after) = name_at(message, at)?;
            let (kind, class, length) = (number(after)?, number(after + 2)?, usize::from(number(after + 8)?));
            let data = after + 10;
            let end = data + length;
            if end > message.len() {
                return Err(SrvError::Answer("a record is longer than the message"));
            }
            let mut found = None;
            if kind == TYPE_SRV && class == CLASS_IN {
                let (target, target_end) = name_at(message, data + 6)?;
                if target_end != end {
                    return Err(SrvError::Answer("a record has another length than it says"));
                }
                found = Some(SrvRecord {
                    priority: number(data)?,
                    weight: number(data + 2)?,
                    port: number(data + 4)?,
                    target,
                });
            }
            Ok((found, end))
        })();
        let (found, end) = match record {
            Ok(read) => read,
            // What came before the cut is whole.
            Err(_) if is_cut && !records.is_empty() => break,
            Err(error) => return Err(error),
        };
        // A target of "." says: not here. What is no host name is nobody's server.
        records.extend(found.filter(|record| record.port > 0 && is_domain(&record.target)));
        at = end;
    }
    Ok(records)
}

/// A name and where it ends. Pointers lead backwards only, so that there is no circle.
fn name_at(message: &[u8], start: usize) -> Result<(String, usize), SrvError> {
    let cut = || SrvError::Answer("a name ends too early");
    let (mut name, mut at, mut end, mut lowest) = (String::new(), start, None, start);
    loop {
        let length = *message.get(at).ok_or_else(cut)?;
        match length {
            0 => return Ok((name, end.unwrap_or(at + 1))),
            1..=63 => {
                let label = message.get(at + 1..at + 1 + usize::from(length)).ok_or_else(cut)?;
                if name.len() + label.len() + 1 > 255 {
                    return Err(SrvError::Answer("a name is longer than 255 bytes"));
                }
                if !name.is_empty() {
                    name.push('.');
                }
                name.extend(
                    label
                        .iter()
                        .map(|byte| if byte.is_ascii_graphic() && *byte != b'.' { char::from(*byte) } else { '?' }),
                );
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                let low = *message.get(at + 1).ok_or_else(cut)?;
                let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                end = end.or(Some(at + 2));
                if target >= lowest {
                    return Err(SrvError::Answer("a name leads forward"));
                }
                (at, lowest) = (target, target);
            }
            _ => return Err(SrvError::Answer("a name has a label of unknown kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "_dripfeed._tcp.example.net";

    fn encoded(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).expect("short"));
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes
    }

    /// An answer with these records, owner names as pointers to the question's.
    fn answer(question: &[u8], records: &[(u16, u16, u16, Vec<u8>)]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2] |= 0x80;
        message[7] = u8::try_from(records.len()).expect("few");
        for (priority, weight, port, target) in records {
            message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
            message.extend(u16::try_from(target.len() + 6).expect("short").to_be_bytes());
            for number in [priority, weight, port] {
                message.extend(number.to_be_bytes());
            }
            message.extend(target);
        }
        message
    }

    #[test]
    fn an_answer_is_read_with_its_compressed_names() {
        let asked = question(7, NAME).expect("a question");
        // "ocs" and a pointer to "example.net" in the question: 12 + "_dripfeed" + "_tcp".
        let compressed = [b"\x03ocs".as_slice(), &[0xc0, 12 + 10 + 5]].concat();
        let message = answer(
            &asked,
            &[(10, 5, 8443, compressed), (20, 0, 443, encoded("b.example.net")), (0, 0, 0, encoded(""))],
        );
        assert!(is_answer_to(&message, &asked));
        let records = read(&message, &asked).expect("records");
        assert_eq!(
            records,
            [
                SrvRecord { priority: 10, weight: 5, port: 8443, target: "ocs.example.net".to_owned() },
                SrvRecord { priority: 20, weight: 0, port: 443, target: "b.example.net".to_owned() },
            ]
        );
        assert_eq!(choose(&records, 12345).map(|record| record.port), Some(8443));
        let mut none = asked.clone();
        (none[2], none[3]) = (0x81, 3);
        assert_eq!(read(&none, &asked).expect("no such name"), []);
        none[3] = 2;
        assert!(matches!(read(&none, &asked), Err(SrvError::Refused(2))));
    }

    #[test]
    fn a_name_that_leads_in_a_circle_or_forward_is_refused() {
        let asked = question(7, NAME).expect("a question");
        let at = u8::try_from(asked.len() + 18).expect("short");
        for target in [vec![0xc0, at], vec![0xc0, at + 2, 0], vec![0xff, 0xff], vec![0x40, 0], vec![3, b'a']] {
            assert!(read(&answer(&asked, &[(1, 1, 1, target.clone())]), &asked).is_err(), "{target:?}");
        }
    }

    #[test]
    fn weights_share_and_a_lower_priority_is_for_when_the_others_are_gone() {
        let record = |priority, weight, port| SrvRecord { priority, weight, port, target: "a".to_owned() };
        let records = [record(1, 0, 1), record(1, 30, 2), record(1, 10, 3), record(0, 0, 4)];
        assert_eq!(choose(&records, 99).map(|record| record.port), Some(4));
        let mut seen = [0; 4];
        for random in 0..643_u32 {
            seen[usize::from(choose(&records[..3], random).expect("one").port)] += 1;
        }
        assert_eq!(seen, [0, 1, 481, 161]);
        assert_eq!(choose(&[], 0), None);
    }

    #[test]
    fn resolv_conf_is_read_as_the_c_library_reads_it() {
        let resolver = Resolver::from_resolv_conf(
            "# x\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver nonsense\ndomain old.example\nsearch Example.NET. corp bad..name\n",
        );
        assert_eq!(
            resolver.servers,
            ["10.0.0.1:53".parse().expect("an address"), "[fe80::1]:53".parse().expect("an address")]
        );
        assert_eq!(resolver.domains, ["example.net", "corp"]);
        assert!(matches!(Resolver::default().srv(NAME, Duration::ZERO), Err(SrvError::NoServer)));
        assert!(matches!(question(1, "a..b"), Err(SrvError::Name(_))));
    }

    #[test]
    fn below_a_domain_is_below_it() {
        assert!(is_below("ocs.example.net", "example.net") && is_below("Example.net.", "example.net"));
        assert!(
            !is_below("badexample.net", "example.net") && !is_below("example.org", "example.net") && !is_below("a", "")
        );
    }

    #[test]
    fn a_server_on_the_loop_is_asked_and_what_it_did_not_say_is_not_heard() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let resolver = Resolver { servers: vec![server.local_addr().expect("an address")], domains: Vec::new() };
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 512];
            let (length, from) = server.recv_from(&mut bytes).expect("a question");
            let mut other = answer(&bytes[..length], &[(1, 1, 666, encoded("evil.example.net"))]);
            other[0] ^= 0xff;
            server.send_to(&other, from).expect("sent");
            server.send_to(b"x", from).expect("sent");
            let right = answer(&bytes[..length], &[(1, 1, 8443, encoded("ocs.example.net"))]);
            server.send_to(&right, from).expect("sent");
        });
        let records = resolver.srv(NAME, Duration::from_secs(20)).expect("an answer");
        assert_eq!(records.iter().map(|record| record.port).collect::<Vec<_>>(), [8443]);
        thread.join().expect("the server");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_survived_and_what_is_found_is_a_host(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<proptest::sample::Index>(),
            tail in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let asked = question(7, NAME).expect("a question");
            let compressed = [b"\x03ocs".as_slice(), &[0xc0, 27]].concat();
            let mut message = answer(&asked, &[(10, 5, 8443, compressed), (20, 0, 443, encoded("b.example.net"))]);
            for (at, byte) in damage {
                let at = at.index(message.len());
                message[at] = byte;
            }
            message.truncate(cut.index(message.len() + 1));
            message.extend(tail);
            if is_answer_to(&message, &asked) && let Ok(records) = read(&message, &asked) {
                prop_assert!(records.len() <= usize::from(MAX_RECORDS));
                prop_assert!(records.iter().all(|record| record.port > 0 && is_domain(&record.target)));
            }
            let _ = name_at(&message, 0);
        }
    }
}
