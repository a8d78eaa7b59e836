//! Running and ending commands on Windows: always by the command interpreter, as the stock agent does.
//!
//! A tree is ended with `taskkill /T`, which follows parents; what has lost its parents escapes. (A job object would
//! hold it, and needs code outside the safe standard library.)

use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::{Capture, Ending, Patience};
use crate::model::ResultCode;

/// How often the agent looks whether the command ended, and whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How long output may still be on its way when the command has ended.
const LATE_OUTPUT: Duration = Duration::from_millis(500);

/// `"%COMSPEC%" /d /s /c "text"`: with /s the interpreter takes off exactly the outer quotes.
pub(super) fn shell(text: &str) -> Command {
    let interpreter = std::env::var_os("COMSPEC").unwrap_or_else(|| OsString::from("cmd.exe"));
    let mut command = Command::new(interpreter);
    #[cfg(windows)]
    std::os::windows::process::CommandExt::raw_arg(&mut command, format!("/d /s /c \"{text}\""));
    #[cfg(not(windows))]
    command.args(["/d", "/s", "/c", text]);
    command
}

/// `"program" arguments`, in the directory of the package.
pub(super) fn launch(program: &Path, arguments: &str) -> Command {
    shell(&format!("\"{}\"{arguments}", program.display()))
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
    patience: Patience,
    stop: &dyn Fn() -> bool,
    capture: &mut Capture,
) -> io::Result<Ending> {
    let (output, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds our ends of the pipe.
    drop(command);
    let output = read_along(output)?;
    let started = Instant::now();
    loop {
        let left = patience.timeout.saturating_sub(started.elapsed());
        match output.recv_timeout(left.min(LOOK)) {
            Ok(bytes) => capture.push(&bytes),
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left.min(LOOK)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = child.try_wait()? {
            while let Ok(bytes) = output.recv_timeout(LATE_OUTPUT.saturating_sub(LOOK)) {
                capture.push(&bytes);
                if started.elapsed() > patience.timeout {
                    break;
                }
            }
            return Ok(Ending::Exited(status));
        }
        let ending = if stop() {
            Ending::Stopped
        } else if left.is_zero() {
            Ending::TimedOut
        } else {
            continue;
        };
        end_tree(&mut child, patience.grace);
        return Ok(ending);
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

fn end_tree(child: &mut Child, grace: Duration) {
    let taskkill = |force: bool| {
        let mut command = Command::new("taskkill");
        command.args(["/T", "/PID", &child.id().to_string()]);
        if force {
            command.arg("/F");
        }
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    };
    taskkill(false);
    let started = Instant::now();
    while started.elapsed() < grace {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    let mut command = Command::new("taskkill");
    command.args(["/F", "/T", "/PID", &child.id().to_string()]);
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let _ = child.kill();
    let _ = child.try_wait();
}
