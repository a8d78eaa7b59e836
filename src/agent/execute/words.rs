//! The words of a command line.

/// The first word of a command and the rest as it stands. Quotes group and vanish, a backslash takes the next character
/// as it is; `None` if a quote does not end.
///
/// Stock Unix agents cut at the first blank or hyphen, so `my-setup.sh` never starts there (ocs-protocol 13.2); here it
/// does.
pub(super) fn first_word(command: &str) -> Option<(String, &str)> {
    let command = command.trim_start();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = command.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (None, c) if c.is_whitespace() => return Some((word, &command[at..])),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), c) if c == open => quote = None,
            // Windows has backslashes in paths.
            (None | Some('"'), '\\') if cfg!(unix) => word.push(characters.next()?.1),
            (_, c) => word.push(c),
        }
    }
    quote.is_none().then_some((word, ""))
}

/// Does only a shell understand these arguments? (The characters that make Perl's `system` call one, and `#`.)
#[cfg(any(unix, test))] // Windows always asks the shell
pub(super) fn needs_shell(arguments: &str) -> bool {
    arguments.contains(|c| "$&*(){}[]'\";\\|?<>~`\n#".contains(c))
}

/// A word that the shell takes as it is.
#[cfg(any(unix, test))]
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Puts the values of variables where a path says `%NAME%`, as the interpreter of Windows does; a name that has no value
/// stays as it stands.
#[cfg(any(windows, test))]
pub(super) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        expanded.push_str(before);
        let named =
            behind.split_once('%').and_then(|(name, after)| Some((value(name).filter(|_| !name.is_empty())?, after)));
        if let Some((value, after)) = named {
            expanded.push_str(&value);
            rest = after;
        } else {
            expanded.push('%');
            rest = behind;
        }
    }
    expanded + rest
}

/// As much of a command as fits in a sentence.
pub(super) fn shorten(text: &str) -> String {
    const LIMIT: usize = 120;
    let mut short: String = text.chars().take(LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_first_word_ends_at_a_blank_outside_quotes() {
        for (command, word, rest) in [
            ("setup.sh --quiet", "setup.sh", " --quiet"),
            ("  my-setup.sh\t-x", "my-setup.sh", "\t-x"),
            ("'my setup.sh' a 'b c'", "my setup.sh", " a 'b c'"),
            ("\"my setup\".sh", "my setup.sh", ""),
            ("a\\ b c", "a b", " c"),
            ("\"it's\" x", "it's", " x"),
            ("'a\\b'", "a\\b", ""),
            ("größe.sh ü", "größe.sh", " ü"),
            ("", "", ""),
            ("''", "", ""),
        ] {
            assert_eq!(first_word(command), Some((word.to_owned(), rest)), "{command:?}");
        }
    }

    #[test]
    fn a_quote_that_does_not_end_is_no_command() {
        for command in ["'setup.sh --quiet", "\"a b", "a'b"] {
            assert_eq!(first_word(command), None, "{command:?}");
        }
        #[cfg(unix)]
        assert_eq!(first_word("a\\"), None);
    }

    #[test]
    fn only_characters_of_the_shell_ask_for_one() {
        assert!(!needs_shell(" --prefix=/opt/x -y 3,4 a@b"));
        for arguments in [" $HOME", " > log", " 'a b'", " \"a\"", " a;b", " a # b", " a\nb"] {
            assert!(needs_shell(arguments), "{arguments:?}");
        }
    }

    #[test]
    fn variables_of_a_path_are_replaced_once_and_unknown_ones_stay() {
        let value = |name: &str| match name {
            "ProgramFiles" => Some(r"C:\Program Files".to_owned()),
            "TWICE" => Some("%ProgramFiles%".to_owned()),
            _ => None,
        };
        for (text, expanded) in [
            (r"%ProgramFiles%\x", r"C:\Program Files\x"),
            (r"D:\100%\%ProgramFiles%", r"D:\100%\C:\Program Files"),
            ("%TWICE%", "%ProgramFiles%"),
            ("%nobody%%ProgramFiles%", r"%nobody%C:\Program Files"),
            ("%%", "%%"),
            ("50%", "50%"),
            ("", ""),
        ] {
            assert_eq!(expand(text, value), expanded, "{text}");
        }
    }

    #[test]
    fn quoted_words_survive_the_shell() {
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
