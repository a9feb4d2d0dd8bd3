//! Join tokens: made, listed and withdrawn.

use super::Context;
use super::answer::{Answer, Refusal};
use hyper::StatusCode;
use meltemi_identity::{JoinTokenError, JoinTokens, StoreError};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    namespace: String,
    service_account: String,
    ttl_seconds: u64,
}

pub(super) fn list(context: &Context<'_>) -> Result<Answer, Refusal> {
    let tokens = known(context)?.list().map_err(|error| failed(&error))?;
    Ok(Answer::json(&json!({ "tokens": tokens })))
}

/// Answers the token itself, this once.
pub(super) fn create(context: &Context<'_>, body: &str) -> Result<Answer, Refusal> {
    let wanted: Wanted = serde_json::from_str(body)
        .map_err(|error| Refusal::bad(format!("the request's body: {error}")))?;
    let ttl = Duration::from_secs(wanted.ttl_seconds);
    let (secret, token) = known(context)?
        .create(&wanted.namespace, &wanted.service_account, ttl)
        .map_err(|error| match error {
            JoinTokenError::Store(error) => failed(&error),
            error => Refusal::bad(error.to_string()),
        })?;
    tracing::info!(
        token = token.id,
        namespace = token.namespace,
        service_account = token.service_account,
        "made a join token"
    );
    Ok(Answer::json(&json!({ "token": secret, "record": token })))
}

pub(super) fn delete(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    match known(context)?.delete(id).map_err(|error| failed(&error))? {
        true => Ok(Answer::json(&json!({ "deleted": id }))),
        false => Err(Refusal::not_found(format!("there is no join token {id}"))
            .remedy("`meltemi token list` shows the ones there are")),
    }
}

fn known<'a>(context: &'a Context<'_>) -> Result<&'a JoinTokens, Refusal> {
    context.join_tokens.as_ref().ok_or_else(|| {
        Refusal::new(
            StatusCode::CONFLICT,
            "nobody can join by a token: this control plane serves no certificates over TLS",
        )
        .remedy("start it with --tls-address, `meltemi control-plane --help` tells more")
    })
}

fn failed(error: &StoreError) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
