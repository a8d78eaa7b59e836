//! A fleet against a real server: the simulator of `examples/fleet`, small, and nothing of it timed.

#[path = "../../examples/fleet/simulator/mod.rs"]
mod simulator;

use clap::Parser as _;
use simulator::{Options, Report};

use super::util::noise;
use super::util::process::{Served, Site};

fn fleet(site: &Site, server: &Served, words: &str) -> Report {
    let ca = site.data().join("certs/ca.pem");
    let pid = server.pid().as_raw_nonzero();
    let words = format!(
        "fleet --server https://{}/ocsinventory --ca {} --server-pid {pid} --timeout 120 {words}",
        server.https,
        ca.display()
    );
    let options = Options::try_parse_from(words.split_whitespace()).expect("options");
    simulator::run(&options).expect("a run")
}

/// No request failed: not one 5xx, no broken connection, no answer that could not be read.
#[track_caller]
fn nothing_failed(report: &Report) {
    assert_eq!(report.failed(), 0, "{report}");
    assert!(report.answered() > 0, "{report}");
}

#[test]
fn a_fleet_in_a_storm_gets_every_package_whole_and_every_result_arrives() {
    const AGENTS: usize = 200;
    let site = Site::new();
    site.configure("[log]\nlevel = \"error\"\n");
    let server = site.serve();

    // Unknown computers: each is asked for its inventory.
    let words = format!("--agents {AGENTS} --arrive clients:8 --inventory 4-8");
    let enrolled = fleet(&site, &server, &words);
    nothing_failed(&enrolled);
    let json = enrolled.to_json();
    assert_eq!(json["requests"]["prolog"]["requests"], AGENTS);
    assert_eq!(json["requests"]["inventory"]["requests"], AGENTS);
    assert_eq!(site.json("computer list").as_array().map(Vec::len), Some(AGENTS));

    let packages: Vec<String> = [(1, 40_000, "8K"), (5, 3000, "1K"), (0, 100, "1M")]
        .map(|(priority, size, fragment)| {
            let file = site.input(&format!("tool{priority}"), noise(size));
            let build = format!(
                "package build {file} --name tool{priority} --version 1 --os linux --action store --path /opt/tool \
                 --priority {priority} --fragment-size {fragment}"
            );
            site.say(&build).ok().trim().to_owned()
        })
        .into();
    let fragments: usize = packages
        .iter()
        .map(|id| {
            site.say(&format!("activate {id}")).ok();
            site.say(&format!("assign {id} --all")).ok();
            let folder = std::fs::read_dir(site.data().join("download").join(id)).expect("a package");
            folder.count() - 1
        })
        .sum();
    assert!(fragments > 6, "{fragments}");

    // More than a thousand connections, none used twice.
    let report = fleet(&site, &server, &format!("--agents {AGENTS} --arrive storm:1 --inventory 4-8"));
    nothing_failed(&report);
    let json = report.to_json();
    assert_eq!(json["settled"], AGENTS, "{report}");
    assert_eq!(json["results"], serde_json::json!({ "SUCCESS": AGENTS * packages.len() }), "{report}");
    assert_eq!(json["requests"]["info"]["requests"], AGENTS * packages.len());
    assert_eq!(json["requests"]["fragment"]["requests"], AGENTS * fragments);
    assert!(json["server"]["peak_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{json:#}");

    // What the agents believe is what the server says.
    for id in &packages {
        let status = site.json(&format!("status {id}"));
        assert_eq!(status["packages"][0]["jobs"], serde_json::json!({ "succeeded": AGENTS }), "{id}");
        let codes: Vec<_> = status["jobs"].as_array().expect("jobs").iter().map(|job| &job["code"]).collect();
        assert_eq!(codes, ["SUCCESS"; AGENTS], "{id}");
    }
    server.stop();
}

#[test]
fn a_server_that_is_not_there_and_one_that_refuses_are_told_apart() {
    let site = Site::new();
    site.configure("[log]\nlevel = \"error\"\n");
    let server = site.serve();
    let run = |words: &str| {
        let words = format!("fleet --agents 3 {words}");
        let report = simulator::run(&Options::try_parse_from(words.split_whitespace()).expect("options"));
        let report = report.expect("a run");
        assert_eq!((report.answered(), report.failed()), (0, 3), "{report}");
        report.to_string()
    };
    let nobody = run("--server http://127.0.0.1:1/ocsinventory");
    assert!(nobody.contains("FAILED     3 x prolog: no connection: connection refused"), "{nobody}");
    let nothing = run(&format!("--server http://{}/nothing", server.http));
    assert!(nothing.contains("FAILED     3 x prolog: HTTP 4"), "{nothing}");
    let stranger = run(&format!("--server https://{}/ocsinventory", server.https));
    assert!(stranger.contains("FAILED     3 x prolog: no TLS: no CA file was given"), "{stranger}");
    server.stop();
}
