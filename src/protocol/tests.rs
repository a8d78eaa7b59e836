//! What holds for every message, and what hostile input comes to.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::envelope::{self, Container, EnvelopeError};
use super::xml::{self, XmlError};
use super::*;
use crate::model::limits::RequestLimits;
use crate::model::settings::DownloadSettings;
use crate::model::{
    Action, Days, DeviceId, Digest, DigestAlgorithm, Done, ExitCodes, FragmentCount, FragmentPlan, Location, Minutes,
    Nobody, Notify, PackageId, PostCommand, Priority, PromptPolicy, RegistryQuery, RegistryTree, ResultCode, Schedule,
};

const LIMITS: RequestLimits = RequestLimits::DEFAULT;

/// Text with everything in it that must be escaped.
fn text() -> impl Strategy<Value = String> {
    "[ -~äß€😀\n\t\r&<>\"']{0,24}"
}

fn device_id() -> impl Strategy<Value = DeviceId> {
    "[a-zäß&<\"' .-]{1,12}-[0-9]{4}(-[0-9]{2}){5}".prop_map(|id| id.parse().expect("of its form"))
}

fn package_id() -> impl Strategy<Value = PackageId> {
    (1..=PackageId::MAX).prop_map(|number| PackageId::new(number).expect("in bounds"))
}

fn location() -> impl Strategy<Value = Location> {
    "[a-z]{1,8}(:[1-9][0-9]{1,3})?(/[a-z&'$]{1,8}){0,2}".prop_map(|location| location.parse().expect("a location"))
}

fn settings() -> impl Strategy<Value = DownloadSettings> {
    (any::<bool>(), any::<[u32; 3]>(), 1..=u32::MAX, any::<[u32; 2]>()).prop_map(
        |(on, latencies, period_length, timeouts)| {
            let [fragment_latency, cycle_latency, period_latency] = latencies;
            let (timeout, execution_timeout) = (Days(timeouts[0]), Minutes(timeouts[1]));
            DownloadSettings {
                on,
                fragment_latency,
                cycle_latency,
                period_latency,
                period_length,
                timeout,
                execution_timeout,
            }
        },
    )
}

fn offer() -> impl Strategy<Value = Offer> {
    let schedule = prop::option::of("20[0-9]{2}/0[1-9]/[12][0-8] [01][0-9]:[0-5][0-9]");
    let post_command = prop::option::of(prop_oneof!["REBOOT", "SHUTDOWN", "[a-z&<\"']( [a-z&<\"']{1,8}){0,3}"]);
    let more = prop::collection::vec(location(), 0..3);
    (package_id(), location(), location(), more, schedule, post_command, any::<bool>()).prop_map(
        |(package, info_location, fragment_location, more_locations, schedule, post_command, force)| Offer {
            package,
            info_location,
            fragment_location,
            more_locations,
            schedule: schedule.map(|text| text.parse::<Schedule>().expect("a minute")),
            post_command: post_command.map(|text| text.parse::<PostCommand>().expect("a command")),
            force,
        },
    )
}

fn prolog_reply() -> impl Strategy<Value = PrologReply> {
    let decision = prop_oneof![Just(Decision::Send), Just(Decision::Stop), "X[ -~]{0,6}".prop_map(Decision::Other)];
    let offers = prop::collection::vec(offer(), 0..5).prop_map(|mut offers| {
        offers.sort_by_key(|offer| offer.package);
        offers.dedup_by_key(|offer| offer.package);
        offers
    });
    let download = (settings(), offers).prop_map(|(settings, offers)| DownloadOption { settings, offers });
    let words = || "[!-~]{1,12}|[!-~][ -~ä€]{0,20}[!-~]";
    let question = (words(), 0..5_usize, words(), words());
    let questions = prop::collection::vec(question, 0..3).prop_map(|questions| {
        let made = questions.iter().map(|(name, tree, key, value)| {
            RegistryQuery::new(name, RegistryTree::ALL[*tree], &format!("S{key}"), value).expect("a question")
        });
        made.collect::<Vec<_>>()
    });
    let ip_discover = prop::option::of((any::<u32>(), any::<u32>()));
    let ip_discover =
        ip_discover.prop_map(|option| option.map(|(network, latency)| IpDiscover { network: network.into(), latency }));
    (decision, any::<Option<u32>>(), any::<Option<bool>>(), questions, ip_discover, prop::option::of(download))
        .prop_map(|(decision, prolog_freq, inventory_on_startup, registry, ip_discover, download)| PrologReply {
            decision,
            prolog_freq,
            inventory_on_startup,
            registry,
            ip_discover,
            download,
        })
}

