//! Running analyzers.

use std::collections::HashSet;

use meltemi_api::{Kind, ObjectKey, Severity};
use meltemi_config::{ConfigError, Objects};

use crate::analyzers::{ALL, WHILE_RUNNING};
use crate::code::{PORT_NAME, SCHEMA_WARNING};
use crate::report::Report;
use crate::{Analyzer, Code, Index, Level, Message, Platform, Suppressions};

/// All analyzers, by name.
pub fn analyzers() -> &'static [&'static dyn Analyzer] {
    ALL
}

/// The analyzers that run when none is named.
pub fn by_default(index: &Index) -> Vec<&'static dyn Analyzer> {
    analyzers()
        .iter()
        .copied()
        .filter(|analyzer| analyzer.by_default(index))
        .collect()
}

/// What is wrong with objects that are in force, for a control plane to say at every change:
/// by the analyzers that need neither documents nor workloads. Nothing is worse than a warning
/// there, since nothing is refused.
pub fn while_running(objects: &Objects) -> Vec<ConfigError> {
    let index = Index::of_objects(objects, Platform::Local);
    let messages = analyze(&index, WHILE_RUNNING);
    let messages = Suppressions::default().filter(&index, messages);
    messages.into_iter().map(warning).collect()
}

fn warning(message: Message) -> ConfigError {
    let severity = match message.level() {
        Level::Info => Severity::Info,
        Level::Warning | Level::Error => Severity::Warning,
    };
    let object = message.resource.and_then(|resource| {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == resource.kind)?;
        Some(ObjectKey::new(kind, resource.namespace, resource.name))
    });
    ConfigError {
        severity,
        code: Some(message.code.id),
        line: message.place.as_ref().map_or(0, |place| place.line),
        column: message.place.as_ref().map_or(0, |place| place.column),
        file: message.place.map(|place| place.file),
        object,
        field: message.field,
        message: message.text,
        remedy: message.remedy,
    }
}

/// Runs analyzers. The messages come in order of file, line and code; what two analyzers say in
/// the same words is said once.
pub fn analyze(index: &Index, analyzers: &[&dyn Analyzer]) -> Vec<Message> {
    let mut messages = Vec::new();
    for analyzer in analyzers {
        let mut report = Report::new(analyzer.name());
        analyzer.analyze(index, &mut report);
        messages.extend(report.messages);
    }
    messages.retain(|message| !is_ignored(message));
    give_way(&mut messages);
    messages.sort_by(|a, b| key(a).cmp(&key(b)));
    messages.dedup_by(|a, b| key(a) == key(b));
    messages
}

/// Kubernetes' own namespaces: not a user's to mend (Istio ignores the same).
const IGNORED: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

fn is_ignored(message: &Message) -> bool {
    message.resource.as_ref().is_some_and(|resource| {
        IGNORED.contains(&resource.namespace.as_str())
            || (resource.kind == "Namespace" && IGNORED.contains(&resource.name.as_str()))
    })
}

/// Codes for what has no better one.
const GENERAL: [&Code; 2] = [&SCHEMA_WARNING, &PORT_NAME];

/// A general message gives way to one with a code of its own about the same field.
fn give_way(messages: &mut Vec<Message>) {
    let subject = |message: &Message| (message.resource.clone(), message.field.clone());
    let specific: HashSet<_> = messages
        .iter()
        .filter(|message| !GENERAL.contains(&message.code))
        .map(subject)
        .collect();
    messages.retain(|message| {
        !GENERAL.contains(&message.code) || !specific.contains(&subject(message))
    });
}

fn key(message: &Message) -> impl Ord + '_ {
    (
        &message.cluster,
        &message.place,
        message.code.id,
        &message.resource,
        &message.field,
        &message.text,
    )
}
