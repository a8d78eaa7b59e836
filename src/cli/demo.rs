//! `dripfeed demo`: the tour, over the code that production runs.
//!
//! A server in a temporary directory and on free ports, a package built from files, activated after a real fetch,
//! assigned to a computer that registered itself, and the agent as a child process until the status is SUCCESS. Nothing
//! here is special to the demonstration but the words that are printed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::args::{Activate, Again, Assign, Demo, Gates, Place, Serve};
use super::computer::time_line;
use super::context::open;
use super::output::{Output, count, say};
use super::package::duration;
use super::serve::{Running, StopSignals, start};
use super::{Done, Failure};
use crate::engine::check_pace;
use crate::model::{Action, ByteSize, JobState, OsFamily, Package, PackageId, Priority};
use crate::service::App;
use crate::service::publish::{self, BuildRequest, Fragmenting, Source};
use crate::store::packages::NewPackage;
use crate::store::{StoreError, computers, events, jobs};

/// Paces the tour: a fragment a second, so that the dripping can be watched.
const CONFIGURATION: &str = "\
# Written by `dripfeed demo`.
[log]
level = \"error\"

[settings]
DOWNLOAD_FRAG_LATENCY = 0
DOWNLOAD_CYCLE_LATENCY = 1
DOWNLOAD_PERIOD_LATENCY = 0
DOWNLOAD_PERIOD_LENGTH = 10
";

const SCRIPT: &str = "#!/bin/sh
# What the demonstration deploys: it proves that it ran where it should.
set -e
mkdir -p \"$DEMO_TARGET\"
cp -R files \"$DEMO_TARGET/\"
echo \"installed by package ${DRIPFEED_PACKAGE_ID:-?}\" > \"$DEMO_TARGET/installed\"
";

/// How long a child may take before the tour gives up: far more than it needs.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) fn run(options: &Demo, output: &mut Output) -> Done {
    let directory = tempdir()?;
    let result = tour(directory.path(), options, output);
    directory.remove();
    result
}

fn tour(root: &Path, options: &Demo, output: &mut Output) -> Done {
    let data = root.join("server");
    let place = Place { data_dir: Some(data.clone()), ..Place::default() };
    crate::disk::atomic::create_dir_private(&data)?;
    crate::disk::atomic::write(&data.join("dripfeed.toml"), CONFIGURATION.as_bytes())?;

    step(output, 1, "serve", "a server makes its database, its authority and an administrator")?;
    let any = Serve { http: Some("127.0.0.1:0".to_owned()), https: Some("127.0.0.1:0".to_owned()) };
    let running = start(&place, &any)?;
    detail(output, format_args!("address    https://{}/", running.https))?;
    detail(output, format_args!("sign in    {}", running.sign_in()))?;
    detail(output, format_args!("CA file    {}", data.join("certs/ca.pem").display()))?;

    let app = open(&place)?.app;
    step(output, 2, "build", "files become an archive, its fragments and an info file")?;
    let package = build(&app, root)?;
    detail(
        output,
        format_args!(
            "package    {} \"{} {}\", {} in {}",
            package.id,
            package.name,
            package.version,
            ByteSize(package.size),
            count(package.fragments.0, "fragment")
        ),
    )?;
    detail(output, format_args!("MD5        {}", text(package.md5)))?;
    detail(output, format_args!("SHA-256    {}", text(package.sha256)))?;

    step(output, 3, "activate", "everything is fetched as an agent would, TLS included")?;
    inside(output, |output| super::activate::run(&place, &activate_arguments(package.id), output))?;

    step(output, 4, "register", "an agent checks in for the first time")?;
    let computer = register(&app, root, &running, output)?;
    detail(output, format_args!("computer   {computer}"))?;

    step(output, 5, "assign", "the package is meant for that computer")?;
    inside(output, |output| super::assign::run(&place, assign_arguments(package.id, &computer), output))?;
    let settings =
        crate::model::settings::resolve(&app.configured, &[], &crate::model::settings::SettingsLayer::default());
    let needed = check_pace(&settings.download(), package.priority, package.fragments)?;

    step(output, 6, "run", &format!("a fragment a cycle, then the command: about {}", duration(needed)))?;
    output.flush()?;
    let mut agent = agent(root, &running)?;
    wait(&mut agent, "the agent")?;

    let (state, code) = result(&app, package.id)?;
    step(output, 7, "report", "what the server was told, from its own records")?;
    for event in app.store.read_now(move |conn| events::list(conn, None, Some(package.id), 20))?.iter().rev() {
        detail(output, time_line(event))?;
    }
    detail(output, format_args!("status     {state}, {code}"))?;
    let installed = root.join("target/installed");
    if state != JobState::Succeeded || !installed.is_file() {
        return Err(anyhow::anyhow!("the demonstration did not end in SUCCESS: {state}, {code}").into());
    }
    output.line("")?;
    output.line("SUCCESS: built, activated, assigned, downloaded on cycles, executed, reported.")?;
    output.flush()?;
    if options.exit {
        return running.stop();
    }
    output.line(format_args!("The server stays up at https://{}/ to be looked at.", running.https))?;
    output.line("Ctrl-C ends it and removes everything.")?;
    output.flush()?;
    StopSignals::listen()?.wait();
    running.stop()
}

