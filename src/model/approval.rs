//! Approval: what reaches many computers waits until others have agreed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::UnixTime;

/// An approval's number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ApprovalId(pub i64);

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When others are asked: the server's settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ApprovalRule {
    /// From so many computers on.
    pub from: u64,
    /// So many others.
    pub needed: u32,
}

impl ApprovalRule {
    /// As the settings `APPROVAL_FROM` and `APPROVAL_COUNT` say it; `None` if nobody is asked.
    pub fn new(from: i64, needed: i64) -> Option<Self> {
        let from = u64::try_from(from).ok().filter(|from| *from > 0)?;
        Some(Self { from, needed: u32::try_from(needed).unwrap_or(1).max(1) })
    }

    /// Does it concern what reaches so many computers, or all that there will ever be?
    pub fn concerns(&self, reach: u64, everybody: bool) -> bool {
        everybody || reach >= self.from
    }
}

/// What an approval waits for, as the gate says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Awaited {
    /// How many others have agreed.
    pub given: u32,
    /// How many have to.
    pub needed: u32,
    /// The account that asked: it cannot agree itself.
    pub asked_by: String,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waits for approval: {} of {}, asked for by {}", self.given, self.needed, self.asked_by)
    }
}

/// Where an approval is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Consent {
    /// It reaches too few computers for anybody to be asked.
    NotAsked,
    /// Nobody is told before others have agreed.
    Waits,
    /// Nothing waits for it any more, since then.
    LetGo(UnixTime),
}

/// What others have to agree to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Approval {
    /// Its number.
    pub id: ApprovalId,
    /// What is waited for.
    pub awaited: Awaited,
    /// When it was asked for.
    pub asked_at: UnixTime,
    /// How many computers were meant then.
    pub reach: u64,
    /// Where it is.
    pub consent: Consent,
}

impl Approval {
    /// Does anything wait for it?
    pub fn waits(&self) -> bool {
        self.consent == Consent::Waits
    }
}

/// What somebody said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Do it.
    Approved,
    /// Do not.
    Rejected,
    /// Do it without approval, which is not asked for any more.
    Released,
}

/// Text that names no verdict.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a verdict")]
pub struct UnknownVerdict(String);

impl Verdict {
    const ALL: [Self; 3] = [Self::Approved, Self::Rejected, Self::Released];

    /// The word in the store and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Released => "released",
        }
    }
}

impl FromStr for Verdict {
    type Err = UnknownVerdict;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| UnknownVerdict(text.to_owned()))
    }
}

/// What somebody said, when and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vote {
    /// When.
    pub at: UnixTime,
    /// The account.
    pub account: String,
    /// Through which door.
    pub via: String,
    /// What.
    pub verdict: Verdict,
    /// Why; may be empty.
    pub reason: String,
    /// When the account was locked out or deleted: it counts no more.
    pub voided_at: Option<UnixTime>,
}

/// The accounts whose consent counts: each once, by the last thing that it said. In the order of `votes`, oldest first.
pub fn consents(votes: &[Vote]) -> usize {
    let mut last: BTreeMap<&str, &Vote> = BTreeMap::new();
    for vote in votes {
        last.insert(&vote.account, vote);
    }
    last.values().filter(|vote| vote.verdict == Verdict::Approved && vote.voided_at.is_none()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(account: &str, verdict: Verdict) -> Vote {
        let at = UnixTime::from_millis(0);
        Vote {
            at,
            account: account.to_owned(),
            via: "console".to_owned(),
            verdict,
            reason: String::new(),
            voided_at: None,
        }
    }

    #[test]
    fn nobody_is_asked_where_it_is_off() {
        assert_eq!(ApprovalRule::new(0, 1), None);
        let rule = ApprovalRule::new(100, 2).expect("on");
        assert_eq!(rule.needed, 2);
        assert!(!rule.concerns(99, false) && rule.concerns(100, false));
        assert!(rule.concerns(0, true), "all computers are many, however few there are today");
    }

    #[test]
    fn an_account_counts_once_and_by_its_last_word() {
        use Verdict::{Approved, Rejected, Released};
        assert_eq!(consents(&[]), 0);
        assert_eq!(consents(&[vote("bea", Approved), vote("bea", Approved)]), 1);
        assert_eq!(consents(&[vote("bea", Approved), vote("carl", Approved)]), 2);
        assert_eq!(consents(&[vote("bea", Approved), vote("bea", Rejected)]), 0);
        assert_eq!(consents(&[vote("bea", Rejected), vote("bea", Approved)]), 1);
        assert_eq!(consents(&[vote("bea", Released)]), 0);
        let gone = Vote { voided_at: Some(UnixTime::from_millis(1)), ..vote("bea", Approved) };
        assert_eq!(consents(&[gone, vote("carl", Approved)]), 1);
    }

    #[test]
    fn every_verdict_has_one_spelling() {
        for verdict in Verdict::ALL {
            assert_eq!(verdict.as_str().parse(), Ok(verdict));
        }
        assert!("maybe".parse::<Verdict>().is_err());
    }
}
