//! The question put to whoever sits at the computer before a package is executed: what a package allows, how long, and what
//! the person reads. The agent asks it, and the console shows beforehand what will be asked.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::package::check_text;
use super::{InvalidPackage, UnixTime, number_of, plain_text};

/// How long a question stays when the package does not say.
pub const DEFAULT_COUNTDOWN: Duration = Duration::from_mins(2);

/// How long a question without a countdown stays before it counts as put off: a person on holiday must not keep every other
/// package waiting.
pub const LONGEST_WAIT: Duration = Duration::from_hours(2);

/// What a package asks (`NOTIFY_*`, ocs-protocol 10).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Notify {
    /// What the person reads.
    pub text: String,
    /// Seconds until the answer is taken as "go on"; 0 waits for ever, `None` leaves it to the agent (120).
    pub countdown_seconds: Option<u32>,
    /// May the person refuse for good (`ERR_ABORTED`)?
    pub can_abort: bool,
    /// May the person put it off?
    pub can_delay: bool,
    /// How far that goes.
    pub policy: PromptPolicy,
}

/// How far a question may be put off, and what is done where nobody is: ours, stock agents pass over it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct PromptPolicy {
    /// How often it may be put off, 1 to [`PromptPolicy::MOST_DELAYS`]; else as often as the person likes.
    pub max_delays: Option<u32>,
    /// Hours from the moment that it could have been executed first, 1 to [`PromptPolicy::LATEST_DEADLINE`]: from then on
    /// it is told and not asked any more, and nobody is waited for.
    pub deadline_hours: Option<u32>,
    /// What is done where nobody is logged in.
    pub nobody: Nobody,
}

/// What is done with a package that asks where nobody is logged in.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Nobody {
    /// It is executed.
    #[default]
    Run,
    /// It waits for somebody.
    Wait,
}

impl Notify {
    /// What is limited, for administrators: a phrase for each.
    #[must_use]
    pub fn limits(&self) -> Vec<String> {
        let PromptPolicy { max_delays, deadline_hours, nobody } = self.policy;
        let delays = max_delays.map(|number| format!("may be put off {}", number_of(number, "time")));
        let deadline =
            deadline_hours.map(|hours| format!("is told and not asked from {} on", number_of(hours, "hour")));
        let waits = (nobody == Nobody::Wait).then(|| "waits for somebody to be logged in".to_owned());
        [delays, deadline, waits].into_iter().flatten().collect()
    }

    /// Checks the text and its bounds.
    pub fn check(&self) -> Result<(), InvalidPackage> {
        check_text("the notification", &self.text)?;
        let wrong = |field, problem| Err(InvalidPackage::Text { field, problem });
        match self.policy.max_delays {
            Some(_) if !self.can_delay => {
                return wrong("the limit of delays", "needs a question that may be put off");
            }
            Some(number) if !(1..=PromptPolicy::MOST_DELAYS).contains(&number) => {
                return wrong(
                    "the limit of delays",
                    "is from 1 to 100: without delays, the question may not be put off",
                );
            }
            _ => {}
        }
        match self.policy.deadline_hours {
            Some(hours) if !(1..=PromptPolicy::LATEST_DEADLINE).contains(&hours) => {
                wrong("the deadline", "is from 1 to 8760 hours")
            }
            _ => Ok(()),
        }
    }
}

impl PromptPolicy {
    /// So often at most may a package be put off.
    pub const MOST_DELAYS: u32 = 100;
    /// A year, in hours.
    pub const LATEST_DEADLINE: u32 = 8760;

    /// Is it more than a stock agent's question, so that something must be remembered of it?
    #[must_use]
    pub fn is_some(&self) -> bool {
        *self != Self::default()
    }

    /// How long until the deadline; `None` without one.
    fn left(&self, asked: Asked, now: UnixTime) -> Option<Duration> {
        let hours = self.deadline_hours?;
        Some(Duration::from_hours(hours.into()).saturating_sub(now.since(asked.since)))
    }

    /// Has the deadline come?
    #[must_use]
    pub fn is_over(&self, asked: Asked, now: UnixTime) -> bool {
        self.left(asked, now) == Some(Duration::ZERO)
    }
}

impl Nobody {
    /// The word of options, of the store and of the info file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Wait => "wait",
        }
    }
}

impl FromStr for Nobody {
    type Err = InvalidPackage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "run" => Ok(Self::Run),
            "wait" => Ok(Self::Wait),
            _ => Err(InvalidPackage::Text {
                field: "what is done where nobody is logged in",
                problem: "can be run or wait",
            }),
        }
    }
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of a package's question so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asked {
    /// When the package could have been executed first.
    pub since: UnixTime,
    /// How often it was put off.
    pub delays: u32,
}

/// What a person is asked before a package is executed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// Plain text, bounded; may be empty.
    pub text: String,
    /// How far it may be put off, if the package limits that.
    pub note: Option<String>,
    /// After that it goes on by itself; `None` waits for an answer, as long as [`LONGEST_WAIT`].
    pub countdown: Option<Duration>,
    /// May the person refuse for good?
    pub can_abort: bool,
    /// May the person put it off?
    pub can_delay: bool,
}

