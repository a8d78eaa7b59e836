//! PRINTERS: the queues of CUPS, as its scheduler keeps them (readable by root only). Nobody is asked over the network.
//!
//! ```text
//! <DefaultPrinter Laser>
//! Info Laser on the first floor
//! Location Room 17
//! MakeModel Example LaserJet
//! DeviceURI socket://192.0.2.9:9100
//! Shared Yes
//! </DefaultPrinter>
//! ```

use super::{Leaves, Machine, Section};

const QUEUES: &str = "/etc/cups/printers.conf";

/// Queues that are told; print servers have some hundred.
const MANY: usize = 4096;

pub(super) fn sections(machine: &Machine<'_>) -> Vec<Section> {
    let text = machine.text(QUEUES);
    let mut sections = Vec::new();
    let mut queue: Option<Queue<'_>> = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with("</") {
            sections.extend(queue.take().map(Queue::section));
        } else if let Some(name) = line.strip_prefix("<Printer ").or_else(|| line.strip_prefix("<DefaultPrinter ")) {
            queue = Some(Queue { name: name.trim_end_matches('>'), ..Queue::default() });
        } else if let (Some(queue), Some((key, value))) = (&mut queue, line.split_once(' ')) {
            queue.take(key, value.trim());
        }
        if sections.len() == MANY {
            break;
        }
    }
    sections
}

#[derive(Default)]
struct Queue<'a> {
    name: &'a str,
    info: &'a str,
    location: &'a str,
    model: &'a str,
    uri: &'a str,
    shared: &'a str,
}

impl<'a> Queue<'a> {
    fn take(&mut self, key: &str, value: &'a str) {
        match key {
            "Info" => self.info = value,
            "Location" => self.location = value,
            "MakeModel" => self.model = value,
            "DeviceURI" => self.uri = value,
            "Shared" => self.shared = value,
            _ => {}
        }
    }

    fn section(self) -> Section {
        Leaves::of("PRINTERS")
            .with("COMMENT", self.location)
            .with("DESCRIPTION", self.info)
            .with("DRIVER", self.model)
            .with("NAME", self.name)
            .with("PORT", without_password(self.uri))
            .with(
                "SHARED",
                match self.shared {
                    "Yes" => "1",
                    "No" => "0",
                    _ => "",
                },
            )
            .done()
    }
}

/// `smb://user:secret@host/queue` is how a password comes into that file; it is nobody's business.
fn without_password(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{}", &rest[user.len() + 1..]),
        None => uri.to_owned(),
    }
}
