//! `dripfeed activate`

use serde::Serialize;

use super::args::{Activate, Place};
use super::context::{Context, open};
use super::output::{Output, warn};
use super::progress::Bar;
use super::{Done, Failure};
use crate::fetch::{Client, ClientOptions};
use crate::model::{Activation, Location, PackageId};
use crate::service::activate::{ActivateError, activate};

pub(super) fn run(place: &Place, options: &Activate, output: &mut Output) -> Done {
    let context = open(place)?;
    let activation = put_in_force(&context, options)?;
    if options.no_check {
        warn(
            "not checked: if agents cannot fetch it from there, they report ERR_DOWNLOAD_INFO and are not offered it again",
        );
    }
    if options.json {
        #[derive(Serialize)]
        struct View {
            id: u32,
            info_location: String,
            fragment_location: String,
            checked: bool,
        }
        return output.json(&View {
            id: activation.package.number(),
            info_location: activation.info_location.to_string(),
            fragment_location: activation.fragment_location.to_string(),
            checked: activation.checked_at.is_some(),
        });
    }
    let checked = if activation.checked_at.is_some() { ": every file was fetched and compared" } else { "" };
    output.line(format_args!("activated {}{checked}", activation.package))?;
    output.line(format_args!("info file  https://{}", activation.info_location))?;
    output.line(format_args!("fragments  http://{}", activation.fragment_location))
}

/// Fetches and compares everything, unless that is not wanted, and tells agents from then on.
fn put_in_force(context: &Context, options: &Activate) -> Result<Activation, Failure> {
    let info_location = location(options.info_location.clone(), || context.https_authority())?;
    let fragment_location = location(options.fragment_location.clone(), || context.http_authority())?;
    let client = if options.no_check {
        None
    } else {
        let ca_file = options.ca.clone().or_else(|| context.ca_file());
        let user_agent = format!("dripfeed/{} activation-check", env!("CARGO_PKG_VERSION"));
        let options = ClientOptions { ca_file, user_agent, ..ClientOptions::default() };
        Some(Client::new(&options).map_err(|error| Failure::Refused(error.into()))?)
    };
    let bar = Bar::new("checking");
    let activation =
        activate(&context.app, options.id, info_location, fragment_location, client.as_ref(), &mut |done, total| {
            bar.of("checking", done, total);
        });
    bar.clear();
    activation.map_err(|error| match error {
        ActivateError::Store(_) => Failure::Failed(error.into()),
        ActivateError::Unknown(_) | ActivateError::NotAvailable(..) => Failure::Refused(error.into()),
        error => {
            Failure::Refused(anyhow::Error::from(error).context(
                "not activated (start the server, or name other locations; --no-check activates all the same)",
            ))
        }
    })
}

/// Activates on this server what was just built.
pub(super) fn after_build(place: &Place, id: PackageId) -> Result<(), Failure> {
    let context = open(place)?;
    let here = Activate { id, info_location: None, fragment_location: None, ca: None, no_check: false, json: false };
    put_in_force(&context, &here).map(|_| ())
}

/// What was named, or this server.
fn location(named: Option<Location>, authority: impl Fn() -> Result<String, Failure>) -> Result<Location, Failure> {
    match named {
        Some(location) => Ok(location),
        None => Ok(format!("{}/download", authority()?).parse()?),
    }
}

impl Context {
    fn https_authority(&self) -> Result<String, Failure> {
        self.authority(|addresses| &addresses.https, self.config.https)
    }

    fn http_authority(&self) -> Result<String, Failure> {
        self.authority(|addresses| &addresses.http, self.config.http)
    }
}
