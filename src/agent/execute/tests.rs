//! Real children. Nothing here waits for a fixed time: children are waited for, or their traces are.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use super::*;

/// Longer than any of these commands takes on a busy machine.
const LONG: Duration = Duration::from_mins(1);

struct Case {
    root: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("directory");
        fs::create_dir(root.path().join("package")).expect("directory");
        Self { root }
    }

    fn with(self, name: &str, content: &str) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        File::create(path).and_then(|mut file| file.write_all(content.as_bytes())).expect("file");
        self
    }

    /// A path in the package.
    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("package").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn output(&self) -> String {
        fs::read_to_string(self.root.path().join("output")).unwrap_or_default()
    }

    fn run_for(&self, action: &Action, timeout: Duration, stop: &dyn Fn() -> bool) -> String {
        self.run_on(&ThisSystem, action, timeout, stop)
    }

    fn run_on(&self, system: &dyn Supervisor, action: &Action, timeout: Duration, stop: &dyn Fn() -> bool) -> String {
        let (install_path, output) = (self.root.path().join("agent home"), self.root.path().join("output"));
        let request = ExecuteRequest {
            action,
            package: PackageId::new(1_700_000_000).expect("id"),
            directory: &self.path(""),
            install_path: &install_path,
            timeout,
            output: &output,
        };
        run_by(system, &request, Duration::from_millis(50), stop).to_string()
    }

    fn launch(&self, command: &str) -> String {
        self.run_for(&Action::Launch { command: command.to_owned() }, LONG, &|| false)
    }

    fn execute(&self, command: &str) -> String {
        self.run_for(&Action::Execute { command: command.to_owned() }, LONG, &|| false)
    }

    fn store(&self, path: &str) -> String {
        self.run_for(&Action::Store { path: path.to_owned() }, LONG, &|| false)
    }

    /// Reads a process number that a command wrote.
    fn process(&self, name: &str) -> u32 {
        self.read(name).trim().parse().unwrap_or_else(|_| panic!("{name}: {:?}", self.read(name)))
    }
}

/// Is there such a process, and is it not a zombie?
#[cfg(target_os = "linux")]
fn lives(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(") ").next().expect("a state").starts_with(['Z', 'X'])
}

#[test]
fn exit_codes_have_their_words() {
    let case = Case::new().with("setup.sh", "#!/bin/sh\nexit $1\n");
    for (code, word) in [("0", "SUCCESS"), ("3", "ERR_EXIT_CODE_3"), ("255", "ERR_EXIT_CODE_255")] {
        assert_eq!(case.launch(&format!("setup.sh {code}")), word);
        assert_eq!(case.execute(&format!("exit {code}")), word);
    }
}

#[test]
fn a_signal_is_never_a_success() {
    let case = Case::new().with("setup.sh", "#!/bin/sh\nkill -9 $$\n");
    assert_eq!(case.launch("setup.sh"), "ERR_EXIT_CODE_137");
    assert_eq!(case.execute("kill -TERM $$"), "ERR_EXIT_CODE_143");
}

/// A system that does not tell how a command ended.
struct Mute(fn() -> Ending);

impl Supervisor for Mute {
    fn supervise(
        &self,
        _: Command,
        _: Until,
        _: Patience,
        _: &dyn Fn() -> bool,
        _: &mut Capture,
    ) -> io::Result<Ending> {
        Ok((self.0)())
    }
}

#[test]
fn a_system_that_tells_no_exit_code_is_told_as_that() {
    let case = Case::new().with("setup.sh", "#!/bin/sh\n");
    // "Stopped by signal 19" is neither an exit code nor a signal that ended it.
    let neither = Mute(|| Ending::Exited(ExitStatusExt::from_raw(0x137f)));
    let refused = Mute(|| Ending::Untold(io::Error::other("no such child")));
    for system in [neither, refused] {
        for action in [Action::Execute { command: "true".into() }, Action::Launch { command: "setup.sh".into() }] {
            assert_eq!(case.run_on(&system, &action, LONG, &|| false), "ERR_EXECUTE_NO_EXIT_CODE");
        }
    }
}

#[test]
fn what_cannot_be_started_has_its_word() {
    let case = Case::new().with("setup.sh", "").with("data/x", "");
    symlink("/bin/true", case.path("outside")).expect("link");
    for (command, word) in [
        ("absent.sh", "ERR_EXECUTE"),
        ("data", "ERR_EXECUTE"),
        ("outside", "ERR_EXECUTE"),
        ("/bin/true", "ERR_EXECUTE"),
        ("data/../../package/setup.sh", "ERR_EXECUTE"),
        ("../package/setup.sh", "ERR_EXECUTE"),
        ("", "ERR_BAD_PARAM"),
        ("  ", "ERR_BAD_PARAM"),
        ("'' x", "ERR_BAD_PARAM"),
        ("'setup.sh", "ERR_BAD_PARAM"),
    ] {
        assert_eq!(case.launch(command), word, "launch {command:?}");
    }
    assert_eq!(case.execute(" "), "ERR_BAD_PARAM");
    assert_eq!(case.execute("/nonexistent/program"), "ERR_EXIT_CODE_127");
    fs::remove_dir_all(case.path("")).expect("removed");
    assert_eq!(case.execute("true"), "ERR_EXECUTE");
    assert_eq!(case.launch("setup.sh"), "ERR_EXECUTE");
}

