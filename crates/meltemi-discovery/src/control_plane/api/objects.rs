//! Objects: listed, applied, compared, deleted.

use super::answer::{Answer, Refusal};
use super::{Context, Query};
use crate::control_plane::proxies::SyncState;
use crate::control_plane::standing::Standings;
use crate::control_plane::state::State;
use crate::issue::Issue;
use hyper::StatusCode;
use meltemi_api::{Kind, Object, ObjectKey, Support};
use meltemi_config::{ConfigError, Outcome};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How often sync states are looked at while an `apply` waits for them.
const POLL: Duration = Duration::from_millis(20);

fn kind(text: &str) -> Result<Kind, Refusal> {
    Kind::from_user(text).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL
            .iter()
            .filter(|kind| kind.support() == Support::Honoured)
            .map(|kind| kind.resource())
            .collect();
        Refusal::bad(format!("there is no kind \"{text}\""))
            .remedy(format!("choose one of {}", known.join(", ")))
    })
}

pub(super) async fn list(state: &State, query: &Query) -> Result<Answer, Refusal> {
    let kind = query.get("kind").map(kind).transpose()?;
    let wanted = |object: &Object| {
        kind.is_none_or(|kind| object.meta.kind == kind)
            && query
                .get("namespace")
                .is_none_or(|n| object.meta.namespace.is_empty() || object.meta.namespace == n)
            && query
                .get("name")
                .is_none_or(|name| object.meta.name == name)
    };
    let standings = Standings::of_all(state, state.examined().await);
    let issues = state.issues();
    let found: Vec<Value> = standings
        .current()
        .published
        .objects
        .iter()
        .filter(|object| wanted(object))
        .map(|object| describe(object, &standings, &issues))
        .collect();
    Ok(Answer::Json(json!({ "objects": found })))
}

/// An object, where it stands, and what is to be said of it.
fn describe(object: &Object, standings: &Standings, issues: &[Issue]) -> Value {
    let key = object.key();
    let current = standings.current();
    let standing = standings.of(&key);
    let about = |findings: &[ConfigError]| -> Vec<String> {
        let own = findings
            .iter()
            .filter(|finding| finding.object.as_ref() == Some(&key));
        own.map(ToString::to_string).collect()
    };
    let mut warnings = about(&current.published.warnings);
    warnings.extend(about(current.findings()));
    let issues: Vec<String> = issues
        .iter()
        .filter(|issue| issue.object == key)
        .map(|issue| format!("{} {}: {}", issue.object, issue.field, issue.message))
        .collect();
    let mut value = object.to_value();
    if let Some(status) = current.world.statuses.get(&key) {
        value["status"] = status.clone();
    } else if let Some(standing) = &standing {
        value["status"] = json!({"conditions": standing.conditions()});
    }
    json!({
        "object": value,
        "origin": object.meta.origin,
        "warnings": warnings,
        "issues": issues,
        "refusals": standings.refusals(&key),
        "errors": about(&current.published.errors),
        "held": current.published.held.contains(&key),
        "standing": standing,
    })
}

fn outcome(outcome: &Outcome) -> Value {
    json!({
        "kind": outcome.key.kind.as_str(),
        "namespace": outcome.key.namespace,
        "name": outcome.key.name,
        "resource": format!("{}/{}", outcome.key.kind.as_str().to_lowercase(), outcome.key.name),
        "action": outcome.action,
        "file": outcome.file,
    })
}

/// Writes the objects, and with `wait` answers only when every connected proxy follows.
pub(super) async fn apply(
    context: &Context<'_>,
    text: &str,
    wait: Option<Duration>,
) -> Result<Answer, Refusal> {
    let editor = context.editor.clone();
    let text = text.to_owned();
    let applied = blocking(move || editor.apply(&text)).await?;
    context.settle().await;
    let current = context.state.examined().await;
    let keys: Vec<&ObjectKey> = applied
        .outcomes
        .iter()
        .map(|outcome| &outcome.key)
        .collect();
    // What the text itself is told is told of the written file too: the text's lines are the
    // ones that its author knows.
    let mut findings: Vec<&ConfigError> = applied.warnings.iter().collect();
    let published = current.published.warnings.iter();
    for finding in published.chain(current.findings()) {
        let concerned = finding.object.as_ref().is_some_and(|o| keys.contains(&o));
        let told = findings.iter().any(|other| {
            (&other.object, &other.field, &other.message)
                == (&finding.object, &finding.field, &finding.message)
        });
        if concerned && !told {
            findings.push(finding);
        }
    }
    let followed = match wait {
        Some(wait) => Some(follow(&context.state, wait).await),
        None => None,
    };
    Ok(Answer::Json(json!({
        "outcomes": applied.outcomes.iter().map(outcome).collect::<Vec<_>>(),
        "warnings": findings.into_iter().map(warning).collect::<Vec<_>>(),
        "stale": followed,
    })))
}

/// Waits until every proxy has answered for the World in force; returns those that have not,
/// or that refused it.
async fn follow(state: &State, wait: Duration) -> Vec<String> {
    let deadline = Instant::now() + wait;
    loop {
        let generation = state.world().generation;
        let mut behind = Vec::new();
        let mut pending = false;
        for connection in state.proxies.all() {
            let states = connection.states(generation);
            if states.values().any(|state| *state != SyncState::Synced) {
                behind.push(connection.proxy.id.clone());
            }
            pending |= states.values().any(|state| *state == SyncState::Stale);
        }
        if !pending || Instant::now() >= deadline {
            return behind;
        }
        tokio::time::sleep(POLL).await;
    }
}

pub(super) async fn diff(context: &Context<'_>, text: String) -> Result<Answer, Refusal> {
    let editor = context.editor.clone();
    let difference = blocking(move || editor.diff(&text)).await?;
    Ok(Answer::Json(json!({
        "diff": difference.diff,
        "warnings": difference.warnings.iter().map(warning).collect::<Vec<_>>(),
    })))
}

/// How bad it is, and what it is.
fn warning(finding: &ConfigError) -> Value {
    json!({ "severity": finding.severity, "text": finding.to_string() })
}

pub(super) async fn delete(
    context: &Context<'_>,
    wanted: &str,
    namespace: &str,
    name: &str,
) -> Result<Answer, Refusal> {
    let kind = kind(wanted)?;
    let namespace = if kind.namespaced() { namespace } else { "" };
    let key = ObjectKey::new(kind, namespace, name);
    if context
        .state
        .current()
        .published
        .objects
        .get(&key)
        .is_none()
    {
        return Err(
            Refusal::not_found(format!("{key} does not exist")).remedy(format!(
                "`meltemi get {} -A` lists what does",
                kind.resource()
            )),
        );
    }
    let editor = context.editor.clone();
    let deleted = blocking(move || editor.delete(&key)).await?;
    context.settle().await;
    Ok(Answer::Json(outcome(&deleted)))
}

/// Runs an edit off the runtime's thread.
async fn blocking<T: Send + 'static>(
    edit: impl FnOnce() -> Result<T, Vec<ConfigError>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(edit).await {
        Ok(result) => result.map_err(Refusal::configuration),
        Err(error) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("a defect in Meltemi ended the edit: {error}"),
        )),
    }
}
