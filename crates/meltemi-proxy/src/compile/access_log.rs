//! Access loggers: their format, file and filter.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any::{self, struct_json};
use super::basic::{fraction, inline_data};
use super::context::Cx;
use super::matching;
use super::pb::{accesslog, core, loggers};
use super::presence::{harmless, refuse};
use super::{At, Error, Result, access_service};
use crate::model::{AccessLog, Comparison, LogFilter, LogFormat, LogOutput, LogSink};
use crate::telemetry::log::{parse_json, parse_text};
use crate::telemetry::{ALL_FLAGS, Ending};
use envoy_types::pb::envoy::data::accesslog::v3::AccessLogType;
use loggers::filters::cel::v3::ExpressionFilter;
use meltemi_cel::{Attribute, Options, Program};
use prost::Name;
use std::sync::Arc;

/// Envoy's format for loggers that name none.
pub const DEFAULT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n"
);

/// Short names of Envoy's response flags that nothing here sets.
const NEVER_SET: [&str; 7] = ["RLSE", "IH", "RFCF", "NFCF", "DO", "DR", "UDO"];

pub fn all(values: Vec<accesslog::AccessLog>, cx: &mut Cx<'_>) -> Result<Box<[AccessLog]>> {
    let mut logs = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        logs.extend(one(value, cx).nth("access_log", index)?);
    }
    Ok(logs.into())
}

/// `None` for a logger that is left out with a notice.
fn one(value: accesslog::AccessLog, cx: &mut Cx<'_>) -> Result<Option<AccessLog>> {
    let accesslog::AccessLog {
        name,
        filter,
        config_type,
    } = value;
    harmless!(name);
    let typed = any::open(config_type.map(|config| match config {
        accesslog::access_log::ConfigType::TypedConfig(any) => any,
    }))
    .at("typed_config")?;
    if access_service::is_module(&typed) {
        cx.notice("AccessLog.typed_config", "there are no Wasm modules");
        return Ok(None);
    }
    let output = match access_service::compile(&typed, cx) {
        Some(output) => output,
        None => sink(typed).map(|(sink, format)| LogOutput::Lines(sink, Arc::new(format))),
    };
    let output = output.at("typed_config")?;
    let filter = match filter {
        None => None,
        Some(filter) => match compile_filter(filter, cx).at("filter")? {
            Some(filter) => Some(filter),
            None => return Ok(None),
        },
    };
    Ok(Some(AccessLog { output, filter }))
}

fn sink(typed: any::Typed) -> Result<(LogSink, LogFormat)> {
    use loggers::file::v3::FileAccessLog;
    use loggers::stream::v3::{StderrAccessLog, StdoutAccessLog};
    let name = typed.type_name();
    if name == FileAccessLog::full_name() {
        let FileAccessLog {
            path,
            access_log_format,
        } = typed.decode()?;
        let sink = match path.as_str() {
            "" => return Err(Error::missing("path")),
            "/dev/stdout" => LogSink::Stdout,
            "/dev/stderr" => LogSink::Stderr,
            path => LogSink::File(path.into()),
        };
        return Ok((sink, file_format(access_log_format)?));
    }
    let stream = |value: Option<core::SubstitutionFormatString>| match value {
        Some(value) => substitution(value).at("log_format"),
        None => default_format(),
    };
    if name == StdoutAccessLog::full_name() {
        use loggers::stream::v3::stdout_access_log::AccessLogFormat::LogFormat;
        let StdoutAccessLog { access_log_format } = typed.decode()?;
        let format = access_log_format.map(|LogFormat(format)| format);
        return Ok((LogSink::Stdout, stream(format)?));
    }
    if name == StderrAccessLog::full_name() {
        use loggers::stream::v3::stderr_access_log::AccessLogFormat::LogFormat;
        let StderrAccessLog { access_log_format } = typed.decode()?;
        let format = access_log_format.map(|LogFormat(format)| format);
        return Ok((LogSink::Stderr, stream(format)?));
    }
    Err(Error::new(format!("access logger {name} is not supported")))
}

fn default_format() -> Result<LogFormat> {
    parse_text(DEFAULT_FORMAT).map_err(Error::new)
}