fn step(output: &mut Output, number: u32, name: &str, what: &str) -> Done {
    output.line(format_args!("\n{number}. {name:<10} {what}"))?;
    output.flush()
}

/// A verb's own words, as details of a step.
fn inside(output: &mut Output, verb: impl FnOnce(&mut Output) -> Done) -> Done {
    output.indent("   ");
    let done = verb(output);
    output.indent("");
    done
}

fn detail(output: &mut Output, text: impl std::fmt::Display) -> Done {
    output.line(format_args!("   {text}"))?;
    output.flush()
}

fn text(digest: Option<crate::model::Digest>) -> String {
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

/// Some files of which most cannot be compressed, so that there is something to cut.
fn build(app: &App, root: &Path) -> Result<Package, Failure> {
    let content = root.join("content");
    let files = content.join("files");
    crate::disk::atomic::create_dir_private(&content)?;
    crate::disk::atomic::create_dir_private(&files)?;
    crate::disk::atomic::write(&content.join("setup.sh"), SCRIPT.as_bytes())?;
    crate::disk::atomic::write(&files.join("README"), b"These files came to this computer a fragment at a time.\n")?;
    let mut noise = vec![0_u8; 5 << 19];
    getrandom::fill(&mut noise).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    crate::disk::atomic::write(&files.join("data.bin"), &noise)?;
    let request = BuildRequest {
        package: NewPackage {
            name: "hello".to_owned(),
            version: "1.0".to_owned(),
            description: "built by the demonstration".to_owned(),
            os: if cfg!(target_os = "macos") { OsFamily::Macos } else { OsFamily::Linux },
            action: Action::from_parts("launch", "setup.sh")?,
            priority: Priority::from_number(1),
            notify: None,
            done: None,
            exit_codes: crate::model::ExitCodes::default(),
        },
        source: Source::Path(content),
        fragmenting: Fragmenting::Size(ByteSize(512 << 10)),
    };
    Ok(publish::build(app, &request, &mut |_| {})?.package)
}

fn activate_arguments(id: PackageId) -> Activate {
    Activate { id, info_location: None, fragment_location: None, ca: None, no_check: false, json: false }
}

fn assign_arguments(id: PackageId, computer: &str) -> Assign {
    Assign {
        ids: vec![id],
        in_order: false,
        dry_run: false,
        computer: vec![computer.to_owned()],
        group: None,
        query: None,
        all: false,
        force: false,
        schedule: None,
        post_command: None,
        gates: Gates::default(),
        wake: false,
        again: Again::default(),
        json: false,
    }
}

fn register(app: &App, root: &Path, running: &Running, output: &mut Output) -> Result<String, Failure> {
    output.flush()?;
    wait(&mut agent(root, running)?, "the agent's first contact")?;
    let found = app.store.read_now(|conn| computers::list(conn, None, 1))?;
    match found.first() {
        Some(computer) => Ok(computer.device_id.to_string()),
        None => Err(anyhow::anyhow!("the agent checked in, but no computer appeared").into()),
    }
}

/// This very binary, as `dripfeed-agent once`.
fn agent(root: &Path, running: &Running) -> Result<Child, Failure> {
    let child = Command::new(std::env::current_exe()?)
        .args(["agent", "once", "--story", "--server"])
        .arg(format!("https://{}/ocsinventory", running.https))
        .arg("--ca")
        .arg(root.join("server/certs/ca.pem"))
        .arg("--data-dir")
        .arg(root.join("agent"))
        .env("DEMO_TARGET", root.join("target"))
        .stdin(Stdio::null())
        .spawn()?;
    Ok(child)
}

fn wait(child: &mut Child, what: &str) -> Done {
    // In steps, because std has no wait with a time-out.
    for _ in 0..PATIENCE.as_millis() / 50 {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(anyhow::anyhow!("{what} ended with {status}").into()),
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    child.kill()?;
    child.wait()?;
    Err(anyhow::anyhow!("{what} did not end within {} s", PATIENCE.as_secs()).into())
}

fn result(app: &App, package: PackageId) -> Result<(JobState, String), Failure> {
    let found =
        app.store.read_now(move |conn| -> Result<_, StoreError> { jobs::list(conn, Some(package), None, None, 1) })?;
    let job = found.first().ok_or_else(|| anyhow::anyhow!("the job is gone"))?;
    let code = job.job.result.as_ref().map_or("no result yet".to_owned(), ToString::to_string);
    Ok((job.job.state, code))
}

/// A directory that is removed at the end, also after a failure.
struct TemporaryDirectory(std::path::PathBuf);

impl TemporaryDirectory {
    fn path(&self) -> &Path {
        &self.0
    }

    fn remove(self) {
        if let Err(error) = crate::disk::atomic::remove_tree(&self.0) {
            say(format_args!("{} could not be removed: {error}", self.0.display()));
        }
    }
}

fn tempdir() -> Result<TemporaryDirectory, Failure> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let path = std::env::temp_dir().join(format!("dripfeed-demo-{:016x}", u64::from_le_bytes(random)));
    crate::disk::atomic::create_dir_private(&path)?;
    Ok(TemporaryDirectory(path))
}
