//! `typed_per_filter_config`: what routes say to filters.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any::{self, Typed};
use super::basic::{bool_or, runtime_fraction};
use super::pb::filters::http::cors::v3::CorsPolicy;
use super::pb::filters::http::dynamic_forward_proxy::v3::PerRouteConfig;
use super::pb::filters::http::fault::v3::HttpFault;
use super::pb::{route, wkt};
use super::presence::refuse;
use super::{At, Error, Result};
use super::{dynamic, fault, matching};
use crate::model::{Cors, DynamicHost, Fault};
use prost::Name;
use std::collections::HashMap;
use std::sync::Arc;

/// Configuration of the filters that read any from the route.
#[derive(Clone, Default)]
pub struct PerFilter {
    pub fault: Option<Arc<Fault>>,
    pub cors: Option<Arc<Cors>>,
    pub dynamic_host: Option<DynamicHost>,
}

impl PerFilter {
    pub fn compile(configs: HashMap<String, wkt::Any>) -> Result<Self> {
        let mut compiled = Self::default();
        for (name, config) in configs {
            compiled
                .add(config)
                .at(&format!("typed_per_filter_config[{name}]"))?;
        }
        Ok(compiled)
    }

    /// What is missing here is taken from the level above.
    pub fn or(mut self, above: &Self) -> Self {
        self.fault = self.fault.or_else(|| above.fault.clone());
        self.cors = self.cors.or_else(|| above.cors.clone());
        self.dynamic_host = self.dynamic_host.or_else(|| above.dynamic_host.clone());
        self
    }

    fn add(&mut self, config: wkt::Any) -> Result<()> {
        let typed = any::open(Some(config))?;
        if typed.type_name() == route::FilterConfig::full_name() {
            let route::FilterConfig {
                config,
                is_optional: _,
                disabled,
            } = typed.decode()?;
            refuse!(disabled);
            return self.add_typed(any::open(config).at("config")?);
        }
        self.add_typed(typed)
    }

    fn add_typed(&mut self, typed: Typed) -> Result<()> {
        let name = typed.type_name();
        if name == HttpFault::full_name() {
            self.fault = Some(Arc::new(fault::fault(typed.decode()?)?));
        } else if name == CorsPolicy::full_name() {
            self.cors = Some(Arc::new(cors(typed.decode()?)?));
        } else if name == PerRouteConfig::full_name() {
            self.dynamic_host = dynamic::route(typed.decode()?)?;
        } else {
            return Err(Error::new(format!(
                "{name} is not supported: refusing the route rather than letting traffic pass \
                 without what it configures"
            )));
        }
        Ok(())
    }
}

fn cors(value: CorsPolicy) -> Result<Cors> {
    let CorsPolicy {
        allow_origin_string_match,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        filter_enabled,
        shadow_enabled,
        allow_private_network_access,
        forward_not_matching_preflights,
    } = value;
    refuse!(shadow_enabled, allow_private_network_access);
    let text = |value: String| (!value.is_empty()).then(|| value.into());
    Ok(Cors {
        allow_origins: allow_origin_string_match
            .into_iter()
            .enumerate()
            .map(|(index, value)| matching::string(value).nth("allow_origin_string_match", index))
            .collect::<Result<_>>()?,
        allow_methods: text(allow_methods),
        allow_headers: text(allow_headers),
        expose_headers: text(expose_headers),
        max_age: text(max_age),
        allow_credentials: bool_or(allow_credentials, false),
        forward_not_matching_preflights: bool_or(forward_not_matching_preflights, true),
        enabled: filter_enabled
            .map(runtime_fraction)
            .transpose()
            .at("filter_enabled")?
            .unwrap_or((100, 100)),
    })
}
