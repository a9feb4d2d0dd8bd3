//! HTTP rules behind rules that take all their requests: the first that matches wins.

use meltemi_api::networking::{HttpMatchRequest, HttpRoute, StringMatch, VirtualService};

use crate::code::{INEFFECTIVE_MATCH, UNREACHABLE_RULE};
use crate::report::at;
use crate::{Analyzer, Index, Report, Resource};

pub struct UnreachableRule;

impl Analyzer for UnreachableRule {
    fn name(&self) -> &'static str {
        "virtualservice.UnreachableRuleAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that no HTTP rule stands behind one that takes all its requests"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (resource, service) in index.of::<VirtualService>() {
            for rule in 1..service.http.len() {
                check(resource, &service.http, rule, report);
            }
        }
    }
}

fn check(resource: &Resource, rules: &[HttpRoute], rule: usize, report: &mut Report) {
    let before = &rules[..rule];
    if let Some(first) = before.iter().position(takes_all) {
        report.add(
            &UNREACHABLE_RULE,
            resource,
            at!(spec.http[rule]),
            format!("spec.http[{first}] matches every request, so this rule is never reached"),
            "move it before that rule, or give that rule a match",
        );
        return;
    }
    let taken: Vec<Option<usize>> = rules[rule]
        .matches
        .iter()
        .map(|own| {
            before
                .iter()
                .position(|other| other.matches.iter().any(|m| same(m, own)))
        })
        .collect();
    if let (false, Some(all)) = (
        taken.is_empty(),
        taken.iter().copied().collect::<Option<Vec<_>>>(),
    ) {
        report.add(
            &UNREACHABLE_RULE,
            resource,
            at!(spec.http[rule]),
            format!(
                "spec.http[{}] matches the same requests, so this rule is never reached",
                all[0]
            ),
            "remove it, or change its match",
        );
        return;
    }
    for (alternative, other) in taken.into_iter().enumerate() {
        if let Some(other) = other {
            report.add(
                &INEFFECTIVE_MATCH,
                resource,
                at!(spec.http[rule].match[alternative]),
                format!("spec.http[{other}] matches the same requests already"),
                "remove this alternative",
            );
        }
    }
}

/// Whether a rule matches whatever comes. An empty prefix of the path is no condition.
fn takes_all(rule: &HttpRoute) -> bool {
    rule.matches.is_empty()
        || rule.matches.iter().any(|alternative| {
            let any_path = match &alternative.uri {
                None | Some(StringMatch::Present) => true,
                Some(StringMatch::Prefix(prefix)) => prefix.is_empty() || prefix == "/",
                Some(_) => false,
            };
            let others = HttpMatchRequest {
                uri: None,
                ignore_uri_case: false,
                ..unnamed(alternative)
            };
            any_path && others == HttpMatchRequest::default()
        })
}

fn same(a: &HttpMatchRequest, b: &HttpMatchRequest) -> bool {
    unnamed(a) == unnamed(b)
}

/// Without what is no condition.
fn unnamed(alternative: &HttpMatchRequest) -> HttpMatchRequest {
    HttpMatchRequest {
        name: String::new(),
        stat_prefix: String::new(),
        ..alternative.clone()
    }
}
