//! Sessions that are files, and dialogs that are scripts.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

struct Computer {
    root: tempfile::TempDir,
}

const SESSION: &str =
    "UID=OWN\nUSER=ann\nACTIVE=1\nSTATE=active\nREMOTE=0\nTYPE=x11\nCLASS=user\nSEAT=seat0\nDISPLAY=:7\n";

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    File::create(path).and_then(|mut file| file.write_all(bytes)).expect("written");
}

impl Computer {
    fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a directory") }
    }

    fn session(self, name: &str, text: &str) -> Self {
        let own = rustix::process::geteuid().as_raw().to_string();
        put(&self.root.path().join(format!("run/systemd/sessions/{name}")), text.replace("OWN", &own).as_bytes());
        self
    }

    /// A program; `$SEEN` in its text is the file that [`Computer::seen`] reads.
    fn program(self, name: &str, script: &str) -> Self {
        let seen = self.root.path().join("seen").display().to_string();
        let text = self.root.path().join(format!("{name}.text"));
        put(&text, format!("#!/bin/sh\n{}\n", script.replace("$SEEN", &seen)).as_bytes());
        let path = self.path_of(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        // By another process: a fork of another test could hold a file open that this one wrote, and then it is busy.
        let installed = Command::new("install").args(["-m", "755"]).arg(text).arg(path).status();
        assert!(installed.is_ok_and(|status| status.success()));
        self
    }

    fn path_of(&self, program: &str) -> PathBuf {
        self.root.path().join("bin").join(program)
    }

    fn desktop(&self) -> Desktop {
        Desktop { glance: Duration::ZERO, ..Desktop::at(self.root.path(), [self.root.path().join("bin")]) }
    }

    fn ask(&self, question: &Question) -> Answer {
        self.desktop().ask(question, &|| false)
    }

    fn seen(&self) -> String {
        fs::read_to_string(self.root.path().join("seen")).unwrap_or_default()
    }
}

fn question(countdown: Option<u64>) -> Question {
    let countdown = countdown.map(Duration::from_millis);
    Question { text: "Save \"your\" work\\n".to_owned(), note: None, countdown, can_abort: true, can_delay: true }
}

#[test]
fn where_nobody_is_logged_in_it_goes_on_at_once() {
    assert_eq!(Computer::new().ask(&question(None)), Answer::Nobody);
    let greeter = Computer::new().session("c1", &SESSION.replace("CLASS=user", "CLASS=greeter"));
    let closing = greeter.session("c2", &SESSION.replace("STATE=active", "STATE=closing"));
    assert_eq!(closing.session("3", "torn").session("4.ref", SESSION).ask(&question(None)), Answer::Nobody);
}

#[test]
fn a_button_that_is_pressed_is_the_answer() {
    for (button, answer) in [(GO_ON, Answer::GoOn), (DELAY, Answer::Delay), (ABORT, Answer::Abort)] {
        let computer = Computer::new().session("1", SESSION).program("zenity", &format!("echo '{button}'; exit 1"));
        assert_eq!(computer.ask(&question(Some(60_000))), answer);
        let computer = Computer::new().session("1", SESSION).program("kdialog", &format!("echo '{button}'"));
        assert_eq!(computer.ask(&question(None)), answer);
        let code = [GO_ON, DELAY, ABORT].iter().position(|known| *known == button).expect("a button") + 101;
        let computer = Computer::new().session("1", SESSION).program("xmessage", &format!("exit {code}"));
        assert_eq!(computer.ask(&question(None)), answer);
    }
}