fn account() -> impl Strategy<Value = Vec<AccountField>> {
    let field = ("[A-Za-z_0-9&<]{1,12}", text()).prop_map(|(key, value)| AccountField { key, value });
    prop::collection::vec(field, 0..4)
}

fn action() -> impl Strategy<Value = Action> {
    (0..3_usize, "[ -~\n\tä€]{0,12}[!-~][ -~\n\t]{0,12}").prop_map(|(word, text)| {
        Action::from_parts(["launch", "execute", "store"][word], &text).expect("an action with its text")
    })
}

fn info() -> impl Strategy<Value = Info> {
    // A text of blanks alone is none.
    let words = || prop_oneof![Just(String::new()), "[ -~\n\r\t<&>]{0,12}[!-~]"];
    let policy =
        (any::<Option<u32>>(), any::<Option<u32>>(), any::<bool>()).prop_map(|(max_delays, deadline_hours, waits)| {
            PromptPolicy { max_delays, deadline_hours, nobody: if waits { Nobody::Wait } else { Nobody::Run } }
        });
    let notify = (words(), any::<Option<u32>>(), any::<bool>(), any::<bool>(), policy).prop_map(
        |(text, countdown_seconds, can_abort, can_delay, policy)| Notify {
            text,
            countdown_seconds,
            can_abort,
            can_delay,
            policy,
        },
    );
    let digest = (any::<[u8; 16]>(), any::<[u8; 20]>(), any::<bool>()).prop_map(|(md5, sha1, old)| {
        if old {
            Digest::from_bytes(DigestAlgorithm::Sha1, &sha1)
        } else {
            Digest::from_bytes(DigestAlgorithm::Md5, &md5)
        }
    });
    let sha256 = any::<[u8; 32]>().prop_map(|bytes| Digest::from_bytes(DigestAlgorithm::Sha256, &bytes));
    (
        (package_id(), any::<u32>(), action(), 0..=FragmentPlan::MAX_FRAGMENTS, any::<bool>()),
        (digest, prop::option::of(notify), prop::option::of(words()), prop_oneof![Just(None), sha256]),
    )
        .prop_map(|((package, priority, action, fragments, https), (digest, notify, done, sha256))| Info {
            fragment_sha256: sha256
                .map_or_else(Vec::new, |sha256| vec![sha256; if fragments <= 50 { fragments as usize } else { 0 }]),
            package,
            priority: Priority::from_number(priority),
            action,
            fragments: FragmentCount(fragments),
            digest: digest.filter(|_| fragments > 0),
            scheme: if https { Scheme::Https } else { Scheme::Http },
            notify,
            done: done.map(|text| Done { text }),
            sha256,
            exit_codes: if https { "3=success 194=reboot".parse().expect("a list") } else { ExitCodes::default() },
        })
}

fn request(document: &str) -> Request {
    let (_, opened) = envelope::open(&envelope::seal(Container::Zlib, document), 1 << 20).expect("it opens");
    Request::parse(&opened, &LIMITS).expect("it is a request")
}

