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
            "ERR_CLEAN" => "the agent could not remove its working directory",
            "ERR_DONE_FAILED" => "the agent could not read back the result it had stored",
            "ERR_DOWNLOAD_INFO" => {
                "the info file could not be fetched: check the info location and the agent's CA file"
            }
            "ERR_DOWNLOAD_PACK" => "a fragment could not be fetched",
            "ERR_EXECUTE" => "the command failed or could not be started",
            "ERR_EXECUTE_INTERRUPTED" => {
                "the computer or the agent stopped while the command was running; it was not repeated"
            }
            "ERR_EXECUTE_TIMEOUT" => "the command ran longer than EXECUTION_TIMEOUT minutes and was ended",
            "ERR_OUT_OF_SPACE" => "the computer's disk is too full to unpack the package",
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
    fn exit_codes_have_their_documented_words() {
        let words: Vec<String> =
            [0, 3, 1641, 3010, 3011, -1].map(|code| ResultCode::of_exit(code).to_string()).to_vec();
        insta::assert_snapshot!(words.join(" "), @"SUCCESS ERR_EXIT_CODE_3 SUCCESS_REBOOT_INITIATED SUCCESS_REBOOT_REQUIRED SUCCESS_RESTART_REQUIRED ERR_EXIT_CODE_-1");
    }
}
