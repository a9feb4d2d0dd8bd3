//! Policies. What cannot be evaluated here is refused: a policy in part is none.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::{Policies, RbacAction, RbacPolicy, RbacRule, RouteRbac};
use crate::compile::basic::prefix;
use crate::compile::pb::filters::http::rbac::v3::{Rbac as FilterProto, RbacPerRoute};
use crate::compile::pb::matcher::{PathMatcher, path_matcher};
use crate::compile::pb::rbac::{self as proto, permission, principal};
use crate::compile::{At, Error, Result, harmless, matching, refuse};
use crate::model::StringMatch;

/// Bound on the nesting of rules.
const MAX_DEPTH: usize = 32;

/// The filter of a chain, and the prefixes of its statistics.
pub struct Filter {
    pub rules: RouteRbac,
    pub stats: [String; 2],
}

pub fn filter(value: FilterProto) -> Result<Filter> {
    let FilterProto {
        rules,
        rules_stat_prefix,
        matcher,
        shadow_rules,
        shadow_matcher,
        shadow_rules_stat_prefix,
        track_per_rule_stats,
    } = value;
    refuse!(matcher, shadow_matcher);
    harmless!(track_per_rule_stats);
    Ok(Filter {
        rules: RouteRbac {
            enforced: rules.map(policies).transpose().at("rules")?,
            shadow: shadow_rules.map(policies).transpose().at("shadow_rules")?,
        },
        stats: [rules_stat_prefix, shadow_rules_stat_prefix],
    })
}

/// Without rules the filter lets the route's requests pass.
pub fn route(value: RbacPerRoute) -> Result<RouteRbac> {
    let RbacPerRoute { rbac } = value;
    let filter = rbac.map(filter).transpose().at("rbac")?;
    Ok(filter.map(|filter| filter.rules).unwrap_or_default())
}

pub fn policies(value: proto::Rbac) -> Result<Policies> {
    let proto::Rbac {
        action,
        policies,
        audit_logging_options,
    } = value;
    refuse!(audit_logging_options);
    let action = match proto::rbac::Action::try_from(action) {
        Ok(proto::rbac::Action::Allow) => RbacAction::Allow,
        Ok(proto::rbac::Action::Deny) => RbacAction::Deny,
        Ok(proto::rbac::Action::Log) => RbacAction::Log,
        Err(_) => return Err(Error::unsupported("action")),
    };
    let mut policies: Vec<_> = policies.into_iter().collect();
    policies.sort_by(|a, b| a.0.cmp(&b.0));
    let policies: Result<Box<[RbacPolicy]>> = policies
        .into_iter()
        .map(|(name, value)| policy(&name, value).at(&format!("policies[{name}]")))
        .collect();
    Ok(Policies {
        action,
        policies: policies?,
    })
}

fn policy(name: &str, value: proto::Policy) -> Result<RbacPolicy> {
    let proto::Policy {
        permissions,
        principals,
        condition,
        checked_condition,
        cel_config,
    } = value;
    refuse!(condition, checked_condition, cel_config);
    Ok(RbacPolicy {
        denial: format!("rbac_access_denied_matched_policy[{}]", one_word(name)).into(),
        permissions: list(permissions, "permissions", MAX_DEPTH, permission)?,
        principals: list(principals, "principals", MAX_DEPTH, principal)?,
    })
}

/// Blanks would end the field of a log.
fn one_word(name: &str) -> String {
    name.replace(char::is_whitespace, "_")
}

fn list<T>(
    values: Vec<T>,
    field: &str,
    depth: usize,
    one: fn(T, usize) -> Result<RbacRule>,
) -> Result<Box<[RbacRule]>> {
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| Error::new(format!("is nested deeper than {MAX_DEPTH}")))?;
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| one(value, depth).nth(field, index))
        .collect()
}

fn permission(value: proto::Permission, depth: usize) -> Result<RbacRule> {
    use permission::Rule;
    let proto::Permission { rule } = value;
    Ok(match rule.ok_or_else(|| Error::missing("rule"))? {
        Rule::AndRules(set) => RbacRule::All(list(set.rules, "and_rules", depth, permission)?),
        Rule::OrRules(set) => RbacRule::Any(list(set.rules, "or_rules", depth, permission)?),
        Rule::Any(true) => RbacRule::Anything,
        Rule::Header(header) => RbacRule::Header(matching::header(header).at("header")?),
        Rule::UrlPath(path) => RbacRule::Path(path_rule(path).at("url_path")?),
        Rule::DestinationIp(range) => RbacRule::DestinationIp(prefix(range).at("destination_ip")?),
        Rule::DestinationPort(port) => RbacRule::DestinationPort(port..port.saturating_add(1)),
        Rule::DestinationPortRange(range) => {
            let bound = |value: i32, field| {
                u32::try_from(value).map_err(|_| Error::new("is negative").at_field(field))
            };
            RbacRule::DestinationPort(bound(range.start, "start")?..bound(range.end, "end")?)
        }
        Rule::NotRule(rule) => {
            let rule = list(vec![*rule], "not_rule", depth, permission)?;
            RbacRule::Not(Box::new(RbacRule::All(rule)))
        }
        Rule::RequestedServerName(name) => {
            RbacRule::ServerName(matching::string(name).at("requested_server_name")?)
        }
        Rule::Any(false) => return Err(Error::new("false matches nothing").at_field("any")),
        _ => return Err(Error::new("this kind of rule is not supported")),
    })
}

fn principal(value: proto::Principal, depth: usize) -> Result<RbacRule> {
    use principal::Identifier;
    let proto::Principal { identifier } = value;
    Ok(
        match identifier.ok_or_else(|| Error::missing("identifier"))? {
            Identifier::AndIds(set) => RbacRule::All(list(set.ids, "and_ids", depth, principal)?),
            Identifier::OrIds(set) => RbacRule::Any(list(set.ids, "or_ids", depth, principal)?),
            Identifier::Any(true) => RbacRule::Anything,
            Identifier::Authenticated(name) => RbacRule::Authenticated(
                name.principal_name
                    .map(matching::string)
                    .transpose()
                    .at("authenticated.principal_name")?,
            ),
            Identifier::SourceIp(range) => RbacRule::SourceIp(prefix(range).at("source_ip")?),
            Identifier::DirectRemoteIp(range) => {
                RbacRule::DirectIp(prefix(range).at("direct_remote_ip")?)
            }
            Identifier::RemoteIp(range) => RbacRule::RemoteIp(prefix(range).at("remote_ip")?),
            Identifier::Header(header) => RbacRule::Header(matching::header(header).at("header")?),
            Identifier::UrlPath(path) => RbacRule::Path(path_rule(path).at("url_path")?),
            Identifier::NotId(id) => {
                let id = list(vec![*id], "not_id", depth, principal)?;
                RbacRule::Not(Box::new(RbacRule::All(id)))
            }
            Identifier::Any(false) => {
                return Err(Error::new("false matches nothing").at_field("any"));
            }
            _ => return Err(Error::new("this kind of principal is not supported")),
        },
    )
}

fn path_rule(value: PathMatcher) -> Result<StringMatch> {
    match value.rule {
        Some(path_matcher::Rule::Path(path)) => matching::string(path).at("path"),
        None => Err(Error::missing("path")),
    }
}
