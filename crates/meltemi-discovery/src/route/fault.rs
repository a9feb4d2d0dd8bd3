//! Delays and aborts on purpose.

use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as fault;
use meltemi_api::ObjectKey;
use meltemi_api::networking::{HttpFaultInjection, grpc_code};

use crate::issue::Issues;
use crate::pb;

/// The fault filter's configuration for a route.
pub fn translate(
    injection: &HttpFaultInjection,
    owner: &ObjectKey,
    field: &str,
    issues: &mut Issues,
) -> Option<fault::HttpFault> {
    let mut result = fault::HttpFault::default();
    if let Some(delay) = &injection.delay {
        // The older integer percentage, and 100% where neither is given.
        let percent = match &delay.percentage {
            Some(percentage) => percentage.value,
            None if delay.percent > 0 => f64::from(delay.percent),
            None => 100.0,
        };
        if delay.exponential_delay.is_some() {
            issues.add(
                owner,
                format!("{field}.delay.exponentialDelay"),
                "not supported; use fixedDelay. No delay is injected",
            );
        }
        if let Some(fixed) = delay.fixed_delay {
            result.delay = Some(common::FaultDelay {
                percentage: Some(pb::fraction(percent)),
                fault_delay_secifier: Some(common::fault_delay::FaultDelaySecifier::FixedDelay(
                    pb::duration(fixed.get()),
                )),
            });
        }
    }
    if let Some(abort) = &injection.abort {
        let percent = abort
            .percentage
            .as_ref()
            .map_or(100.0, |percentage| percentage.value);
        if abort.http2_error.is_some() {
            issues.add(
                owner,
                format!("{field}.abort.http2Error"),
                "not supported; use httpStatus or grpcStatus. No request is aborted",
            );
        }
        let error = if let Some(status) = abort.http_status {
            u32::try_from(status)
                .ok()
                .map(fault::fault_abort::ErrorType::HttpStatus)
        } else {
            // Another text is refused with its object.
            let code = abort.grpc_status.as_deref().and_then(grpc_code);
            code.map(fault::fault_abort::ErrorType::GrpcStatus)
        };
        if error.is_some() {
            result.abort = Some(fault::FaultAbort {
                percentage: Some(pb::fraction(percent)),
                error_type: error,
                ..Default::default()
            });
        }
    }
    (result.delay.is_some() || result.abort.is_some()).then_some(result)
}
