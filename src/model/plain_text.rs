//! HTML → plain text: the stock Windows agent shows the administrator's text as HTML, a dialog here shows text.
//!
//! What looks like a tag goes; what breaks lines in HTML breaks them here; entities are resolved once; what steers a
//! terminal or turns the direction of text goes. A `<` that begins no tag stays, so "memory < 4 GiB" is read as written.

/// Characters that a person is shown; more would push the buttons off the screen.
pub const TEXT_LIMIT: usize = 2000;

/// Lines that a person is shown.
const LINES: usize = 40;

/// Bytes that are looked at, whatever comes of them.
const INPUT: usize = 64 << 10;

/// Bytes of a tag; what is longer is text.
const TAG: usize = 4096;

/// The text without markup: at most [`TEXT_LIMIT`] characters and 40 lines, without control characters.
#[must_use]
pub fn plain_text(html: &str) -> String {
    let mut end = html.len().min(INPUT);
    while !html.is_char_boundary(end) {
        end -= 1;
    }
    tidy(&without_markup(&html[..end]))
}

fn without_markup(mut rest: &str) -> String {
    let mut text = String::new();
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if let Some((length, break_before)) = tag(from) {
            text.push_str(break_before);
            rest = &from[length..];
        } else if let Some((length, character)) = entity(from) {
            text.push(character);
            rest = &from[length..];
        } else {
            text.push_str(&from[..1]);
            rest = &from[1..];
        }
    }
    text.push_str(rest);
    text
}

/// The length of the tag or comment that the text begins with, with an element whose content is not to be read; and what
/// it leaves.
fn tag(text: &str) -> Option<(usize, &'static str)> {
    let inner = text.strip_prefix('<')?;
    if let Some(comment) = inner.strip_prefix("!--") {
        return Some((comment.find("-->").map_or(text.len(), |at| at + 7), ""));
    }
    let name_at = inner.strip_prefix(['/', '!', '?']).unwrap_or(inner);
    if !name_at.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let length = text.bytes().take(TAG).position(|byte| byte == b'>')? + 1;
    let name = name_at.split(|c: char| !c.is_ascii_alphanumeric()).next()?.to_ascii_lowercase();
    let closes = inner.starts_with('/');
    match &*name {
        "script" | "style" | "head" if !closes => Some((past_end_tag(text, length, &name), "")),
        "br" | "p" | "div" | "tr" | "ul" | "ol" | "table" | "hr" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
            Some((length, "\n"))
        }
        "li" if !closes => Some((length, "\n- ")),
        "td" | "th" => Some((length, " ")),
        _ => Some((length, "")),
    }
}

fn past_end_tag(text: &str, from: usize, name: &str) -> usize {
    let lower = text[from..].to_ascii_lowercase();
    let Some(at) = lower.find(&format!("</{name}")) else { return text.len() };
    lower[at..].find('>').map_or(text.len(), |end| from + at + end + 1)
}

/// The length of the entity that the text begins with, and what it stands for.
fn entity(text: &str) -> Option<(usize, char)> {
    let inner = text.strip_prefix('&')?;
    let end = inner.bytes().take(10).position(|byte| byte == b';')?;
    let character = match &inner[..end] {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        name => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((end + 2, character))
}

/// Blanks become one, empty lines at most one in a row, and what is too much goes.
fn tidy(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let normal = text.replace("\r\n", "\n").replace('\r', "\n");
    for line in normal.split('\n') {
        let visible: String =
            line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| is_visible(*c)).collect();
        let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(line);
        }
        if lines.len() > LINES {
            break;
        }
    }
    lines.truncate(LINES);
    let text = lines.join("\n");
    let text = text.trim();
    if text.chars().count() <= TEXT_LIMIT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(TEXT_LIMIT - 2).collect();
    format!("{} …", kept.trim_end())
}

/// Not what steers a terminal, is nothing, or turns the direction of what is read.
fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_goes_and_its_line_breaks_stay() {
        let html = "<html><head><title>x</title></head><body><h1>Update</h1><p>Please <b>save</b> your work.<br/>\
                    It takes <i>10&nbsp;minutes</i>.</p><ul><li>one<li>two</ul><!-- <b>hidden --></body></html>";
        insta::assert_snapshot!(plain_text(html), @r"
        Update

        Please save your work.
        It takes 10 minutes.

        - one
        - two
        ");
    }

    #[test]
    fn what_is_no_tag_and_no_entity_is_read_as_written() {
        for text in ["memory < 4 GiB & disk > 2", "a<3", "AT&T", "&unknown;", "<", "&", "x <", "1 <= 2 &&"] {
            assert_eq!(plain_text(text), text);
        }
    }

    #[test]
    fn entities_are_resolved_once() {
        assert_eq!(plain_text("&lt;b&gt; &amp;lt; &#228;&#xE4; &quot;&apos;"), "<b> &lt; ää \"'");
        assert_eq!(plain_text("&#0;&#x110000;&#xD800;&#99999999999;"), "&#x110000;&#xD800;&#99999999999;");
    }

    #[test]
    fn scripts_and_styles_are_not_read() {
        assert_eq!(plain_text("a<script>alert('<b>')</script>b<STYLE>p { }</STYLE >c<style>never ends"), "abc");
    }

    #[test]
    fn what_steers_terminals_and_turns_text_goes() {
        assert_eq!(plain_text("a\u{1b}[31mb\u{7}\u{202e}c\u{200b}\u{0}d\u{9b}"), "a[31mbcd");
        assert_eq!(plain_text("&#27;]0;x&#7;"), "]0;x");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let text = plain_text(&"word ".repeat(10_000));
        assert!(text.chars().count() <= TEXT_LIMIT && text.ends_with(" …"), "{}", text.len());
        assert_eq!(plain_text(&"x\n".repeat(500)).lines().count(), LINES);
    }

    proptest! {
        #[test]
        fn whatever_comes_the_text_is_bounded_and_plain(html in "[ -~<>&;/#!\\r\\n\\tä\u{202e}\u{1b}]{0,400}") {
            let text = plain_text(&html);
            prop_assert!(text.chars().count() <= TEXT_LIMIT && text.lines().count() <= LINES);
            prop_assert!(text.chars().all(|c| c == '\n' || is_visible(c)), "{text:?}");
            prop_assert_eq!(text.trim(), &text);
        }
    }
}
