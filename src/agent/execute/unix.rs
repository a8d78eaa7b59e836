//! Running and ending commands on Unix.
//!
//! A command is the leader of its own process group and carries a random word in its environment, which everything that
//! it starts inherits. To end the tree is to end: the group, the descendants of the command, and whatever carries the
//! word (a daemon that has left the group and whose parents are gone). What clears its environment *and* leaves the
//! group *and* loses its parents escapes; only a control group could hold that (decision 0152). Without /proc only the
//! group is ended.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, Signal};

use super::{Capture, Ending, Patience, Until, words};
use crate::disk;
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

/// Runs a command to its end, or ends it. The end of the process that was started counts: what is left is a daemon.
pub(super) fn supervise(
    command: Command,
    _until: Until,
    patience: Patience,
    stop: &dyn Fn() -> bool,
    capture: &mut Capture,
) -> io::Result<Ending> {
    let mark = mark()?;
    let (output, writer) = io::pipe()?;
    let mut output = Output { pipe: Some(output) };
    output.prepare()?;
    let mut child = spawn(command, &writer, &mark)?;
    disk::checkpoint("agent.execute.spawned");
    // From here on only the command and what it starts hold the writing end.
    drop(writer);
    let tree = Tree::new(&child, mark);
    let started = Instant::now();
    loop {
        let ended = child.try_wait();
        if let Ok(Some(status)) = ended {
            output.take(capture);
            output.let_go();
            return Ok(Ending::Exited(status));
        }
        let left = patience.timeout.saturating_sub(started.elapsed());
        let ending = if let Err(error) = ended {
            Ending::Untold(error)
        } else if stop() {
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
    #[cfg(target_os = "linux")]
    mark: String,
    /// What was seen to belong to it and has not ended: a process whose parents have ended meanwhile still counts.
    #[cfg(target_os = "linux")]
    known: Vec<Member>,
}

impl Tree {
    fn new(child: &Child, mark: String) -> Self {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        #[cfg(target_os = "linux")]
        return Self { group, leader: group.and_then(handle), mark, known: Vec::new() };
        #[cfg(not(target_os = "linux"))]
        {
            drop(mark);
            Self { group, leader: None }
        }
    }

    /// Asks everything to end, waits, then ends it by force.
    ///
    /// The leader is not waited for before all is done: as long as it is a zombie, nobody else can get its number.
    fn end(mut self, child: &mut Child, grace: Duration, mut meanwhile: impl FnMut()) {
        self.signal(Signal::TERM);
        // What is stopped cannot hear it.
        self.signal(Signal::CONT);
        self.wait(grace, None, &mut meanwhile);
        // Again and again: what forks faster than it is ended is still ended.
        self.wait(VANISH, Some(Signal::KILL), &mut meanwhile);
        // Reaped if it can be; a process that hangs in the kernel must not hold the agent.
        let _ = child.try_wait();
    }

    /// Waits until nothing is left or the time is over, giving a signal in each turn.
    fn wait(&mut self, time: Duration, signal: Option<Signal>, meanwhile: &mut impl FnMut()) {
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        while !self.is_empty() && started.elapsed() < time {
            if let Some(signal) = signal {
                self.signal(signal);
            }
            meanwhile();
            std::thread::sleep(pause);
            // Looking through /proc has its price: ten seconds of it would be felt.
            pause = (2 * pause).min(LOOK);
        }
    }

    fn signal(&mut self, signal: Signal) {
        // Whoever has lost its parents belongs to the tree only if it was seen before they end.
        #[cfg(target_os = "linux")]
        {
            self.look();
            self.known.iter().for_each(|member| member.signal(signal));
        }
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    #[cfg(target_os = "linux")]
    fn is_empty(&mut self) -> bool {
        self.look();
        self.known.is_empty()
    }

    #[cfg(not(target_os = "linux"))]
    fn is_empty(&mut self) -> bool {
        self.group.is_none_or(|group| rustix::process::test_kill_process_group(group).is_err())
    }

    /// Forgets what has ended and finds what is new.
    #[cfg(target_os = "linux")]
    fn look(&mut self) {
        let Some(group) = self.group else { return };
        let leader = group.as_raw_nonzero().get();
        let processes = process_list();
        self.known.retain(|member| processes.iter().any(|process| process.alive && member.is(process)));
        let parent_of = |pid: i32| processes.iter().find(|process| process.pid == pid).map(|process| process.parent);
        let is_root = |pid: i32| pid == leader || self.known.iter().any(|member| member.pid == pid);
        // Bounded: the list is not one moment, so it may hold a circle.
        let descends = |pid: i32| std::iter::successors(Some(pid), |pid| parent_of(*pid)).take(256).any(is_root);
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let new: Vec<Member> = processes
            .iter()
            .filter(|process| process.alive && process.pid != own)
            .filter(|process| !self.known.iter().any(|member| member.is(process)))
            .filter(|process| process.group == leader || descends(process.pid) || self.carries_mark(process.pid))
            .filter_map(Member::new)
            .collect();
        self.known.extend(new);
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

/// A process of the tree. Number and start together name one process for ever.
#[cfg(target_os = "linux")]
struct Member {
    pid: i32,
    started: u64,
    /// Never means another process, whatever becomes of the number.
    handle: Option<OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Member {
    /// Takes a process of the list, unless its number has changed hands since.
    fn new(process: &Process) -> Option<Self> {
        let handle = Pid::from_raw(process.pid).and_then(handle);
        let now = read_process(process.pid)?;
        (now.started == process.started).then_some(Self { pid: process.pid, started: process.started, handle })
    }

    fn is(&self, process: &Process) -> bool {
        self.pid == process.pid && self.started == process.started
    }

    fn signal(&self, signal: Signal) {
        let _ = match (&self.handle, Pid::from_raw(self.pid)) {
            (Some(handle), _) => rustix::process::pidfd_send_signal(handle, signal),
            // Kernels before 5.3 have no handles; the list was read a moment ago.
            (None, Some(pid)) => rustix::process::kill_process(pid, signal),
            (None, None) => Ok(()),
        };
    }
}

#[cfg(target_os = "linux")]
fn handle(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// One line of the process list.
#[cfg(target_os = "linux")]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    /// In ticks since the system's start.
    started: u64,
    alive: bool,
}

#[cfg(target_os = "linux")]
fn process_list() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter_map(read_process).collect()
}

#[cfg(target_os = "linux")]
fn read_process(pid: i32) -> Option<Process> {
    parse_stat(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state parent group …`, the start as the 22nd; the name may hold anything, so the last parenthesis counts.
#[cfg(target_os = "linux")]
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let text = std::str::from_utf8(&stat[after..]).ok()?;
    let mut fields = text.split_whitespace();
    let alive = !matches!(fields.next()?, "Z" | "X" | "x");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let started = fields.nth(22 - 6)?.parse().ok()?;
    Some(Process { pid, parent, group, started, alive })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let stat = b"42 (a) R 1 (b\xff\n) S 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 99 0\n";
        let process = parse_stat(42, stat).expect("a line of /proc");
        assert_eq!((process.parent, process.group, process.started, process.alive), (7, 8, 123_456, true));
        for broken in [&b""[..], b"42 (a", b"42 (a) S", b"42 (a) S x y", b"42 (a) \xff"] {
            assert!(parse_stat(42, broken).is_none());
        }
        let own = read_process(i32::try_from(std::process::id()).expect("a number")).expect("this process");
        assert!(own.alive && own.started > 0);
    }
}