proptest! {
    // A fixed seed: a failure is everybody's, every time.
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_120),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_prolog_is_read_as_it_was_written(device_id in device_id()) {
        let prolog = PrologRequest { device_id };
        prop_assert_eq!(request(&prolog.to_xml()), Request::Prolog(prolog));
    }

    #[test]
    fn a_report_is_read_as_it_was_written(
        device_id in device_id(),
        package in prop::option::of(package_id()),
        code in "[ -~ä€\u{0}-\u{1f}]{0,300}",
    ) {
        let report = DownloadReport { device_id, package, code: ResultCode::from_wire(&code) };
        prop_assert_eq!(request(&report.to_xml()), Request::Download(report));
    }

    #[test]
    fn a_prolog_reply_is_read_as_it_was_written(reply in prolog_reply()) {
        prop_assert_eq!(PrologReply::parse(reply.to_xml().as_bytes()).expect("a reply"), reply);
    }

    #[test]
    fn an_inventory_reply_is_read_as_it_was_written(account in account()) {
        for reply in [InventoryReply::NoAccountUpdate, InventoryReply::AccountUpdate(account)] {
            prop_assert_eq!(InventoryReply::parse(reply.to_xml().as_bytes()).expect("a reply"), reply);
        }
    }

    #[test]
    fn an_inventory_is_read_as_it_was_written(
        device_id in device_id(),
        name in "[!-~ä][ -~ä<&]{0,12}[!-~]",
        history in prop::collection::btree_set(package_id(), 0..5),
        account in account(),
        mac in "[0-9a-f]{12}",
    ) {
        let sections = vec![
            Section { name: "NETWORKS", fields: vec![("MACADDR", mac.clone()), ("IPADDRESS", String::new())] },
            Section { name: "HARDWARE", fields: vec![("NAME", name.clone()), ("NONSENSE", "x".to_owned())] },
            Section { name: "SOFTWARES", fields: vec![("NAME", name.clone())] },
        ];
        let history: Vec<PackageId> = history.into_iter().collect();
        let document = InventoryDocument { device_id, sections, history: history.clone(), account: account.clone() };
        let Request::Inventory(inventory) = request(&document.to_xml()) else { panic!("no inventory") };
        prop_assert_eq!(inventory.device_id, document.device_id);
        prop_assert_eq!(inventory.facts.name, name);
        prop_assert_eq!(inventory.networks, [Network { mac, ..Network::default() }]);
        prop_assert_eq!(inventory.history, Some(history));
        prop_assert_eq!(inventory.account, account);
    }

    #[test]
    fn an_info_file_is_read_as_it_was_written(info in info()) {
        prop_assert_eq!(Info::parse(info.to_xml().as_bytes()).expect("an info file"), info);
    }

    #[test]
    fn a_configuration_file_is_read_as_it_was_written(settings in settings()) {
        prop_assert_eq!(conf_from_xml(conf_to_xml(&settings).as_bytes()).expect("a CONF"), settings);
    }

    #[test]
    fn whatever_text_is_written_can_be_read(any_text in any::<String>()) {
        let account = vec![AccountField { key: "A".to_owned(), value: any_text.clone() }];
        let document = InventoryReply::AccountUpdate(account).to_xml();
        let InventoryReply::AccountUpdate(fields) = InventoryReply::parse(document.as_bytes()).expect("a reply") else {
            panic!("no update: {document}")
        };
        let carried = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        let expected: String = any_text.chars().map(|c| if carried(c) { c } else { '\u{fffd}' }).collect();
        prop_assert_eq!(&fields[0].value, &expected);
    }

    #[test]
    fn readers_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        markup in "[<>/a-c ='\"&;#x0-9!\\[\\]?-]{0,80}",
    ) {
        for document in [bytes.as_slice(), markup.as_bytes(), &[b"\x78\x9c", bytes.as_slice()].concat(),
            &[b"\x1f\x8b\x08", bytes.as_slice()].concat(), &[b"\xff\xfe", bytes.as_slice()].concat()]
        {
            let opened = envelope::open(document, 4096);
            let document = opened.as_ref().map_or(document, |(_, opened)| opened);
            prop_assert!(opened.as_ref().map_or(0, |(_, opened)| opened.len()) <= 4096);
            // Refused or read: it comes back, that is all.
            drop(Request::parse(document, &LIMITS));
            drop(PrologReply::parse(document));
            drop(InventoryReply::parse(document));
            drop(Info::parse(document));
            drop(conf_from_xml(document));
        }
    }
}

