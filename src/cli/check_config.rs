//! `dripfeed check-config`

use serde::Serialize;

use super::args::{CheckConfig, Place};
use super::context::configure;
use super::output::Output;
use super::{Done, Failure};
use crate::clock::Clock;
use crate::config::server::Certificate;
use crate::tls::server::ServerTls;

pub(super) fn run(place: &Place, options: &CheckConfig, output: &mut Output) -> Done {
    let (opts, config) = configure(place, &[])?;
    if let Certificate::Own { chain, key } = &config.certificate {
        ServerTls::from_files(chain, key, Clock::System.now()).map_err(|error| Failure::Refused(error.into()))?;
    }
    if !options.print {
        return output.line("the configuration is right");
    }
    let settings = opts.settings();
    if options.json {
        #[derive(Serialize)]
        struct View {
            key: String,
            value: String,
            origin: String,
            meaning: String,
        }
        let views = settings.into_iter().map(|setting| View {
            key: setting.key.to_owned(),
            value: setting.value,
            origin: setting.origin.to_string(),
            meaning: setting.meaning.to_owned(),
        });
        return output.json(&views.collect::<Vec<_>>());
    }
    let rows: Vec<[String; 4]> = settings
        .into_iter()
        .map(|setting| [setting.key.to_owned(), setting.value, setting.origin.to_string(), setting.meaning.to_owned()])
        .collect();
    output.table(["KEY", "VALUE", "ORIGIN", "MEANING"], &rows)
}
