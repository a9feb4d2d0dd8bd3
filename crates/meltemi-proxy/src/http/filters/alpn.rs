//! Istio's ALPN override (`istio.alpn`): upstream connections offer Istio's protocols of the mesh,
//! which say that the peer is a proxy that exchanges metadata.

use super::{Call, Filter, NoRoute};
use crate::compile::any::Typed;
use crate::compile::{Cx, Error, Result as Compiled, istio};
use crate::http::reply::Reply;

/// TLS configurations are made with Istio's lists: no others are accepted here.
pub struct Alpn;

/// `istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig`.
#[derive(Clone, PartialEq, prost::Message)]
struct Config {
    #[prost(message, repeated, tag = "1")]
    alpn_override: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    /// HTTP10, HTTP11, HTTP2.
    #[prost(int32, tag = "1")]
    upstream_protocol: i32,
    #[prost(string, repeated, tag = "2")]
    alpn_override: Vec<String>,
}

impl Filter for Alpn {
    const CONFIG: &'static str = "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig";
    type Route = NoRoute;
    type State = ();

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        let config: Config = istio::message(typed)?;
        for entry in config.alpn_override {
            let Entry {
                upstream_protocol,
                alpn_override,
            } = entry;
            let istio = match upstream_protocol {
                // What is offered for HTTP/1.0 upstream is never used.
                0 => continue,
                1 => crate::tls::ISTIO_HTTP11,
                2 => crate::tls::ISTIO_HTTP2,
                other => {
                    return Err(Error::new(format!("{other} is no protocol"))
                        .at_field("alpn_override.upstream_protocol"));
                }
            };
            if !istio
                .iter()
                .copied()
                .eq(alpn_override.iter().map(String::as_bytes))
            {
                return Err(Error::new("only Istio's own lists are supported")
                    .at_field("alpn_override.alpn_override"));
            }
        }
        Ok(Self)
    }

    async fn request(&self, _route: Option<&NoRoute>, call: &mut Call<'_>) -> Result<(), Reply> {
        call.exchange.overrides_alpn.set(true);
        Ok(())
    }
}
