//! Words as shells read them: what is filled in stays one word, whatever is in it.

/// Who reads a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shell {
    /// `sh` of Linux and macOS.
    Sh,
    /// `cmd.exe`, in a command or a batch file.
    Cmd,
    /// PowerShell, in a script.
    PowerShell,
}

impl Shell {
    /// The one that reads a script of that name, if it is one of ours.
    pub fn of_script(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "sh" => Some(Self::Sh),
            "bat" | "cmd" => Some(Self::Cmd),
            "ps1" => Some(Self::PowerShell),
            _ => None,
        }
    }

    /// A text as one word; what the shell has no way to write is refused with a reason.
    pub fn word(self, text: &str) -> Result<String, &'static str> {
        match self {
            Self::Sh if is_plain(text, "._-+/:@,") => Ok(text.to_owned()),
            Self::Sh => Ok(format!("'{}'", text.replace('\'', "'\\''"))),
            Self::Cmd if text.contains(['"', '%']) => Err("Windows takes neither \" nor % here"),
            Self::Cmd if text.contains(['\n', '\r']) => Err("a batch file has no way to write a text of several lines"),
            Self::Cmd if is_plain(text, "._-+/\\:") => Ok(text.to_owned()),
            // Programs read \" as a quote: a backslash at the end is doubled.
            Self::Cmd => {
                let ending = text.len() - text.trim_end_matches('\\').len();
                Ok(format!("\"{text}{}\"", "\\".repeat(ending)))
            }
            // PowerShell ends a text at the typographer's quotes, too; each is written twice.
            Self::PowerShell => {
                let mut word = String::from("'");
                for c in text.chars() {
                    word.push(c);
                    if matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}') {
                        word.push(c);
                    }
                }
                word.push('\'');
                Ok(word)
            }
        }
    }

    /// Several words. PowerShell wants commas.
    pub fn words<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Result<String, &'static str> {
        let words: Result<Vec<String>, _> = words.into_iter().map(|word| self.word(word)).collect();
        Ok(words?.join(if self == Self::PowerShell { ", " } else { " " }))
    }
}

/// Does no shell see anything in it? Letters and digits are plain everywhere.
fn is_plain(text: &str, others: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || others.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_whatever_is_in_it() {
        let word = |shell: Shell, text: &str| shell.word(text).unwrap_or_else(|problem| format!("refused: {problem}"));
        for (text, sh, cmd, powershell) in [
            ("setup.msi", "setup.msi", "setup.msi", "'setup.msi'"),
            ("", "''", "\"\"", "''"),
            ("a b", "'a b'", "\"a b\"", "'a b'"),
            ("it's", "'it'\\''s'", "\"it's\"", "'it''s'"),
            ("~root", "'~root'", "\"~root\"", "'~root'"),
            ("a=b", "'a=b'", "\"a=b\"", "'a=b'"),
            ("C:\\x y\\", "'C:\\x y\\'", "\"C:\\x y\\\\\"", "'C:\\x y\\'"),
            ("a\\b", "'a\\b'", "a\\b", "'a\\b'"),
            ("$(reboot)`id`;&|", "'$(reboot)`id`;&|'", "\"$(reboot)`id`;&|\"", "'$(reboot)`id`;&|'"),
            ("a\u{2019}; reboot", "'a\u{2019}; reboot'", "\"a\u{2019}; reboot\"", "'a\u{2019}\u{2019}; reboot'"),
            ("%PATH%", "'%PATH%'", "refused: Windows takes neither \" nor % here", "'%PATH%'"),
        ] {
            assert_eq!(word(Shell::Sh, text), sh, "sh: {text}");
            assert_eq!(word(Shell::Cmd, text), cmd, "cmd: {text}");
            assert_eq!(word(Shell::PowerShell, text), powershell, "PowerShell: {text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn sh_reads_back_what_was_quoted() {
        for text in ["it's", "a\nb", "$HOME `id` \\ \"x\" *", "-n", "~", "'", "''", "a=b c", "\u{e9}\u{1f600}"] {
            let word = Shell::Sh.word(text).expect("sh writes everything");
            let script = format!("printf %s {word}");
            let output = std::process::Command::new("sh").arg("-c").arg(&script).output().expect("sh runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{script}");
        }
    }
}
