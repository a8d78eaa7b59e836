//! Reads Rust sources just well enough to see which paths they name: comments and text blanked, `use` groups spread
//! out, test modules left away.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file.
pub(super) struct Source {
    /// Relative to the package, with `/`.
    pub(super) path: String,
    /// As it stands.
    pub(super) text: String,
    /// The same number of characters and lines, with blanks for comments, text and character literals.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: String, text: String) -> Self {
        let code = blank_comments_and_text(&text);
        Self { path, text, code }
    }

    /// The code without what is compiled only for tests.
    pub(super) fn shipped(&self) -> String {
        let only_tests = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        if only_tests || self.code.contains("#![cfg(test)]") { String::new() } else { blank_test_items(&self.code) }
    }

    /// How deep its module lies below the crate's root: `src/a.rs` and `src/a/mod.rs` 1, `src/a/b.rs` 2.
    pub(super) fn module_depth(&self) -> usize {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        inner.split('/').count()
    }

    /// `src/a.rs` and everything below `src/a/` is the room `a`.
    pub(super) fn room(&self) -> &str {
        let inner = self.path.trim_start_matches("src/");
        inner.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
}

/// Every Rust file below a directory of the package, in the order of their paths.
pub(super) fn rust_files(package: &Path, directory: &str) -> Vec<Source> {
    files_below(&package.join(directory))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            Source::new(relative(package, &path), text)
        })
        .collect()
}

/// A path as the package's files name it.
pub(crate) fn relative(package: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(package).expect("below the package");
    inner.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Every file below a directory, in the order of their paths; none if there is no such directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A path that the code names, one for each leaf of a `use` group: `std::{fs, io::Read}` is two.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct NamedPath {
    /// From 1.
    pub(super) line: usize,
    /// `std`, `io`, `Read`.
    pub(super) segments: Vec<String>,
}

impl NamedPath {
    pub(super) fn text(&self) -> String {
        self.segments.join("::")
    }

    pub(super) fn starts_with(&self, prefix: &[&str]) -> bool {
        self.segments.len() >= prefix.len() && self.segments.iter().zip(prefix).all(|(have, want)| have == want)
    }
}

/// Every path in blanked code, single words included.
pub(super) fn named_paths(code: &str) -> Vec<NamedPath> {
    let tokens = tokens(code);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at].1 {
            Token::Word(_) => at = path_from(&tokens, at, &[], &mut paths),
            _ => at += 1,
        }
    }
    paths
}

#[derive(Debug, Eq, PartialEq)]
enum Token {
    Word(String),
    Separator,
    Open,
    Close,
    Other(char),
}

fn tokens(code: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = code.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => line += 1,
            c if c == '_' || c.is_alphabetic() => {
                let mut word = String::from(c);
                while let Some(more) = rest.next_if(|c| *c == '_' || c.is_alphanumeric()) {
                    word.push(more);
                }
                tokens.push((line, Token::Word(word)));
            }
            // A number may hold letters (1_u64), which are no word.
            c if c.is_ascii_digit() => while rest.next_if(|c| *c == '_' || c.is_alphanumeric()).is_some() {},
            ':' if rest.next_if_eq(&':').is_some() => tokens.push((line, Token::Separator)),
            '{' => tokens.push((line, Token::Open)),
            '}' => tokens.push((line, Token::Close)),
            c if c.is_whitespace() => {}
            c => tokens.push((line, Token::Other(c))),
        }
    }
    tokens
}

/// Reads one path, or one leaf of a group, that begins at `at`, adds what it names, and says where it ended.
fn path_from(tokens: &[(usize, Token)], at: usize, prefix: &[String], paths: &mut Vec<NamedPath>) -> usize {
    let line = tokens[at].0;
    let mut segments = prefix.to_vec();
    let mut at = at;
    loop {
        match tokens.get(at).map(|(_, token)| token) {
            Some(Token::Word(word)) => segments.push(word.clone()),
            Some(Token::Other('*')) => segments.push("*".to_owned()),
            Some(Token::Open) => return group_from(tokens, at + 1, &segments, paths),
            _ => break,
        }
        at += 1;
        if tokens.get(at).map(|(_, token)| token) != Some(&Token::Separator) {
            break;
        }
        at += 1;
    }
    paths.push(NamedPath { line, segments });
    at
}

