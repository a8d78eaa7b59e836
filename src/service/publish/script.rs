//! What can be told of a script before it runs anywhere: line ends, marks, encodings, quotes that do not end.
//!
//! Nothing of it is run. What would fail on every computer is a refusal; what may be meant is a warning.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{BuildRequest, PartBytes, Source};
use crate::model::{Action, OsFamily};

/// Bytes of a script; what is longer is none, and not looked at.
const MOST: u64 = 512 << 10;

/// Who reads the script.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reader {
    /// `sh`, or what the first line names.
    Sh,
    Cmd,
    PowerShell,
    /// Somebody else: only what holds for all is looked at.
    Other,
}

impl Reader {
    fn of(name: &str) -> Option<Self> {
        let end = name.rsplit_once('.')?.1.to_ascii_lowercase();
        match end.as_str() {
            "sh" | "bash" => Some(Self::Sh),
            "bat" | "cmd" => Some(Self::Cmd),
            "ps1" => Some(Self::PowerShell),
            "applescript" | "py" | "pl" | "vbs" => Some(Self::Other),
            _ => None,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Findings {
    /// Why it cannot work.
    pub(super) refusal: Option<String>,
    /// What should be known.
    pub(super) warnings: Vec<String>,
}

/// What is wrong with the scripts that a package is made of: typed ones, and files that are scripts by their name. Archives
/// are not looked into.
pub(super) fn of_request(request: &BuildRequest) -> Findings {
    let (os, mut all) = (request.package.os, Findings::default());
    let by_sh = matches!(&request.package.action, Action::Execute { command } if command.starts_with("sh "));
    let mut add = |name: &str, bytes: &[u8], typed: bool| {
        let found = look(os, name, bytes, typed, by_sh);
        all.refusal = all.refusal.take().or(found.refusal);
        all.warnings.extend(found.warnings);
    };
    match &request.source {
        Source::Nothing | Source::Stdin | Source::Fragments { .. } => {}
        Source::Text { name, text } => add(name, text.as_bytes(), true),
        Source::Named { path, name } => {
            if let Some(bytes) = read(path, name) {
                add(name, &bytes, false);
            }
        }
        Source::Path(path) => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if let Some(bytes) = read(path, &name) {
                add(&name, &bytes, false);
            }
        }
        Source::Several { parts, .. } => {
            for part in parts {
                if let PartBytes::Text(text) = &part.bytes {
                    add(&part.path, text.as_bytes(), true);
                }
            }
        }
    }
    all
}

/// A file that is a script by its name. What cannot be read is told by whoever packs it.
fn read(path: &Path, name: &str) -> Option<Vec<u8>> {
    Reader::of(name)?;
    let file = File::open(path).ok()?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MOST) {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Looks at a script. `typed`: its line ends are made what its system reads; an uploaded one stays as it is. `by_sh`: the
/// command gives it to `sh`, whatever its first line says.
fn look(os: OsFamily, name: &str, bytes: &[u8], typed: bool, by_sh: bool) -> Findings {
    let mut findings = Findings::default();
    let reader = Reader::of(name).unwrap_or(if os == OsFamily::Windows { Reader::Other } else { Reader::Sh });
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        if reader != Reader::PowerShell {
            findings.refuse(name, "is UTF-16, which its interpreter does not read: save it as UTF-8 without a mark");
        }
        return findings;
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let line = line_of(bytes, at);
        findings.refuse(name, &format!("holds a NUL byte in line {line}: it is no text, or it was damaged"));
        return findings;
    }
    let marked = bytes.starts_with(&[0xef, 0xbb, 0xbf]);
    let content = if marked { &bytes[3..] } else { bytes };
    findings.mark(name, reader, marked, content);
    findings.lines(os, name, reader, content, typed);
    match std::str::from_utf8(content) {
        Ok(text) => findings.text(name, reader, marked, by_sh, text),
        Err(error) => {
            let line = line_of(content, error.valid_up_to());
            findings.warn(
                name,
                &format!("is not UTF-8 from line {line} on: other letters than ASCII depend on the computer"),
            );
        }
    }
    findings
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    count(&bytes[..at], b'\n') + 1
}

fn count(bytes: &[u8], wanted: u8) -> usize {
    bytes.split(|byte| *byte == wanted).count() - 1
}

impl Findings {
    fn refuse(&mut self, name: &str, what: &str) {
        self.refusal.get_or_insert_with(|| format!("the script {name} {what}"));
    }

    fn warn(&mut self, name: &str, what: &str) {
        self.warnings.push(format!("the script {name} {what}"));
    }

    /// The mark at the beginning that editors of Windows write.
    fn mark(&mut self, name: &str, reader: Reader, marked: bool, content: &[u8]) {
        match reader {
            Reader::Cmd if marked => {
                self.refuse(name, "begins with a byte order mark, and cmd.exe takes it for a part of the first command: save it without one");
            }
            Reader::Sh | Reader::Other if marked && content.starts_with(b"#!") => {
                self.refuse(name, "begins with a byte order mark, so that its #! is none: save it without one");
            }
            Reader::Sh if marked => {
                self.refuse(name, "begins with a byte order mark, and sh takes it for a part of the first command: save it without one");
            }
            _ => {}
        }
    }

    fn lines(&mut self, os: OsFamily, name: &str, reader: Reader, content: &[u8], typed: bool) {
        let crlf = content.windows(2).filter(|pair| pair == b"\r\n").count();
        let lf = count(content, b'\n');
        let cr = count(content, b'\r');
        if cr > crlf {
            self.warn(name, "holds a carriage return within a line: interpreters take it for a letter");
        }
        if typed {
            return;
        }
        let by_line = reader == Reader::Sh || content.starts_with(b"#!");
        if os != OsFamily::Windows && crlf > 0 && by_line {
            self.refuse(name, "has the line ends of Windows (CR LF), which interpreters here take for a part of each command: save it with LF, or type it here and they are converted");
        } else if reader == Reader::Cmd && lf > 1 && crlf == 0 {
            self.warn(name, "has the line ends of Unix (LF), with which cmd.exe does not find every label of a goto: save it with CR LF");
        }
    }

    fn text(&mut self, name: &str, reader: Reader, marked: bool, by_sh: bool, text: &str) {
        let foreign = text.lines().position(|line| !line.is_ascii()).map(|at| at + 1);
        match (reader, foreign) {
            (Reader::Cmd, Some(line)) if !text.to_ascii_lowercase().contains("chcp 65001") => self.warn(
                name,
                &format!("has letters beyond ASCII in line {line}: cmd.exe reads them in the computer's own code page, unless it says chcp 65001 first"),
            ),
            (Reader::PowerShell, Some(line)) if !marked => self.warn(
                name,
                &format!("has letters beyond ASCII in line {line} and no byte order mark: Windows PowerShell 5 reads them in the computer's own code page"),
            ),
            _ => {}
        }
        if reader == Reader::Sh {
            self.shell(name, by_sh, text);
        }
    }

    fn shell(&mut self, name: &str, by_sh: bool, text: &str) {
        let first = text.lines().next().unwrap_or_default().trim_end();
        let program = first.strip_prefix("#!").map(|rest| rest.rsplit(['/', ' ']).next().unwrap_or_default());
        match program {
            None if !by_sh => self.warn(name, "has no #! line, so /bin/sh reads it"),
            Some(program) if by_sh && !matches!(program, "sh" | "dash") => {
                self.warn(name, &format!("begins with {first}, but its command has sh read it"));
            }
            _ => {}
        }
        if by_sh || matches!(program, None | Some("sh" | "dash")) {
            let known = ["[[ ", "function ", "source ", "declare ", "<<<"];
            let mut lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
            let found = lines.find_map(|line| {
                known.iter().find(|word| line.starts_with(**word) || (**word == "<<<" && line.contains(**word)))
            });
            if let Some(word) = found {
                self.warn(name, &format!("uses \"{}\", which sh need not know", word.trim()));
            }
        }
        if matches!(program, None | Some("sh" | "bash" | "dash" | "ksh" | "zsh"))
            && let Err(problem) = balanced(text)
        {
            self.warn(name, &problem);
        }
    }
}

/// Do quotes and here-documents of a shell script end? Not a parser: what it is not sure of, it lets pass.
fn balanced(text: &str) -> Result<(), String> {
    let mut here: Vec<(String, bool, usize)> = Vec::new();
    let mut quote: Option<(char, usize)> = None;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if quote.is_none()
            && let Some((word, tabs, _)) = here.first()
        {
            let content = if *tabs { line.trim_start_matches('\t') } else { line };
            if content == word {
                here.remove(0);
            }
            continue;
        }
        let mut chars = line.char_indices().peekable();
        let mut before = ' ';
        while let Some((place, c)) = chars.next() {
            match (quote, c) {
                (Some(('\'', _)), '\'') => quote = None,
                (Some(('\'', _)), _) => {}
                (_, '\\') => {
                    chars.next();
                }
                (Some((open, _)), c) if c == open => quote = None,
                (None, '\'' | '"' | '`') => quote = Some((c, number)),
                // Within double quotes there may be a command with quotes of its own: too deep for this.
                (Some(('"', _)), '`' | '$') if c == '`' || line[place..].starts_with("$(") => return Ok(()),
                (None, '#') if before.is_whitespace() || before == ';' => break,
                (None, '$') if line[place..].starts_with("$((") => return Ok(()),
                (None, '(') if line[place..].starts_with("((") => return Ok(()),
                (None, '<') if line[place..].starts_with("<<") && !line[place..].starts_with("<<<") => {
                    if let Some(found) = here_word(&line[place + 2..]) {
                        here.push((found.0, found.1, number));
                    }
                    chars.next();
                }
                (None, '<') if line[place..].starts_with("<<<") => {
                    chars.next();
                    chars.next();
                }
                _ => {}
            }
            before = c;
        }
    }
    if let Some((open, line)) = quote {
        return Err(format!("has a quote {open} in line {line} that does not end"));
    }
    if let Some((word, _, line)) = here.first() {
        return Err(format!("has a here-document in line {line} whose end \"{word}\" does not come"));
    }
    Ok(())
}

/// The word that ends a here-document, and whether tabs before it do not count.
fn here_word(rest: &str) -> Option<(String, bool)> {
    let (rest, tabs) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let rest = rest.trim_start();
    let word: String = rest.chars().take_while(|c| !c.is_whitespace() && !";&|<>()".contains(*c)).collect();
    let word: String = word.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
    (!word.is_empty()).then_some((word, tabs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(os: OsFamily, name: &str, bytes: &[u8], typed: bool) -> String {
        let found = look(os, name, bytes, typed, false);
        let refusal = found.refusal.map(|text| format!("REFUSED {text}"));
        refusal.into_iter().chain(found.warnings).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_wrong_with_a_script_is_said_before_it_is_built() {
        let (linux, windows) = (OsFamily::Linux, OsFamily::Windows);
        assert_eq!(told(linux, "a.sh", b"#!/bin/sh\necho it\n", false), "");
        assert_eq!(told(linux, "a.sh", b"#!/bin/sh\r\necho it\r\n", true), "", "converted");
        assert_eq!(told(windows, "a.ps1", b"Write-Host 1\r\n", false), "");
        insta::assert_snapshot!(told(linux, "a.sh", b"#!/bin/sh\r\necho it\r\n", false), @"REFUSED the script a.sh has the line ends of Windows (CR LF), which interpreters here take for a part of each command: save it with LF, or type it here and they are converted");
        insta::assert_snapshot!(told(linux, "a.sh", b"\xef\xbb\xbf#!/bin/sh\necho\n", false), @"REFUSED the script a.sh begins with a byte order mark, so that its #! is none: save it without one");
        insta::assert_snapshot!(told(windows, "a.bat", b"\xef\xbb\xbfecho 1\r\n", false), @"REFUSED the script a.bat begins with a byte order mark, and cmd.exe takes it for a part of the first command: save it without one");
        insta::assert_snapshot!(told(windows, "a.bat", b"goto x\necho\n:x\n", false), @"the script a.bat has the line ends of Unix (LF), with which cmd.exe does not find every label of a goto: save it with CR LF");
        insta::assert_snapshot!(told(windows, "a.bat", "echo Gr\u{fc}n\r\n".as_bytes(), true), @"the script a.bat has letters beyond ASCII in line 1: cmd.exe reads them in the computer's own code page, unless it says chcp 65001 first");
        insta::assert_snapshot!(told(windows, "a.ps1", "\n'Gr\u{fc}n'".as_bytes(), true), @"the script a.ps1 has letters beyond ASCII in line 2 and no byte order mark: Windows PowerShell 5 reads them in the computer's own code page");
        assert_eq!(told(windows, "a.ps1", "\u{feff}'Gr\u{fc}n'".as_bytes(), false), "");
        assert_eq!(told(windows, "a.ps1", b"\xff\xfe1\0", false), "", "PowerShell reads UTF-16");
        insta::assert_snapshot!(told(linux, "a.sh", b"#!/bin/sh\nx\0y\n", false), @"REFUSED the script a.sh holds a NUL byte in line 2: it is no text, or it was damaged");
        insta::assert_snapshot!(told(linux, "a.sh", b"#!/bin/sh\necho \xfc\n", false), @"the script a.sh is not UTF-8 from line 2 on: other letters than ASCII depend on the computer");
        insta::assert_snapshot!(told(linux, "a.sh", b"[[ -f x ]] && echo\n", true), @r#"
        the script a.sh has no #! line, so /bin/sh reads it
        the script a.sh uses "[[", which sh need not know
        "#);
        let by_sh = look(linux, "a.sh", b"#!/bin/bash\necho\n", true, true);
        assert_eq!(by_sh.warnings, ["the script a.sh begins with #!/bin/bash, but its command has sh read it"]);
        assert_eq!(look(linux, "a.sh", b"echo\n", true, true), Findings::default());
    }

    #[test]
    fn quotes_and_here_documents_end() {
        for (script, told) in [
            ("echo 'it\n", Some("has a quote ' in line 1 that does not end")),
            ("echo\necho \"it\n", Some("has a quote \" in line 2 that does not end")),
            ("cat <<EOF\nit's\n", Some("has a here-document in line 1 whose end \"EOF\" does not come")),
            ("cat <<EOF\nit's\nEOF\n", None),
            ("cat <<-'EOF'\n\tit's\n\tEOF\n", None),
            ("# it's fine\necho ${#x} # isn't it\n", None),
            ("echo \\' \"a'b\" 'a\"b'\n", None),
            ("x=\"$(echo \"it's\")\"\n", None),
            ("echo 'two\nlines'\n", None),
            ("echo $((1 << 2))\n", None),
        ] {
            assert_eq!(balanced(script).err().as_deref(), told, "{script}");
        }
    }

    #[test]
    fn the_scripts_of_our_own_templates_have_nothing_wrong() {
        for template in crate::service::templates::built_in() {
            let (Some(name), Some(body)) = (&template.script, &template.body) else { continue };
            let os = template.systems().next().expect("a system");
            assert_eq!(look(os, name, body.as_bytes(), true, false), Findings::default(), "{}", template.id);
        }
    }
}
