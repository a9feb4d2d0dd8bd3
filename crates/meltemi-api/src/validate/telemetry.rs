//! Telemetry.

use super::attachment::Attachment;
use super::report::Report;
use crate::FieldPath;
use crate::proto::Duration;
use crate::telemetry::{
    AccessLogging, CustomTag, Metrics, ProviderRef, TagOperation, Telemetry, Tracing,
};
use meltemi_cel::{Attribute, Options, Program};

pub(super) fn validate(spec: &Telemetry, at: &FieldPath, report: &mut Report) {
    Attachment {
        selector: spec.selector.as_ref(),
        target_ref: spec.target_ref.as_ref(),
        target_refs: &spec.target_refs,
    }
    .check(at, report);
    if spec.tracing.len() > 1 {
        let message = "only the first entry has an effect";
        report.warning(&at.field("tracing"), message, "keep one entry");
    }
    for (index, one) in spec.tracing.iter().enumerate() {
        tracing(one, &at.field("tracing").index(index), report);
    }
    for (index, one) in spec.metrics.iter().enumerate() {
        metrics(one, &at.field("metrics").index(index), report);
    }
    for (index, one) in spec.access_logging.iter().enumerate() {
        access_logging(one, &at.field("accessLogging").index(index), report);
    }
}

fn providers(list: &[ProviderRef], at: &FieldPath, report: &mut Report) {
    for (index, provider) in list.iter().enumerate() {
        let at = at.field("providers").index(index).field("name");
        let remedy = "name one of MeshConfig's extensionProviders";
        report.required(&at, &provider.name, remedy);
    }
}

fn tracing(tracing: &Tracing, at: &FieldPath, report: &mut Report) {
    providers(&tracing.providers, at, report);
    if tracing.providers.len() > 1 {
        let message = "spans go to the first provider only";
        report.warning(&at.field("providers"), message, "keep one of them");
    }
    if let Some(percent) = tracing.random_sampling_percentage {
        report.percent(&at.field("randomSamplingPercentage"), percent);
    }
    for (name, tag) in &tracing.custom_tags {
        let at = at.field("customTags").field(name);
        if name.is_empty() {
            report.error(&at, "a tag without name", "name the tag");
        }
        custom_tag(tag, &at, report);
    }
}

fn custom_tag(tag: &CustomTag, at: &FieldPath, report: &mut Report) {
    let sources = [
        tag.literal.is_some(),
        tag.environment.is_some(),
        tag.header.is_some(),
        tag.formatter.is_some(),
    ];
    if sources.iter().filter(|set| **set).count() > 1 {
        let message = "has more than one of literal, environment, header and formatter";
        report.error(at, message, "keep one of them");
    }
    let mut required = |source: &str, name: &str, value: &str| {
        report.required(&at.field(source).field(name), value, "write it");
    };
    if let Some(literal) = &tag.literal {
        required("literal", "value", &literal.value);
    }
    if let Some(environment) = &tag.environment {
        required("environment", "name", &environment.name);
    }
    if let Some(header) = &tag.header {
        required("header", "name", &header.name);
    }
    if let Some(formatter) = &tag.formatter {
        required("formatter", "value", &formatter.value);
    }
}

fn metrics(metrics: &Metrics, at: &FieldPath, report: &mut Report) {
    providers(&metrics.providers, at, report);
    if metrics
        .reporting_interval
        .is_some_and(|interval| interval < Duration::from_millis(1))
    {
        let at = at.field("reportingInterval");
        report.error(&at, "must be 1ms or more", "leave it out for 5s");
    }
    for (index, change) in metrics.overrides.iter().enumerate() {
        let at = at.field("overrides").index(index);
        if let Some(select) = &change.r#match {
            let at = at.field("match");
            if select.metric.is_some() && select.custom_metric.is_some() {
                report.error(&at, "has both metric and customMetric", "keep one of them");
            }
            if select.custom_metric.as_deref() == Some("") {
                report.error(&at.field("customMetric"), "is empty", "name the metric");
            }
        }
        for (name, tag) in &change.tag_overrides {
            let at = at.field("tagOverrides").field(name);
            if name.is_empty() {
                report.warning(&at, "a tag without name", "name the tag");
            }
            let at = at.field("value");
            match (tag.operation, tag.value.as_deref()) {
                (TagOperation::Upsert, None | Some("")) => {
                    report.error(&at, "is required with UPSERT", "write an expression");
                }
                (TagOperation::Upsert, Some(text)) => {
                    let options = Options {
                        string_conversion: true,
                        string_concatenation: true,
                    };
                    let example = "write for example request.method";
                    expression(text, options, &at, example, report);
                }
                (TagOperation::Remove, Some(_)) => {
                    report.error(&at, "has no meaning with REMOVE", "remove it");
                }
                (TagOperation::Remove, None) => {}
            }
        }
    }
}

fn access_logging(logging: &AccessLogging, at: &FieldPath, report: &mut Report) {
    providers(&logging.providers, at, report);
    if let Some(filter) = &logging.filter {
        let at = at.field("filter").field("expression");
        let example = "write for example response.code >= 400";
        expression(&filter.expression, Options::default(), &at, example, report);
    }
}

/// An expression that can be evaluated, and whose attributes all have values here.
fn expression(text: &str, options: Options, at: &FieldPath, example: &str, report: &mut Report) {
    match Program::compile(text, options) {
        Err(error) => {
            let message = format!("is not a CEL expression that can be evaluated: {error}");
            report.error(at, message, example);
        }
        Ok(program) => {
            for attribute in program.attributes() {
                if let Attribute::Absent(name) = attribute {
                    let message = format!("Meltemi's proxy has no value for {name}");
                    report.warning(at, message, "what depends on it is not evaluated");
                }
            }
        }
    }
}
