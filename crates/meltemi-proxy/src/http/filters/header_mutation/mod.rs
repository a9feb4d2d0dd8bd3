//! Header mutation (`envoy.filters.http.header_mutation`): headers and trailers of requests and
//! answers, and parameters of queries, by the chain first, then by each level of the route.

mod query;
mod trailers;

use super::{Answer, Call, Coder, Filter, RouteFilter};
use crate::compile::any::Typed;
use crate::compile::pb::filters::http::header_mutation::v3 as proto;
use crate::compile::{At, Cx, Error, Result as Compiled, headers, matching};
use crate::http::header_ops;
use crate::http::record::Record;
use crate::http::reply::Reply;
use crate::model::{HeaderOps, StringMatch};
use crate::telemetry::Protocol;
use envoy_types::pb::envoy::config::common::mutation_rules::v3 as rules;
use http::HeaderMap;
use http_body::Body;
use query::Parameter;
use std::rc::Rc;
use std::sync::Arc;
use trailers::Of;
pub(crate) use trailers::Trailing;

pub struct HeaderMutation {
    own: Arc<Mutations>,
    /// The route's mutations come after those of its virtual host and table, not before.
    most_specific_wins: bool,
}

/// Of a route, its virtual host and its table: those that have any, in this order.
pub struct RouteMutations(Vec<Arc<Mutations>>);

struct Mutations {
    request: Box<[Step]>,
    query: Box<[Parameter]>,
    request_trailers: Box<[Step]>,
    response: Box<[Step]>,
    response_trailers: Box<[Step]>,
}

impl Mutations {
    /// Whether something that comes after the request's head depends on it.
    fn has_late_formats(&self) -> bool {
        let late = [
            &self.request_trailers,
            &self.response,
            &self.response_trailers,
        ];
        late.into_iter()
            .any(|steps| steps.iter().any(Step::is_format))
    }
}

/// In the configured order.
enum Step {
    Change(HeaderOps),
    RemoveMatching(StringMatch),
}

impl HeaderMutation {
    fn levels<'a>(
        &'a self,
        route: Option<&'a RouteMutations>,
    ) -> impl Iterator<Item = &'a Arc<Mutations>> {
        let levels = route.map_or(&[][..], |route| &route.0);
        let (first, last) = match self.most_specific_wins {
            true => (None, Some(levels.iter().rev())),
            false => (Some(levels.iter()), None),
        };
        let levels = first
            .into_iter()
            .flatten()
            .chain(last.into_iter().flatten());
        std::iter::once(&self.own).chain(levels)
    }

    /// What is to be done with trailers, when they come.
    fn trailing(
        &self,
        route: Option<&RouteMutations>,
        record: &Rc<Record>,
        of: Of,
    ) -> Option<Trailing> {
        let levels = self.levels(route);
        let levels = levels.filter(|level| !of.steps(level).is_empty());
        Trailing::new(levels.cloned().collect(), record, of)
    }
}

impl Step {
    fn is_format(&self) -> bool {
        matches!(self, Self::Change(ops) if header_ops::has_formats(ops))
    }
}

