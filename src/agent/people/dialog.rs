//! Running a program that shows a dialog: until it ends, or its time is over.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::screen::LOOK;

/// Bytes that are taken of what a dialog prints.
const PRINTED: u64 = 4 << 10;

/// What became of the program.
#[derive(Debug)]
pub(super) enum Dialog {
    /// It could not be started.
    Absent,
    /// It has ended, with this exit code (none: by a signal) and this first line.
    Ended { code: Option<i32>, line: String, after: Duration },
    /// It was ended: its time is over, or the agent stops.
    Open,
}

/// Runs it, with a process group of its own and nothing of the agent's input and output.
pub(super) fn run(mut command: Command, time: Duration, stop: &dyn Fn() -> bool) -> Dialog {
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let began = Instant::now();
    let Ok(mut child) = command.spawn() else { return Dialog::Absent };
    while began.elapsed() < time && !stop() {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(LOOK.min(time.saturating_sub(began.elapsed()))),
            Ok(Some(status)) => {
                return Dialog::Ended { code: status.code(), line: first_line(&mut child), after: began.elapsed() };
            }
            Err(_) => break,
        }
    }
    end(&mut child);
    Dialog::Open
}

fn first_line(child: &mut Child) -> String {
    let mut bytes = Vec::new();
    if let Some(output) = &mut child.stdout {
        // What the dialog left running may hold the pipe open: only what is there is taken.
        if rustix::io::ioctl_fionbio(&*output, true).is_ok() {
            let _ = output.take(PRINTED).read_to_end(&mut bytes);
        }
    }
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().trim().to_owned()
}

/// Ends a program and what it started.
pub(super) fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
