//! ProxyConfig.

use super::attachment::label_selector;
use super::report::Report;
use crate::FieldPath;
use crate::networking::ProxyConfig;

/// Longest value of a variable.
const MAX_VALUE: usize = 2048;

pub(super) fn validate(spec: &ProxyConfig, at: &FieldPath, report: &mut Report) {
    if let Some(selector) = &spec.selector {
        label_selector(selector, &at.field("selector"), report);
    }
    if let Some(threads) = spec.concurrency {
        report.not_negative(&at.field("concurrency"), threads);
    }
    for (name, value) in &spec.environment_variables {
        let at = at.field("environmentVariables").field(name);
        report.at_most(&at, value, MAX_VALUE);
    }
}
