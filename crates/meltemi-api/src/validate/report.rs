//! Where findings are collected while an object is walked.

use std::collections::BTreeMap;

use crate::{Duration, FieldPath, Finding};

/// Findings so far.
#[derive(Default)]
pub(super) struct Report(pub Vec<Finding>);

impl Report {
    pub fn error(
        &mut self,
        path: &FieldPath,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding::error(path.clone(), message, remedy));
    }

    pub fn warning(
        &mut self,
        path: &FieldPath,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding::warning(path.clone(), message, remedy));
    }

    pub fn notice(
        &mut self,
        path: &FieldPath,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding::notice(path.clone(), message, remedy));
    }

    /// A check of a value against a rule that says what is wrong.
    pub fn check(&mut self, path: &FieldPath, verdict: Result<(), (String, String)>) {
        if let Err((message, remedy)) = verdict {
            self.error(path, message, remedy);
        }
    }

    /// A text that must be there.
    pub fn required(&mut self, path: &FieldPath, text: &str, remedy: &str) {
        if text.is_empty() {
            self.error(path, "is required", remedy);
        }
    }

    /// A text of at most `most` characters.
    pub fn at_most(&mut self, path: &FieldPath, text: &str, most: usize) {
        let length = text.chars().count();
        if length > most {
            let message = format!("has {length} characters, more than {most}");
            self.error(path, message, "shorten it");
        }
    }

    /// A list of at most `most` elements.
    pub fn at_most_items(&mut self, path: &FieldPath, count: usize, most: usize) {
        if count > most {
            let message = format!("has {count} elements, more than {most}");
            self.error(path, message, "split it");
        }
    }

    pub fn port(&mut self, path: &FieldPath, port: u32) {
        if !(1..=65535).contains(&port) {
            self.error(
                path,
                format!("port {port} is not in 1..65535"),
                "name a port",
            );
        }
    }

    /// 1 ms or more, whole milliseconds.
    pub fn duration(&mut self, path: &FieldPath, duration: Option<Duration>) {
        let Some(duration) = duration else { return };
        if duration < Duration::from_millis(1) {
            self.error(path, "must be 1ms or more", "leave it out for the default");
        }
        if duration.get().subsec_nanos() % 1_000_000 != 0 {
            self.error(
                path,
                "has parts of a millisecond",
                "round it to milliseconds",
            );
        }
    }

    /// As [`Self::duration`], or zero, which switches the limit off.
    pub fn duration_or_zero(&mut self, path: &FieldPath, duration: Option<Duration>) {
        if duration != Some(Duration::default()) {
            self.duration(path, duration);
        }
    }

    pub fn not_negative(&mut self, path: &FieldPath, value: i32) {
        if value < 0 {
            self.error(path, format!("{value} is negative"), "write 0 or more");
        }
    }

    pub fn percent(&mut self, path: &FieldPath, value: f64) {
        if !(0.0..=100.0).contains(&value) {
            self.error(
                path,
                format!("{value} is not in 0..100"),
                "write a percentage",
            );
        }
    }

    pub fn regex(&mut self, path: &FieldPath, expression: &str) {
        if let Err(reason) = meltemi_re2::partial(expression) {
            self.error(
                path,
                format!("{expression:?} is not a regular expression: {reason}"),
                "write it in RE2 syntax (no look-around, no back-references)",
            );
        }
    }

    /// Labels of a selector: keys not empty, no wildcards.
    pub fn selector(&mut self, path: &FieldPath, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            let at = path.field(key);
            if key.is_empty() {
                self.error(&at, "an empty label name", "name the label");
            }
            if key.contains('*') || value.contains('*') {
                self.error(
                    &at,
                    "wildcards do not work in selectors",
                    "write the exact value",
                );
            }
            if value.len() > 63 {
                self.error(
                    &at,
                    "a label's value has at most 63 characters",
                    "shorten it",
                );
            }
        }
    }

    /// Labels of endpoints or subsets, by Kubernetes' rules.
    pub fn labels(&mut self, path: &FieldPath, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            let at = path.field(key);
            let name = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
            if !super::names::is_qualified_name(name) {
                self.error(
                    &at,
                    format!("{key:?} is not a label name"),
                    "use letters, digits, '-', '_', '.', at most 63, with an optional prefix/",
                );
            }
            if !value.is_empty() && !super::names::is_qualified_name(value) {
                self.error(
                    &at,
                    format!("{value:?} is not a label value"),
                    "use letters, digits, '-', '_', '.', at most 63",
                );
            }
        }
    }

    /// `exportTo`: namespaces, `.`, `*`; `~` only where it is allowed, and then alone.
    pub fn export_to(&mut self, path: &FieldPath, export_to: &[String], none_allowed: bool) {
        for (index, entry) in export_to.iter().enumerate() {
            let at = path.index(index);
            if export_to[..index].contains(entry) {
                self.error(
                    &at,
                    format!("{entry:?} is there for a second time"),
                    "remove it",
                );
            }
            match entry.as_str() {
                "." | "*" => {}
                "~" if none_allowed && export_to.len() == 1 => {}
                "~" if none_allowed => self.error(
                    &at,
                    "~ (nobody) cannot be combined with others",
                    "keep ~ alone or remove it",
                ),
                "~" => self.error(
                    &at,
                    "~ (nobody) is not allowed here",
                    "use . or a namespace",
                ),
                name if super::names::is_label(name) => {}
                name => self.error(
                    &at,
                    format!("{name:?} is not a namespace"),
                    "use ., * or the name of a namespace",
                ),
            }
        }
    }
}