#[test]
fn a_file_that_is_no_program_is_an_error_not_a_hang() {
    let case = Case::new().with("setup.bin", "\u{7f}ELF but not really");
    let code = case.launch("setup.bin");
    // The kernel refuses it, and so does the shell that is asked next.
    assert!(code == "ERR_EXECUTE" || code.starts_with("ERR_EXIT_CODE_"), "{code}");
}

#[test]
fn a_launched_file_need_not_be_executable_and_may_have_a_hyphen_or_a_folder() {
    let case = Case::new()
        .with("my-setup.sh", "#!/bin/sh\necho \"$0|$1|$2|$#|$PWD\" > said\n")
        .with("bin/my setup.sh", "#!/bin/sh\necho \"$0|$1|$2|$#\" > said\n");
    let home = case.path("").canonicalize().expect("path").display().to_string();
    assert_eq!(case.launch("my-setup.sh --quiet x"), "SUCCESS");
    assert_eq!(case.read("said"), format!("./my-setup.sh|--quiet|x|2|{home}\n"));
    assert_eq!(case.launch("./my-setup.sh 'a b' \"$DRIPFEED_ACTION\""), "SUCCESS");
    assert_eq!(case.read("said"), format!("./my-setup.sh|a b|LAUNCH|2|{home}\n"));
    assert_eq!(case.launch("'bin/my setup.sh' one"), "SUCCESS");
    assert_eq!(case.read("said"), "./bin/my setup.sh|one||1\n");
    assert_eq!(case.launch("'bin/my setup.sh' one && echo more >> said"), "SUCCESS");
    assert_eq!(case.read("said"), "./bin/my setup.sh|one||1\nmore\n");
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_the_shell() {
    let case = Case::new().with("setup", "echo \"$0|$1|$DRIPFEED_PACKAGE_ID\" > said\nexit 4\n");
    assert_eq!(case.launch("setup x"), "ERR_EXIT_CODE_4");
    assert_eq!(case.read("said"), "./setup|x|1700000000\n");
}

#[test]
fn a_link_inside_the_package_may_be_launched() {
    let case = Case::new().with("lib/real.sh", "#!/bin/sh\nexit 5\n");
    symlink("lib/real.sh", case.path("setup.sh")).expect("link");
    assert_eq!(case.launch("setup.sh"), "ERR_EXIT_CODE_5");
}

#[test]
fn commands_run_in_the_directory_without_input_and_with_their_variables() {
    let case = Case::new();
    assert_eq!(case.execute("cat > got; env > env; test \"$PWD\" -ef . && test -n \"$PATH\""), "SUCCESS");
    assert_eq!(case.read("got"), "");
    let environment = case.read("env");
    assert!(environment.contains("DRIPFEED_PACKAGE_ID=1700000000\n"), "{environment}");
    assert!(environment.contains("DRIPFEED_ACTION=EXECUTE\n"), "{environment}");
}

#[test]
fn the_install_path_is_put_into_commands_and_paths() {
    let case = Case::new().with(".a", "1");
    assert_eq!(case.execute("printf %s 'INSTALL_PATH/x' > said"), "SUCCESS");
    assert_eq!(case.read("said"), case.root.path().join("agent home/x").display().to_string());
    assert_eq!(case.store("INSTALL_PATH/sub dir"), "SUCCESS");
    assert!(case.root.path().join("agent home/sub dir/.a").is_file());
}

#[test]
fn an_install_path_that_is_no_text_is_refused_only_where_it_is_used() {
    let path = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/opt/\xff"));
    assert_eq!(substitute("true", path).expect("not used"), "true");
    assert_eq!(substitute("INSTALL_PATH/x", path).expect_err("no text").result_code().as_str(), "ERR_BAD_PARAM");
}

#[test]
fn a_relative_store_path_is_refused_and_an_impossible_one_fails() {
    let case = Case::new().with("a", "1");
    for path in ["opt/tool", "./x", "../x"] {
        assert_eq!(case.store(path), "ERR_BAD_PARAM", "{path}");
    }
    assert_eq!(case.store(&case.path("a/below").display().to_string()), "ERR_EXECUTE");
    assert_eq!(case.store("/proc/dripfeed"), "ERR_EXECUTE");
}

#[test]
fn output_is_kept_up_to_a_bound() {
    let case = Case::new();
    assert_eq!(case.execute("echo out; echo err >&2; exit 3"), "ERR_EXIT_CODE_3");
    assert_eq!(case.output(), "out\nerr\n");
    assert_eq!(case.execute("echo first; head -c 30000000 /dev/zero | tr '\\0' x; echo last"), "SUCCESS");
    let output = case.output();
    assert!(output.starts_with("first\nxxx") && output.ends_with("xxxlast\n"));
    assert!(output.contains("\n[… 29868939 bytes left out …]\n"), "{}", &output[65_500..65_600]);
    assert!(output.len() < 140_000, "{} bytes", output.len());
}

#[test]
fn an_output_that_cannot_be_kept_does_not_change_the_result() {
    let case = Case::new();
    fs::create_dir(case.root.path().join("output")).expect("directory");
    assert_eq!(case.execute("echo x"), "SUCCESS");
}

#[cfg(target_os = "linux")]
#[test]
fn a_daemon_that_keeps_the_pipe_open_holds_nobody_and_lives_on() {
    let case = Case::new();
    let started = Instant::now();
    assert_eq!(case.execute("echo begun; sleep 50 & echo $! > daemon"), "SUCCESS");
    assert!(started.elapsed() < Duration::from_secs(40));
    assert_eq!(case.output(), "begun\n");
    let daemon = case.process("daemon");
    assert!(lives(daemon));
    end(daemon);
}

/// Ends a process that a test left on purpose.
#[cfg(target_os = "linux")]
fn end(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a process number")).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("ended");
}

/// Waits for files that commands write when they are ready, so that no time-out has to be guessed.
#[cfg(target_os = "linux")]
fn when_there<'a>(case: &'a Case, names: &'a [&'a str]) -> impl Fn() -> bool + 'a {
    move || names.iter().all(|name| case.read(name).ends_with('\n'))
}

