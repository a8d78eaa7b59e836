//! The command line of `dripfeed`: every administrator's verb. Floor 4.
//!
//! Each verb acts on the data directory through the services and is safe beside a running server. Results go to
//! standard output, everything else to standard error. Exit codes are decided here and nowhere else: 0 done, 1 something
//! failed, 2 the input was refused and nothing was changed.

mod activate;
mod approval;
mod args;
mod assign;
mod audit;
mod build;
mod check_config;
mod computer;
mod context;
mod demo;
mod deployment;
mod door;
mod field;
mod gates;
mod group;
mod identity;
mod import;
mod likenesses;
mod mirror;
mod network;
mod output;
mod package;
mod progress;
mod registry;
mod remote;
mod role;
mod series;
mod serve;
mod setting;
mod software;
mod status;
mod stuck;
mod table;
mod template;
mod terminal;
mod token;
mod user;
mod verbs;
mod wake;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use args::{Arguments, Typed, Verb};
use output::Output;

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The input is wrong and nothing was changed: exit code 2.
    Refused(anyhow::Error),
    /// Something failed: exit code 1.
    Failed(anyhow::Error),
}

impl Failure {
    /// Refused, with a sentence.
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::Refused(anyhow::Error::msg(text.into()))
    }
}

/// Whatever a verb does not call a refusal is a failure.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What a verb gives.
pub(crate) type Done = Result<(), Failure>;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let command = Arguments::command();
    let parsed = command.clone().try_get_matches_from(&typed).and_then(|matches| {
        let mut arguments = Arguments::from_arg_matches(&matches)?;
        arguments.place.typed = Some(Typed::of(&command, &matches));
        Ok(arguments)
    });
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are no errors; clap knows which.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let mut output = Output::new();
    let done = match &arguments.far.server {
        Some(server) => remote::run(server, &arguments, &typed, &mut output),
        None => run(arguments, &mut output).map(|()| 0),
    };
    ExitCode::from(match done.and_then(|code| output.flush().map(|()| code)) {
        Ok(code) => code,
        Err(failure) => conclude(&failure),
    })
}

/// Says why it ended; gives the exit code.
fn conclude(failure: &Failure) -> u8 {
    match failure {
        Failure::Failed(error) if output::is_broken_pipe(error) => 0,
        Failure::Refused(error) => {
            output::complain(error);
            2
        }
        Failure::Failed(error) => {
            output::complain(error);
            1
        }
    }
}

fn run(arguments: Arguments, output: &mut Output) -> Done {
    let place = arguments.place;
    match arguments.verb {
        Verb::Serve(serve) => serve::run(&place, &serve, output),
        Verb::Package(verb) => package::run(&place, verb, output),
        Verb::Template(verb) => template::run(&place, verb, output),
        Verb::Activate(activate) => activate::run(&place, &activate, output),
        Verb::Assign(assign) => assign::run(&place, assign, output),
        Verb::Status(status) => status::run(&place, &status, output),
        Verb::Stuck(stuck) => stuck::run(&place, &stuck, output),
        Verb::Deployment(verb) => deployment::run(&place, &verb, output),
        Verb::Series(verb) => series::run(&place, &verb, output),
        Verb::Why(why) => why::run(&place, &why, output),
        Verb::Setting(verb) => setting::run(&place, verb, output),
        Verb::Computer(verb) => computer::run(&place, verb, output),
        Verb::Group(verb) => group::run(&place, verb, output),
        Verb::Software(verb) => software::run(&place, verb, output),
        Verb::Network(verb) => network::run(&place, verb, output),
        Verb::Field(verb) => field::run(&place, verb, output),
        Verb::Registry(verb) => registry::run(&place, verb, output),
        Verb::Mirror(verb) => mirror::run(&place, verb, output),
        Verb::Site(verb) => mirror::run_site(&place, verb, output),
        Verb::User(verb) => user::run(&place, verb, output),
        Verb::Role(verb) => role::run(&place, verb, output),
        Verb::Token(verb) => token::run(&place, verb, output),
        Verb::Audit(verb) => audit::run(&place, verb, output),
        Verb::CheckConfig(check) => check_config::run(&place, &check, output),
        Verb::Demo(demo) => demo::run(&demo, output),
    }
}