/// A stream of so many MiB of blanks: the same block over and over, each of them ending in a full flush.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut deflater = Compress::new(Compression::best(), true);
    let mut block = || {
        let mut packed = Vec::with_capacity(1 << 16);
        deflater.compress_vec(&vec![b' '; 1 << 20], &mut packed, FlushCompress::Full).expect("room enough");
        packed
    };
    let (first, again) = (block(), block());
    [first, again.repeat(mebibytes - 1)].concat()
}

#[test]
fn a_gibibyte_in_a_megabyte_is_refused_at_the_limit() {
    assert_eq!(envelope::open(&bomb(4), 4 << 20).expect("it is a proper stream").1.len(), 4 << 20);
    let bomb = bomb(1024);
    assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());
    assert!(matches!(envelope::open(&bomb, LIMITS.inflated), Err(EnvelopeError::TooLarge { limit: 0x0400_0000 })));
}

#[test]
fn a_billion_laughs_are_refused() {
    let entities = (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10)));
    let entities = entities.collect::<Vec<String>>().concat();
    let document = format!("<?xml version='1.0'?><!DOCTYPE l [<!ENTITY l0 'lol'>{entities}]><REQUEST>&l9;</REQUEST>");
    let error = Request::parse(document.as_bytes(), &LIMITS).expect_err("refused");
    assert!(matches!(error, RequestError::Xml(XmlError::Doctype)), "{error}");
}

#[test]
fn hostile_documents_meet_a_bound() {
    // The bound of elements is too high for a quick test.
    let limits = RequestLimits { elements: 20_000, ..LIMITS };
    let refusal = |document: String| match Request::parse(document.as_bytes(), &limits) {
        Err(RequestError::Xml(XmlError::TooMany { what, limit })) => format!("{limit} {what}"),
        other => panic!("{other:?}"),
    };
    let attributes: Vec<String> = (0..300).map(|n| format!(" a{n}=''")).collect();
    let attributes = attributes.concat() + &" again=''".repeat(800_000);
    assert_eq!(refusal(format!("<REQUEST{attributes}/>")), "256 attributes in one element");
    assert_eq!(refusal("<a>".repeat(500_000)), "16 levels of elements");
    assert_eq!(refusal(format!("<REQUEST>{}</REQUEST>", "<a/>".repeat(500_000))), "20000 elements");
    let networks = format!("<REQUEST><CONTENT>{}</CONTENT></REQUEST>", "<NETWORKS/>".repeat(450_000));
    let error = Request::parse(networks.as_bytes(), &LIMITS).expect_err("too many to keep").to_string();
    assert_eq!(error, "the document has more than 450000 elements in the sections that are read");
}

#[test]
fn documents_that_make_readers_slow_are_read_in_one_go() {
    let document = |inside: &str| format!("<DOWNLOAD ID='7' ACT='EXECUTE' COMMAND='{inside}'/>");
    let ampersands = "&".repeat(1 << 18);
    // References that do not end: quadratic for who looks ahead for their ends.
    assert!(matches!(Info::parse(document(&ampersands).as_bytes()), Err(InfoError::Action(_))));
    assert!(xml::parse(format!("<a>{ampersands}</a>").as_bytes(), &LIMITS).is_err());
    assert!(xml::parse(format!("<a>{}</a>", "&amp;".repeat(1 << 16)).as_bytes(), &LIMITS).is_ok());
    assert!(xml::parse(format!("<a>{}</a>", "<!--".repeat(1 << 18)).as_bytes(), &LIMITS).is_err());
    assert!(xml::parse(format!("<a>{}</a>", "<![CDATA[".repeat(1 << 18)).as_bytes(), &LIMITS).is_err());
    // What a message quotes of a document is cut.
    let error = xml::parse(format!("<{}></b>", "a".repeat(1 << 20)).as_bytes(), &LIMITS).expect_err("refused");
    assert!(error.to_string().len() < 400);
}
