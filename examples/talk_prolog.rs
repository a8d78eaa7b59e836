//! One prolog and its answer, without a network: what an agent sends, what a server makes of it, what it answers.
//!
//! ```text
//! cargo run --example talk_prolog
//! ```
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use dripfeed::model::limits::{ReplyLimits, RequestLimits};
use dripfeed::model::settings::DownloadSettings;
use dripfeed::protocol::envelope::{self, Container};
use dripfeed::protocol::{Decision, DownloadOption, Offer, PrologReply, PrologRequest, Request};

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
        schedule: None,
        post_command: None,
        force: false,
    };
    let reply = PrologReply {
        decision: Decision::Send,
        prolog_freq: Some(24),
        inventory_on_startup: Some(true),
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
