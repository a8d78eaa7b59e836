//! Running and ending commands on Windows: always by the command interpreter, as the stock agent does, without a window,
//! and in a [`Job`] that nothing leaves (decision 0231).
//!
//! There is no polite way to end a program without a window, so a tree is ended at once. What a command asks a service of
//! the system to do (an installation by Windows Installer, a scheduled task) is not its own and goes on.

use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::job::Job;
use super::{Capture, Ending, Patience, Until};
use crate::model::ResultCode;

/// How often the agent looks whether the command ended, and whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How long output may still be on its way when the command has ended.
const LATE_OUTPUT: Duration = Duration::from_millis(500);

/// `"%COMSPEC%" /d /s /c "text"`: with /s the interpreter takes off exactly the outer quotes.
pub(super) fn shell(text: &str) -> Command {
    let interpreter = std::env::var_os("COMSPEC").unwrap_or_else(|| OsString::from("cmd.exe"));
    let mut command = Command::new(interpreter);
    command.raw_arg(format!("/d /s /c \"{text}\""));
    command
}

/// `".\program" arguments`: a program of that name in PATH, or none in the present directory by order of
/// `NoDefaultCurrentDirectoryInExePath`, makes no difference.
pub(super) fn launch(program: &Path, arguments: &str) -> Command {
    shell(&format!("\".\\{}\"{arguments}", program.display()))
}

/// Names decide what may run.
#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
pub(super) fn make_executable(_program: &Path) -> io::Result<()> {
    Ok(())
}

/// The word for an exit status.
pub(super) fn result_code(status: ExitStatus) -> ResultCode {
    status.code().map_or_else(|| ResultCode::error("EXECUTE_NO_EXIT_CODE"), ResultCode::of_exit)
}

/// Runs a command to its end, or ends it.
pub(super) fn supervise(
    mut command: Command,
    until: Until,
    patience: Patience,
    stop: &dyn Fn() -> bool,
    capture: &mut Capture,
) -> io::Result<Ending> {
    let job = Job::new()?;
    let (output, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let output = read_along(output)?;
    let mut child = job.spawn(&mut command)?;
    // The command holds our ends of the pipe.
    drop(command);
    let followed = follow(&job, &mut child, &output, until, patience, stop, capture);
    match &followed {
        Ok(Ending::Exited(_)) => job.let_go(),
        Ok(_) => {}
        // What cannot be followed shall not go on, either.
        Err(_) => drop(job.end()),
    }
    Ok(followed.unwrap_or_else(Ending::Untold))
}

fn follow(
    job: &Job,
    child: &mut Child,
    output: &Receiver<Vec<u8>>,
    until: Until,
    patience: Patience,
    stop: &dyn Fn() -> bool,
    capture: &mut Capture,
) -> io::Result<Ending> {
    let started = Instant::now();
    let mut ended = None;
    loop {
        let left = patience.timeout.saturating_sub(started.elapsed());
        match output.recv_timeout(left.min(LOOK)) {
            Ok(bytes) => capture.push(&bytes),
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left.min(LOOK)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() {
            ended = child.try_wait()?;
        }
        if let Some(status) = ended
            && (until == Until::Leader || !job.is_alive()?)
        {
            take_late(output, capture);
            return Ok(Ending::Exited(status));
        }
        let ending = if stop() {
            Ending::Stopped
        } else if left.is_zero() {
            Ending::TimedOut
        } else {
            continue;
        };
        job.end()?;
        let asked = Instant::now();
        while job.is_alive().unwrap_or(false) && asked.elapsed() < patience.grace {
            std::thread::sleep(LOOK);
        }
        let _ = child.try_wait();
        take_late(output, capture);
        return Ok(ending);
    }
}

/// What was printed before the end and has not been read. Somebody left behind may print for ever: bounded.
fn take_late(output: &Receiver<Vec<u8>>, capture: &mut Capture) {
    let began = Instant::now();
    while let Some(left) = LATE_OUTPUT.checked_sub(began.elapsed()) {
        match output.recv_timeout(left) {
            Ok(bytes) => capture.push(&bytes),
            Err(_) => return,
        }
    }
}

/// A thread that reads the output for as long as somebody prints; nobody is kept waiting by a receiver that is gone.
fn read_along(mut output: PipeReader) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = sync_channel(16);
    std::thread::Builder::new().name("command-output".to_owned()).spawn(move || {
        let mut buffer = [0; 16 << 10];
        let mut listened_to = true;
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            listened_to = listened_to && sender.send(buffer[..count].to_vec()).is_ok();
        }
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { timeout: Duration::from_mins(1), grace: Duration::from_secs(5) };

    fn run(text: &str, until: Until, patience: Patience) -> (Ending, String) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut capture = Capture::default();
        let mut command = shell(text);
        command.current_dir(directory.path()).stdin(std::process::Stdio::null());
        let ending = supervise(command, until, patience, &|| false, &mut capture).expect("started");
        let kept = directory.path().join("kept");
        capture.write(&kept).expect("kept");
        (ending, std::fs::read_to_string(kept).expect("text"))
    }

    #[test]
    fn output_and_exit_code_are_those_of_the_command() {
        let (ending, text) = run("echo out& echo err>&2& exit 3010", Until::Leader, PATIENCE);
        let Ending::Exited(status) = ending else { panic!("{ending:?}") };
        assert_eq!(result_code(status).as_str(), "SUCCESS_REBOOT_REQUIRED");
        assert!(text.contains("out") && text.contains("err"), "{text:?}");
    }

    #[test]
    fn what_the_command_left_behind_is_waited_for_only_if_asked() {
        let left = "start /b cmd /d /c \"ping -n 4 127.0.0.1 >nul\"";
        let began = Instant::now();
        assert!(matches!(run(left, Until::Everything, PATIENCE).0, Ending::Exited(_)));
        assert!(began.elapsed() > Duration::from_secs(2), "not waited for");
    }

    #[test]
    fn a_time_out_ends_the_whole_tree() {
        let began = Instant::now();
        let patience = Patience { timeout: Duration::from_millis(500), ..PATIENCE };
        let (ending, _) = run("cmd /d /c \"ping -n 60 127.0.0.1 >nul\"", Until::Leader, patience);
        assert!(matches!(ending, Ending::TimedOut));
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
