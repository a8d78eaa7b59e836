//! Which programs may check in (ocs-protocol 1.2).

use std::str::FromStr;

/// The rule for the `User-Agent` of a PROLOG.
///
/// ```
/// use dripfeed::model::UserAgents;
///
/// assert!(UserAgents::Any.admits(""));
/// assert!(UserAgents::Known.admits("OCS-NG_unified_unix_agent_v2.10.5"));
/// assert!(!UserAgents::Known.admits("curl/8.0"));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UserAgents {
    /// Whoever speaks the protocol.
    #[default]
    Any,
    /// Who names itself as an OCS agent, as ours does, too. Of whatever version: the stock server compares them with its own
    /// by their first digits, and so refuses agents that it understands.
    Known,
}

/// What the stock server takes.
const KNOWN: [&str; 6] = [
    "OCS-NG_unified_unix_agent",
    "OCS-NG_WINDOWS_AGENT",
    "OCS-NG_windows_mobile_agent",
    "OCS-NG_iOS_agent",
    "OCS-NG_Android_agent",
    OLD_WINDOWS,
];
/// Agents before 2.0 have a bare number.
const OLD_WINDOWS: &str = "OCS-NG_windows_client";

impl UserAgents {
    /// Its word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Known => "known",
        }
    }

    /// May that program check in?
    pub fn admits(self, user_agent: &str) -> bool {
        if self == Self::Any {
            return true;
        }
        let Some((name, version)) = user_agent.rsplit_once("_v") else {
            return false;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | ' ' | '(' | ')');
        if !version.starts_with(|c: char| c.is_ascii_digit()) || !version.chars().all(plain) || !KNOWN.contains(&name) {
            return false;
        }
        name != OLD_WINDOWS || version.parse().is_ok_and(|number: u32| (4032..=4062).contains(&number))
    }
}

impl FromStr for UserAgents {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Any, Self::Known].into_iter().find(|rule| rule.as_str() == word).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_known_by_name_and_number() {
        for known in [
            "OCS-NG_unified_unix_agent_v2.10.5",
            "OCS-NG_unified_unix_agent_v2.0.1-dripfeed-0.1.0",
            "OCS-NG_WINDOWS_AGENT_v2.11.0.1",
            "OCS-NG_WINDOWS_AGENT_v9.9",
            "OCS-NG_windows_client_v4062",
            "OCS-NG_Android_agent_v2.7",
        ] {
            assert!(UserAgents::Known.admits(known), "{known}");
        }
        for stranger in [
            "",
            "Mozilla/5.0 (X11)",
            "OCS-NG_unified_unix_agent",
            "OCS-NG_unified_unix_agent_v",
            "OCS-NG_unified_unix_agent_vlatest",
            "ocs-ng_unified_unix_agent_v2.1",
            "OCS-NG_windows_client_v4063",
            "OCS-NG_windows_client_v4031",
            "OCS-NG_WINDOWS_AGENT_v2.1<script>",
            "OCS-NG_WINDOWS_AGENT_v2.1\u{1b}[31m",
        ] {
            assert!(!UserAgents::Known.admits(stranger), "{stranger}");
            assert!(UserAgents::Any.admits(stranger), "{stranger}");
        }
        assert_eq!(["any", "known", "none"].map(str::parse), [Ok(UserAgents::Any), Ok(UserAgents::Known), Err(())]);
    }
}
