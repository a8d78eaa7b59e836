//! One prolog and its answer, without a network: what an agent sends, what a server makes of it, what it answers.
//! Or, with a file: what a body cut out of a packet dump is.
//!
//! ```text
//! cargo run --example talk_prolog
//! cargo run --example talk_prolog -- tests/wire/exchanges/wire-notify/request.body.zlib
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

use std::process::ExitCode;

use dripfeed::model::limits::{ReplyLimits, RequestLimits};
use dripfeed::model::settings::DownloadSettings;
use dripfeed::protocol::envelope::{self, Container};
use dripfeed::protocol::{Decision, DownloadOption, Offer, PrologReply, PrologRequest, Request};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let done = match std::env::args_os().nth(1) {
        Some(file) => std::fs::read(file).map_err(Into::into).and_then(|body| explain(&body)),
        None => talk(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Opens a body of either direction and shows what it says.
fn explain(body: &[u8]) -> Result<()> {
    let limits = RequestLimits::DEFAULT;
    let (container, document) = envelope::open(body, limits.inflated)?;
    println!("{container:?}, {} bytes, opens to {}:\n", body.len(), document.len());
    println!("{}\n", String::from_utf8_lossy(&document));
    if let Ok(reply) = PrologReply::parse(&document) {
        println!("{reply:#?}");
    } else {
        println!("{:#?}", Request::parse(&document, &limits)?);
    }
    Ok(())
}

fn talk() -> Result<()> {
    // The agent.
    let prolog = PrologRequest { device_id: "ws042-2024-03-05-09-10-11".parse()? };
    let body = envelope::seal(Container::Zlib, &prolog.to_xml());
    println!("POST /ocsinventory, {} bytes of zlib:\n\n{}", body.len(), prolog.to_xml());

    // The server.
    let limits = RequestLimits::DEFAULT;
    let (container, document) = envelope::open(&body, limits.inflated)?;
    let Request::Prolog(heard) = Request::parse(&document, &limits)? else {
        return Err("a prolog was sent".into());
    };
    let offer = Offer {
        package: "1709630000".parse()?,
        info_location: "dl.example.net/download".parse()?,
        fragment_location: "mirror.example.net:8080/download".parse()?,
        more_locations: Vec::new(),
        schedule: None,
        post_command: None,
        force: false,
    };
    let reply = PrologReply {
        decision: Decision::Send,
        prolog_freq: Some(24),
        inventory_on_startup: Some(true),
        registry: Vec::new(),
        ip_discover: None,
        download: Some(DownloadOption { settings: DownloadSettings::default(), offers: vec![offer] }),
    };
    let answer = envelope::seal(container, &reply.to_xml());
    println!("200 to {}, {} bytes of zlib:\n\n{}", heard.device_id.host(), answer.len(), reply.to_xml());

    // The agent again.
    let (_, document) = envelope::open(&answer, ReplyLimits::DEFAULT.reply)?;
    let understood = PrologReply::parse(&document)?;
    assert_eq!(understood, reply);
    for offer in understood.download.iter().flat_map(|download| &download.offers) {
        println!("then GET https://{}/{}/info", offer.info_location, offer.package);
    }
    Ok(())
}
