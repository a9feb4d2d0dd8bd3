//! `/config_dump` in Envoy's shape, from the encoded resources.

use super::handle::Shared;
use super::record::{Kind, Record, Records, State};
use crate::compile::Notice;
use crate::tls::Secret;
use bytes::BytesMut;
use meltemi_re2::Regex;
use meltemi_schema::decode;
use meltemi_xds::namespace;
use serde_json::{Map, Value, json};
use std::sync::PoisonError;
use std::time::SystemTime;

/// The query parameters of `/config_dump`.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// `include_eds`.
    pub endpoints: bool,
    /// `resource`: only this field of the dumps, e.g. `dynamic_listeners`.
    pub resource: Option<String>,
    /// `name_regex`: only resources whose whole name matches.
    pub name: Option<String>,
}

/// The field of `RouteConfiguration`; encoded messages are merged by putting one behind another.
const VIRTUAL_HOSTS: u32 = 2;

const ADMIN: &str = "type.googleapis.com/envoy.admin.v3.";

pub(super) fn config_dump(shared: &Shared, query: &Query) -> Result<Value, String> {
    let name = query
        .name
        .as_deref()
        .map(meltemi_re2::full)
        .transpose()
        .map_err(|error| format!("name_regex: {error}"))?;
    let dump = Dump { name };
    let records = shared.records();
    let of = |kind: Kind| -> Vec<&Record> {
        records
            .of(kind)
            .filter(|record| {
                dump.name
                    .as_ref()
                    .is_none_or(|name| name.is_match(&record.name))
            })
            .collect()
    };
    let mut configs = vec![
        dump.bootstrap(shared),
        dump.clusters(&of(Kind::Cluster)),
        dump.listeners(&of(Kind::Listener)),
        dump.routes(&of(Kind::Route), &records),
        secrets(shared, &of(Kind::Secret), dump.name.as_ref()),
    ];
    if query.endpoints {
        configs.insert(2, dump.endpoints(&of(Kind::Endpoints)));
    }
    if let Some(wanted) = &query.resource {
        // As Envoy: the resources of that field, without the dumps around them.
        let resources: Vec<Value> = configs
            .into_iter()
            .filter_map(|mut config| config.get_mut(wanted).map(Value::take))
            .flat_map(|field| match field {
                Value::Array(values) => values,
                other => vec![other],
            })
            .collect();
        return Ok(json!({ "configs": resources }));
    }
    let notices: Vec<Value> = Kind::ALL
        .into_iter()
        .flat_map(|kind| {
            of(kind)
                .into_iter()
                .filter(|record| !record.notices.is_empty())
                .map(move |record| {
                    json!({
                        "kind": kind.as_str(),
                        "name": record.name,
                        "not_honoured": notices_json(&record.notices),
                    })
                })
                .collect::<Vec<_>>()
        })
        .collect();
    Ok(json!({
        "configs": configs,
        // What resources are honoured without; no part of Envoy's dump.
        "meltemi": {
            "bootstrap_not_honoured": notices_json(&shared.bootstrap.notices),
            "not_honoured": notices,
        },
    }))
}

fn notices_json(notices: &[Notice]) -> Vec<Value> {
    notices
        .iter()
        .map(|notice| json!({"field": notice.field, "reason": notice.reason}))
        .collect()
}

fn time(time: SystemTime) -> Value {
    jiff::Timestamp::try_from(time)
        .map(|time| Value::String(time.to_string()))
        .unwrap_or_default()
}

struct Dump {
    name: Option<Regex>,
}

impl Dump {
    /// The message with its `@type`; what cannot be decoded is shown as its error.
    fn message(&self, kind: Kind, body: &[u8]) -> Value {
        let url = kind.type_url();
        let name = url.rsplit('/').next().unwrap_or(url);
        typed(url, decode(name, body).map_err(|error| error.to_string()))
    }

    fn bootstrap(&self, shared: &Shared) -> Value {
        let bootstrap = &shared.bootstrap;
        let decoded = decode("envoy.config.bootstrap.v3.Bootstrap", &bootstrap.rest);
        let mut message = decoded.unwrap_or_else(|error| json!({"error": error.to_string()}));
        let list = |kind: Kind, bodies: &[bytes::Bytes]| -> Vec<Value> {
            bodies
                .iter()
                .map(|body| {
                    let mut value = self.message(kind, body);
                    if let Some(object) = value.as_object_mut() {
                        object.shift_remove("@type");
                    }
                    value
                })
                .collect()
        };
        message["static_resources"] = json!({
            "listeners": list(Kind::Listener, &bootstrap.listeners),
            "clusters": list(Kind::Cluster, &bootstrap.clusters),
        });
        json!({
            "@type": format!("{ADMIN}BootstrapConfigDump"),
            "bootstrap": message,
        })
    }

    /// `{version_info, FIELD: message, last_updated}`.
    fn entry(&self, kind: Kind, field: &str, record: &Record) -> Value {
        let mut entry = Map::new();
        if !record.fixed {
            entry.insert("version_info".into(), json!(record.version));
        }
        entry.insert(field.into(), self.message(kind, &record.body));
        entry.insert("last_updated".into(), time(record.updated));
        if let Some(failure) = &record.failure {
            entry.insert(
                "error_state".into(),
                json!({
                    "details": failure.details,
                    "last_update_attempt": time(failure.at),
                    "version_info": failure.version,
                }),
            );
        }
        Value::Object(entry)
    }

