//! What the templates of the console hold: nothing that the content security policy refuses, and no icon that is not there.
//!
//! The browser's tests see the same, but only on the pages that they open.

use std::collections::BTreeSet;
use std::path::Path;

use crate::floors::source::{files_below, relative};

const CONSOLE: &str = "src/server/console";

/// Every file of the console with that ending: its path and its text.
fn console_files(ending: &str) -> Vec<(String, String)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = files_below(&package.join(CONSOLE)).into_iter();
    let files = files.filter(|path| path.extension().is_some_and(|own| own == ending));
    files.map(|path| (relative(package, &path), std::fs::read_to_string(&path).expect("it can be read"))).collect()
}

/// The text with blanks in place of what a template engine takes out of it.
fn without_template_parts(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, part)) = rest.split_once('{') {
        plain.push_str(before);
        let end = match part.chars().next() {
            Some('{') => "}}",
            Some('%') => "%}",
            Some('#') => "#}",
            _ => {
                plain.push('{');
                rest = part;
                continue;
            }
        };
        let (inner, after) = part.split_once(end).unwrap_or((part, ""));
        plain.extend(inner.chars().filter(|c| *c == '\n'));
        plain.push(' ');
        rest = after;
    }
    plain + rest
}

/// A tag: its line, its name in small letters, and what stands in it.
struct Tag {
    line: usize,
    name: String,
    attributes: Vec<(String, String)>,
    /// What follows it, up to the next tag.
    text: String,
}

fn tags(template: &str) -> Vec<Tag> {
    let text = without_template_parts(template);
    let mut tags = Vec::new();
    for (at, _) in text.match_indices('<') {
        let rest = &text[at + 1..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        let mut left = &rest[name.len()..];
        let mut attributes = Vec::new();
        loop {
            left = left.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if left.is_empty() || left.starts_with('>') {
                break;
            }
            let end = left.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>')).unwrap_or(left.len());
            let attribute = left[..end].to_ascii_lowercase();
            left = &left[end..];
            let mut value = "";
            if let Some(given) = left.strip_prefix('=') {
                let quote = given.chars().next().filter(|c| matches!(c, '"' | '\''));
                (value, left) = match quote {
                    Some(quote) => given[1..].split_once(quote).unwrap_or((&given[1..], "")),
                    None => given.split_at(given.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(given.len())),
                };
            }
            attributes.push((attribute, value.to_owned()));
        }
        let text_after = left.strip_prefix('>').unwrap_or_default().split('<').next().unwrap_or_default();
        let line = text[..at].matches('\n').count() + 1;
        tags.push(Tag { line, name: name.to_ascii_lowercase(), attributes, text: text_after.to_owned() });
    }
    tags
}

/// Why the policy refuses a tag, if it does.
fn refused(tag: &Tag) -> Option<String> {
    if tag.name == "style" {
        return Some("a style of its own".to_owned());
    }
    if tag.name == "script" && !tag.text.trim().is_empty() {
        return Some("a script of its own".to_owned());
    }
    tag.attributes.iter().find_map(|(name, value)| {
        let address = value.trim().to_ascii_lowercase();
        let elsewhere = address.starts_with("//") || address.starts_with("http:") || address.starts_with("https:");
        let loads = matches!(tag.name.as_str(), "script" | "link" | "img" | "iframe" | "use" | "form");
        let why = match name.as_str() {
            "style" => "style=",
            event if event.starts_with("on") => "a script in an attribute",
            "href" | "src" | "action" | "formaction" if address.starts_with("javascript:") => "a script in an address",
            "href" | "src" | "action" if loads && elsewhere => "of another server",
            "srcdoc" => "a page in an attribute",
            _ => return None,
        };
        Some(format!("{why}: {name}=\"{value}\""))
    })
}

#[test]
fn templates_have_no_style_and_no_script_of_their_own() {
    let (mut seen, mut found) = (0, Vec::new());
    for (path, text) in console_files("html") {
        for tag in tags(&text) {
            seen += 1;
            found.extend(refused(&tag).map(|why| format!("{path}:{}: <{}> {why}", tag.line, tag.name)));
        }
    }
    // Markup that is written in Rust: in text, with the quotes escaped.
    for (path, text) in console_files("rs") {
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default().replace("\\\"", "\"");
        for (at, part) in shipped.split("\"<").enumerate().skip(1) {
            let markup = format!("<{part}");
            let first = tags(&markup).into_iter().next();
            found.extend(first.and_then(|tag| refused(&tag)).map(|why| format!("{path}, text {at}: {why}")));
        }
    }
    assert!(seen > 150, "only {seen} tags were seen");
    assert_eq!(found, [""; 0], "the content security policy refuses it");
}

/// The text literals of a piece of source, in their order.
fn literals(source: &str) -> Vec<&str> {
    source.split('"').skip(1).step_by(2).collect()
}

/// The icons that a source or a template names.
fn named_icons(text: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect::<String>();
    let mut names = Vec::new();
    names.extend(text.split("icons.svg#").skip(1).map(word));
    names.extend(text.split("icon(\"").skip(1).map(word));
    for part in text.split("toned(").skip(1) {
        let arguments = part.split(')').next().unwrap_or_default().trim_end();
        if arguments.ends_with('"') && !arguments.contains('(') {
            names.extend(literals(arguments).last().map(|name| (*name).to_owned()));
        }
    }
    // The menu: address, title, icon, keys.
    for part in text.split("(\"/").skip(1) {
        let line = part.lines().next().unwrap_or_default();
        if let [_, icon, keys, ..] = literals(line.split_once('"').unwrap_or_default().1)[..]
            && keys.starts_with("g ")
        {
            names.push(icon.to_owned());
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn every_icon_that_is_used_is_there() {
    let sprite = include_str!("../../src/server/console/assets/icons.svg");
    let there: BTreeSet<&str> =
        sprite.split("<symbol id=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
    assert!(there.len() > 60, "only {} icons were seen", there.len());
    let (mut seen, mut missing) = (0, Vec::new());
    for (path, text) in console_files("html").into_iter().chain(console_files("rs")) {
        for name in named_icons(&text) {
            seen += 1;
            if !there.contains(name.as_str()) {
                missing.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(seen > 60, "only {seen} uses of icons were seen");
    assert_eq!(missing, [""; 0], "icons that are not in icons.svg");
}

#[test]
fn templates_keep_the_blanks_between_their_words() {
    // With "suppress" the blank before `{% if … %} aria-invalid` goes away, and with it the attribute.
    let settings = include_str!("../../askama.toml");
    assert!(
        settings.contains("whitespace = \"minimize\"") || settings.contains("whitespace = \"preserve\""),
        "{settings}"
    );
}

#[test]
fn what_the_policy_refuses_is_found() {
    let found = |markup: &str| tags(markup).iter().filter_map(refused).count();
    for bad in [
        "<b style=\"x\">",
        "<b\n class=a onClick='y'>",
        "<script>x</script>",
        "<a href=\" javascript:x\">",
        "<img src=//other/x>",
        "<style>",
        "<p {% if a > b %}class=\"x\"{% endif %} style=\"{{ x }}\">",
    ] {
        assert_eq!(found(bad), 1, "{bad}");
    }
    for good in
        ["<b class=\"on style=\">", "<script src=\"/assets/console.js\"></script>", "<a href=\"https://x/\">", "a < b"]
    {
        assert_eq!(found(good), 0, "{good}");
    }
    assert_eq!(
        named_icons(r#"icon("lock") toned("a b", "ok", "check") toned(x, "ok", &y) ("/a", "A b", "bolt", "g w", N)"#),
        ["lock", "check", "bolt"]
    );
}
