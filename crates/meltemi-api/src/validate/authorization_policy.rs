//! AuthorizationPolicy.

use super::attachment::Attachment;
use super::dry_run;
use super::names::ip_or_subnet;
use super::report::Report;
use crate::security::{
    AuthorizationAction as Action, AuthorizationPolicy, Condition, Operation, Rule, Source,
};
use crate::{FieldPath, Meta};

/// Most rules, and most sources of a rule.
const MAX_RULES: usize = 512;
/// Most service accounts of one list, and the length of each.
const MAX_ACCOUNTS: usize = 16;
const MAX_ACCOUNT: usize = 320;

pub(super) fn validate(
    spec: &AuthorizationPolicy,
    meta: &Meta,
    at: &FieldPath,
    report: &mut Report,
) {
    dry_run::of_policy(spec.action, meta, report);
    Attachment {
        selector: spec.selector.as_ref(),
        target_ref: spec.target_ref.as_ref(),
        target_refs: &spec.target_refs,
    }
    .check(at, report);
    provider(spec, at, report);
    let at = at.field("rules");
    if spec.rules.is_empty() && matches!(spec.action, Action::Deny | Action::Custom) {
        let message = format!("{} without rules never happens", spec.action);
        report.error(
            &at,
            message,
            "add rules; an empty rule {} matches everything",
        );
    }
    report.at_most_items(&at, spec.rules.len(), MAX_RULES);
    for (index, one) in spec.rules.iter().enumerate() {
        rule(one, spec.action, &at.index(index), report);
    }
}

fn provider(spec: &AuthorizationPolicy, at: &FieldPath, report: &mut Report) {
    let at = at.field("provider");
    match (&spec.provider, spec.action) {
        (None, Action::Custom) => report.error(
            &at,
            "is required with CUSTOM",
            "name one of MeshConfig's extensionProviders",
        ),
        (Some(provider), Action::Custom) => report.required(
            &at.field("name"),
            &provider.name,
            "name one of MeshConfig's extensionProviders",
        ),
        (Some(_), action) => report.error(
            &at,
            format!("{action} has no provider"),
            "remove it, or use action CUSTOM",
        ),
        (None, _) => {}
    }
}

fn rule(rule: &Rule, action: Action, at: &FieldPath, report: &mut Report) {
    let custom = action == Action::Custom;
    report.at_most_items(&at.field("from"), rule.from.len(), MAX_RULES);
    // An attribute of the connection keeps a rule off TCP traffic that it is not meant for.
    let (mut from_tcp, mut to_tcp) = (false, false);
    for (index, from) in rule.from.iter().enumerate() {
        let at = at.field("from").index(index).field("source");
        match &from.source {
            None => report.error(&at, "is required", "say where requests come from"),
            Some(from) => {
                from_tcp |= source(from, &at, report);
                if custom {
                    not_for_custom(from, &at, report);
                }
            }
        }
    }
    for (index, to) in rule.to.iter().enumerate() {
        let at = at.field("to").index(index).field("operation");
        match &to.operation {
            None => report.error(&at, "is required", "say what requests do"),
            Some(to) => to_tcp |= operation(to, &at, report),
        }
    }
    for (index, when) in rule.when.iter().enumerate() {
        let at = at.field("when").index(index);
        let decided_early = ["source.namespace", "source.principal"].contains(&when.key.as_str())
            || when.key.starts_with("request.auth.");
        if custom && decided_early {
            let message = format!("{} is not known yet when CUSTOM decides", when.key);
            report.error(&at.field("key"), message, "use ALLOW or DENY for it");
        }
        condition(when, &at, report);
    }
    let sources = rule.from.iter().any(|from| from.source.is_some());
    let operations = rule.to.iter().any(|to| to.operation.is_some());
    let all_tcp = (sources && !operations && !from_tcp) || (operations && !to_tcp);
    if action == Action::Deny && all_tcp {
        report.warning(
            at,
            "uses attributes of HTTP only: TCP connections have none, and all of them are denied",
            "add to.operation.ports to limit it to HTTP ports",
        );
    }
}

/// Whether it looks at the connection.
fn source(source: &Source, at: &FieldPath, report: &mut Report) -> bool {
    if *source == Source::default() {
        report.error(at, "is empty", "name principals, namespaces, ipBlocks ...");
    }
    let accounts = [
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ];
    let peers = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
    ];
    let trust_domains = [
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
    ];
    let addresses = [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    let tokens = [
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
    ];
    let any = |lists: &[(&str, &Vec<String>)]| lists.iter().any(|(_, list)| !list.is_empty());
    if any(&accounts) && any(&peers) {
        report.error(
            at,
            "serviceAccounts cannot be combined with principals or namespaces",
            "write the accounts as principals, or use two sources",
        );
    }
    for (name, list) in accounts {
        service_accounts(list, &at.field(name), report);
    }
    for (name, list) in peers.iter().chain(&trust_domains).chain(&tokens) {
        not_empty(list, &at.field(*name), report);
    }
    for (name, list) in addresses {
        blocks(list, &at.field(name), report);
    }
    any(&accounts) || any(&peers) || any(&trust_domains) || any(&addresses)
}

/// Identities are proven after CUSTOM has decided.
fn not_for_custom(source: &Source, at: &FieldPath, report: &mut Report) {
    for (name, list) in [
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
    ] {
        if !list.is_empty() {
            report.error(
                &at.field(name),
                "is not known yet when CUSTOM decides",
                "use ALLOW or DENY for it",
            );
        }
    }
}

