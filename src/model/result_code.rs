//! What an agent says became of a package.

use std::fmt;

/// How a result code is to be read: by its prefix, as the stock console does (ocs-protocol 8).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// `SUCCESS…`.
    Success,
    /// `SUCCESS_ALREADY_…`: nothing had to be done.
    AlreadyInstalled,
    /// `ERR_TIMEOUT`: it took longer than `TIMEOUT` days.
    TimedOut,
    /// `ERR_…`, `EXIT_CODE…`, and whatever nobody knows.
    Failure,
}

/// The wire's own word for a result, kept verbatim: `SUCCESS_3`, `ERR_BAD_DIGEST`, `EXIT_CODE_1603` (ocs-protocol 8).
///
/// Agents may send any text; the stock server stores it as it is, cut at 255 characters, and `UNKNOWN_CODE` for none.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResultCode(String);

impl ResultCode {
    /// Takes what an agent sent.
    ///
    /// ```
    /// # use dripfeed::model::ResultCode;
    /// assert_eq!(ResultCode::from_wire("SUCCESS_3").as_str(), "SUCCESS_3");
    /// assert_eq!(ResultCode::from_wire("").as_str(), "UNKNOWN_CODE");
    /// ```
    pub fn from_wire(text: &str) -> Self {
        // The stock server takes "0" for nothing as well, because Perl does.
        if text.is_empty() || text == "0" {
            return Self("UNKNOWN_CODE".to_owned());
        }
        Self(text.chars().take(255).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect())
    }

    /// Done.
    pub fn success() -> Self {
        Self("SUCCESS".to_owned())
    }

    /// The agent's history has it.
    pub fn already_setup() -> Self {
        Self("SUCCESS_ALREADY_SETUP".to_owned())
    }

    /// The server's ledger has it; never told to the agent.
    pub fn already_in_history() -> Self {
        Self("SUCCESS_ALREADY_IN_HISTORY".to_owned())
    }

    /// The program ended with that code: 0 is `SUCCESS`; 1641, 3010 and 3011 are the installers' words for a restart;
    /// anything else is the documented `ERR_EXIT_CODE_<n>`.
    pub fn of_exit(code: i32) -> Self {
        Self(match code {
            0 => "SUCCESS".to_owned(),
            1641 => "SUCCESS_REBOOT_INITIATED".to_owned(),
            3010 => "SUCCESS_REBOOT_REQUIRED".to_owned(),
            3011 => "SUCCESS_RESTART_REQUIRED".to_owned(),
            other => format!("ERR_EXIT_CODE_{other}"),
        })
    }

    /// The exit code of the command, where the word tells it: what [`ResultCode::of_exit`] was given.
    ///
    /// ```
    /// # use dripfeed::model::ResultCode;
    /// assert_eq!(ResultCode::of_exit(3010).exit_code(), Some(3010));
    /// assert_eq!(ResultCode::error("TIMEOUT").exit_code(), None);
    /// ```
    pub fn exit_code(&self) -> Option<i32> {
        match self.0.as_str() {
            "SUCCESS" => Some(0),
            "SUCCESS_REBOOT_INITIATED" => Some(1641),
            "SUCCESS_REBOOT_REQUIRED" => Some(3010),
            "SUCCESS_RESTART_REQUIRED" => Some(3011),
            other => other.strip_prefix("ERR_EXIT_CODE_")?.parse().ok(),
        }
    }