/// Reads the leaves of a group whose brace was just opened.
fn group_from(tokens: &[(usize, Token)], at: usize, prefix: &[String], paths: &mut Vec<NamedPath>) -> usize {
    let mut at = at;
    while let Some((_, token)) = tokens.get(at) {
        match token {
            Token::Close => return at + 1,
            // `io::Write as _`: the new name names nothing.
            Token::Word(word) if word == "as" => at += 2,
            Token::Word(_) | Token::Other('*') => at = path_from(tokens, at, prefix, paths),
            _ => at += 1,
        }
    }
    at
}

/// Writes blanks over comments, strings and character literals; lines stay where they are.
fn blank_comments_and_text(text: &str) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < source.len() {
        let end = match source[at] {
            '/' if source.get(at + 1) == Some(&'/') => line_end(&source, at),
            '/' if source.get(at + 1) == Some(&'*') => block_comment_end(&source, at),
            '"' => string_end(&source, at),
            '\'' => character_end(&source, at),
            'r' | 'b' | 'c' if !follows_word(&source, at) => raw_string_end(&source, at),
            _ => at,
        };
        if end > at {
            code.extend(source[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            code.push(source[at]);
            at += 1;
        }
    }
    code
}

fn follows_word(source: &[char], at: usize) -> bool {
    at > 0 && (source[at - 1] == '_' || source[at - 1].is_alphanumeric())
}

fn line_end(source: &[char], at: usize) -> usize {
    source[at..].iter().position(|c| *c == '\n').map_or(source.len(), |length| at + length)
}

/// Block comments nest.
fn block_comment_end(source: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut at = at;
    while at + 1 < source.len() {
        match (source[at], source[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    source.len()
}

fn string_end(source: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < source.len() {
        match source[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    source.len()
}

/// A character literal, or `at` itself for a lifetime.
fn character_end(source: &[char], at: usize) -> usize {
    match (source.get(at + 1), source.get(at + 2)) {
        (Some('\\'), _) => source[at + 3..].iter().position(|c| *c == '\'').map_or(at, |length| at + 3 + length + 1),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`; `at` itself for anything else.
fn raw_string_end(source: &[char], at: usize) -> usize {
    let mut open = at;
    while matches!(source.get(open), Some('r' | 'b' | 'c')) && open < at + 2 {
        open += 1;
    }
    let raw = source[at..open].contains(&'r');
    let hashes = source[open..].iter().take_while(|c| **c == '#').count();
    match source.get(open + hashes) {
        Some('"') if raw => {
            let start = open + hashes + 1;
            let closes =
                |quote: usize| source[quote] == '"' && source[quote + 1..].iter().take(hashes).eq(vec![&'#'; hashes]);
            (start..source.len()).find(|quote| closes(*quote)).map_or(source.len(), |quote| quote + 1 + hashes)
        }
        Some('"') if hashes == 0 => string_end(source, open),
        Some('\'') if hashes == 0 && open == at + 1 => character_end(source, open),
        _ => at,
    }
}

/// Writes blanks over every item that follows `#[cfg(test)]`.
fn blank_test_items(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut shipped = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        shipped.push_str(&rest[..start]);
        let item = &rest[start..];
        let length = item_length(item, MARK.len());
        shipped.extend(item[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[length..];
    }
    shipped.push_str(rest);
    shipped
}

/// To the end of the item's braces, or to its semicolon when that comes first.
fn item_length(item: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices().skip_while(|(at, _)| *at < from) {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    item.len()
}

mod tests {
    use super::*;

    #[test]
    fn groups_are_spread_out_and_text_is_not_code() {
        let source = Source::new(
            "src/store/x.rs".to_owned(),
            concat!(
                "use std::{fs, io::{self, Read as _}};\n",
                "// use diesel::a; \n",
                "/* use /* nested */ diesel::b; */ let s = \"diesel::c \\\" tokio::d\"; let c = '\"'; let q = '\\'';\n",
                "let r = r#\"axum::e \" \"#; fn f<'a>(x: &'a str) -> crate::model::PackageId { super::super::disk::x() }\n",
                "#[cfg(test)]\nmod tests { use tokio::test; fn g() { {} } }\nuse crate::{archive::split, model};\n",
            )
            .to_owned(),
        );
        let named: Vec<String> = named_paths(&source.shipped())
            .iter()
            .filter(|path| path.segments.len() > 1)
            .map(|path| format!("{} {}", path.line, path.text()))
            .collect();
        insta::assert_snapshot!(named.join("\n"), @r"
        1 std::fs
        1 std::io::self
        1 std::io::Read
        4 crate::model::PackageId
        4 super::super::disk::x
        7 crate::archive::split
        7 crate::model
        ");
        assert_eq!((source.room(), source.module_depth()), ("store", 2));
    }
}