    fn list(
        &self,
        kind: Kind,
        field: &str,
        records: &[&Record],
        keep: impl Fn(&Record) -> bool,
    ) -> Vec<Value> {
        records
            .iter()
            .filter(|record| keep(record))
            .map(|record| self.entry(kind, field, record))
            .collect()
    }

    fn clusters(&self, records: &[&Record]) -> Value {
        let list =
            |keep: &dyn Fn(&Record) -> bool| self.list(Kind::Cluster, "cluster", records, keep);
        json!({
            "@type": format!("{ADMIN}ClustersConfigDump"),
            "static_clusters": list(&|record| record.fixed),
            "dynamic_active_clusters":
                list(&|record| !record.fixed && record.state == State::Active),
            "dynamic_warming_clusters":
                list(&|record| !record.fixed && record.state == State::Warming),
        })
    }

    fn endpoints(&self, records: &[&Record]) -> Value {
        json!({
            "@type": format!("{ADMIN}EndpointsConfigDump"),
            "static_endpoint_configs": [],
            "dynamic_endpoint_configs":
                self.list(Kind::Endpoints, "endpoint_config", records, |_| true),
        })
    }

    fn listeners(&self, records: &[&Record]) -> Value {
        let dynamic: Vec<Value> = records
            .iter()
            .filter(|record| !record.fixed)
            .map(|record| self.listener(record))
            .collect();
        json!({
            "@type": format!("{ADMIN}ListenersConfigDump"),
            "static_listeners":
                self.list(Kind::Listener, "listener", records, |record| record.fixed),
            "dynamic_listeners": dynamic,
        })
    }

    fn listener(&self, record: &Record) -> Value {
        let mut entry = Map::new();
        entry.insert("name".into(), json!(record.name));
        let state = match record.state {
            State::Active => Some("active_state"),
            State::Warming => Some("warming_state"),
            State::Failed => None,
        };
        let mut shown = self.entry(Kind::Listener, "listener", record);
        let error = shown
            .as_object_mut()
            .and_then(|object| object.shift_remove("error_state"));
        if let Some(state) = state {
            entry.insert(state.into(), shown);
        }
        if let Some(error) = error {
            entry.insert("error_state".into(), error);
        }
        Value::Object(entry)
    }

    /// Tables with the virtual hosts that were discovered apart from them.
    fn routes(&self, tables: &[&Record], records: &Records) -> Value {
        let mut whole: Vec<Record> = tables.iter().map(|table| (*table).clone()).collect();
        for table in &mut whole {
            let hosts = records.of(Kind::VirtualHost);
            let hosts = hosts.filter(|host| namespace(&host.name) == Some(&table.name));
            let mut body = BytesMut::from(&*table.body);
            for host in hosts {
                if !host.body.is_empty() {
                    prost::encoding::bytes::encode(VIRTUAL_HOSTS, &host.body, &mut body);
                }
                table.failure = table.failure.take().or_else(|| host.failure.clone());
            }
            table.body = body.freeze();
        }
        let whole: Vec<&Record> = whole.iter().collect();
        json!({
            "@type": format!("{ADMIN}RoutesConfigDump"),
            "static_route_configs": [],
            "dynamic_route_configs":
                self.list(Kind::Route, "route_config", &whole, |_| true),
        })
    }
}

/// Certificates in full, private keys never.
fn secrets(shared: &Shared, records: &[&Record], filter: Option<&Regex>) -> Value {
    let secrets = shared
        .secrets
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut names: Vec<_> = secrets
        .keys()
        .filter(|name| filter.is_none_or(|filter| filter.is_match(name)))
        .collect();
    names.sort();
    let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
    for name in names {
        let record = records.iter().find(|record| record.name == *name);
        let content = match &*secrets[name] {
            Secret::Certificate { chain, .. } => json!({
                "tls_certificate": {
                    "certificate_chain": {"inline_bytes": pem(chain)},
                    "private_key": {"inline_bytes": "W3JlZGFjdGVkXQ=="},
                },
            }),
            Secret::Trust { roots, .. } => json!({
                "validation_context": {"trusted_ca": {"inline_bytes": pem(roots)}},
            }),
        };
        let mut secret = json!({
            "@type": Kind::Secret.type_url(),
            "name": name,
        });
        if let (Some(object), Value::Object(content)) = (secret.as_object_mut(), content) {
            object.extend(content);
        }
        let entry = json!({
            "name": name,
            "version_info": record.map_or("", |record| &*record.version),
            "last_updated": record.map(|record| time(record.updated)),
            "secret": secret,
        });
        if record.is_some_and(|record| record.fixed) {
            fixed.push(entry);
        } else {
            dynamic.push(entry);
        }
    }
    json!({
        "@type": format!("{ADMIN}SecretsConfigDump"),
        "static_secrets": fixed,
        "dynamic_active_secrets": dynamic,
    })
}

/// Base64 (JSON's form of bytes) of the PEM text.
fn pem(certificates: &[rustls_pki_types::CertificateDer<'_>]) -> String {
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = engine.encode(certificate);
        for line in body.as_bytes().chunks(64) {
            // Base64 is ASCII.
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    engine.encode(text)
}

fn typed(url: &str, decoded: Result<Value, String>) -> Value {
    let mut typed = Map::new();
    typed.insert("@type".into(), json!(url));
    match decoded {
        Ok(Value::Object(fields)) => typed.extend(fields),
        Ok(other) => {
            typed.insert("value".into(), other);
        }
        Err(error) => {
            typed.insert("error".into(), json!(error));
        }
    }
    Value::Object(typed)
}
