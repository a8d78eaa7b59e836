//! The server's half of `dripfeed --server`: a verb that was typed elsewhere, run here.

use clap::Parser as _;

use super::args::{Arguments, Place};
use super::context::Served;
use super::output::{self, Output};
use super::{Failure, conclude, run, terminal, verbs};
use crate::config::server::{ServerConfig, ServerOpts};
use crate::server::verbs::{VerbCall, VerbDone, Verbs};
use crate::service::desk::{Change, Desk, Refusal};

/// Runs verbs for those who ask over the API.
pub(super) struct Door {
    pub(super) opts: ServerOpts,
    pub(super) config: ServerConfig,
}

impl Verbs for Door {
    fn run(&self, desk: &Desk, call: VerbCall) -> Result<VerbDone, Refusal> {
        let words = std::iter::once("dripfeed").chain(call.arguments.iter().map(String::as_str));
        let parsed = Arguments::try_parse_from(words).map_err(|error| {
            // Of another version: this one parsed it before it asked.
            let said = error.render().to_string();
            let said = said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Refusal::invalid(format!("this server ({}) does not know that: {said}", env!("CARGO_PKG_VERSION")))
                .about("arguments")
        })?;
        let verb = parsed.verb;
        let about = verbs::about(&verb).map_err(|failure| match failure {
            Failure::Refused(error) | Failure::Failed(error) => Refusal::invalid(error.to_string()).about("arguments"),
        })?;
        if call.upload.is_some() {
            return Err(Refusal::not_found("this server takes no uploads yet").about("upload"));
        }
        // A path that came over the network would be one of this machine.
        if verbs::file_of(&verb).is_some() {
            return Err(
                Refusal::invalid("the file was not uploaded: nothing of the server's own disk is read").about("upload")
            );
        }
        let change = Change::new(about.words, about.subject).after(serde_json::json!({ "arguments": call.arguments }));
        let app = desk.verb(about.needs, &about.reach, change)?;
        // Whatever the words say about a place: it is this one.
        let served = Served { app, opts: self.opts.clone(), config: self.config.clone() };
        let place = Place { served: Some(served), ..Place::default() };
        let mut output = Output::keeping();
        let (exit_code, messages) = terminal::elsewhere(desk.actor().label(), call.input, || {
            run(Arguments { place, far: parsed.far, verb }, &mut output)
                .map_or_else(|failure| conclude(&failure), |()| 0)
        });
        if exit_code == 1 {
            tracing::warn!(verb = about.words, "a verb that was run from elsewhere failed: {}", last(&messages));
        }
        Ok(VerbDone { exit_code, stdout: output.kept(), messages })
    }
}

fn last(messages: &[crate::server::verbs::Message]) -> String {
    messages.last().map(|message| output::printable(&message.text)).unwrap_or_default()
}