impl Question {
    /// The title of its window.
    pub const TITLE: &str = "Software installation";
    /// The words on its buttons.
    pub const GO_ON: &str = "Start now";
    /// Not now.
    pub const DELAY: &str = "Later";
    /// Never.
    pub const ABORT: &str = "Do not install";

    /// The question as it is put at that moment.
    #[must_use]
    pub fn at(notify: &Notify, asked: Asked, now: UnixTime) -> Self {
        let policy = notify.policy;
        let is_over = policy.is_over(asked, now);
        let delays = policy.max_delays.map(|most| most.saturating_sub(asked.delays));
        let is_last = is_over || delays == Some(0);
        let countdown = match notify.countdown_seconds {
            None => Some(DEFAULT_COUNTDOWN),
            // Nobody could answer it with "later" any more, so no silence may stand for that.
            Some(0) => is_last.then_some(DEFAULT_COUNTDOWN),
            Some(seconds) => Some(Duration::from_secs(u64::from(seconds)).min(LONGEST_WAIT)),
        };
        Self {
            text: plain_text(&notify.text),
            note: note(notify, delays, policy.left(asked, now)),
            countdown,
            can_abort: notify.can_abort && !is_over,
            can_delay: notify.can_delay && !is_last,
        }
    }

    /// How long an answer may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.countdown.unwrap_or(LONGEST_WAIT)
    }

    /// The buttons, from the first to the last.
    #[must_use]
    pub fn buttons(&self) -> Vec<&'static str> {
        let mut buttons = vec![Self::GO_ON];
        buttons.extend(self.can_delay.then_some(Self::DELAY));
        buttons.extend(self.can_abort.then_some(Self::ABORT));
        buttons
    }

    /// All that stands in the window, with this countdown.
    #[must_use]
    pub fn words(&self, countdown: Option<Duration>) -> String {
        let text =
            if self.text.is_empty() { "Software is about to be installed on this computer." } else { &self.text };
        let starts = countdown.map(|time| format!("It starts by itself in {}.", spelled(time)));
        let parts = [Some(text), self.note.as_deref(), starts.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
    }
}

impl From<&Notify> for Question {
    /// The first time.
    fn from(notify: &Notify) -> Self {
        let now = UnixTime::default();
        Self::at(notify, Asked { since: now, delays: 0 }, now)
    }
}

/// What Windows calls the buttons of a message, which has words of the system, with what each of them means.
#[must_use]
pub fn buttons_of_windows(buttons: &[&str]) -> &'static [(&'static str, &'static str)] {
    let can = |button| buttons.contains(&button);
    match (can(Question::GO_ON), can(Question::DELAY), can(Question::ABORT)) {
        (true, true, true) => &[("Yes", Question::GO_ON), ("No", Question::ABORT), ("Cancel", Question::DELAY)],
        (true, true, false) => &[("Yes", Question::GO_ON), ("No", Question::DELAY)],
        (true, false, true) => &[("Yes", Question::GO_ON), ("No", Question::ABORT)],
        (true, false, false) => &[("OK", Question::GO_ON)],
        (false, ..) => &[],
    }
}

/// How far a question may be put off, as the person reads it; nothing where that has no limit.
fn note(notify: &Notify, delays: Option<u32>, left: Option<Duration>) -> Option<String> {
    if left == Some(Duration::ZERO) && (notify.can_delay || notify.can_abort) {
        return Some("The time to put it off is over.".to_owned());
    }
    if !notify.can_delay {
        return None;
    }
    let times = match delays {
        Some(0) => return Some("It cannot be put off any more.".to_owned()),
        Some(1) => Some("once more".to_owned()),
        Some(more) => Some(format!("{more} more times")),
        None => None,
    };
    match (times, left) {
        (Some(times), None) => Some(format!("It can be put off {times}.")),
        (Some(times), Some(left)) => Some(format!("It can be put off {times}, for {} at most.", roughly(left))),
        (None, Some(left)) => Some(format!("It can be put off for {} at most.", roughly(left))),
        (None, None) => None,
    }
}

/// Never more than there is, but for the last hour.
fn roughly(left: Duration) -> String {
    match left.as_secs() / 3600 {
        0 => "less than an hour".to_owned(),
        hours @ 1..48 => number_of(hours, "hour"),
        hours => number_of(hours / 24, "day"),
    }
}

