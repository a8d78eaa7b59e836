//! What a package's command means by its exit code, where it is not what everybody means.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::ResultCode;

/// What one exit code stands for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ExitMeaning {
    /// Done: `SUCCESS`, or `SUCCESS_<n>` so that the code is not lost.
    Success,
    /// Done, and the computer must be restarted: `SUCCESS_REBOOT_REQUIRED`.
    Reboot,
    /// Not done: `ERR_EXIT_CODE_<n>`.
    Failure,
}

impl ExitMeaning {
    /// The word that the info file has.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Reboot => "reboot",
            Self::Failure => "failure",
        }
    }
}

/// Why a list of exit codes was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{entry}\" is not an exit code and its meaning: {problem}; expected, for example, \"3=success 194=reboot 0=failure\""
)]
pub struct InvalidExitCodes {
    entry: String,
    problem: &'static str,
}

/// The exit codes of a package's command that mean something else than usual ([`ResultCode::of_exit`]); the others mean
/// what they always do. At most [`ExitCodes::MAX`].
///
/// ```
/// # use dripfeed::model::{ExitCodes, ResultCode};
/// let codes: ExitCodes = "3=success 194=reboot".parse().unwrap();
/// assert_eq!(codes.judge(ResultCode::of_exit(194)).as_str(), "SUCCESS_REBOOT_REQUIRED");
/// assert_eq!(codes.judge(ResultCode::of_exit(1)).as_str(), "ERR_EXIT_CODE_1");
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct ExitCodes(BTreeMap<i32, ExitMeaning>);

impl ExitCodes {
    /// How many may be listed: an exit code has 256 values nearly everywhere.
    pub const MAX: usize = 256;

    /// Does every code mean what it always does?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is listed, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (i32, ExitMeaning)> {
        self.0.iter().map(|(code, meaning)| (*code, *meaning))
    }

    /// Reads the usual result of a command that ended by itself in this package's way. What says nothing of an exit code
    /// (a time-out, a full disk) stays as it is.
    #[must_use]
    pub fn judge(&self, usual: ResultCode) -> ResultCode {
        let Some(code) = usual.exit_code() else { return usual };
        match self.0.get(&code) {
            None => usual,
            Some(ExitMeaning::Success) if code == 0 => ResultCode::success(),
            Some(ExitMeaning::Success) => ResultCode::from_wire(&format!("SUCCESS_{code}")),
            Some(ExitMeaning::Reboot) => ResultCode::of_exit(3010),
            Some(ExitMeaning::Failure) => ResultCode::from_wire(&format!("ERR_EXIT_CODE_{code}")),
        }
    }
}

impl FromStr for ExitCodes {
    type Err = InvalidExitCodes;

    /// Entries `<code>=<meaning>`, separated by blanks or commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut codes = BTreeMap::new();
        for entry in text.split([' ', ',', '\t', '\n']).filter(|entry| !entry.is_empty()) {
            let refuse = |problem| InvalidExitCodes { entry: entry.chars().take(40).collect(), problem };
            let (code, word) = entry.split_once('=').ok_or_else(|| refuse("there is no ="))?;
            let code = code.parse().map_err(|_| refuse("the code is not a whole number of 32 bits"))?;
            let meaning = [ExitMeaning::Success, ExitMeaning::Reboot, ExitMeaning::Failure]
                .into_iter()
                .find(|meaning| meaning.as_str().eq_ignore_ascii_case(word))
                .ok_or_else(|| refuse("the meaning is not success, reboot or failure"))?;
            if codes.insert(code, meaning).is_some_and(|before| before != meaning) {
                return Err(refuse("that code has another meaning before"));
            }
            if codes.len() > Self::MAX {
                return Err(refuse("there are more than 256"));
            }
        }
        Ok(Self(codes))
    }
}

impl fmt::Display for ExitCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (code, meaning)) in self.iter().enumerate() {
            let blank = if at == 0 { "" } else { " " };
            write!(f, "{blank}{code}={}", meaning.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn listed_codes_mean_what_the_list_says_and_the_others_what_they_always_do() {
        let codes: ExitCodes = "3=success, 194=REBOOT 0=failure -1=success".parse().expect("a list");
        let told: Vec<String> =
            [0, 1, 3, 194, 3010, -1].map(|code| format!("{code}: {}", codes.judge(ResultCode::of_exit(code)))).to_vec();
        insta::assert_snapshot!(told.join("\n"), @r"
        0: ERR_EXIT_CODE_0
        1: ERR_EXIT_CODE_1
        3: SUCCESS_3
        194: SUCCESS_REBOOT_REQUIRED
        3010: SUCCESS_REBOOT_REQUIRED
        -1: SUCCESS_-1
        ");
        for other in ["EXECUTE_TIMEOUT", "OUT_OF_SPACE", "EXECUTE_INTERRUPTED"] {
            assert_eq!(codes.judge(ResultCode::error(other)), ResultCode::error(other));
        }
        assert_eq!(codes.to_string(), "-1=success 0=failure 3=success 194=reboot");
    }

    #[test]
    fn what_is_no_list_is_told_why() {
        let many = (0..300).map(|code| format!("{code}=success")).collect::<Vec<_>>().join(" ");
        let refusals: Vec<String> = ["3", "x=success", "3=fine", "3=success 3=reboot", "99999999999=reboot", &many]
            .iter()
            .map(|text| text.parse::<ExitCodes>().expect_err(text).problem.to_owned())
            .collect();
        insta::assert_snapshot!(refusals.join("\n"), @r"
        there is no =
        the code is not a whole number of 32 bits
        the meaning is not success, reboot or failure
        that code has another meaning before
        the code is not a whole number of 32 bits
        there are more than 256
        ");
        assert!("".parse::<ExitCodes>().expect("none").is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_again_and_any_text_is_survived(
            list in proptest::collection::btree_map(any::<i32>(), 0..3_usize, 0..20), text in "[ -~]{0,40}"
        ) {
            let words = ["success", "reboot", "failure"];
            let written = list.iter().map(|(code, word)| format!("{code}={}", words[*word])).collect::<Vec<_>>().join(" ");
            let codes: ExitCodes = written.parse().expect("a list");
            prop_assert_eq!(codes.to_string().parse::<ExitCodes>(), Ok(codes));
            let _ = text.parse::<ExitCodes>();
        }
    }
}
