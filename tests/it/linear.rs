//! Time is linear in what is read: one large document takes as long as many small ones of the same kind together.
//!
//! Both sides of a comparison read the same number of bytes, so a linear reader takes the same time for both, and one that
//! is quadratic takes [`TIMES`] times as long for the large one. A machine that is busy makes single measurements longer and
//! none shorter, hence the shortest of each side counts, and measuring goes on until that is good enough.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use dripfeed::model::limits::RequestLimits;
use dripfeed::model::query::{MAX_LENGTH, Query};
use dripfeed::protocol::envelope::{self, Container, seal};
use dripfeed::protocol::{Info, Request, xml};

/// How many small ones make a large one.
const TIMES: usize = 16;
/// Sorting, and caches that a large one does not fit into, cost a little more; a quadratic reader costs 16 times as much.
const ENOUGH: u32 = 4;
const ATTEMPTS: usize = 40;

/// Checks that reading `make(TIMES * small)` is as much work as reading `make(small)` that often.
fn check(what: &str, small: usize, make: impl Fn(usize) -> Vec<u8>, read: impl Fn(&[u8])) {
    let (one, large) = (make(small), make(small * TIMES));
    assert!(large.len() > one.len() * TIMES / 2, "{what}: {} bytes, then {}", one.len(), large.len());
    let timed = |document: &[u8], times: usize| {
        let begun = Instant::now();
        for _ in 0..times {
            read(black_box(document));
        }
        begun.elapsed()
    };
    let (mut many, mut single) = (Duration::MAX, Duration::MAX);
    for _ in 0..ATTEMPTS {
        many = many.min(timed(&one, TIMES));
        single = single.min(timed(&large, 1));
        if single <= many * ENOUGH {
            return;
        }
    }
    panic!("{what}: {TIMES} small ones took {many:?}, a large one of as many bytes {single:?}");
}

/// As many pieces as make that many bytes.
fn pieces(size: usize, mut piece: impl FnMut(usize) -> String) -> String {
    let mut text = String::with_capacity(size + 200);
    let mut n = 0;
    while text.len() < size {
        text.push_str(&piece(n));
        n += 1;
    }
    text
}

const SMALL: usize = 8 << 10;

#[test]
fn opening_a_body_is_linear() {
    let noise = |size: usize| {
        let mut state = 1_u32;
        pieces(size, |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{state:x}")
        })
    };
    for container in [Container::Zlib, Container::Gzip, Container::Plain] {
        for (what, text) in [("noise", &noise as &dyn Fn(usize) -> String), ("blanks", &|size| " ".repeat(size * 8))] {
            let make = |size: usize| match container {
                // Plain text is known by its first byte.
                Container::Plain => format!("<a>{}</a>", text(size)).into_bytes(),
                _ => seal(container, &text(size)),
            };
            let small = if what == "blanks" && container != Container::Plain { 64 << 10 } else { SMALL };
            check(&format!("{what} as {container:?}"), small, make, |body| {
                black_box(envelope::open(body, 64 << 20).expect("it opens"));
            });
        }
    }
}

#[test]
fn reading_markup_is_linear() {
    type Piece = fn(usize) -> String;
    let insides: [(&str, Piece); 12] = [
        ("elements", |n| format!("<A{n}>{n}</A{n}>")),
        ("elements of one name", |_| "<A/>".to_owned()),
        ("attributes", |n| format!("<A B='{n}' C='&lt;{n}' D=\"\"/>")),
        ("text", |_| "a few words ".to_owned()),
        ("text between elements", |_| "text<A/>".to_owned()),
        ("references", |_| "&amp;&#233;".to_owned()),
        ("comments", |n| format!("<!-- {n} -->")),
        ("CDATA", |n| format!("<![CDATA[{n}]]>")),
        ("comments without end", |_| "<!-- ".to_owned()),
        ("CDATA without end", |_| "<![CDATA[".to_owned()),
        ("raw ampersands", |_| "&".to_owned()),
        ("references without end", |_| "&#x".to_owned()),
    ];
    for (what, piece) in insides {
        for encoding in ["UTF-8", "ISO-8859-1"] {
            let make = |size: usize| {
                format!("<?xml version='1.0' encoding='{encoding}'?><R>{}</R>", pieces(size, piece)).into_bytes()
            };
            check(&format!("{what} in {encoding}"), SMALL, make, |document| {
                drop(black_box(xml::parse(document, &RequestLimits::DEFAULT)));
            });
        }
    }
    check(
        "bytes that are not UTF-8",
        SMALL,
        |size| [b"<R>", &*vec![0xe9; size], b"</R>"].concat(),
        |document| {
            assert!(black_box(xml::parse(document, &RequestLimits::DEFAULT)).is_ok());
        },
    );
}

