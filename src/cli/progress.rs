//! Progress of long work: a bar on a terminal, nothing in a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal;

/// A bar of bytes with rate and time left. indicatif draws on standard error, and only on a terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(what: &str) -> Self {
        let target = if terminal::is_elsewhere() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{prefix:>10}  {binary_bytes}  {binary_bytes_per_sec}"));
        bar.set_prefix(what.to_owned());
        Self(bar)
    }

    /// So many bytes, of how many is not known.
    pub(crate) fn bytes(&self, what: &str, done: u64) {
        self.0.set_prefix(what.to_owned());
        self.0.set_position(done);
    }

    /// So many bytes of so many.
    pub(crate) fn of(&self, what: &str, done: u64, total: u64) {
        if self.0.length() != Some(total) {
            self.0.set_length(total);
            self.0.reset_eta();
            self.0.set_style(style(
                "{prefix:>10}  {wide_bar:.cyan/dim}  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
            ));
        }
        self.0.set_prefix(what.to_owned());
        self.0.set_position(done);
    }

    /// No bytes to count.
    pub(crate) fn say(&self, text: &str) {
        self.0.set_prefix(text.to_owned());
        self.0.tick();
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
