//! Forwarding: cluster, rewrites, attempts, and the answer's head.

use super::attempt::{self, Answered, Failed};
use super::body::{ResponseBody, UpstreamBody};
use super::exchange::Exchange;
use super::head::{self, Head};
use super::reply::{Reply, Reset};
use super::retry::Retries;
use super::routing::Matched;
use super::source::RequestSource;
use super::timeouts::Watchdog;
use super::upgrade::{self, Tunnel};
use super::upload::Upload;
use super::{grpc, hash, header_ops, mirror, names, rewrite, trace};
use crate::clock;
use crate::model::{
    Cluster, ClusterChoice, ClusterId, Discovery, Forward, HostRewrite, WeightedCluster,
};
use crate::telemetry::Flags;
use crate::upstream::{ClusterStats, Lease, PickContext, RetryGuard};
use http::{HeaderValue, Response, StatusCode};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The cluster of this request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Chosen<'a> {
    pub id: Option<ClusterId>,
    pub weighted: Option<&'a WeightedCluster>,
}

/// Decided once, by chance where weights say so.
pub(crate) fn choose<'a>(exchange: &Exchange, forward: &'a Forward, head: &Head) -> Chosen<'a> {
    match &forward.cluster {
        ClusterChoice::One(id) => Chosen {
            id: Some(*id),
            weighted: None,
        },
        ClusterChoice::Weighted { clusters, total } => {
            let mut point = fastrand::u32(..(*total).max(1));
            let weighted = clusters.iter().find(|cluster| {
                let here = point < cluster.weight;
                point = point.saturating_sub(cluster.weight);
                here
            });
            Chosen {
                id: weighted.map(|weighted| weighted.cluster),
                weighted,
            }
        }
        ClusterChoice::Header(name) => {
            let name = head.headers.get(name).map(HeaderValue::as_bytes);
            let id = name.and_then(|name| {
                exchange
                    .snapshot
                    .clusters
                    .iter()
                    .flatten()
                    .find(|cluster| cluster.config.name.as_bytes() == name)
                    .map(|cluster| cluster.id)
            });
            Chosen { id, weighted: None }
        }
    }
}

