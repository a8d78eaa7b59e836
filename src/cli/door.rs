//! The server's half of `dripfeed --server`: a verb that was typed elsewhere, run here.

use clap::Parser as _;

use super::args::{Arguments, Place};
use super::context::Served;
use super::output::{self, Output};
use super::{Failure, conclude, run, terminal, verbs};
use crate::config::server::{ServerConfig, ServerOpts};
use crate::model::UploadId;
use crate::server::verbs::{VerbCall, VerbDone, Verbs};
use crate::service::App;
use crate::service::desk::{Change, Desk, Refusal};
use crate::service::uploads::{self, UploadError};

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
        let upload: Option<UploadId> = call
            .upload
            .map(|id| id.parse().map_err(|_| Refusal::from(UploadError::Unknown).about("upload")))
            .transpose()?;
        // A path that came over the network would be one of this machine.
        match (verbs::file_of(&verb), &upload) {
            (Some(_), None) => {
                return Err(Refusal::invalid("the file was not uploaded: nothing of the server's own disk is read")
                    .about("upload"));
            }
            (None, Some(_)) => {
                return Err(Refusal::invalid("this verb takes no file").about("upload"));
            }
            _ => {}
        }
        let change = Change::new(about.words, about.subject).after(serde_json::json!({ "arguments": call.arguments }));
        let app = desk.verb(about.needs, &about.reach, change)?;
        let source = upload.as_ref().map(|id| desk.uploaded(id)).transpose()?.map(|(_, source)| source);
        // Whatever the words say about a place: it is this one.
        let served = Served {
            app: app.clone(),
            desk: desk.clone(),
            upload: source,
            opts: self.opts.clone(),
            config: self.config.clone(),
        };
        let place = Place { served: Some(served), ..Place::default() };
        let mut output = Output::keeping();
        let (exit_code, messages) = terminal::elsewhere(desk.actor().label(), call.input, || {
            run(Arguments { place, far: parsed.far, verb }, &mut output)
                .map_or_else(|failure| conclude(&failure), |()| 0)
        });
        if let Some(id) = upload {
            // It is in the package now, or will be sent again. If this fails, it goes when it expires.
            let _ = uploads::remove(&App { store: app.store.without_first(), ..app }, &id);
        }
        if exit_code == 1 {
            tracing::warn!(verb = about.words, "a verb that was run from elsewhere failed: {}", last(&messages));
        }
        Ok(VerbDone { exit_code, stdout: output.kept(), messages })
    }
}

fn last(messages: &[crate::server::verbs::Message]) -> String {
    messages.last().map(|message| output::printable(&message.text)).unwrap_or_default()
}
