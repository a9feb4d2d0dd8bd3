//! Rewriting path and host on the way up.

use super::head::Head;
use super::{names, path};
use crate::model::{HostRewrite, PathMatch, PathRewrite};
use http::HeaderValue;
use http::uri::PathAndQuery;

/// The path after a rewrite; `None` when there is none or its result is no path.
pub(crate) fn rewritten(
    rewrite: &PathRewrite,
    matched: &PathMatch,
    path: &PathAndQuery,
) -> Option<PathAndQuery> {
    let plain = path.path();
    let fresh = match rewrite {
        PathRewrite::None => return None,
        PathRewrite::Prefix(prefix) => {
            let length = match matched {
                PathMatch::Prefix(prefix) | PathMatch::SeparatedPrefix(prefix) => prefix.len(),
                PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Connect => plain.len(),
            };
            let mut fresh = String::with_capacity(prefix.len() + plain.len());
            fresh.push_str(prefix);
            fresh.push_str(plain.get(length..).unwrap_or(""));
            fresh
        }
        PathRewrite::Regex(regex, replacement) => {
            regex.replace_all(plain, &**replacement).into_owned()
        }
    };
    let mut fresh = if fresh.starts_with('/') {
        fresh
    } else {
        format!("/{fresh}")
    };
    if let Some(query) = path.query() {
        fresh.push('?');
        fresh.push_str(query);
    }
    PathAndQuery::try_from(fresh).ok()
}

pub(crate) fn path(rewrite: &PathRewrite, matched: &PathMatch, head: &mut Head) {
    if let Some(fresh) = rewritten(rewrite, matched, &head.path) {
        path::keep_original(&mut head.headers, &head.path);
        head.path = fresh;
    }
}

/// Rewrites that do not depend on the endpoint. `weighted` is the chosen cluster's own.
pub(crate) fn host(
    rewrite: &HostRewrite,
    weighted: Option<&str>,
    append_forwarded: bool,
    head: &mut Head,
) {
    let fresh = match (weighted, rewrite) {
        (Some(host), _) => HeaderValue::from_str(host).ok(),
        (None, HostRewrite::Literal(host)) => HeaderValue::from_str(host).ok(),
        (None, HostRewrite::Header(name)) => head.headers.get(name).cloned(),
        (None, HostRewrite::None | HostRewrite::Auto) => None,
    };
    if let Some(fresh) = fresh {
        replace_host(fresh, append_forwarded, head);
    }
}

pub(crate) fn replace_host(fresh: HeaderValue, append_forwarded: bool, head: &mut Head) {
    let old = std::mem::replace(&mut head.authority, fresh);
    if append_forwarded {
        head.headers
            .append(names::X_FORWARDED_HOST.clone(), old.clone());
    }
    head.headers
        .insert(names::X_ENVOY_ORIGINAL_HOST.clone(), old);
}
