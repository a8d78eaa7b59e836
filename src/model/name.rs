//! Names that people give, and that stand in addresses.

/// Whether a name can be read and addressed: one line of 1 to `most` characters, no control characters, no space at its
/// ends, and neither `.` nor `..`, which browsers take for a step and leave out of an address, however they are escaped.
pub fn is_name(text: &str, most: usize) -> bool {
    is_line(text, most) && is_addressable(text)
}

/// Whether a text can be a part of an address, escaped: not if there is nothing, and not if it is a step.
pub fn is_addressable(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
}

/// Whether a text is one line of 1 to `most` characters without control characters and without a space at its ends.
pub fn is_line(text: &str, most: usize) -> bool {
    !text.is_empty() && text.trim() == text && text.chars().count() <= most && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_length_and_an_address() {
        let long = "ä".repeat(10);
        for name in ["a", "...", ".a", "a/b", "a b", "<b>", long.as_str()] {
            assert!(is_name(name, 10), "{name}");
        }
        let longer = "ä".repeat(11);
        for name in ["", " ", " a", "a ", "a\nb", "a\u{1b}[2J", ".", "..", longer.as_str()] {
            assert!(!is_name(name, 10), "{name}");
        }
        assert!(is_line("..", 10), "what is in no address may be called anything");
    }
}
