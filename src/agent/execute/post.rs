//! What follows a package: a restart, a switch-off, a command (`POSTCMD`, ocs-protocol 9).
//!
//! The stock Unix agent ignores it; the stock Windows agent gives people two minutes. Here a minute's warning is given
//! where `shutdown` can give it, which also lets the result reach the server first.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Capture, ExecuteError, GRACE, Patience, Prepared, ThisSystem, Until, system, words};
use crate::model::{PostCommand, ResultCode};

/// How a system is restarted and switched off: the first command that can be started and ends well counts.
#[derive(Clone, Copy, Debug)]
struct PowerCommands<'a> {
    reboot: &'a [&'a [&'a str]],
    shutdown: &'a [&'a [&'a str]],
}

#[cfg(not(windows))]
const POWER: PowerCommands<'static> = PowerCommands {
    reboot: &[
        &["shutdown", "-r", "+1", "A software package restarts this computer"],
        &["systemctl", "reboot"],
        &["reboot"],
    ],
    shutdown: &[
        &["shutdown", "-h", "+1", "A software package switches this computer off"],
        &["systemctl", "poweroff"],
        &["poweroff"],
    ],
};

#[cfg(windows)]
const POWER: PowerCommands<'static> = PowerCommands {
    reboot: &[&["shutdown.exe", "/r", "/f", "/t", "120"]],
    shutdown: &[&["shutdown.exe", "/s", "/f", "/t", "120"]],
};

/// Does what follows a package, in the package's directory.
pub(crate) fn run_post_command(post: &PostCommand, directory: &Path, timeout: Duration) -> Result<(), ExecuteError> {
    run_with(&POWER, post, directory, Patience { timeout, grace: GRACE })
}

fn run_with(
    power: &PowerCommands<'_>,
    post: &PostCommand,
    directory: &Path,
    patience: Patience,
) -> Result<(), ExecuteError> {
    let table = match post {
        PostCommand::Reboot => power.reboot,
        PostCommand::Shutdown => power.shutdown,
        PostCommand::Run(text) if text.trim().is_empty() => {
            return Err(ExecuteError::NoCommand { command: text.clone() });
        }
        PostCommand::Run(text) => {
            let command = Prepared { command: system::shell(text), text: text.clone(), until: Until::Leader };
            return run_one(command, directory, patience);
        }
    };
    let mut result = Err(ExecuteError::NoCommand { command: post.as_str().to_owned() });
    for words in table {
        let Some((program, arguments)) = words.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(arguments);
        result = run_one(Prepared { command, text: words.join(" "), until: Until::Leader }, directory, patience);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn run_one(command: Prepared, directory: &Path, patience: Patience) -> Result<(), ExecuteError> {
    let text = words::shorten(&command.text);
    let mut capture = Capture::default();
    let code = command.run(&ThisSystem, directory, patience, &|| false, &mut capture)?;
    if code == ResultCode::success() { Ok(()) } else { Err(ExecuteError::Failed { command: text, code }) }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { timeout: Duration::from_secs(20), grace: Duration::from_millis(50) };

    fn mark(directory: &Path) -> String {
        std::fs::read_to_string(directory.join("mark")).unwrap_or_default()
    }

    #[test]
    fn the_first_power_command_that_works_is_the_only_one() {
        let directory = tempfile::tempdir().expect("directory");
        let power = PowerCommands {
            reboot: &[
                &["/nonexistent/shutdown", "-r"],
                &["sh", "-c", "echo failed >> mark; exit 1"],
                &["sh", "-c", "echo reboot >> mark"],
                &["sh", "-c", "echo again >> mark"],
            ],
            shutdown: &[&["sh", "-c", "echo shutdown >> mark"]],
        };
        run_with(&power, &PostCommand::Reboot, directory.path(), PATIENCE).expect("the third works");
        assert_eq!(mark(directory.path()), "failed\nreboot\n");
        run_with(&power, &PostCommand::Shutdown, directory.path(), PATIENCE).expect("works");
        assert_eq!(mark(directory.path()), "failed\nreboot\nshutdown\n");
    }

    #[test]
    fn a_power_command_that_never_works_is_an_error() {
        let directory = tempfile::tempdir().expect("directory");
        let power = PowerCommands { reboot: &[&["/nonexistent/a"], &["sh", "-c", "exit 4"]], shutdown: &[] };
        let error = run_with(&power, &PostCommand::Reboot, directory.path(), PATIENCE).expect_err("exit 4");
        insta::assert_snapshot!(error, @r#""sh -c exit 4" ended with ERR_EXIT_CODE_4"#);
        assert!(run_with(&power, &PostCommand::Shutdown, directory.path(), PATIENCE).is_err());
    }

    #[test]
    fn a_command_runs_in_the_package_directory() {
        let directory = tempfile::tempdir().expect("directory");
        run_post_command(&PostCommand::Run("echo ran > mark".to_owned()), directory.path(), PATIENCE.timeout)
            .expect("runs");
        assert_eq!(mark(directory.path()), "ran\n");
        let error = run_post_command(&PostCommand::Run(" ".to_owned()), directory.path(), PATIENCE.timeout);
        assert_eq!(error.expect_err("nothing to run").result_code().as_str(), "ERR_BAD_PARAM");
    }
}
