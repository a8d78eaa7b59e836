//! `dripfeed assign`

use serde::Serialize;

use super::args::{Assign, Place};
use super::context::{administrator, open};
use super::output::{Output, warn};
use super::package::duration;
use super::{Done, Failure};
use crate::service::assign::{AssignError, Target, assign};

pub(super) fn run(place: &Place, options: Assign, output: &mut Output) -> Done {
    let app = open(place)?.app;
    let (id, json) = (options.id, options.json);
    let job_options = options.options();
    let target = match (options.group, options.query) {
        (Some(group), _) => Target::Group(group),
        (None, Some(query)) => Target::Where(query),
        (None, None) if options.all => Target::All,
        (None, None) => Target::Computers(options.computer),
    };
    let assigned = assign(&app, id, target, job_options, &administrator()).map_err(|error| match error {
        AssignError::Store(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    })?;
    if assigned.not_activated {
        warn(format_args!("package {id} is not activated: nothing is offered before `dripfeed activate {id}`"));
    }
    if json {
        #[derive(Serialize)]
        struct View {
            deployment: i64,
            planned: usize,
            already: usize,
            other_system: usize,
            pace_seconds: u64,
        }
        return output.json(&View {
            deployment: assigned.deployment.0,
            planned: assigned.planned,
            already: assigned.already,
            other_system: assigned.other_system,
            pace_seconds: assigned.pace.as_secs(),
        });
    }
    let computers = |n: usize| if n == 1 { "1 computer".to_owned() } else { format!("{n} computers") };
    output.line(format_args!(
        "deployment {}: {id} for {}, {} from contact to execution",
        assigned.deployment,
        computers(assigned.planned),
        duration(assigned.pace)
    ))?;
    if assigned.already > 0 {
        let verb = if assigned.already == 1 { "has" } else { "have" };
        output.line(format_args!("{} {verb} an open job of it already", computers(assigned.already)))?;
    }
    if assigned.other_system > 0 {
        output.line(format_args!("{} left out: they run another system", computers(assigned.other_system)))?;
    }
    Ok(())
}
