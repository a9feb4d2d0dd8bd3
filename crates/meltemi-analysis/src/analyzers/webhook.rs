//! Injection webhooks that overlap, or whose service does not exist.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_api::k8s::LabelSelector;
use meltemi_api::k8s::openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration,
};

use crate::code::INVALID_WEBHOOK;
use crate::injection::{INJECT, INJECTION, REVISION};
use crate::report::at;
use crate::selector::{Labels, matches};
use crate::{Analyzer, Index, Platform, Report, Resource};

pub struct Webhook;

/// A webhook, its configuration and its place in it.
struct Hook<'a> {
    resource: &'a Resource,
    position: usize,
    hook: MutatingWebhook,
}

impl Analyzer for Webhook {
    fn name(&self) -> &'static str {
        "webhook.Analyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that injection webhooks do not overlap, and that their services exist"
    }

    fn by_default(&self, index: &Index) -> bool {
        index.platform == Platform::Kubernetes
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let mut hooks = Vec::new();
        let mut revisions = BTreeSet::new();
        for resource in index.kind(
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration",
        ) {
            let Ok(configuration) =
                serde_json::from_value::<MutatingWebhookConfiguration>(resource.tree().value())
            else {
                continue;
            };
            let webhooks = configuration.webhooks.unwrap_or_default();
            let own = named_revisions(resource, &webhooks);
            if own.is_empty() && !webhooks.iter().any(|hook| hook.name.ends_with("istio.io")) {
                continue;
            }
            revisions.extend(own);
            hooks.extend(
                webhooks
                    .into_iter()
                    .enumerate()
                    .map(|(position, hook)| Hook {
                        resource,
                        position,
                        hook,
                    }),
            );
        }
        overlaps(&hooks, &revisions, report);
        services(index, &hooks, report);
    }
}

/// A pod that two webhooks select is injected twice. All that Istio's webhooks can ask of
/// labels is tried.
fn overlaps(hooks: &[Hook<'_>], revisions: &BTreeSet<String>, report: &mut Report) {
    let namespaces = variants(INJECTION, ["enabled", "disabled"], revisions);
    let objects = variants(INJECT, ["true", "false"], revisions);
    let mut found: BTreeSet<(usize, Vec<usize>)> = BTreeSet::new();
    for namespace in &namespaces {
        for object in &objects {
            let selecting: Vec<usize> = (0..hooks.len())
                .filter(|position| {
                    let hook = &hooks[*position].hook;
                    matches(hook.namespace_selector.as_ref(), namespace)
                        && matches(hook.object_selector.as_ref(), object)
                })
                .collect();
            for position in &selecting {
                let others: Vec<usize> = selecting
                    .iter()
                    .copied()
                    .filter(|other| other != position)
                    .collect();
                if !others.is_empty() {
                    found.insert((*position, others));
                }
            }
        }
    }
    for (position, others) in found {
        let hook = &hooks[position];
        let others: BTreeSet<String> = others
            .into_iter()
            .map(|other| {
                format!(
                    "{}/{}",
                    hooks[other].resource.name.name, hooks[other].hook.name
                )
            })
            .collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        report.add(
            &INVALID_WEBHOOK,
            hook.resource,
            at!(webhooks[hook.position].name),
            format!(
                "{} selects pods that {} select too; they are injected twice",
                hook.hook.name,
                others.join(", ")
            ),
            "remove what an uninstalled control plane left over, or make the selectors distinct",
        );
    }
}

/// The sets of labels that a selector may tell apart.
fn variants(label: &str, values: [&str; 2], revisions: &BTreeSet<String>) -> Vec<Labels> {
    let mut all = vec![Labels::new()];
    all.extend(values.map(|value| Labels::from([(label.to_owned(), value.to_owned())])));
    let plain = all.clone();
    for revision in revisions {
        all.extend(plain.iter().cloned().map(|mut labels| {
            labels.insert(REVISION.to_owned(), revision.clone());
            labels
        }));
    }
    all
}

fn services(index: &Index, hooks: &[Hook<'_>], report: &mut Report) {
    let mut missing: BTreeMap<(&str, String), &Hook<'_>> = BTreeMap::new();
    for hook in hooks {
        if let Some(service) = &hook.hook.client_config.service
            && index
                .named("", "Service", &service.namespace, &service.name)
                .is_none()
        {
            let name = format!("{}/{}", service.namespace, service.name);
            missing
                .entry((&hook.resource.name.name, name))
                .or_insert(hook);
        }
    }
    for ((_, name), hook) in missing {
        report.add(
            &INVALID_WEBHOOK,
            hook.resource,
            at!(webhooks[hook.position].clientConfig.service),
            format!(
                "it asks Service {name}, which does not exist; pods that it selects may not start"
            ),
            "remove the webhook if its control plane is gone",
        );
    }
}

/// The revisions that a configuration is for, or tells apart.
fn named_revisions(resource: &Resource, hooks: &[MutatingWebhook]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = resource.labels.get(REVISION).cloned().into_iter().collect();
    let selectors = hooks
        .iter()
        .flat_map(|hook| [&hook.namespace_selector, &hook.object_selector]);
    for LabelSelector {
        match_labels,
        match_expressions,
    } in selectors.flatten()
    {
        all.extend(
            match_labels
                .iter()
                .filter_map(|labels| labels.get(REVISION).cloned()),
        );
        for expression in match_expressions
            .iter()
            .flatten()
            .filter(|e| e.key == REVISION)
        {
            all.extend(expression.values.iter().flatten().cloned());
        }
    }
    all
}
