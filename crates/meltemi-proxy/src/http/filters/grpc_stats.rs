//! gRPC statistics (`envoy.filters.http.grpc_stats`): messages are counted both ways. Which
//! statistics Envoy writes of them is another matter: ours are Istio's.

use super::{Call, Filter, NoRoute};
use crate::compile::any::Typed;
use crate::compile::pb::filters::http::grpc_stats::v3::FilterConfig;
use crate::compile::{Cx, Result as Compiled, harmless};
use crate::http::reply::Reply;

pub struct GrpcStats;

impl Filter for GrpcStats {
    const CONFIG: &'static str = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";
    type Route = NoRoute;
    type State = ();

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        let FilterConfig {
            emit_filter_state,
            enable_upstream_stats,
            replace_dots_in_grpc_service_name,
            per_method_stat_specifier,
        } = typed.decode()?;
        harmless!(
            emit_filter_state,
            enable_upstream_stats,
            replace_dots_in_grpc_service_name,
            per_method_stat_specifier
        );
        Ok(Self)
    }

    async fn request(&self, _route: Option<&NoRoute>, call: &mut Call<'_>) -> Result<(), Reply> {
        call.exchange.record.counts_messages.set(true);
        Ok(())
    }
}
