//! What a route does with a request, read from what the proxy is sent.

use std::time::Duration;

use meltemi_discovery::pb::{core, etype, route};
use meltemi_proxy::model;
use serde::Serialize;

use crate::rule::Rule;

/// What becomes of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It goes on to one of these.
    Forward {
        clusters: Vec<Destination>,
    },
    Redirect(Redirect),
    /// The proxy answers.
    Respond {
        status: u16,
    },
}

/// A cluster, and how likely the call goes to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    pub cluster: String,
    /// Share of the sum of all weights.
    pub weight: u32,
    pub state: State,
    /// The DestinationRule that its policy comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
}

/// Whether a cluster can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The proxy has no such cluster: requests get 503.
    Unknown,
    /// It has no endpoint: requests get 503.
    NoEndpoints,
    Endpoints(usize),
    /// Connections go where the client sent them.
    OriginalDestination,
}

/// Where a client is sent instead; what is `None` stays as in the request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Everything else about a route.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effects {
    /// Of the route, whatever its destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<HeaderChange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<HeaderChange>,
    /// `None`: no bound.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// The host that the request goes on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_rewrite: Option<String>,
    /// What replaces the matched part of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_rewrite: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

impl Effects {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderChange {
    pub change: Change,
    pub name: String,
    /// Empty for a removal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    Set,
    Add,
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    pub attempts: u32,
    pub on: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub per_try_timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    pub cluster: String,
    pub percent: f64,
}

/// Delays and aborts on purpose, with their share of the requests in percent.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub delay: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_percent: Option<f64>,
    /// HTTP status, or `grpc N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_percent: Option<f64>,
}

fn seconds<S: serde::Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.serialize_str(&format!("{}s", value.as_secs_f64())),
        None => to.serialize_none(),
    }
}

/// What a route's message says beside its destination, and what it says to filters.
pub(crate) fn effects(message: &route::Route, filters: &model::Overrides) -> Effects {
    let fault = filters.configs().find_map(|config| match config {
        model::RouteFilter::Fault(fault) => Some(fault),
        _ => None,
    });
    let mut effects = Effects {
        request_headers: headers(
            &message.request_headers_to_add,
            &message.request_headers_to_remove,
        ),
        response_headers: headers(
            &message.response_headers_to_add,
            &message.response_headers_to_remove,
        ),
        fault: fault.and_then(faults),
        ..Effects::default()
    };
    let Some(route::route::Action::Route(action)) = &message.action else {
        return effects;
    };
    effects.timeout = action.timeout.and_then(duration);
    effects.retries = action.retry_policy.as_ref().map(|policy| Retries {
        attempts: policy.num_retries.map_or(1, |number| number.value),
        on: policy.retry_on.clone(),
        per_try_timeout: policy.per_try_timeout.and_then(duration),
    });
    if let Some(route::route_action::HostRewriteSpecifier::HostRewriteLiteral(host)) =
        &action.host_rewrite_specifier
    {
        effects.host_rewrite = Some(host.clone());
    }
    effects.path_rewrite = match &action.regex_rewrite {
        Some(rewrite) => Some(rewrite.substitution.clone()),
        None => Some(action.prefix_rewrite.clone()).filter(|prefix| !prefix.is_empty()),
    };
    for mirror in &action.request_mirror_policies {
        let fraction = mirror.runtime_fraction.as_ref();
        let percent = fraction
            .and_then(|fraction| fraction.default_value.as_ref())
            .map_or(100.0, |fraction| {
                let of = match fraction.denominator() {
                    etype::fractional_percent::DenominatorType::Hundred => 1.0,
                    etype::fractional_percent::DenominatorType::TenThousand => 100.0,
                    etype::fractional_percent::DenominatorType::Million => 10_000.0,
                };
                f64::from(fraction.numerator) / of
            });
        effects.mirrors.push(Mirror {
            cluster: mirror.cluster.clone(),
            percent,
        });
    }
    effects
}

fn headers(add: &[core::HeaderValueOption], remove: &[String]) -> Vec<HeaderChange> {
    use core::header_value_option::HeaderAppendAction;
    let removed = remove.iter().map(|name| HeaderChange {
        change: Change::Remove,
        name: name.clone(),
        value: String::new(),
    });
    let put = add.iter().filter_map(|option| {
        let header = option.header.as_ref()?;
        Some(HeaderChange {
            change: match option.append_action() {
                HeaderAppendAction::AppendIfExistsOrAdd | HeaderAppendAction::AddIfAbsent => {
                    Change::Add
                }
                HeaderAppendAction::OverwriteIfExistsOrAdd
                | HeaderAppendAction::OverwriteIfExists => Change::Set,
            },
            name: header.key.clone(),
            value: header.value.clone(),
        })
    });
    removed.chain(put).collect()
}

fn faults(fault: &model::Fault) -> Option<Fault> {
    let percent = |(numerator, denominator): (u32, u32)| {
        f64::from(numerator) * 100.0 / f64::from(denominator.max(1))
    };
    let found = Fault {
        delay: fault.delay.as_ref().and_then(|delay| delay.fixed),
        delay_percent: fault.delay.as_ref().map(|delay| percent(delay.fraction)),
        abort: fault.abort.as_ref().and_then(|abort| match abort.kind {
            model::AbortKind::Http(status) => Some(status.to_string()),
            model::AbortKind::Grpc(code) => Some(format!("grpc {code}")),
            model::AbortKind::Header => None,
        }),
        abort_percent: fault.abort.as_ref().map(|abort| percent(abort.fraction)),
    };
    (found != Fault::default()).then_some(found)
}

/// `None` for 0, which stands for no bound.
fn duration(value: meltemi_discovery::pb::Duration) -> Option<Duration> {
    let seconds = u64::try_from(value.seconds).ok()?;
    let nanos = u32::try_from(value.nanos).ok()?;
    Some(Duration::new(seconds, nanos)).filter(|duration| !duration.is_zero())
}
