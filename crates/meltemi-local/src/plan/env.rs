//! A container's environment: literal values, references to ConfigMaps, Secrets and fields.

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Secret};
use meltemi_config::Objects;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What a pod's variables can refer to.
pub(crate) struct PodFacts<'a> {
    pub plan: &'a super::PodPlan,
    pub address: Ipv4Addr,
}

/// A variable that cannot be set; the container waits until it can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("container {container}, {at}: {problem}")]
pub struct EnvError {
    /// The container.
    pub container: String,
    /// The variable or the list entry.
    pub at: String,
    /// What is missing or unsupported.
    pub problem: String,
}

/// The container's variables in order, later ones winning, `$(NAME)` expanded as Kubernetes
/// does it. `image` are the image's own.
pub(crate) fn environment(
    container: &Container,
    image: &[(String, String)],
    facts: &PodFacts<'_>,
    objects: &Objects,
) -> Result<Vec<(String, String)>, EnvError> {
    let fail = |at: &str, problem: String| EnvError {
        container: container.name.clone(),
        at: at.to_owned(),
        problem,
    };
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, value) in image {
        set(&mut variables, name, value.clone());
    }
    let namespace = facts.plan.namespace.as_str();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            match config_map(objects, namespace, &reference.name) {
                Some(map) => map.into_iter().for_each(|(name, value)| {
                    set(&mut variables, &format!("{prefix}{name}"), value)
                }),
                None if reference.optional == Some(true) => {}
                None => {
                    return Err(fail(
                        "envFrom",
                        format!("there is no ConfigMap {namespace}/{}", reference.name),
                    ));
                }
            }
        }
        if let Some(reference) = &source.secret_ref {
            match secret(objects, namespace, &reference.name) {
                Some(map) => map.into_iter().for_each(|(name, value)| {
                    set(&mut variables, &format!("{prefix}{name}"), value)
                }),
                None if reference.optional == Some(true) => {}
                None => {
                    return Err(fail(
                        "envFrom",
                        format!("there is no Secret {namespace}/{}", reference.name),
                    ));
                }
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, &variables)),
            (None, None) => Some(String::new()),
            (None, Some(_)) => referenced(variable, facts, objects)
                .map_err(|problem| fail(&variable.name, problem))?,
        };
        if let Some(value) = value {
            set(&mut variables, &variable.name, value);
        }
    }
    Ok(variables)
}

fn set(variables: &mut Vec<(String, String)>, name: &str, value: String) {
    match variables.iter_mut().find(|(existing, _)| existing == name) {
        Some((_, slot)) => *slot = value,
        None => variables.push((name.to_owned(), value)),
    }
}

/// `None`: optional and absent.
fn referenced(
    variable: &EnvVar,
    facts: &PodFacts<'_>,
    objects: &Objects,
) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else {
        return Ok(None);
    };
    let namespace = facts.plan.namespace.as_str();
    let pick = |kind: &str,
                name: &str,
                key: &str,
                optional: Option<bool>,
                map: Option<BTreeMap<String, String>>| match map
        .as_ref()
        .and_then(|map| map.get(key))
    {
        Some(value) => Ok(Some(value.clone())),
        None if optional == Some(true) => Ok(None),
        None if map.is_none() => Err(format!("there is no {kind} {namespace}/{name}")),
        None => Err(format!("{kind} {namespace}/{name} has no key {key}")),
    };
    if let Some(reference) = &source.config_map_key_ref {
        let map = config_map(objects, namespace, &reference.name);
        return pick(
            "ConfigMap",
            &reference.name,
            &reference.key,
            reference.optional,
            map,
        );
    }
    if let Some(reference) = &source.secret_key_ref {
        let map = secret(objects, namespace, &reference.name);
        return pick(
            "Secret",
            &reference.name,
            &reference.key,
            reference.optional,
            map,
        );
    }
    if let Some(reference) = &source.field_ref {
        return field(&reference.field_path, facts)
            .map(Some)
            .ok_or_else(|| {
                format!(
                    "fieldRef {} is not supported; remove it or give a value",
                    reference.field_path
                )
            });
    }
    Err("only configMapKeyRef, secretKeyRef and fieldRef are supported under valueFrom".into())
}

fn field(path: &str, facts: &PodFacts<'_>) -> Option<String> {
    let plan = facts.plan;
    let keyed = |prefix: &str, map: &BTreeMap<String, String>| {
        let key = path
            .strip_prefix(prefix)?
            .strip_prefix("['")?
            .strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    match path {
        "metadata.name" => Some(plan.name.clone()),
        "metadata.namespace" => Some(plan.namespace.clone()),
        "metadata.uid" => Some(plan.hash[..32].to_owned()),
        "spec.serviceAccountName" => Some(plan.service_account().to_owned()),
        "spec.nodeName" => Some("localhost".into()),
        "status.podIP" | "status.podIPs" => Some(facts.address.to_string()),
        "status.hostIP" => Some("127.0.0.1".into()),
        _ => keyed("metadata.labels", &plan.labels)
            .or_else(|| keyed("metadata.annotations", &plan.annotations)),
    }
}

fn config_map(objects: &Objects, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
    Some(
        objects
            .find::<ConfigMap>(namespace, name)?
            .data
            .clone()
            .unwrap_or_default(),
    )
}

fn secret(objects: &Objects, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let secret = objects.find::<Secret>(namespace, name)?;
    let decoded = secret
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned()));
    let mut map: BTreeMap<String, String> = decoded.collect();
    map.extend(secret.string_data.clone().unwrap_or_default());
    Some(map)
}

/// `$(NAME)` of earlier variables; `$$` is a dollar; unknown references stay as they are.
pub(crate) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
            && let Some((_, value)) = variables.iter().find(|(known, _)| known == name)
        {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}
