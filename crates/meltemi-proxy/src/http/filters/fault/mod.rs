//! Fault injection (`envoy.filters.http.fault`): delays and aborts for some requests.

mod compile;
mod run;

use super::{Call, Filter};
use crate::compile::any::Typed;
use crate::compile::{Cx, Result as Compiled};
use crate::http::reply::Reply;
use crate::model::HeaderMatch;
use crate::telemetry::Flags;
use std::time::Duration;

/// `HTTPFault`, of the chain and of routes alike.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    pub delay: Option<FaultDelay>,
    pub abort: Option<FaultAbort>,
    /// Only requests that match all of these.
    pub headers: Box<[HeaderMatch]>,
    /// Only for these upstream clusters' names; empty: all.
    pub upstream_cluster: Option<Box<str>>,
    pub downstream_nodes: Box<[Box<str>]>,
    pub max_active_faults: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct FaultDelay {
    /// `None`: from the header `x-envoy-fault-delay-request` (`header_delay`).
    pub fixed: Option<Duration>,
    /// (numerator, denominator).
    pub fraction: (u32, u32),
}

#[derive(Clone, Debug)]
pub struct FaultAbort {
    pub kind: AbortKind,
    pub fraction: (u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortKind {
    Http(u16),
    Grpc(u32),
    /// From `x-envoy-fault-abort-request` / `-grpc-request`.
    Header,
}

impl Filter for Fault {
    const CONFIG: &'static str = "envoy.extensions.filters.http.fault.v3.HTTPFault";
    const ROUTE_CONFIG: &'static str = Self::CONFIG;
    type Route = Self;
    type State = ();

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        typed.decode().and_then(compile::fault)
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<Self> {
        typed.decode().and_then(compile::fault)
    }

    fn acts(&self) -> bool {
        self.delay.is_some() || self.abort.is_some()
    }

    async fn request(&self, route: Option<&Self>, call: &mut Call<'_>) -> Result<(), Reply> {
        let fault = route.unwrap_or(self);
        let cluster = call.cluster().map(|cluster| &*cluster.config.name);
        let plan = run::plan(fault, call.head, cluster);
        if let Some(time) = plan.delay {
            call.exchange.flag(Flags::DELAY_INJECTED);
            call.exchange.note_head(call.head, false);
            run::delay(time).await;
        }
        match plan.abort {
            Some(abort) => Err(abort.reply()),
            None => Ok(()),
        }
    }
}