fn file_format(
    value: Option<loggers::file::v3::file_access_log::AccessLogFormat>,
) -> Result<LogFormat> {
    use loggers::file::v3::file_access_log::AccessLogFormat;
    match value {
        None => default_format(),
        Some(AccessLogFormat::Format(text)) => parse_text(&text).map_err(Error::new).at("format"),
        Some(AccessLogFormat::JsonFormat(object) | AccessLogFormat::TypedJsonFormat(object)) => {
            parse_json(&struct_json(object))
                .map_err(Error::new)
                .at("json_format")
        }
        Some(AccessLogFormat::LogFormat(value)) => substitution(value).at("log_format"),
    }
}

fn substitution(value: core::SubstitutionFormatString) -> Result<LogFormat> {
    use core::substitution_format_string::Format;
    let core::SubstitutionFormatString {
        omit_empty_values,
        content_type,
        formatters,
        json_format_options,
        format,
    } = value;
    harmless!(content_type, json_format_options);
    // Extra formatters add operators: an operator that is not known is refused by itself.
    harmless!(formatters);
    match format {
        None => default_format(),
        Some(Format::TextFormat(text)) => {
            if text.is_empty() {
                return default_format();
            }
            refuse_omit(omit_empty_values)?;
            parse_text(&text).map_err(Error::new).at("text_format")
        }
        Some(Format::TextFormatSource(source)) => {
            refuse_omit(omit_empty_values)?;
            let text = inline_data(source).at("text_format_source")?;
            let text = String::from_utf8(text)
                .map_err(|_| Error::new("is not UTF-8"))
                .at("text_format_source")?;
            parse_text(&text)
                .map_err(Error::new)
                .at("text_format_source")
        }
        Some(Format::JsonFormat(object)) => {
            let format = parse_json(&struct_json(object))
                .map_err(Error::new)
                .at("json_format")?;
            Ok(match format {
                LogFormat::Json(fields, _) => LogFormat::Json(fields, omit_empty_values),
                other => other,
            })
        }
    }
}

fn refuse_omit(omit_empty_values: bool) -> Result<()> {
    refuse!(omit_empty_values);
    Ok(())
}

/// `None` when the filter admits nothing that the proxy produces.
fn compile_filter(value: accesslog::AccessLogFilter, cx: &mut Cx<'_>) -> Result<Option<LogFilter>> {
    use accesslog::access_log_filter::FilterSpecifier as Specifier;
    let accesslog::AccessLogFilter { filter_specifier } = value;
    let specifier = filter_specifier.ok_or_else(|| Error::new("is empty"))?;
    Ok(Some(match specifier {
        Specifier::StatusCodeFilter(accesslog::StatusCodeFilter { comparison }) => {
            let (op, value) = compare(comparison).at("status_code_filter")?;
            LogFilter::Status(op, value)
        }
        Specifier::DurationFilter(accesslog::DurationFilter { comparison }) => {
            let (op, value) = compare(comparison).at("duration_filter")?;
            LogFilter::Duration(op, value)
        }
        // Health checks of Envoy's health check filter, which is not supported: all pass.
        Specifier::NotHealthCheckFilter(_) => LogFilter::All(Box::default()),
        Specifier::TraceableFilter(_) => LogFilter::Traced,
        Specifier::RuntimeFilter(accesslog::RuntimeFilter {
            runtime_key,
            percent_sampled,
            use_independent_randomness,
        }) => {
            harmless!(runtime_key);
            let (numerator, denominator) = percent_sampled.map_or((0, 100), fraction);
            LogFilter::Sample {
                numerator,
                denominator,
                by_id: !use_independent_randomness,
            }
        }
        Specifier::AndFilter(accesslog::AndFilter { filters }) => {
            let mut all = Vec::with_capacity(filters.len());
            for (index, filter) in filters.into_iter().enumerate() {
                match compile_filter(filter, cx).nth("and_filter.filters", index)? {
                    Some(filter) => all.push(filter),
                    None => return Ok(None),
                }
            }
            LogFilter::All(all.into())
        }
        Specifier::OrFilter(accesslog::OrFilter { filters }) => {
            let mut any = Vec::with_capacity(filters.len());
            for (index, filter) in filters.into_iter().enumerate() {
                any.extend(compile_filter(filter, cx).nth("or_filter.filters", index)?);
            }
            LogFilter::Any(any.into())
        }
        Specifier::HeaderFilter(accesslog::HeaderFilter { header }) => {
            let header = header.ok_or_else(|| Error::missing("header_filter.header"))?;
            LogFilter::Header(Box::new(
                matching::header(header).at("header_filter.header")?,
            ))
        }
        Specifier::ResponseFlagFilter(accesslog::ResponseFlagFilter { flags }) => {
            let known = |flag: &str| ALL_FLAGS.iter().any(|(_, short, _)| *short == flag);
            let mut named = flags.iter().enumerate();
            let unknown = named.find(|(_, flag)| !known(flag) && !NEVER_SET.contains(&&***flag));
            if let Some((index, flag)) = unknown {
                let error = Error::new(format!("there is no response flag {flag:?}"));
                return Err(error).nth("response_flag_filter.flags", index);
            }
            LogFilter::ResponseFlags(flags.into_iter().map(Into::into).collect())
        }
        Specifier::GrpcStatusFilter(accesslog::GrpcStatusFilter { statuses, exclude }) => {
            LogFilter::GrpcStatus(
                statuses.into_iter().map(i32::unsigned_abs).collect(),
                exclude,
            )
        }
        Specifier::ExtensionFilter(filter) => extension(filter, cx).at("extension_filter")?,
        // No filter sets metadata of requests: a key is never found.
        Specifier::MetadataFilter(accesslog::MetadataFilter {
            matcher,
            match_if_key_not_found,
        }) => {
            harmless!(matcher);
            match match_if_key_not_found.is_none_or(|value| value.value) {
                true => LogFilter::All(Box::default()),
                false => LogFilter::Any(Box::default()),
            }
        }
        Specifier::LogTypeFilter(accesslog::LogTypeFilter { types, exclude }) => {
            let endings = [
                (AccessLogType::DownstreamEnd, Ending::Request),
                (AccessLogType::TcpConnectionEnd, Ending::Connection),
                (AccessLogType::NotSet, Ending::AtListener),
            ];
            let chosen = endings
                .into_iter()
                .filter(|(kind, _)| types.contains(&(*kind as i32)) != exclude);
            LogFilter::Ending(chosen.map(|(_, ending)| ending).collect())
        }
    }))
}