fn spelled(time: Duration) -> String {
    match time.as_secs() {
        1 => "a second".to_owned(),
        seconds @ 0..=90 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn notify() -> Notify {
        Notify {
            text: "<b>Hello</b>".to_owned(),
            countdown_seconds: Some(60),
            can_abort: true,
            can_delay: true,
            policy: PromptPolicy::default(),
        }
    }

    fn limited(max_delays: Option<u32>, deadline_hours: Option<u32>) -> Notify {
        Notify { policy: PromptPolicy { max_delays, deadline_hours, nobody: Nobody::Run }, ..notify() }
    }

    /// After so many delays and seconds.
    fn put(notify: &Notify, delays: u32, seconds: i64) -> Question {
        let since = UnixTime::from_seconds(1_000_000);
        Question::at(notify, Asked { since, delays }, UnixTime::from_seconds(1_000_000 + seconds))
    }

    #[test]
    fn a_countdown_is_two_minutes_if_not_said_none_if_zero_and_never_longer_than_two_hours() {
        let countdown = |countdown_seconds| Question::from(&Notify { countdown_seconds, ..notify() }).countdown;
        assert_eq!(countdown(None), Some(DEFAULT_COUNTDOWN));
        assert_eq!(countdown(Some(0)), None);
        assert_eq!(countdown(Some(45)), Some(Duration::from_secs(45)));
        assert_eq!(countdown(Some(u32::MAX)), Some(LONGEST_WAIT));
    }

    #[test]
    fn a_question_without_limits_is_the_stock_agents() {
        let question = put(&notify(), 1000, 1000 * HOUR);
        assert_eq!((&*question.text, question.note.as_deref()), ("Hello", None));
        assert_eq!(question.buttons(), ["Start now", "Later", "Do not install"]);
        assert_eq!(question.words(question.countdown), "Hello\n\nIt starts by itself in 60 seconds.");
    }

    #[test]
    fn a_limit_is_told_and_takes_the_button_away() {
        let told = [0, 1, 2, 3, 4].map(|delays| {
            let question = put(&limited(Some(3), None), delays, 0);
            format!("{} {:?}", question.note.as_deref().unwrap_or_default(), question.buttons())
        });
        insta::assert_snapshot!(told.join("\n"), @r#"
        It can be put off 3 more times. ["Start now", "Later", "Do not install"]
        It can be put off 2 more times. ["Start now", "Later", "Do not install"]
        It can be put off once more. ["Start now", "Later", "Do not install"]
        It cannot be put off any more. ["Start now", "Do not install"]
        It cannot be put off any more. ["Start now", "Do not install"]
        "#);
    }

    #[test]
    fn from_the_deadline_on_it_is_told_and_not_asked() {
        let told = [-HOUR, 0, HOUR, 71 * HOUR, 72 * HOUR - 1, 72 * HOUR, 1000 * HOUR].map(|seconds| {
            let question = put(&limited(None, Some(72)), 5, seconds);
            format!("{} {:?}", question.note.as_deref().unwrap_or_default(), question.buttons())
        });
        insta::assert_snapshot!(told.join("\n"), @r#"
        It can be put off for 3 days at most. ["Start now", "Later", "Do not install"]
        It can be put off for 3 days at most. ["Start now", "Later", "Do not install"]
        It can be put off for 2 days at most. ["Start now", "Later", "Do not install"]
        It can be put off for 1 hour at most. ["Start now", "Later", "Do not install"]
        It can be put off for less than an hour at most. ["Start now", "Later", "Do not install"]
        The time to put it off is over. ["Start now"]
        The time to put it off is over. ["Start now"]
        "#);
        let both = put(&limited(Some(2), Some(24)), 1, 0);
        assert_eq!(both.note.as_deref(), Some("It can be put off once more, for 24 hours at most."));
    }

    #[test]
    fn the_last_question_goes_on_by_itself_even_if_the_others_wait_for_ever() {
        let patient = |notify: Notify| Notify { countdown_seconds: Some(0), ..notify };
        assert_eq!(put(&patient(limited(Some(2), None)), 1, 0).countdown, None);
        assert_eq!(put(&patient(limited(Some(2), None)), 2, 0).countdown, Some(DEFAULT_COUNTDOWN));
        assert_eq!(put(&patient(limited(None, Some(1))), 0, HOUR).countdown, Some(DEFAULT_COUNTDOWN));
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused() {
        let refused = |notify: Notify| notify.check().expect_err("refused").to_string();
        insta::assert_snapshot!(refused(limited(Some(0), None)), @"the limit of delays is from 1 to 100: without delays, the question may not be put off");
        insta::assert_snapshot!(refused(limited(None, Some(8761))), @"the deadline is from 1 to 8760 hours");
        let fixed = Notify { can_delay: false, ..limited(Some(1), None) };
        insta::assert_snapshot!(refused(fixed), @"the limit of delays needs a question that may be put off");
        insta::assert_snapshot!("skip".parse::<Nobody>().expect_err("refused"), @"what is done where nobody is logged in can be run or wait");
        assert!(limited(Some(100), Some(8760)).check().is_ok());
    }

    #[test]
    fn times_are_spelled_as_people_say_them() {
        let texts = [1, 45, 90, 91, 7200].map(|seconds| spelled(Duration::from_secs(seconds)));
        assert_eq!(texts, ["a second", "45 seconds", "90 seconds", "2 minutes", "120 minutes"]);
        let nameless = Question { text: String::new(), ..put(&notify(), 0, 0) };
        assert_eq!(nameless.words(None), "Software is about to be installed on this computer.");
    }
}