/// Sends the request on and returns the answer with the upstream's body behind it.
pub(crate) async fn forward(
    exchange: &mut Exchange,
    head: &mut Head,
    body: &mut RequestSource,
    matched: &Matched,
    forward: &Forward,
    chosen: &Chosen<'_>,
) -> Result<Response<ResponseBody>, Reply> {
    let cluster = chosen
        .id
        .and_then(|id| exchange.snapshot.cluster(id).cloned())
        .ok_or_else(|| Reply::no_cluster(forward.cluster_not_found))?;
    exchange.high_priority = forward.high_priority;
    let mut retries = Retries::new(forward.retry.as_ref(), head);
    let mut watchdog = limits(exchange, forward, &retries, head);
    let hash = match forward.hash_policy.is_empty() {
        true => None,
        false => hash::of_request(
            &forward.hash_policy,
            head,
            exchange.client.ip(),
            &exchange.downstream.info,
            &mut exchange.cookies,
        ),
    };
    let destination = original_destination(exchange, &cluster, head);
    rewrite_request(exchange, head, matched, forward, chosen);
    trace::propagate(exchange, head);

    let mirrors = match head.upgrade {
        Some(_) => Vec::new(),
        None => mirror::chosen(exchange, &forward.mirrors),
    };
    let body = body.take();
    let upload = match head.upgrade {
        // Nothing of it leaves before the upstream has accepted.
        Some(_) => Some(Upload::new(body, exchange.record.clone(), false, true)),
        None => exchange.upload(
            body,
            retries.possible() || !mirrors.is_empty(),
            head.expects_continue && exchange.downstream.manager.proxy_100_continue,
        ),
    };
    if !mirrors.is_empty() {
        if matched.host().attempt_count_in_request {
            let first = HeaderValue::from(1);
            head.headers
                .insert(names::X_ENVOY_ATTEMPT_COUNT.clone(), first);
        }
        mirror::send(exchange, mirrors, head, upload.as_ref(), forward.timeout);
    }

    let upgrade = head.upgrade.clone();
    let mut tried = Vec::new();
    let (mut attempted_priorities, mut skip_priorities) = (0u32, 0u32);
    let mut head = Some(head.take());
    let mut _retry_guard = None;
    loop {
        let attempts = exchange.next_attempt();
        if attempts == 1 && exchange.downstream.worker.overload.refuses_forwarding() {
            exchange.downstream.stats.overload_local_reply.inc();
            return Err(Reply::overloaded(false));
        }
        let mut attempt_head = match retries.possible() && upgrade.is_none() {
            true => head.as_ref().map(Head::copy),
            false => head.take(),
        };
        if let Some(head) = &mut attempt_head
            && matched.host().attempt_count_in_request
        {
            let count = HeaderValue::from(attempts);
            head.headers
                .insert(names::X_ENVOY_ATTEMPT_COUNT.clone(), count);
        }
        if let Some(head) = &mut attempt_head {
            trace::begin_attempt(exchange, head);
        }
        let result = once(
            exchange,
            &cluster,
            forward,
            PickContext {
                hash,
                criteria: chosen
                    .weighted
                    .map_or(&forward.criteria, |weighted| &weighted.criteria),
                original_destination: destination,
                tried: &tried,
                reselect: reselect(&retries),
                skip_priorities,
                // The host is told in `once`, connections of requests in `attempt`.
                ..PickContext::default()
            },
            &mut attempt_head,
            upload.as_ref(),
            &mut watchdog,
        )
        .await;
        let again = head.is_some()
            && upload.as_ref().is_none_or(|upload| upload.is_replayable())
            && match &result {
                Ok(answered) => {
                    let response = &answered.response;
                    retries.wants_after_answer(response.status(), response.headers())
                }
                Err(failed) => retries.wants_after_failure(failed.failure),
            };
        if again && retries.possible() {
            _retry_guard = RetryGuard::new(&cluster, forward.high_priority);
            if _retry_guard.is_some() {
                exchange.record.count(|stats| stats.rq_retry);
                let outcome = result.as_ref();
                let outcome = outcome.map(|answered| answered.response.status().as_u16());
                let outcome = outcome.map_err(|failed| failed.failure.as_str());
                trace::end_attempt(exchange, outcome);
                // The answer that is not good enough gives its connection up.
                drop(result);
                tried.extend(exchange.record.info.borrow().endpoint.clone());
                attempted_priorities |= 1u32.checked_shl(exchange.priority).unwrap_or(0);
                let frequency = retries.policy.as_ref().and_then(|p| p.previous_priorities);
                if frequency.is_some_and(|frequency| attempts.is_multiple_of(frequency)) {
                    skip_priorities = attempted_priorities;
                }
                let pause = retries.take();
                pause_for(exchange, &mut watchdog, pause).await?;
                continue;
            }
            // Retries overflow.
            exchange.flag(Flags::UPSTREAM_OVERFLOW);
            exchange.record.count(|stats| stats.rq_retry_overflow);
        } else if !retries.possible() && attempts > 1 {
            let failed = match &result {
                Ok(answered) => {
                    let response = &answered.response;
                    retries.wants_after_answer(response.status(), response.headers())
                }
                Err(failed) => retries.wants_after_failure(failed.failure),
            };
            if failed {
                exchange.flag(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
                exchange.record.count(|stats| stats.rq_retry_limit_exceeded);
            }
        }
        let answered = result.map_err(|failed| failed.reply)?;
        let status = answered.response.status();
        let switched = upgrade::is_accepted(upgrade.as_ref(), status);
        if status == StatusCode::SWITCHING_PROTOCOLS && !switched {
            return Err(Reply::reset(Reset::ProtocolError, None, false));
        }
        if let Some(upload) = &upload {
            upload.stop_keeping();
            if switched {
                upload.proceed();
            }
        }
        watchdog.head_arrived();
        if attempts > 1 && !again {
            let info = exchange.record.info.borrow();
            if !info.flags.contains(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED) {
                exchange.record.count(|stats| stats.rq_retry_success);
            }
        }
        return Ok(finish(
            exchange,
            answered,
            matched,
            chosen,
            attempts,
            watchdog,
            upgrade.as_ref().map(|token| (token, switched)),
        ));
    }
}

/// Picks an endpoint and makes one attempt on it.
async fn once(
    exchange: &mut Exchange,
    cluster: &Arc<Cluster>,
    forward: &Forward,
    context: PickContext<'_>,
    head: &mut Option<Head>,
    upload: Option<&Rc<Upload>>,
    watchdog: &mut Watchdog,
) -> Result<Answered, Failed> {
    let context = PickContext {
        host: head.as_ref().map(Head::host),
        ..context
    };
    let upstreams = &exchange.downstream.worker.upstreams;
    let resolved = upstreams.resolve(cluster, context.host).await;
    let picked = resolved
        .and_then(|()| upstreams.pick(cluster, &context))
        .map_err(|error| {
            exchange.record.charge(&ClusterStats::of(&cluster.config));
            Failed::upstream(&error.into(), false)
        })?;
    exchange.record.charge(picked.pools.stats());
    exchange.priority = picked.priority;
    {
        let mut info = exchange.record.info.borrow_mut();
        info.upstream_remote = crate::upstream::socket_address(&picked.endpoint);
        info.endpoint = Some(picked.endpoint.clone());
    }
    if let Some(head) = head
        && matches!(forward.host_rewrite, HostRewrite::Auto)
        && !picked.endpoint.hostname.is_empty()
        && let Ok(host) = HeaderValue::from_str(&picked.endpoint.hostname)
    {
        rewrite::replace_host(host, forward.append_x_forwarded_host, head);
        exchange.note_host(head);
    }
    attempt::send(
        exchange,
        cluster,
        &picked,
        head,
        upload,
        forward.ends_connect,
        watchdog,
    )
    .await
}

fn reselect(retries: &Retries) -> u32 {
    retries
        .policy
        .as_ref()
        .filter(|policy| policy.avoid_previous_hosts)
        .map_or(0, |policy| policy.host_selection_attempts.max(1))
}

/// The pause before a retry, under the limits of the whole exchange; those of a try start
/// anew with the next one.
async fn pause_for(
    exchange: &Exchange,
    watchdog: &mut Watchdog,
    pause: Duration,
) -> Result<(), Reply> {
    let per_try = watchdog.per_try.take();
    let per_try_idle = watchdog.per_try_idle.take();
    let pause = pin!(tokio::time::sleep(pause));
    watchdog
        .guard(&exchange.record, pause)
        .await
        .map_err(|_| Reply::upstream_timeout("response_timeout"))?;
    watchdog.per_try = per_try.map(|(limit, _)| (limit, clock::now()));
    watchdog.per_try_idle = per_try_idle;
    exchange.record.touch();
    Ok(())
}

/// Timeouts of the route, and of the request's headers where it may set them.
fn limits(exchange: &Exchange, forward: &Forward, retries: &Retries, head: &mut Head) -> Watchdog {
    let timeouts = &exchange.downstream.manager.timeouts;
    let started = exchange.record.info.borrow().started;
    let millis = |head: &Head, name| {
        let text = head.headers.get(name)?.to_str().ok()?;
        text.parse().ok().map(Duration::from_millis)
    };
    let mut global = forward.timeout;
    let mut per_try = retries.policy.as_ref().and_then(|p| p.per_try_timeout);
    if exchange.grpc
        && let Some(limit) = forward.max_grpc_timeout
    {
        let asked = head
            .headers
            .get(&names::GRPC_TIMEOUT)
            .and_then(grpc::timeout)
            .filter(|time| !time.is_zero());
        global = match (asked, limit.is_zero()) {
            (Some(asked), true) => Some(asked),
            (Some(asked), false) => Some(asked.min(limit)),
            (None, true) => None,
            (None, false) => Some(limit),
        };
    }
    if head.internal {
        if let Some(asked) = millis(head, &names::X_ENVOY_TIMEOUT) {
            global = Some(asked).filter(|time| !time.is_zero());
        }
        if let Some(asked) = millis(head, &names::X_ENVOY_PER_TRY_TIMEOUT) {
            per_try = Some(asked);
        }
    }
    names::remove_rare(&mut head.headers, &names::X_ENVOY_TIMEOUT);
    names::remove_rare(&mut head.headers, &names::X_ENVOY_PER_TRY_TIMEOUT);
    // A try may not last longer than all tries together.
    let per_try = per_try.filter(|try_| !try_.is_zero() && global.is_none_or(|all| *try_ < all));
    if let Some(expected) = per_try.or(global) {
        let value = HeaderValue::from(expected.as_millis() as u64);
        head.headers
            .insert(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), value);
    }
    Watchdog {
        global,
        per_try: per_try.map(|limit| (limit, clock::now())),
        per_try_idle: retries.policy.as_ref().and_then(|p| p.per_try_idle_timeout),
        idle: forward.idle_timeout.or(timeouts.stream_idle),
        max_stream: forward
            .max_stream_duration
            .or(timeouts.max_stream_duration)
            .map(|limit| started + limit),
        request: timeouts.request.map(|limit| started + limit),
        ..Watchdog::default()
    }
}

