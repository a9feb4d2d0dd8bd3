//! Timeouts that leave no time for what the rule itself asks for.

use std::time::Duration;

use meltemi_api::networking::{HttpRoute, VirtualService};

use crate::code::RETRIES_CUT_OFF;
use crate::report::at;
use crate::{Analyzer, Index, Report};

pub struct Retries;

impl Analyzer for Retries {
    fn name(&self) -> &'static str {
        "virtualservice.TimeoutAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that timeouts leave time for retries and injected delays"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (resource, service) in index.of::<VirtualService>() {
            for (rule, http) in service.http.iter().enumerate() {
                let Some(timeout) = http.timeout.map(|timeout| timeout.get()) else {
                    continue;
                };
                // Zero means no timeout.
                if timeout.is_zero() {
                    continue;
                }
                if let Some(tried) = cut_off(http, timeout) {
                    report.add(
                        &RETRIES_CUT_OFF,
                        resource,
                        at!(spec.http[rule].retries.perTryTimeout),
                        format!("the rule's timeout of {timeout:?} ends the request {tried}; it is never retried after a timeout"),
                        "make timeout longer than perTryTimeout times the number of tries, or perTryTimeout shorter",
                    );
                }
                if let Some(delay) = delay(http).filter(|delay| *delay >= timeout) {
                    report.add(
                        &RETRIES_CUT_OFF,
                        resource,
                        at!(spec.http[rule].fault.delay.fixedDelay),
                        format!("every delayed request waits {delay:?}, and the rule's timeout is {timeout:?}"),
                        "make the delay shorter than the timeout, or put the timeout where the caller is",
                    );
                }
            }
        }
    }
}

/// When the timeout ends the request, if that is before the first retry after a timed-out try.
fn cut_off(http: &HttpRoute, timeout: Duration) -> Option<&'static str> {
    let retries = http
        .retries
        .as_ref()
        .filter(|retries| retries.attempts > 0)?;
    match retries.per_try_timeout?.get() {
        try_timeout if try_timeout > timeout => Some("before the first try's does"),
        try_timeout if try_timeout == timeout => Some("together with the first try's"),
        _ => None,
    }
}

fn delay(http: &HttpRoute) -> Option<Duration> {
    let delay = http.fault.as_ref()?.delay.as_ref()?;
    Some(delay.fixed_delay?.get())
}
