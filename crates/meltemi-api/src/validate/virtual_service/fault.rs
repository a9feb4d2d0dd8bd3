//! Fault injection.

use super::super::report::Report;
use crate::FieldPath;
use crate::networking::{GRPC_STATUSES, HttpFaultInjection, Percent, grpc_code};

pub(super) fn fault(fault: &HttpFaultInjection, at: &FieldPath, report: &mut Report) {
    if fault.delay.is_none() && fault.abort.is_none() {
        report.error(at, "neither delay nor abort", "add one, or remove fault");
    }
    if let Some(delay) = &fault.delay {
        let at = at.field("delay");
        match (delay.fixed_delay, delay.exponential_delay) {
            (None, None) => report.error(&at, "no fixedDelay", "say how long"),
            (Some(_), Some(_)) => {
                report.error(
                    &at,
                    "both fixedDelay and exponentialDelay",
                    "keep fixedDelay",
                );
            }
            (fixed, exponential) => {
                report.duration(&at.field("fixedDelay"), fixed);
                report.duration(&at.field("exponentialDelay"), exponential);
            }
        }
        if delay.percent != 0 {
            report.warning(
                &at.field("percent"),
                "is deprecated",
                "use percentage.value",
            );
            report.percent(&at.field("percent"), f64::from(delay.percent));
        }
        fraction(delay.percentage.as_ref(), &at, report);
    }
    if let Some(abort) = &fault.abort {
        let at = at.field("abort");
        fraction(abort.percentage.as_ref(), &at, report);
        let set = [
            abort.http_status.is_some(),
            abort.grpc_status.is_some(),
            abort.http2_error.is_some(),
        ];
        match set.iter().filter(|set| **set).count() {
            0 => report.error(&at, "no status", "set httpStatus or grpcStatus"),
            1 => {}
            _ => report.error(&at, "more than one status", "keep one of them"),
        }
        if let Some(status) = abort.http_status
            && !(200..=600).contains(&status)
        {
            let at = at.field("httpStatus");
            report.error(
                &at,
                format!("{status} is not in 200..599"),
                "write an HTTP status",
            );
        }
        if let Some(status) = &abort.grpc_status
            && grpc_code(status).is_none()
        {
            report.error(
                &at.field("grpcStatus"),
                format!("{status:?} is not a gRPC status"),
                crate::did_you_mean(status, GRPC_STATUSES),
            );
        }
    }
}

/// 0, or at least one in a million.
fn fraction(percentage: Option<&Percent>, at: &FieldPath, report: &mut Report) {
    let Some(Percent { value }) = percentage else {
        return;
    };
    if !(*value == 0.0 || (0.0001..=100.0).contains(value)) {
        report.error(
            &at.field("percentage").field("value"),
            format!("{value} is neither 0 nor in 0.0001..100"),
            "write a percentage",
        );
    }
}