#[test]
fn the_programs_are_called_with_the_text_and_the_buttons_that_are_allowed() {
    let script = "printf '%s|' \"$@\" >> $SEEN; echo \"$DISPLAY\" >> $SEEN; echo 'Start now'";
    for name in ["zenity", "kdialog"] {
        let computer = Computer::new().session("1", SESSION).program(name, script);
        let question = Question { can_abort: false, ..question(Some(90_000)) };
        assert_eq!(computer.ask(&question), Answer::GoOn);
        let seen = computer.seen();
        assert!(seen.contains("It starts by itself in 90 seconds.") && seen.ends_with(":7\n"), "{seen}");
        assert!(seen.contains(DELAY) && !seen.contains(ABORT), "{seen}");
        let text = if name == "zenity" { "--text=Save \"your\" work\\\\n\n" } else { " Save \"your\" work\\n\n" };
        assert!(seen.contains(text), "{seen}");
    }
    let window = Window { text: "a\n-b", buttons: &[GO_ON, ABORT] };
    assert_eq!(xmessage(&window)[6..], ["Start now:101,Do not install:103", " a\n -b"]);
}

#[test]
fn a_button_that_was_not_offered_is_no_answer() {
    let computer = Computer::new().session("1", SESSION).program("zenity", "echo 'Do not install'");
    let question = Question { can_abort: false, can_delay: false, ..question(Some(30)) };
    assert_eq!(computer.ask(&question), Answer::CountedDown);
}

#[test]
fn the_countdown_ends_the_dialog_and_it_goes_on() {
    let computer = Computer::new().session("1", SESSION).program("zenity", "echo $$ > $SEEN; exec sleep 100");
    let mut asked = question(Some(20));
    // The dialog's number is wanted: as long as it takes to write it down.
    while computer.seen().is_empty() {
        asked.countdown = asked.countdown.map(|time| time * 2);
        assert_eq!(computer.ask(&asked), Answer::CountedDown);
    }
    let process = format!("/proc/{}", computer.seen().trim());
    assert!(!Path::new(&process).exists(), "{process} was left behind");
}

#[test]
fn a_window_that_is_closed_leaves_the_rest_of_the_countdown_or_is_asked_again_later() {
    let computer = Computer::new().session("1", SESSION).program("zenity", "exit 1");
    let began = Instant::now();
    assert_eq!(computer.ask(&question(Some(80))), Answer::CountedDown);
    assert!(began.elapsed() >= Duration::from_millis(80));
    assert_eq!(computer.ask(&question(None)), Answer::Delay);
}

