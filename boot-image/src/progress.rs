//! Progress on standard error: a bar on a terminal, one plain line elsewhere, nothing for a step with nothing to do.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const SPINNER: &str = "{spinner} {prefix} ({elapsed}) {wide_msg}";
const BAR: &str = "{spinner} {prefix} [{bar:30}] {pos}/{len} ({elapsed}) {wide_msg}";

/// One step of the work. It stays invisible until it turns out that there is something to do.
pub struct Step {
    title: String,
    bar: Option<ProgressBar>,
}

impl Step {
    /// A step that shows nothing yet.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            bar: None,
        }
    }

    /// A step that is known to have work to do.
    pub fn begin(title: &str) -> Self {
        let mut step = Self::new(title);
        step.show();
        step
    }

    /// Something is being done, but how much of it is not known: `detail` says what.
    pub fn note(&mut self, detail: &str) {
        self.show().set_message(detail.to_owned());
    }

    /// `done` parts out of `total` are complete.
    pub fn count(&mut self, done: u64, total: u64) {
        let bar = self.show();
        if bar.length().is_none() {
            bar.set_style(style(BAR).progress_chars("=> "));
        }
        bar.set_length(total);
        bar.set_position(done);
    }

    fn show(&mut self) -> &ProgressBar {
        self.bar.get_or_insert_with(|| open_bar(&self.title))
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Says one line on standard error.
pub fn say(line: &str) {
    eprintln!("boot-image: {line}");
}

fn open_bar(title: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if bar.is_hidden() {
        say(&format!("{title} ..."));
    }
    bar.set_style(style(SPINNER));
    bar.set_prefix(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_work_never_opens_a_bar() {
        assert!(Step::new("idle").bar.is_none());
    }

    #[test]
    fn both_templates_are_well_formed() {
        assert!(ProgressStyle::with_template(SPINNER).is_ok());
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
