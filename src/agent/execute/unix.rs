//! Running and ending commands on Unix.
//!
//! A command is the leader of its own process group and carries a random word in its environment, which everything that
//! it starts inherits. To end the tree is to end: the group, the descendants of the command, and whatever carries the
//! word (a daemon that has left the group and whose parents are gone). What clears its environment *and* leaves the
//! group *and* loses its parents escapes; only a control group could hold that (decision 0152). Without /proc only the
//! group is ended.

use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, Signal};

use super::{Capture, Ending, Patience, words};
use crate::model::ResultCode;

/// The variable that marks whatever a command starts.
const MARK: &str = "DRIPFEED_RUN";

/// How often the agent looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// How long ended processes may take to vanish.
const VANISH: Duration = Duration::from_secs(5);

/// Output taken in one turn, so that a command that prints for ever cannot hold the loop.
const TURN: usize = 1 << 20;

/// A command for the shell.
pub(super) fn shell(text: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(text);
    command
}

/// `./program arguments`, by the shell if the arguments need one.
pub(super) fn launch(program: &Path, arguments: &str) -> Command {
    let program = Path::new(".").join(program);
    if words::needs_shell(arguments) {
        return shell(&format!("{}{arguments}", words::quoted(&program.to_string_lossy())));
    }
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command
}

/// Archives made on Windows have no bits for that.
pub(super) fn make_executable(program: &Path) -> io::Result<()> {
    std::fs::set_permissions(program, PermissionsExt::from_mode(0o755))
}

/// The word for an exit status.
pub(super) fn result_code(status: ExitStatus) -> ResultCode {
    match (status.code(), status.signal()) {
        (Some(code), _) => ResultCode::of_exit(code),
        (None, Some(signal)) => ResultCode::of_exit(128 + signal),
        (None, None) => ResultCode::error("EXECUTE_NO_EXIT_CODE"),
    }
}

/// Runs a command to its end, or ends it.
pub(super) fn supervise(
    command: Command,
    patience: Patience,
    stop: &dyn Fn() -> bool,
    capture: &mut Capture,
) -> io::Result<Ending> {
    let mark = mark()?;
    let (output, writer) = io::pipe()?;
    let mut child = spawn(command, &writer, &mark)?;
    // From here on only the command and what it starts hold the writing end.
    drop(writer);
    let mut output = Output { pipe: Some(output) };
    output.prepare()?;
    let tree = Tree::new(&child, mark);
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            output.take(capture);
            output.let_go();
            return Ok(Ending::Exited(status));
        }
        let left = patience.timeout.saturating_sub(started.elapsed());
        let ending = if stop() {
            Ending::Stopped
        } else if left.is_zero() {
            Ending::TimedOut
        } else {
            output.wait(tree.leader.as_ref(), left.min(LOOK));
            output.take(capture);
            continue;
        };
        tree.end(&mut child, patience.grace, || output.take(capture));
        return Ok(ending);
    }
}

fn mark() -> io::Result<String> {
    Ok(format!("{:016x}", getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?))
}

fn spawn(mut command: Command, writer: &PipeWriter, mark: &str) -> io::Result<Child> {
    let attach = |command: &mut Command, writer: &PipeWriter| -> io::Result<()> {
        command.stdout(writer.try_clone()?).stderr(writer.try_clone()?).process_group(0).env(MARK, mark);
        Ok(())
    };
    attach(&mut command, writer)?;
    match command.spawn() {
        // A script without "#!": `execvp`, and with it every shell and the stock agent, runs it with /bin/sh.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            let mut shell = Command::new("/bin/sh");
            shell.arg(command.get_program()).args(command.get_args()).stdin(std::process::Stdio::null());
            if let Some(directory) = command.get_current_dir() {
                shell.current_dir(directory);
            }
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => shell.env(name, value),
                    None => shell.env_remove(name),
                };
            }
            attach(&mut shell, writer)?;
            shell.spawn()
        }
        result => result,
    }
}

/// The reading end of what the command prints.
struct Output {
    pipe: Option<PipeReader>,
}

impl Output {
    fn prepare(&self) -> io::Result<()> {
        self.pipe.as_ref().map_or(Ok(()), |pipe| Ok(rustix::io::ioctl_fionbio(pipe, true)?))
    }

    /// Takes what is there now, as far as one turn goes.
    fn take(&mut self, capture: &mut Capture) {
        let mut buffer = [0; 16 << 10];
        let mut taken = 0;
        while taken < TURN {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut buffer) {
                Ok(count @ 1..) => {
                    capture.push(&buffer[..count]);
                    taken += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The end, or a pipe that will never say more.
                Ok(_) | Err(_) => self.pipe = None,
            }
        }
    }