    /// `ERR_<what>`, for the fixed codes of ocs-protocol 8.
    pub fn error(what: &'static str) -> Self {
        Self(format!("ERR_{what}"))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How to read it.
    pub fn outcome(&self) -> Outcome {
        match self.0.as_str() {
            "ERR_TIMEOUT" => Outcome::TimedOut,
            code if code.starts_with("SUCCESS_ALREADY") => Outcome::AlreadyInstalled,
            code if code.starts_with("SUCCESS") => Outcome::Success,
            _ => Outcome::Failure,
        }
    }

    /// A sentence for people, or `None` for a code that nobody knows.
    pub fn explanation(&self) -> Option<String> {
        let exit_code = |prefix| self.0.strip_prefix(prefix).and_then(|code| code.parse::<i64>().ok());
        let text = match self.0.as_str() {
            "SUCCESS" | "SUCCESS_0" => "done",
            "SUCCESS_" => "done; the exit code was lost because the first report was not delivered",
            "SUCCESS_ALREADY_SETUP" => "the agent had done this package before",
            "SUCCESS_ALREADY_IN_HISTORY" => {
                "the computer's inventory lists this package already, so it was not offered"
            }
            "SUCCESS_REBOOT_INITIATED" => "done; the installer restarts the computer",
            "SUCCESS_REBOOT_REQUIRED" => "done; the computer must be restarted",
            "SUCCESS_RESTART_REQUIRED" => "done; a service or program must be restarted",
            "ERR_ABORTED" => "the person at the computer refused",
            "ERR_BAD_DIGEST" => "what was downloaded is not what was built: a fragment is damaged or was replaced",
            "ERR_BAD_ID" => "the info file names another package",
            "ERR_BAD_PARAM" => "the package has no command or path, or an action that the agent does not know",
            "ERR_BUILD" => "the archive could not be put together or unpacked",
            "ERR_CLEAN" => "the agent could not remove its working directory, or what an earlier try had left in it",
            "ERR_DONE_FAILED" => "it was executed, but the agent could not keep the result, or read it back",
            "ERR_DOWNLOAD_INFO" => {
                "the info file could not be fetched: check the info location and the agent's CA file"
            }
            "ERR_DOWNLOAD_PACK" => "fragments could not be fetched within TIMEOUT days",
            "ERR_EXECUTE" => "the command failed or could not be started",
            "ERR_EXECUTE_INTERRUPTED" => {
                "the computer or the agent stopped while the command was running; it was not repeated"
            }
            "ERR_EXECUTE_NO_EXIT_CODE" => "the command ended, but its exit code could not be read",
            "ERR_EXECUTE_TOO_MANY_TRY" | "ERR_EXECUTE_TOO_MANY_ERRORS" => {
                "the agent crashed while the command ran, again and again, and gave up"
            }
            "ERR_EXECUTE_PACK" => "an agent before 2013 found no command, or could not start it",
            "ERR_NO_LAUNCHER" | "ERR_NO_INST32_CODE" => "the agent's own launcher is missing or did not answer",
            "ERR_NO_PARAM" => "the package has no command or path",
            "ERR_ALREADY_SETUP" | "ERR_ALREADY_IN_HISTORY" => "an agent before 2013 had done this package before",
            "ERR_EXECUTE_TIMEOUT" => "the command ran longer than EXECUTION_TIMEOUT minutes and was ended",
            "ERR_OUT_OF_SPACE" => "the computer's disk is too full for the package",
            "ERR_TIMEOUT" => "the package was not complete within TIMEOUT days",
            "ERR_UNZIP" => "the archive could not be unpacked",
            "UNKNOWN_CODE" => "the agent sent a result without a code",
            _ => {
                if let Some(code) = exit_code("SUCCESS_") {
                    return Some(format!(
                        "the command ended with exit code {code}, which stock Unix agents call a success"
                    ));
                }
                let code = exit_code("ERR_EXIT_CODE_").or_else(|| exit_code("EXIT_CODE_"))?;
                return Some(format!("the command ended with exit code {code}"));
            }
        };
        Some(text.to_owned())
    }

    /// What to do about it, or `None` for what is well or what nobody knows.
    pub fn advice(&self) -> Option<&'static str> {
        let code = self.0.as_str();
        Some(match code {
            "ERR_ABORTED" => "talk to the person there, or deploy again without asking",
            "ERR_BAD_DIGEST" => {
                "run dripfeed package verify; if the tree is right, a mirror or a proxy in between gives out something else"
            }
            "ERR_BAD_ID" => "retry: the agent's directory held something of another package",
            "ERR_DONE_FAILED" => "look at the disk and at what is installed there; a retry executes the package again",
            "ERR_BAD_PARAM" | "ERR_NO_PARAM" => "build the package anew with a command or a path",
            "ERR_BUILD" | "ERR_UNZIP" => {
                "look at the free space and the permissions of the agent's directory there, then retry"
            }
            "ERR_CLEAN" => {
                "something there holds the agent's files open, or they are write-protected: its log names them; then retry"
            }
            "ERR_DOWNLOAD_INFO" => {
                "open the info location from that computer; it must be https and the agent must have this server's ca.pem"
            }
            "ERR_DOWNLOAD_PACK" => {
                "open the fragment location from that computer, and look into the agent's log there; then retry"
            }
            "ERR_EXECUTE" | "ERR_EXECUTE_PACK" => "run the command by hand there to see what it says",
            "ERR_EXECUTE_INTERRUPTED" => "look whether it was done, then retry",
            "ERR_EXECUTE_NO_EXIT_CODE" => "look whether it was done there: the command ended in an unusual way",
            "ERR_EXECUTE_TIMEOUT" => {
                "the command probably waits for an answer: make it silent, or raise EXECUTION_TIMEOUT"
            }
            "ERR_EXECUTE_TOO_MANY_TRY" | "ERR_EXECUTE_TOO_MANY_ERRORS" => "update the agent there, then retry",
            "ERR_OUT_OF_SPACE" => "free three times the package's size there, then retry",
            "ERR_TIMEOUT" => {
                "make it faster (a smaller priority, shorter pauses) or raise DOWNLOAD_TIMEOUT, then retry"
            }
            "ERR_NO_LAUNCHER" | "ERR_NO_INST32_CODE" => "install the agent there anew",
            "ERR_ALREADY_SETUP" | "ERR_ALREADY_IN_HISTORY" => "nothing, or deploy with force to run it again",
            "UNKNOWN_CODE" => "look into the agent's log there",
            _ => {
                let exit = code.strip_prefix("ERR_EXIT_CODE_").or_else(|| code.strip_prefix("EXIT_CODE_"))?;
                match exit.parse::<i64>().ok()? {
                    1 => "a general failure: run the command by hand there to see what it says",
                    2 => "often a file that is not there or a wrong option: look at the command",
                    5 => "access was denied: the agent's account may not do this",
                    126 => "the script is not executable, or its interpreter may not be used",
                    127 => "a program that the command names is not installed there",
                    137 => "the command was killed, often because memory ran out",
                    259 => "the command still ran when the agent stopped waiting: raise EXECUTION_TIMEOUT",
                    1602 => "the installer was cancelled: make it silent",
                    1603 => {
                        "the Windows installer failed: a log (/l*v) says where; a retry helps if another one was running"
                    }
                    1605 => "the product that was to be changed is not installed there",
                    1612 | 1619 | 1620 => {
                        "the installer did not find or could not open its package: look at the file's name"
                    }
                    1618 => "another installation was running: retry",
                    1625 => "a policy forbids this installation there",
                    1633 => "the package is for another processor",
                    1638 => "another version is installed already: remove it first or use an upgrade",
                    _ => "the program's own documents say what its exit code means; run the command by hand there",
                }
            }
        })
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_by_their_prefix() {
        for (code, outcome) in [
            ("SUCCESS", Outcome::Success),
            ("SUCCESS_", Outcome::Success),
            ("SUCCESS_3", Outcome::Success),
            ("SUCCESS_REBOOT_REQUIRED", Outcome::Success),
            ("SUCCESS_ALREADY_SETUP", Outcome::AlreadyInstalled),
            ("ERR_TIMEOUT", Outcome::TimedOut),
            ("ERR_BAD_DIGEST", Outcome::Failure),
            ("EXIT_CODE_-1", Outcome::Failure),
            ("UNKNOWN_CODE", Outcome::Failure),
            ("anything", Outcome::Failure),
        ] {
            assert_eq!(ResultCode::from_wire(code).outcome(), outcome, "{code}");
        }
    }

    #[test]
    fn text_from_the_wire_is_bounded_and_kept() {
        assert_eq!(ResultCode::from_wire(&"é".repeat(300)).as_str().chars().count(), 255);
        assert_eq!(ResultCode::from_wire("a\u{0}b\n").as_str(), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn what_is_lost_is_explained_with_what_to_do() {
        // ocs-protocol 8, all that is an error.
        for code in [
            "EXIT_CODE_1603",
            "ERR_EXIT_CODE_3",
            "ERR_BAD_ID",
            "ERR_DOWNLOAD_INFO",
            "ERR_DOWNLOAD_PACK",
            "ERR_BAD_DIGEST",
            "ERR_BUILD",
            "ERR_UNZIP",
            "ERR_OUT_OF_SPACE",
            "ERR_EXECUTE",
            "ERR_EXECUTE_NO_EXIT_CODE",
            "ERR_EXECUTE_TIMEOUT",
            "ERR_EXECUTE_TOO_MANY_TRY",
            "ERR_BAD_PARAM",
            "ERR_ABORTED",
            "ERR_DONE_FAILED",
            "ERR_TIMEOUT",
            "ERR_CLEAN",
            "ERR_ALREADY_SETUP",
            "ERR_ALREADY_IN_HISTORY",
            "ERR_EXECUTE_PACK",
            "ERR_EXECUTE_TOO_MANY_ERRORS",
            "ERR_NO_PARAM",
            "ERR_NO_LAUNCHER",
            "ERR_NO_INST32_CODE",
            "UNKNOWN_CODE",
        ] {
            let code = ResultCode::from_wire(code);
            assert!(code.explanation().is_some() && code.advice().is_some(), "{code}");
        }
        assert_eq!(ResultCode::from_wire("SUCCESS").advice(), None);
        assert_eq!(ResultCode::from_wire("EXIT_CODE_x").advice(), None);
    }

    #[test]
    fn exit_codes_have_their_documented_words() {
        let words: Vec<String> =
            [0, 3, 1641, 3010, 3011, -1].map(|code| ResultCode::of_exit(code).to_string()).to_vec();
        insta::assert_snapshot!(words.join(" "), @"SUCCESS ERR_EXIT_CODE_3 SUCCESS_REBOOT_INITIATED SUCCESS_REBOOT_REQUIRED SUCCESS_RESTART_REQUIRED ERR_EXIT_CODE_-1");
    }
}