#[cfg(target_os = "linux")]
#[test]
fn a_stop_ends_the_whole_tree() {
    // A child, a grandchild in a session of its own, one that has cleared its environment too, a double fork that has
    // lost its parents, one that ignores TERM.
    let script = "sleep 50 & echo $! > child
        (setsid sh -c 'echo $$ > session; exec sleep 50' &)
        setsid env -i /bin/sh -c 'echo $$ > bare; exec /bin/sleep 50' &
        setsid sh -c '(sh -c \"echo \\$\\$ > orphan; exec sleep 50\" &)'
        sh -c 'trap \"\" TERM; echo $$ > stubborn; while :; do sleep 50; done' &
        wait";
    let case = Case::new();
    let names = ["child", "session", "bare", "orphan", "stubborn"];
    let code = case.run_for(&Action::Execute { command: script.to_owned() }, LONG, &when_there(&case, &names));
    assert_eq!(code, "ERR_EXECUTE_INTERRUPTED");
    for name in names {
        assert!(!lives(case.process(name)), "{name} lives on");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_time_out_ends_the_command_with_its_own_word() {
    let case = Case::new()
        .with("setup.sh", "#!/bin/sh\ntrap '' TERM\necho $$ > leader\necho working\nsleep 50 & wait\nsleep 50\n");
    let command = Action::Launch { command: "setup.sh".to_owned() };
    // The clock of the time-out starts at once; the file only has to be there for the check below.
    let code = case.run_for(&command, Duration::from_secs(1), &|| false);
    assert_eq!(code, "ERR_EXECUTE_TIMEOUT");
    assert!(!lives(case.process("leader")));
    assert_eq!(case.output(), "working\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_that_closes_its_files_in_the_grace_is_let() {
    let script = "trap 'echo closed > said; exit 0' TERM; echo > ready; while :; do sleep 0.01; done";
    let case = Case::new();
    let request_stop = when_there(&case, &["ready"]);
    let (install_path, output) = (case.root.path().to_owned(), case.root.path().join("output"));
    let action = Action::Execute { command: script.to_owned() };
    let request = ExecuteRequest {
        action: &action,
        package: PackageId::new(1).expect("id"),
        directory: &case.path(""),
        install_path: &install_path,
        timeout: LONG,
        output: &output,
    };
    assert_eq!(run_by(&ThisSystem, &request, LONG, &request_stop).as_str(), "ERR_EXECUTE_INTERRUPTED");
    assert_eq!(case.read("said"), "closed\n");
}

#[test]
fn a_command_that_prints_without_end_is_still_ended() {
    let case = Case::new();
    let turns = Cell::new(0);
    let stop = || {
        turns.set(turns.get() + 1);
        turns.get() > 3
    };
    let code = case.run_for(&Action::Execute { command: "exec yes".to_owned() }, LONG, &stop);
    assert_eq!(code, "ERR_EXECUTE_INTERRUPTED");
}

#[test]
fn a_time_out_of_nothing_and_one_of_for_ever_are_times_too() {
    let case = Case::new();
    let action = Action::Execute { command: "exec sleep 50".to_owned() };
    assert_eq!(case.run_for(&action, Duration::ZERO, &|| false), "ERR_EXECUTE_TIMEOUT");
    let action = Action::Execute { command: "true".to_owned() };
    assert_eq!(case.run_for(&action, Duration::MAX, &|| false), "SUCCESS");
}

#[test]
fn modes_of_other_files_stay() {
    let case = Case::new().with("setup.sh", "#!/bin/sh\n").with("data", "x");
    fs::set_permissions(case.path("data"), PermissionsExt::from_mode(0o640)).expect("mode");
    assert_eq!(case.launch("setup.sh"), "SUCCESS");
    let mode = |name: &str| fs::metadata(case.path(name)).expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode("setup.sh"), mode("data")), (0o755, 0o640));
}