/// Where an ORIGINAL_DST cluster sends this request.
fn original_destination(
    exchange: &Exchange,
    cluster: &Cluster,
    head: &mut Head,
) -> Option<SocketAddr> {
    let Discovery::OriginalDst { header, .. } = &cluster.config.discovery else {
        return None;
    };
    let by_header = header.as_ref().and_then(|name| {
        let name = match &**name {
            "" => &names::X_ENVOY_ORIGINAL_DST,
            _ => return head.headers.get(&**name)?.to_str().ok()?.parse().ok(),
        };
        head.headers.get(name)?.to_str().ok()?.parse().ok()
    });
    by_header.or(Some(exchange.downstream.info.facts.destination))
}

/// What the route changes in the request, in Envoy's order.
fn rewrite_request(
    exchange: &Exchange,
    head: &mut Head,
    matched: &Matched,
    forward: &Forward,
    chosen: &Chosen<'_>,
) {
    let info = &exchange.record.info;
    let weighted = chosen.weighted;
    if let Some(weighted) = weighted {
        header_ops::request(&weighted.request_headers, head, info);
    }
    header_ops::request(&matched.route.request_headers, head, info);
    header_ops::request(&matched.host().request_headers, head, info);
    header_ops::request(&matched.table.request_headers, head, info);
    rewrite::host(
        &forward.host_rewrite,
        weighted.and_then(|weighted| weighted.host_rewrite.as_deref()),
        forward.append_x_forwarded_host,
        head,
    );
    rewrite::path(&forward.path_rewrite, &matched.route.matches.path, head);
    let formats = weighted.is_some_and(|w| header_ops::has_formats(&w.response_headers))
        || header_ops::has_formats(&matched.route.response_headers)
        || header_ops::has_formats(&matched.host().response_headers)
        || header_ops::has_formats(&matched.table.response_headers);
    exchange.propagate_peer(&mut head.headers);
    exchange.note_head(head, formats);
}