fn extension(filter: accesslog::ExtensionFilter, cx: &mut Cx<'_>) -> Result<LogFilter> {
    let accesslog::ExtensionFilter { name, config_type } = filter;
    harmless!(name);
    let typed = any::open(config_type.map(|config| match config {
        accesslog::extension_filter::ConfigType::TypedConfig(any) => any,
    }))
    .at("typed_config")?;
    if typed.type_name() != ExpressionFilter::full_name() {
        let name = typed.type_name();
        return Err(Error::new(format!(
            "access log filter {name} is not supported"
        )));
    }
    let ExpressionFilter {
        expression,
        cel_config,
    } = typed.decode()?;
    let options = match cel_config {
        None => Options::default(),
        Some(core::CelExpressionConfig {
            enable_string_conversion,
            enable_string_concat,
            enable_string_functions,
        }) => {
            refuse!(enable_string_functions);
            Options {
                string_conversion: enable_string_conversion,
                string_concatenation: enable_string_concat,
            }
        }
    };
    let program = Program::compile(&expression, options)
        .map_err(|error| Error::new(format!("{expression:?}: {error}")))
        .at("expression")?;
    for attribute in program.attributes() {
        if let Attribute::Absent(name) = attribute {
            let message = format!("{name} has no value here: what depends on it does not hold");
            cx.notice("ExpressionFilter.expression", message);
        }
    }
    Ok(LogFilter::Expression(Box::new(program)))
}

fn compare(value: Option<accesslog::ComparisonFilter>) -> Result<(Comparison, u32)> {
    use accesslog::comparison_filter::Op;
    let value = value.ok_or_else(|| Error::missing("comparison"))?;
    let comparison = match value.op() {
        Op::Eq => Comparison::Eq,
        Op::Ge => Comparison::Ge,
        Op::Le => Comparison::Le,
        Op::Ne => Comparison::Ne,
    };
    let accesslog::ComparisonFilter { op: _, value } = value;
    let core::RuntimeUInt32 {
        default_value,
        runtime_key: _,
    } = value.ok_or_else(|| Error::missing("comparison.value"))?;
    Ok((comparison, default_value))
}
