//! What documents say that programs know better: it is generated, and compared here.
//!
//! After a change: `DRIPFEED_WRITE_DOCS=1 cargo test --test it documents`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use dripfeed::model::ResultCode;

const PROGRAMS: [&str; 2] = [env!("CARGO_BIN_EXE_dripfeed"), env!("CARGO_BIN_EXE_dripfeed-agent")];

#[test]
fn the_reference_of_the_command_line_is_what_the_programs_say() {
    let mut text = "\
# Command line

What `--help` prints, verb by verb; `dripfeed help VERB` and `dripfeed VERB --help` are the same. Made by
`DRIPFEED_WRITE_DOCS=1 cargo test --test it documents`, and compared by the same test without the variable.

Results go to standard output, all else to standard error. A progress bar is drawn on a terminal only.
"
    .to_owned();
    let mut verbs = 0;
    for program in PROGRAMS {
        let name = Path::new(program).file_name().expect("a program").to_string_lossy().into_owned();
        describe(program, &name, &[], &mut text, &mut verbs);
    }
    assert!(verbs >= 15, "only {verbs} verbs were seen");
    agree("docs/cli.md", &text);
}

/// A verb's own page, then those of its verbs.
fn describe(program: &str, name: &str, path: &[String], text: &mut String, verbs: &mut usize) {
    *verbs += 1;
    let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let help = run(program, &arguments, Path::new("."));
    let title = std::iter::once(name).chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let level = if path.is_empty() { "##" } else { "###" };
    let body: String = help.lines().fold(String::new(), |body, line| body + line.trim_end() + "\n");
    let _ = write!(text, "\n{level} `{title}`\n\n```text\n{}\n```\n", body.trim_end());
    for verb in verbs_in(&help) {
        let path: Vec<String> = path.iter().cloned().chain([verb]).collect();
        describe(program, name, &path, text, verbs);
    }
}

/// The words at the beginning of the lines below `Commands:`.
fn verbs_in(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_result_code_is_explained_as_the_programs_explain_it() {
    let source = std::fs::read_to_string(path("src/model/result_code.rs")).expect("the source");
    let source = source.split("#[cfg(test)]").next().expect("what is shipped");
    let known: BTreeMap<String, String> = source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("SUCCESS") || word.starts_with("ERR_") || word.starts_with("UNKNOWN"))
        // Examples of the families that follow.
        .filter(|word| *word == "SUCCESS_0" || !word.ends_with(|end: char| end.is_ascii_digit()))
        .filter_map(|word| Some((word.to_owned(), ResultCode::from_wire(word).explanation()?)))
        .collect();
    assert!(known.len() >= 20, "only {} codes were seen: {known:?}", known.len());
    let mut table = "| code | means |\n|---|---|\n".to_owned();
    for (code, meaning) in &known {
        let _ = writeln!(table, "| `{code}` | {meaning} |");
    }
    for family in ["SUCCESS_", "ERR_EXIT_CODE_", "EXIT_CODE_"] {
        let meaning = ResultCode::from_wire(&format!("{family}77")).explanation().expect("a family is known");
        let _ = writeln!(table, "| `{family}`*n* | {} |", meaning.replace("77", "*n*"));
    }
    agree_part("docs/operations.md", "result codes", &table);
}

#[test]
fn every_key_of_the_configuration_is_described_as_the_program_describes_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let json = run(PROGRAMS[0], &["check-config", "--print", "--json"], directory.path());
    let keys: Vec<BTreeMap<String, String>> = serde_json::from_str(&json).expect("a list of keys");
    assert!(keys.len() >= 20, "only {} keys were seen", keys.len());
    let mut table = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    for key in keys {
        let (name, value) = (&key["key"], &key["value"]);
        // The only one that depends on the machine.
        let value = if value.is_empty() || name == "public_name" { "–".to_owned() } else { format!("`{value}`") };
        let _ = writeln!(table, "| `{name}` | {value} | {} |", key["meaning"]);
    }
    agree_part("docs/operations.md", "configuration", &table);
}

// ------------------------------------------------------------------------------------------------------- comparing

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What a program prints, neither on a terminal nor in anybody's environment.
fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("a program of ours");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// Two tests write parts of one document.
static WRITING: Mutex<()> = Mutex::new(());

/// The document is this text, or becomes it.
#[track_caller]
pub(crate) fn agree(name: &str, text: &str) {
    if std::env::var_os("DRIPFEED_WRITE_DOCS").is_some() {
        dripfeed::disk::atomic::write(&path(name), text.as_bytes()).expect("the document is written");
    }
    let there = std::fs::read_to_string(path(name)).unwrap_or_default();
    if let Some((number, (is, should))) =
        (1..).zip(there.lines().zip(text.lines())).find(|(_, (is, should))| is != should)
    {
        panic!("{name}:{number} is out of date (DRIPFEED_WRITE_DOCS=1 writes it)\nis      {is}\nshould  {should}");
    }
    assert!(there == text, "{name} is out of date at its end (DRIPFEED_WRITE_DOCS=1 writes it)");
}

/// The same for what stands between two marks.
#[track_caller]
fn agree_part(name: &str, part: &str, text: &str) {
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = std::fs::read_to_string(path(name)).expect("the document");
    let (begin, end) = (format!("<!-- generated: {part} -->\n"), "<!-- end -->");
    let (before, rest) = whole.split_once(&begin).expect("the mark before the generated part");
    let (_, after) = rest.split_once(end).expect("the mark after it");
    agree(name, &format!("{before}{begin}\n{text}\n{end}{after}"));
}
