//! The fault filter's configuration, of the listener and per route.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::{AbortKind, Fault, FaultAbort, FaultDelay};
use crate::compile::basic::{duration, fraction};
use crate::compile::pb::filters::common::fault::v3::{FaultDelay as DelayProto, fault_delay};
use crate::compile::pb::filters::http::fault::v3::{
    FaultAbort as AbortProto, HttpFault, fault_abort,
};
use crate::compile::{At, Error, Result, harmless, matching, refuse};

pub fn fault(value: HttpFault) -> Result<Fault> {
    let HttpFault {
        delay,
        abort,
        upstream_cluster,
        headers,
        downstream_nodes,
        max_active_faults,
        response_rate_limit,
        delay_percent_runtime,
        abort_percent_runtime,
        delay_duration_runtime,
        abort_http_status_runtime,
        max_active_faults_runtime,
        response_rate_limit_percent_runtime,
        abort_grpc_status_runtime,
        disable_downstream_cluster_stats,
        filter_metadata,
    } = value;
    refuse!(response_rate_limit);
    // Names of runtime keys (there is no runtime), statistics, descriptive metadata.
    harmless!(
        delay_percent_runtime,
        abort_percent_runtime,
        delay_duration_runtime,
        abort_http_status_runtime,
        max_active_faults_runtime,
        response_rate_limit_percent_runtime,
        abort_grpc_status_runtime,
        disable_downstream_cluster_stats,
        filter_metadata,
    );
    Ok(Fault {
        delay: delay.map(compile_delay).transpose().at("delay")?,
        abort: abort.map(compile_abort).transpose().at("abort")?,
        headers: matching::headers(headers, "headers")?,
        upstream_cluster: (!upstream_cluster.is_empty()).then(|| upstream_cluster.into()),
        downstream_nodes: downstream_nodes.into_iter().map(Into::into).collect(),
        max_active_faults: max_active_faults.map(|value| value.value),
    })
}

fn compile_delay(value: DelayProto) -> Result<FaultDelay> {
    let DelayProto {
        percentage,
        fault_delay_secifier,
    } = value;
    let fixed = match fault_delay_secifier {
        Some(fault_delay::FaultDelaySecifier::FixedDelay(delay)) => {
            Some(duration(delay).at("fixed_delay")?)
        }
        Some(fault_delay::FaultDelaySecifier::HeaderDelay(_)) => None,
        None => return Err(Error::missing("fixed_delay")),
    };
    Ok(FaultDelay {
        fixed,
        fraction: percentage.map_or((0, 100), fraction),
    })
}

fn compile_abort(value: AbortProto) -> Result<FaultAbort> {
    let AbortProto {
        percentage,
        error_type,
        response_body,
    } = value;
    refuse!(response_body);
    let kind = match error_type {
        Some(fault_abort::ErrorType::HttpStatus(status)) => match u16::try_from(status) {
            Ok(status @ 200..=599) => AbortKind::Http(status),
            _ => return Err(Error::new("is not in 200..600").at_field("http_status")),
        },
        Some(fault_abort::ErrorType::GrpcStatus(status)) => AbortKind::Grpc(status),
        Some(fault_abort::ErrorType::HeaderAbort(_)) => AbortKind::Header,
        None => return Err(Error::missing("http_status")),
    };
    Ok(FaultAbort {
        kind,
        fraction: percentage.map_or((0, 100), fraction),
    })
}
