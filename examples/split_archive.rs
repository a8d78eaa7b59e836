//! Cuts a file into fragments and writes the info file beside them, without a server: what `dripfeed package build`
//! publishes.
//!
//! ```text
//! cargo run --example split_archive -- tool.tar.gz out 1795164357 1M
//! out/1795164357-1  out/1795164357-2 …  out/info
//! ```
//!
//! `--fragments-only` leaves the info file out; `benches/build.sh` times that.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use dripfeed::archive::{SplitSummary, split};
use dripfeed::model::{Action, ByteSize, PackageId, Priority, TreeKey};
use dripfeed::protocol::{Info, Scheme};

const USAGE: &str = "usage: split_archive ARCHIVE DIRECTORY PACKAGE-ID [FRAGMENT-SIZE] [--fragments-only]";

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let given = words.len();
    words.retain(|word| word != "--fragments-only");
    let with_info = words.len() == given;
    let size = words.get(3).map_or("1M", String::as_str);
    let [archive, directory, id, ..] = words.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(archive, Path::new(directory), id, size, with_info) {
        Ok(summary) => {
            println!("{} in {} fragments", ByteSize(summary.size), summary.count());
            println!("md5     {}\nsha256  {}", summary.md5, summary.sha256);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(source) = cause {
                text = format!("{text}: {source}");
                cause = source.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(archive: &str, directory: &Path, id: &str, size: &str, with_info: bool) -> Result<SplitSummary, Box<dyn Error>> {
    let package: PackageId = id.parse()?;
    let size: ByteSize = size.parse()?;
    std::fs::create_dir_all(directory)?;
    let open = |number| File::create(directory.join(TreeKey::Fragment { package, number }.file_name()));
    let summary = split(File::open(archive)?, size.0, open, |_| {})?;
    if with_info {
        let info = Info {
            package,
            priority: Priority::default(),
            action: Action::Store { path: "/opt/example".to_owned() },
            fragments: summary.count(),
            digest: Some(summary.md5),
            scheme: Scheme::Http,
            notify: None,
            done: None,
            sha256: Some(summary.sha256),
            fragment_sha256: summary.fragments.iter().map(|fragment| fragment.sha256).collect(),
            exit_codes: dripfeed::model::ExitCodes::default(),
        };
        let mut file = File::create(directory.join(TreeKey::Info { package }.file_name()))?;
        file.write_all(info.to_xml().as_bytes())?;
    }
    Ok(summary)
}