fn remove_matching(pattern: &StringMatch, headers: &mut HeaderMap) {
    let matching = headers.keys().filter(|name| pattern.matches(name.as_str()));
    for name in matching.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

impl Filter for HeaderMutation {
    const CONFIG: &'static str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    const ROUTE_CONFIG: &'static str =
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
    const ANSWERS: bool = true;
    type Route = RouteMutations;
    type State = ();

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        let proto::HeaderMutation {
            mutations,
            most_specific_header_mutations_wins,
        } = typed.decode()?;
        Ok(Self {
            own: Arc::new(compile(mutations.unwrap_or_default()).at("mutations")?),
            most_specific_wins: most_specific_header_mutations_wins,
        })
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<RouteMutations> {
        let proto::HeaderMutationPerRoute { mutations } = typed.decode()?;
        let own = compile(mutations.unwrap_or_default()).at("mutations")?;
        Ok(RouteMutations(vec![Arc::new(own)]))
    }

    /// All levels hold.
    fn merge(own: Arc<RouteFilter>, above: &RouteFilter) -> Arc<RouteFilter> {
        match (&*own, above) {
            (RouteFilter::HeaderMutation(levels), RouteFilter::HeaderMutation(above)) => {
                let all = levels.0.iter().chain(&above.0).cloned().collect();
                Arc::new(RouteFilter::HeaderMutation(RouteMutations(all)))
            }
            _ => own,
        }
    }

    fn acts(&self) -> bool {
        let Mutations {
            request,
            query,
            request_trailers,
            response,
            response_trailers,
        } = &*self.own;
        let steps = [request, request_trailers, response, response_trailers];
        !query.is_empty() || steps.iter().any(|steps| !steps.is_empty())
    }

    async fn request(
        &self,
        route: Option<&RouteMutations>,
        call: &mut Call<'_>,
    ) -> Result<(), Reply> {
        let mut formats = false;
        for mutations in self.levels(route) {
            for step in &mutations.request {
                match step {
                    Step::Change(ops) => {
                        header_ops::request(ops, call.head, &call.exchange.record.info);
                    }
                    Step::RemoveMatching(pattern) => {
                        remove_matching(pattern, &mut call.head.headers);
                    }
                }
            }
            query::change(&mutations.query, call.head, &call.exchange.record.info);
            formats |= mutations.has_late_formats();
        }
        if formats {
            call.exchange.note_head(call.head, true);
        }
        if let Some(trailing) = self.trailing(route, &call.exchange.record, Of::Request) {
            call.body.trail(trailing);
        }
        Ok(())
    }

    fn response(
        &self,
        route: Option<&RouteMutations>,
        _state: Option<()>,
        answer: &mut Answer<'_>,
    ) {
        let record = &answer.exchange.record;
        let headers = answer.response.headers_mut();
        for step in self.levels(route).flat_map(|level| &level.response) {
            match step {
                Step::Change(ops) => header_ops::response(ops, headers, &record.info),
                Step::RemoveMatching(pattern) => remove_matching(pattern, headers),
            }
        }
        let body = answer.response.body();
        // Nothing follows what HTTP/1 tells the length of.
        let may_follow =
            record.info.borrow().protocol == Protocol::Http2 || body.size_hint().exact().is_none();
        if may_follow
            && !body.is_end_stream()
            && !body.is_tunnel()
            && let Some(trailing) = self.trailing(route, record, Of::Response)
        {
            if trailing.has_formats() {
                let headers = answer.response.headers().clone();
                record.info.borrow_mut().response_headers = headers;
            }
            let body = answer.response.body_mut();
            body.recode(Coder::Trailers(trailing));
        }
    }
}

fn compile(value: proto::Mutations) -> Compiled<Mutations> {
    let proto::Mutations {
        request_mutations,
        query_parameter_mutations,
        response_mutations,
        response_trailers_mutations,
        request_trailers_mutations,
    } = value;
    let steps = |values: Vec<rules::HeaderMutation>, field: &str| -> Compiled<Box<[Step]>> {
        let values = values.into_iter().enumerate();
        values
            .map(|(index, value)| step(value).nth(field, index))
            .collect()
    };
    Ok(Mutations {
        request: steps(request_mutations, "request_mutations")?,
        query: query_parameter_mutations
            .into_iter()
            .enumerate()
            .map(|(index, value)| query::compile(value).nth("query_parameter_mutations", index))
            .collect::<Compiled<_>>()?,
        request_trailers: steps(request_trailers_mutations, "request_trailers_mutations")?,
        response: steps(response_mutations, "response_mutations")?,
        response_trailers: steps(response_trailers_mutations, "response_trailers_mutations")?,
    })
}

fn step(value: rules::HeaderMutation) -> Compiled<Step> {
    use rules::header_mutation::{Action, RemoveOnMatch};
    let rules::HeaderMutation { action } = value;
    match action {
        None => Err(Error::new("is empty")),
        Some(Action::Remove(name)) => headers::removal(&name).at("remove").map(Step::Change),
        Some(Action::Append(value)) => headers::put(value).at("append").map(Step::Change),
        Some(Action::RemoveOnMatch(RemoveOnMatch { key_matcher })) => key_matcher
            .ok_or_else(|| Error::missing("key_matcher"))
            .and_then(|value| matching::string(value).at("key_matcher"))
            .at("remove_on_match")
            .map(Step::RemoveMatching),
    }
}

#[cfg(test)]
mod tests;