fn service_accounts(list: &[String], at: &FieldPath, report: &mut Report) {
    report.at_most_items(at, list.len(), MAX_ACCOUNTS);
    for (index, account) in list.iter().enumerate() {
        let at = at.index(index);
        report.at_most(&at, account, MAX_ACCOUNT);
        let mut parts = account.split('/');
        let named = parts.by_ref().take(2).all(|part| !part.is_empty());
        if !named || parts.next().is_some() || account.contains('*') {
            report.error(
                &at,
                format!("{account:?} is not a service account"),
                "write NAMESPACE/ACCOUNT, or ACCOUNT of the policy's own namespace",
            );
        }
    }
}

fn not_empty(list: &[String], at: &FieldPath, report: &mut Report) {
    for (index, value) in list.iter().enumerate() {
        report.required(&at.index(index), value, "write a value, or * for any");
    }
}

fn blocks(list: &[String], at: &FieldPath, report: &mut Report) {
    for (index, block) in list.iter().enumerate() {
        report.check(&at.index(index), ip_or_subnet(block));
    }
}

fn ports(list: &[String], at: &FieldPath, report: &mut Report) {
    for (index, port) in list.iter().enumerate() {
        if port.parse::<u16>().is_err() {
            let message = format!("{port:?} is not a port");
            report.error(&at.index(index), message, "write a number, 0 to 65535");
        }
    }
}

/// Whether it looks at the connection.
fn operation(operation: &Operation, at: &FieldPath, report: &mut Report) -> bool {
    if *operation == Operation::default() {
        report.error(at, "is empty", "name hosts, ports, methods or paths");
    }
    for (name, list) in [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
    ] {
        not_empty(list, &at.field(name), report);
    }
    for (name, list) in [
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ] {
        not_empty(list, &at.field(name), report);
        for (index, path) in list.iter().enumerate() {
            path_template(path, &at.field(name).index(index), report);
        }
    }
    for (name, list) in [
        ("ports", &operation.ports),
        ("notPorts", &operation.not_ports),
    ] {
        ports(list, &at.field(name), report);
    }
    !operation.ports.is_empty() || !operation.not_ports.is_empty()
}

/// A path with `{*}` or `{**}` is a template of Envoy's, which knows no other special signs.
fn path_template(path: &str, at: &FieldPath, report: &mut Report) {
    if !path.contains("{*}") && !path.contains("{**}") {
        return;
    }
    let rest = path.replace("{**}", "").replace("{*}", "");
    if rest.contains(['{', '}', '*']) {
        report.error(
            at,
            format!("{path:?} is not a path template"),
            "use {*} for one segment and {**} for any number; no names and no bare *",
        );
    }
}

fn condition(condition: &Condition, at: &FieldPath, report: &mut Report) {
    let key_at = at.field("key");
    if condition.key.is_empty() {
        return report.error(
            &key_at,
            "is required",
            "name an attribute, such as source.ip",
        );
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        report.error(at, "has no values", "add values or notValues");
    }
    let lists = [
        ("values", &condition.values),
        ("notValues", &condition.not_values),
    ];
    for (name, list) in lists {
        not_empty(list, &at.field(name), report);
    }
    match attribute(&condition.key) {
        Err((message, remedy)) => report.error(&key_at, message, remedy),
        Ok(Values::Text) => {}
        Ok(Values::Addresses) => {
            for (name, list) in lists {
                blocks(list, &at.field(name), report);
            }
        }
        Ok(Values::Ports) => {
            for (name, list) in lists {
                ports(list, &at.field(name), report);
            }
        }
    }
}

enum Values {
    Text,
    Addresses,
    Ports,
}

/// Attributes without a part in brackets.
const PLAIN: [&str; 11] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "connection.sni",
];
/// Attributes with one.
const KEYED: [&str; 3] = [
    "request.headers",
    "request.auth.claims",
    "experimental.envoy.filters.",
];

fn attribute(key: &str) -> Result<Values, (String, String)> {
    let wrong = |message: String, remedy: &str| Err((message, remedy.to_owned()));
    if KEYED.iter().any(|prefix| key.starts_with(prefix)) {
        let named = key
            .strip_suffix(']')
            .and_then(|rest| rest.split_once('['))
            .is_some_and(|(_, name)| !name.is_empty());
        return if named {
            Ok(Values::Text)
        } else {
            wrong(
                format!("{key:?} lacks its name in brackets"),
                "write for example request.headers[version]",
            )
        };
    }
    match key {
        "source.ip" | "remote.ip" | "destination.ip" => Ok(Values::Addresses),
        "destination.port" => Ok(Values::Ports),
        "destination.namespace" => wrong(
            format!("{key} is no attribute any more"),
            "put the policy into that namespace",
        ),
        key if key.starts_with("destination.labels") => wrong(
            "destination.labels is no attribute any more".into(),
            "use the policy's selector",
        ),
        "destination.name" | "destination.user" => wrong(
            format!("{key} is no attribute any more"),
            "use the policy's selector",
        ),
        key if PLAIN.contains(&key) => Ok(Values::Text),
        _ => Err((
            format!("{key:?} is not an attribute"),
            crate::did_you_mean(key, PLAIN.iter().chain(&KEYED).copied()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_known_by_name() {
        for good in PLAIN.iter().copied().chain([
            "destination.port",
            "request.headers[x]",
            "request.auth.claims[a][b]",
            "experimental.envoy.filters.network.mysql_proxy[db.table]",
        ]) {
            assert!(attribute(good).is_ok(), "{good}");
        }
        for bad in [
            "request.headers[]",
            "request.headers",
            "source.IP",
            "x",
            "destination.name",
        ] {
            assert!(attribute(bad).is_err(), "{bad}");
        }
    }
}