/// The upstream's head, made ours.
fn finish(
    exchange: &mut Exchange,
    answered: Answered,
    matched: &Matched,
    chosen: &Chosen<'_>,
    attempts: u32,
    watchdog: Watchdog,
    upgrade: Option<(&HeaderValue, bool)>,
) -> Response<ResponseBody> {
    let Answered {
        response,
        lease,
        request,
        sent,
    } = answered;
    let (parts, incoming) = response.into_parts();
    let mut headers = parts.headers;
    head::strip_hop_by_hop(&mut headers);
    if upgrade.is_none() {
        let took = clock::now().duration_since(sent).as_millis() as u64;
        headers.insert(names::X_ENVOY_SERVICE_TIME.clone(), names::number(took));
    }
    if matched.host().attempt_count_in_response {
        let count = HeaderValue::from(attempts);
        headers.insert(names::X_ENVOY_ATTEMPT_COUNT.clone(), count);
    }
    exchange.discover_peer(&mut headers);
    {
        let mut info = exchange.record.info.borrow_mut();
        info.status = parts.status.as_u16();
        info.details = "via_upstream".into();
        if info.grpc {
            info.grpc_status = grpc::status(&headers);
        }
    }
    respond_headers(exchange, &mut headers, matched, chosen);
    let mut tunnel = None;
    if let Some((token, true)) = upgrade {
        tunnel = Some(Tunnel::new(exchange.downstream.stats.clone()));
        upgrade::accept(token, parts.status, &mut headers);
        exchange.switch();
    }
    let http1 = exchange.upstream_http1();
    let drop_trailers =
        exchange.record.drops_trailers() || (matches!(lease, Lease::Http1(_)) && !http1.trailers);
    let body = UpstreamBody::new(incoming, lease, watchdog, request, drop_trailers, tunnel);
    let mut response = Response::new(ResponseBody::upstream(body, exchange.take_guard()));
    if http1.preserve_case {
        *response.extensions_mut() = parts.extensions;
    }
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers;
    response
}

/// What the route changes in an answer, in Envoy's order.
pub(crate) fn respond_headers(
    exchange: &Exchange,
    headers: &mut http::HeaderMap,
    matched: &Matched,
    chosen: &Chosen<'_>,
) {
    let info = &exchange.record.info;
    if let Some(weighted) = chosen.weighted {
        header_ops::response(&weighted.response_headers, headers, info);
    }
    header_ops::response(&matched.route.response_headers, headers, info);
    header_ops::response(&matched.host().response_headers, headers, info);
    header_ops::response(&matched.table.response_headers, headers, info);
}
