//! CORS (`envoy.filters.http.cors`): answers preflights, marks answers to other origins. It acts
//! by the policy of the route only.

mod compile;
mod run;

use super::{Answer, Call, Filter};
use crate::compile::any::Typed;
use crate::compile::{Cx, Result as Compiled};
use crate::http::reply::Reply;
use crate::model::StringMatch;
use http::HeaderValue;

/// The filter in its chain has nothing to configure.
pub struct Cors;

/// A route's `CorsPolicy`.
pub struct CorsPolicy {
    pub allow_origins: Box<[StringMatch]>,
    pub allow_methods: Option<Box<str>>,
    pub allow_headers: Option<Box<str>>,
    pub expose_headers: Option<Box<str>>,
    pub max_age: Option<Box<str>>,
    pub allow_credentials: bool,
    pub forward_not_matching_preflights: bool,
    /// `filter_enabled` with no runtime: (numerator, denominator).
    pub enabled: (u32, u32),
}

/// The origin that the answer is to be marked for.
pub(crate) struct Marked(HeaderValue);

impl Filter for Cors {
    const CONFIG: &'static str = "envoy.extensions.filters.http.cors.v3.Cors";
    const ROUTE_CONFIG: &'static str = "envoy.extensions.filters.http.cors.v3.CorsPolicy";
    const ANSWERS: bool = true;
    type Route = CorsPolicy;
    type State = Option<Marked>;

    fn compile(_typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        Ok(Self)
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<CorsPolicy> {
        typed.decode().and_then(compile::policy)
    }

    fn acts(&self) -> bool {
        false
    }

    async fn request(
        &self,
        route: Option<&CorsPolicy>,
        call: &mut Call<'_>,
    ) -> Result<Option<Marked>, Reply> {
        match route {
            Some(policy) => Ok(run::request(policy, call.head)?.map(Marked)),
            None => Ok(None),
        }
    }

    fn response(
        &self,
        route: Option<&CorsPolicy>,
        state: Option<Option<Marked>>,
        answer: &mut Answer<'_>,
    ) {
        if let (Some(policy), Some(Some(Marked(origin)))) = (route, state) {
            run::response(policy, origin, answer.response.headers_mut());
        }
    }
}