    /// Waits until there is output, the command ended, or the time is over.
    fn wait(&self, leader: Option<&OwnedFd>, time: Duration) {
        let pipe = self.pipe.as_ref().map(AsFd::as_fd);
        let leader_fd = leader.map(AsFd::as_fd);
        let mut waiting: Vec<PollFd<'_>> =
            pipe.into_iter().chain(leader_fd).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // Without a handle on the process its end can only be asked for.
        let time = if leader.is_some() { time } else { time.min(Duration::from_millis(20)) };
        let time = Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(1), tv_nsec: time.subsec_nanos().into() };
        // A failure (out of memory, a signal) is a turn without waiting; the loop's own checks stay in force.
        let _ = rustix::event::poll(&mut waiting, Some(&time));
    }

    /// A daemon that was left behind still prints: closing the pipe would end it with SIGPIPE, so its output is read
    /// and thrown away as long as the agent lives.
    fn let_go(&mut self) {
        let Some(mut pipe) = self.pipe.take() else { return };
        if rustix::io::ioctl_fionbio(&pipe, false).is_ok() {
            let drain = move || io::copy(&mut pipe, &mut io::sink());
            // Without a thread the pipe is closed, which is what a stock agent's end does as well.
            let _ = std::thread::Builder::new().name("left-output".to_owned()).spawn(drain);
        }
    }
}

/// A command with everything that it started.
struct Tree {
    group: Option<Pid>,
    /// A handle on the leader that becomes readable when it ends (Linux 5.3).
    leader: Option<OwnedFd>,
    mark: String,
}

impl Tree {
    fn new(child: &Child, mark: String) -> Self {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        #[cfg(target_os = "linux")]
        let leader = group.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        #[cfg(not(target_os = "linux"))]
        let leader = None;
        Self { group, leader, mark }
    }

    /// Asks everything to end, waits, then ends it by force.
    ///
    /// The leader is not waited for before all is done: as long as it is a zombie, nobody else can get its number.
    fn end(&self, child: &mut Child, grace: Duration, mut meanwhile: impl FnMut()) {
        let mut wait_until_empty = |time: Duration, signal: Option<Signal>| {
            let started = Instant::now();
            loop {
                meanwhile();
                if let Some(signal) = signal {
                    self.signal(signal);
                }
                if self.is_empty() || started.elapsed() >= time {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        self.signal(Signal::TERM);
        // What is stopped cannot hear it.
        self.signal(Signal::CONT);
        wait_until_empty(grace, None);
        // Again and again: what forks faster than it is ended is still ended.
        wait_until_empty(VANISH, Some(Signal::KILL));
        // Reaped if it can be; a process that hangs in the kernel must not hold the agent.
        let _ = child.try_wait();
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, signal);
        }
        #[cfg(target_os = "linux")]
        {
            // Handles first, then the check: a number may change hands in between, a handle does not. What does not fit
            // into a round (file descriptors are limited) has its turn in the next.
            let open = |pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
            let handles: Vec<(Pid, OwnedFd)> =
                self.members().into_iter().take(256).filter_map(|pid| Some((pid, open(pid)?))).collect();
            let members = self.members();
            for (_, handle) in handles.into_iter().filter(|(pid, _)| members.contains(pid)) {
                let _ = rustix::process::pidfd_send_signal(handle, signal);
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    #[cfg(not(target_os = "linux"))]
    fn is_empty(&self) -> bool {
        self.group.is_none_or(|group| rustix::process::test_kill_process_group(group).is_err())
    }

    /// Every living process of the tree, as /proc shows it now.
    #[cfg(target_os = "linux")]
    fn members(&self) -> Vec<Pid> {
        let Some(group) = self.group else { return Vec::new() };
        let leader = group.as_raw_nonzero().get();
        let processes = process_list();
        let parent_of = |pid: i32| processes.iter().find(|process| process.pid == pid).map(|process| process.parent);
        let descends = |pid: i32| {
            // Bounded: the list is not one moment, so it may hold a circle.
            std::iter::successors(Some(pid), |pid| parent_of(*pid)).take(256).any(|pid| pid == leader)
        };
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        processes
            .iter()
            .filter(|process| process.alive && process.pid != own)
            .filter(|process| process.group == leader || descends(process.pid) || self.carries_mark(process.pid))
            .filter_map(|process| Pid::from_raw(process.pid))
            .collect()
    }

    #[cfg(target_os = "linux")]
    fn carries_mark(&self, pid: i32) -> bool {
        let Ok(file) = std::fs::File::open(format!("/proc/{pid}/environ")) else { return false };
        let mut environment = Vec::new();
        // The kernel's own bound on arguments and environment is a few MiB.
        if file.take(4 << 20).read_to_end(&mut environment).is_err() {
            return false;
        }
        let mark = format!("{MARK}={}", self.mark);
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    }
}

/// One line of the process list.
#[cfg(target_os = "linux")]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    alive: bool,
}

#[cfg(target_os = "linux")]
fn process_list() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter_map(|pid| {
            let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
            parse_stat(pid, &stat)
        })
        .collect()
}

/// `pid (name) state parent group …`; the name may hold anything, so the last parenthesis counts.
#[cfg(target_os = "linux")]
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let text = OsStr::from_bytes(&stat[after..]).to_str()?;
    let mut fields = text.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Process { pid, parent, group, alive: !matches!(state, "Z" | "X" | "x") })
}
