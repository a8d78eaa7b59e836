//! `/verbs`: the command line's own door.
//!
//! Programs use the operations of each area: their answers are documents with types. This one is for `dripfeed --server`,
//! whose words and output are for people and may change with every version.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;

use super::super::verbs::{VerbCall, VerbDone};
use super::operation::{Asked, Nothing, Operation, operation};
use crate::service::desk::{Kind, Refusal};

/// Verbs that run side by side: each may keep megabytes of output.
const AT_ONCE: usize = 8;
/// Bytes of standard input.
const INPUT: usize = 64 << 10;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

pub(super) fn operations() -> Vec<Operation> {
    vec![operation(
        Method::POST,
        "/verbs",
        "run_verb",
        "Runs a verb of the command line with the actor's rights: what `dripfeed --server` does",
        None,
        run,
    )]
}

/// One of those that run.
struct Turn;

impl Turn {
    fn take() -> Result<Self, Refusal> {
        if RUNNING.fetch_add(1, Ordering::Relaxed) < AT_ONCE {
            return Ok(Self);
        }
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        Err(Refusal::new(Kind::Later, format!("{AT_ONCE} verbs run here already: try again in a moment")))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

fn run(asked: Asked<Nothing, Nothing, VerbCall>) -> Result<VerbDone, Refusal> {
    let Some(verbs) = asked.site.verbs.get() else {
        return Err(Refusal::not_found("this server runs no verbs of the command line"));
    };
    if asked.body.input.as_ref().is_some_and(|input| input.len() > INPUT) {
        return Err(Refusal::invalid("standard input is more than 64 KiB").about("input"));
    }
    let _turn = Turn::take()?;
    verbs.run(&asked.visit.desk, asked.body)
}