#[test]
fn understanding_an_inventory_is_linear() {
    type Piece = fn(usize) -> String;
    let contents: [(&str, Piece); 8] = [
        ("titles", |n| format!("<SOFTWARES><NAME>Title {n}</NAME><VERSION>{n}.0</VERSION></SOFTWARES>")),
        ("one title", |_| "<SOFTWARES><NAME>Title</NAME><VERSION>1.0</VERSION></SOFTWARES>".to_owned()),
        ("sections", |n| format!("<S{n}><NAME>x</NAME></S{n}>")),
        ("elements of a section", |n| format!("<PORTS><NAME>{n}</NAME><TYPE>x</TYPE></PORTS>")),
        ("leaves of one element", |n| format!("<PORTS A='1'/><L{n}>x</L{n}>")),
        ("adapters", |n| format!("<NETWORKS><MACADDR>{n}</MACADDR><IPADDRESS>10.0.0.1</IPADDRESS></NETWORKS>")),
        ("account", |n| format!("<ACCOUNTINFO><KEYNAME>K{n}</KEYNAME><KEYVALUE>v</KEYVALUE></ACCOUNTINFO>")),
        ("names in front of the one that is looked for", |n| format!("<HARDWARE><X{n}/></HARDWARE>")),
    ];
    let request = |content: &str| {
        format!(
            "<REQUEST><QUERY>INVENTORY</QUERY><DEVICEID>ws-2024-03-05-09-10-11</DEVICEID><CONTENT>{content}</CONTENT></REQUEST>"
        )
        .into_bytes()
    };
    let read = |document: &[u8]| {
        assert!(black_box(Request::parse(document, &RequestLimits::DEFAULT)).is_ok());
    };
    for (what, piece) in contents {
        check(what, SMALL, |size| request(&pieces(size, piece)), read);
    }
    let history = |size| {
        let packages = pieces(size, |n| format!("<PACKAGE ID='{}'/>", n + 1));
        request(&format!("<DOWNLOAD><HISTORY>{packages}</HISTORY></DOWNLOAD>"))
    };
    check("history", SMALL, history, read);
    let seen = |size| {
        request(&format!(
            "<IPDISCOVER>{}</IPDISCOVER>",
            pieces(size, |n| { format!("<H><I>10.1.{}.{}</I><M>02:00:00:00:00:01</M></H>", n / 250 % 250, n % 250) })
        ))
    };
    check("what was seen", SMALL, seen, read);
}

#[test]
fn reading_a_query_or_an_info_file_is_linear() {
    type Make = fn(usize) -> String;
    let small = MAX_LENGTH / TIMES - 40;
    let parse = |document: &[u8]| {
        let text = std::str::from_utf8(document).expect("text");
        // Far too little for a clock.
        for _ in 0..50 {
            drop(black_box(text.parse::<Query>()));
        }
    };
    let queries: [(&str, Make); 5] = [
        ("a value", |size| format!("name = '{}'", "x".repeat(size))),
        ("escapes", |size| format!("name = \"{}\"", "\\'".repeat(size / 2))),
        ("conditions", |size| {
            pieces(size, |_| "section CPUS.TYPE contains 'xxxxxxxxxxxxxxx' or ".to_owned()) + "name = x"
        }),
        ("a quote without end", |size| format!("name = '{}", "x".repeat(size))),
        ("a long mistake", |size| format!("name = x {}", "ä".repeat(size / 2))),
    ];
    for (what, make) in queries {
        check(what, small, |size| make(size).into_bytes(), parse);
    }
    let infos: [(&str, Make); 4] = [
        ("a command", |size| "echo x; ".repeat(size / 8)),
        ("raw ampersands", |size| "&".repeat(size)),
        ("references", |size| "&amp;&#38;".repeat(size / 10)),
        ("characters", |size| "&#233;é".repeat(size / 8)),
    ];
    for (what, make) in infos {
        let document = |size: usize| {
            let mut text = String::new();
            let _ = write!(
                text,
                "<DOWNLOAD ID=\"1795170000\" PRI=\"5\" ACT=\"EXECUTE\" FRAGS=\"0\" COMMAND=\"{}\"/>",
                make(size)
            );
            text.into_bytes()
        };
        check(what, SMALL, document, |document| drop(black_box(Info::parse(document))));
    }
}
