//! What people will see of a package: its windows, as the agent will put them.

use crate::model::prompt::{Asked, Question, buttons_of_windows};
use crate::model::{Done, Notify, OsFamily, PromptPolicy, UnixTime, plain_text};

/// A window, and when it is shown.
pub(super) struct Window {
    /// When.
    pub(super) when: &'static str,
    /// What stands in it.
    pub(super) text: String,
    /// From the first to the last.
    pub(super) buttons: Vec<&'static str>,
}

impl Window {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub(super) fn title(&self) -> &'static str {
        Question::TITLE
    }
}

/// The first question, the last one where that is another, and the message afterwards.
pub(super) fn windows_of(os: OsFamily, notify: Option<&Notify>, done: Option<&Done>) -> Vec<Window> {
    let mut windows = Vec::new();
    if let Some(notify) = notify {
        let first = Question::from(notify);
        let last = last_question(notify);
        let is_other = last != first;
        windows.push(asked(os, if is_other { "The first time" } else { "Before it runs" }, &first));
        if is_other {
            windows.push(asked(os, "When it cannot be put off any more", &last));
        }
    }
    if let Some(done) = done {
        windows.push(Window { when: "Afterwards", text: plain_text(&done.text), buttons: vec!["OK"] });
    }
    windows
}

/// The question of somebody who has put it off as often, and as long, as may be.
fn last_question(notify: &Notify) -> Question {
    let PromptPolicy { max_delays, deadline_hours, .. } = notify.policy;
    let since = UnixTime::default();
    let asked = Asked { since, delays: max_delays.unwrap_or_default() };
    let now = since.plus(std::time::Duration::from_hours(deadline_hours.unwrap_or_default().into()));
    Question::at(notify, asked, now)
}

fn asked(os: OsFamily, when: &'static str, question: &Question) -> Window {
    let (mut text, mut buttons) = (question.words(question.countdown), question.buttons());
    if os == OsFamily::Windows {
        let named = buttons_of_windows(&buttons);
        let legend: Vec<String> = named.iter().map(|(name, meaning)| format!("{name}: {meaning}")).collect();
        text = format!("{text}\n\n{}", legend.join("\n"));
        buttons = named.iter().map(|(name, _)| *name).collect();
        // Windows has no message with one button that can be closed.
        buttons.extend((named.len() == 1).then_some("Cancel"));
    }
    Window { when, text, buttons }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Nobody;

    fn shown(os: OsFamily, notify: &Notify) -> String {
        let done = Done { text: "Restart <i>soon</i>".to_owned() };
        let windows = windows_of(os, Some(notify), Some(&done));
        let line =
            |window: &Window| format!("{}: {} {:?}", window.when, window.text.replace('\n', "/"), window.buttons);
        windows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_windows_are_those_of_the_agent() {
        let simple = Notify { text: "Save <b>all</b>".to_owned(), countdown_seconds: Some(60), ..Notify::default() };
        insta::assert_snapshot!(shown(OsFamily::Linux, &simple), @r#"
        Before it runs: Save all//It starts by itself in 60 seconds. ["Start now"]
        Afterwards: Restart soon ["OK"]
        "#);
        let policy = PromptPolicy { max_delays: Some(2), deadline_hours: Some(48), nobody: Nobody::Wait };
        let limited = Notify { can_abort: true, can_delay: true, policy, ..simple };
        insta::assert_snapshot!(shown(OsFamily::Windows, &limited), @r#"
        The first time: Save all//It can be put off 2 more times, for 2 days at most.//It starts by itself in 60 seconds.//Yes: Start now/No: Do not install/Cancel: Later ["Yes", "No", "Cancel"]
        When it cannot be put off any more: Save all//The time to put it off is over.//It starts by itself in 60 seconds.//OK: Start now ["OK", "Cancel"]
        Afterwards: Restart soon ["OK"]
        "#);
    }
}
