//! Header mutation (`envoy.filters.http.header_mutation`): headers of requests and answers, by
//! the chain first, then by each level of the route.

use super::{Answer, Call, Filter, RouteFilter};
use crate::compile::any::Typed;
use crate::compile::pb::filters::http::header_mutation::v3 as proto;
use crate::compile::{At, Cx, Error, Result as Compiled, headers, matching, refuse};
use crate::http::header_ops;
use crate::http::reply::Reply;
use crate::model::{HeaderOps, StringMatch};
use envoy_types::pb::envoy::config::common::mutation_rules::v3 as rules;
use http::HeaderMap;
use std::sync::Arc;

pub struct HeaderMutation {
    own: Mutations,
    /// The route's mutations come after those of its virtual host and table, not before.
    most_specific_wins: bool,
}

/// Of a route, its virtual host and its table: those that have any, in this order.
pub struct RouteMutations(Vec<Arc<Mutations>>);

struct Mutations {
    request: Box<[Step]>,
    response: Box<[Step]>,
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
    ) -> impl Iterator<Item = &'a Mutations> {
        let levels = route.map_or(&[][..], |route| &route.0);
        let (first, last) = match self.most_specific_wins {
            true => (None, Some(levels.iter().rev())),
            false => (Some(levels.iter()), None),
        };
        let levels = first
            .into_iter()
            .flatten()
            .chain(last.into_iter().flatten());
        std::iter::once(&self.own).chain(levels.map(|level| &**level))
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
            own: compile(mutations.unwrap_or_default()).at("mutations")?,
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
        !self.own.request.is_empty() || !self.own.response.is_empty()
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
            formats |= mutations.response.iter().any(Step::is_format);
        }
        if formats {
            call.exchange.note_head(call.head, true);
        }
        Ok(())
    }

    fn response(
        &self,
        route: Option<&RouteMutations>,
        _state: Option<()>,
        answer: &mut Answer<'_>,
    ) {
        let info = &answer.exchange.record.info;
        let headers = answer.response.headers_mut();
        for step in self.levels(route).flat_map(|level| &level.response) {
            match step {
                Step::Change(ops) => header_ops::response(ops, headers, info),
                Step::RemoveMatching(pattern) => remove_matching(pattern, headers),
            }
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
    refuse!(
        query_parameter_mutations,
        response_trailers_mutations,
        request_trailers_mutations
    );
    let steps = |values: Vec<rules::HeaderMutation>, field: &str| -> Compiled<Box<[Step]>> {
        let values = values.into_iter().enumerate();
        values
            .map(|(index, value)| step(value).nth(field, index))
            .collect()
    };
    Ok(Mutations {
        request: steps(request_mutations, "request_mutations")?,
        response: steps(response_mutations, "response_mutations")?,
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
mod tests {
    use crate::http::filters::testkit::{Bench, filter, typed};
    use crate::http::testkit::{request, run};
    use http::Response;
    use serde_json::{Value, json};

    fn mutations(name: &str, value: &str) -> Value {
        let put = json!({ "append": {
            "header": { "key": name, "value": value },
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        } });
        json!({ "mutations": { "request_mutations": [put], "response_mutations": [put] } })
    }

    #[test]
    fn each_level_has_its_turn() {
        run(async {
            for (wins, expected) in [(false, "host"), (true, "route")] {
                let mut own = mutations("x-level", "chain");
                own["most_specific_header_mutations_wins"] = json!(wins);
                let filters = json!([filter("m", "header_mutation.v3.HeaderMutation", own)]);
                let said = |level| {
                    let config = mutations("x-level", level);
                    let typed = typed("header_mutation.v3.HeaderMutationPerRoute", config);
                    json!({ "typed_per_filter_config": { "m": typed } })
                };
                let bench = Bench::with_host(filters, said("route"), said("host")).unwrap();
                let outcome = bench.ask(request("GET", "/")).await;
                assert_eq!(outcome.passed_header("x-level"), Some(expected));
                assert_eq!(outcome.header("x-level"), Some(expected));
            }
        });
    }

    #[test]
    fn steps_are_taken_in_their_order() {
        run(async {
            let put =
                |value: &str| json!({ "append": { "header": { "key": "x-a", "value": value } } });
            let steps = json!([
                put("first"),
                { "remove": "x-a" },
                put("%REQ(X-B)%"),
                { "remove_on_match": { "key_matcher": { "prefix": "x-secret" } } },
            ]);
            let own =
                json!({ "mutations": { "request_mutations": steps, "response_mutations": steps } });
            let filters = json!([filter("m", "header_mutation.v3.HeaderMutation", own)]);
            let bench = Bench::new(filters, json!({})).unwrap();
            let asked = request("GET", "/")
                .header("x-b", "b")
                .header("x-secret-1", "s");
            let mut answer = Response::new("");
            answer
                .headers_mut()
                .insert("x-secret-2", "s".parse().unwrap());
            let outcome = bench.call(asked, answer).await;
            assert_eq!(outcome.passed_header("x-a"), Some("b"));
            assert_eq!(outcome.passed_header("x-secret-1"), None);
            assert_eq!(outcome.header("x-a"), Some("b"));
            assert_eq!(outcome.header("x-secret-2"), None);
        });
    }
}