#[test]
fn a_program_that_cannot_open_a_window_is_followed_by_the_next_and_by_the_terminals() {
    let computer = Computer::new()
        .session("1", SESSION)
        .program("zenity", "echo zenity >> $SEEN; exit 1")
        .program("kdialog", "echo kdialog >> $SEEN; exit 254")
        .program("wall", "cat >> $SEEN");
    let desktop = Desktop { glance: Duration::from_mins(10), ..computer.desktop() };
    let told = || computer.seen().ends_with("minutes.\n");
    assert_eq!(desktop.ask(&question(None), &told), Answer::Delay);
    insta::assert_snapshot!(computer.seen(), @r#"
    zenity
    kdialog
    Software installation

    Save "your" work\n

    It starts by itself in 2 minutes.
    "#);
}

#[test]
fn the_desktops_own_program_comes_first() {
    let plasma = format!("{SESSION}DESKTOP=plasma\n");
    let computer =
        Computer::new().session("1", &plasma).program("zenity", "echo Later").program("kdialog", "echo 'Start now'");
    assert_eq!(computer.ask(&question(None)), Answer::GoOn);
}

#[test]
fn on_a_terminal_nobody_can_answer_so_it_is_told_and_goes_on() {
    let terminal = SESSION.replace("TYPE=x11", "TYPE=tty").replace("DISPLAY=:7\n", "");
    let computer =
        Computer::new().session("1", &terminal).program("wall", "cat > $SEEN").program("zenity", "echo Later");
    assert_eq!(computer.ask(&question(Some(1))), Answer::CountedDown);
    assert!(computer.seen().contains("Save \"your\" work"), "{}", computer.seen());
}

#[test]
fn a_stop_ends_the_question_and_nothing_is_executed() {
    let computer = Computer::new().session("1", SESSION).program("zenity", "exec sleep 100");
    let asked = AtomicU32::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 1;
    assert_eq!(computer.desktop().ask(&question(Some(3_600_000)), &stop), Answer::Delay);
    assert_eq!(computer.desktop().ask(&question(None), &|| true), Answer::Delay);
}

#[test]
fn the_display_is_what_the_persons_own_programs_were_told() {
    let computer =
        Computer::new().session("5", &SESSION.replace("DISPLAY=:7\n", "LEADER=50\n").replace("x11", "wayland"));
    let own = rustix::process::geteuid().as_raw();
    let put = |path: &str, text: &str| put(&computer.root.path().join(path), text.as_bytes());
    put("proc/40/environ", "XDG_SESSION_ID=4\0WAYLAND_DISPLAY=wayland-9\0");
    put("proc/45/environ", "WAYLAND_DISPLAY=wayland-2\0SECRET=x\0");
    put("proc/50/environ", "XDG_SESSION_ID=5\0LANG=C\0");
    let environment = |desktop: &Desktop| {
        let session = desktop.sessions().remove(0);
        desktop
            .environment(&session)
            .map(|all| all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
    };
    let desktop = computer.desktop();
    let expected = ["WAYLAND_DISPLAY=wayland-2", "HOME=/", "PATH=/usr/local/bin:/usr/bin:/bin"];
    assert_eq!(environment(&desktop).expect("a display"), expected, "no session's, but on its display");

    put(
        "proc/60/environ",
        "XDG_SESSION_ID=5\0WAYLAND_DISPLAY=wayland-1\0HOME=/home/ann\0XAUTHORITY=/x\0LD_PRELOAD=/evil\0",
    );
    put(&format!("run/user/{own}/bus"), "");
    let expected = [
        "WAYLAND_DISPLAY=wayland-1".to_owned(),
        "HOME=/home/ann".to_owned(),
        "XAUTHORITY=/x".to_owned(),
        format!("DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{own}/bus"),
        format!("XDG_RUNTIME_DIR=/run/user/{own}"),
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
    ];
    assert_eq!(environment(&desktop).expect("a display"), expected);
}

#[test]
fn who_sits_at_the_computer_comes_before_who_is_far_away() {
    let far = SESSION.replace("SEAT=seat0\n", "");
    let waiting = SESSION.replace("ACTIVE=1\nSTATE=active", "ACTIVE=0\nSTATE=online");
    let computer = Computer::new().session("1", &far).session("2", SESSION).session("0", &waiting);
    let order: Vec<String> = computer.desktop().sessions().into_iter().map(|session| session.id).collect();
    assert_eq!(order, ["2", "1", "0"]);
}

#[test]
fn the_group_is_that_of_the_runtime_directory_or_of_the_list_of_users() {
    let computer = Computer::new();
    put(
        &computer.root.path().join("etc/passwd"),
        b"root:x:0:0::/root:/bin/sh\nann:x:1000:1007::/home/ann:/bin/sh\ntorn:x\n",
    );
    assert_eq!(computer.desktop().group_of(1000), Some(1007));
    assert_eq!(computer.desktop().group_of(1001), None);
    fs::create_dir_all(computer.root.path().join("run/user/1000")).expect("a directory");
    assert_eq!(computer.desktop().group_of(1000), Some(rustix::process::getegid().as_raw()));
}

#[test]
fn a_dialog_is_never_run_as_somebody_that_the_agent_cannot_become() {
    let mut command = Command::new("true");
    let own = rustix::process::geteuid().as_raw();
    assert!(become_person(&mut command, own, None));
    assert!(!become_person(&mut command, own + 1, None), "without the person's group root's would stay");
}

#[test]
fn a_message_is_shown_and_anything_ends_it() {
    let computer = Computer::new().session("1", SESSION).program("zenity", "printf '%s|' \"$@\" > $SEEN; echo OK");
    computer.desktop().tell("Restart soon", &|| false);
    let seen = computer.seen();
    assert!(
        seen.contains("--text=Restart soon") && seen.contains("--extra-button=OK") && !seen.contains(GO_ON),
        "{seen}"
    );
    let terminal = Computer::new().session("1", &SESSION.replace("x11", "tty")).program("wall", "cat > $SEEN");
    terminal.desktop().tell("Restart soon", &|| false);
    assert!(terminal.seen().contains("Restart soon"));
}

#[test]
fn a_dialog_runs_with_the_persons_rights_or_not_at_all() {
    const NOBODY: u32 = 65534;
    let session = SESSION.replace("OWN", &NOBODY.to_string());
    let script = "id -u > $SEEN; id -G >> $SEEN; env | cut -d= -f1 | sort | tr '\\n' ' ' >> $SEEN; echo Later";
    let computer = Computer::new().session("1", &session).program("zenity", script).program("wall", "cat > $SEEN");
    put(&computer.root.path().join("etc/passwd"), b"nobody:x:65534:65533::/:/bin/sh\n");
    put(&computer.root.path().join("seen"), b"");
    let open = |path: &str, mode| {
        fs::set_permissions(computer.root.path().join(path), std::os::unix::fs::PermissionsExt::from_mode(mode))
            .expect("a mode");
    };
    open("", 0o755);
    open("seen", 0o666);
    // Whoever is not root shows no dialog, and the terminals' countdown is what is left.
    let is_root = rustix::process::geteuid().is_root();
    let answer = computer.ask(&question(Some(if is_root { 600_000 } else { 1 })));
    let seen = computer.seen();
    if is_root {
        assert_eq!(answer, Answer::Delay);
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines[..2], ["65534", "65533"], "{seen}");
        assert!(!lines[2].contains("CARGO") && lines[2].contains("DISPLAY"), "{seen}");
    } else {
        assert_eq!(answer, Answer::CountedDown);
        assert!(seen.starts_with(TITLE), "{seen}");
    }
}

/// With what a desktop really has, on a screen that nobody sees.
#[test]
fn a_real_window_is_answered_with_the_keyboard_or_closed() {
    let needed = ["Xvfb", "zenity", "xmessage", "xdotool"].map(|name| Path::new("/usr/bin").join(name));
    if let Some(missing) = needed.iter().find(|path| !path.is_file()) {
        println!("NOT RUN: {} is missing", missing.display());
        return;
    }
    let mut screen = Command::new("Xvfb")
        .args(["-displayfd", "1", "-screen", "0", "800x600x24"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Xvfb");
    let mut number = [0; 8];
    let length = screen.stdout.as_mut().expect("a pipe").read(&mut number).expect("the display's number");
    let display = format!(":{}", String::from_utf8_lossy(&number[..length]).trim());
    let keys = |keys: &str| {
        let script =
            format!("w=$(xdotool search --sync --name '{TITLE}' | head -n 1); xdotool windowfocus --sync $w; {keys}");
        Command::new("sh").args(["-c", &script]).env("DISPLAY", &display).spawn().expect("xdotool")
    };
    let session = SESSION.replace(":7", &display);
    for (program, press, expected) in [
        ("zenity", "xdotool key Return", Answer::GoOn),
        ("zenity", "xdotool key Tab Return", Answer::Delay),
        ("zenity", "xdotool key Tab Tab Return", Answer::Abort),
        ("zenity", "sleep 0.5; xdotool key Escape", Answer::Delay),
        ("xmessage", "xdotool key Return", Answer::GoOn),
    ] {
        let computer = Computer::new().session("1", &session);
        let path = computer.path_of(program);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::os::unix::fs::symlink(format!("/usr/bin/{program}"), path).expect("a link");
        let desktop = Desktop { glance: GLANCE, ..computer.desktop() };
        let mut pressing = keys(press);
        assert_eq!(desktop.ask(&question(None), &|| false), expected, "{program}: {press:?}");
        pressing.wait().expect("xdotool");
    }
    screen.kill().and_then(|()| screen.wait()).expect("the screen");
}
