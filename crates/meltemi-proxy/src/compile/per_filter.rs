//! `typed_per_filter_config`: what routes say to filters.

use super::context::Cx;
use super::pb::{route, wkt};
use super::unsupported;
use super::{At, Error, Result, any};
use crate::model::{FilterId, Override, Overrides, RouteFilter};
use prost::Name;
use std::collections::HashMap;
use std::sync::Arc;

/// By the filters' names in their chains, as in Envoy.
pub fn overrides(configs: HashMap<String, wkt::Any>, cx: &mut Cx<'_>) -> Result<Overrides> {
    let mut configs: Vec<_> = configs.into_iter().collect();
    configs.sort_by(|a, b| a.0.cmp(&b.0));
    let mut compiled: Vec<(FilterId, Override)> = Vec::with_capacity(configs.len());
    for (name, config) in configs {
        let one = one(config, cx).at(&format!("typed_per_filter_config[{name}]"))?;
        compiled.extend(one.map(|one| (cx.names.filter(&name), one)));
    }
    Ok(Overrides::new(compiled))
}

/// `None`: an optional filter that is not supported.
fn one(config: wkt::Any, cx: &mut Cx<'_>) -> Result<Option<Override>> {
    let mut typed = any::open(Some(config))?;
    let mut optional = false;
    if typed.type_name() == route::FilterConfig::full_name() {
        let route::FilterConfig {
            config,
            is_optional,
            disabled,
        } = typed.decode()?;
        if disabled {
            return Ok(Some(Override::Disabled));
        }
        optional = is_optional;
        typed = any::open(config).at("config")?;
    }
    let kind = typed.type_name().to_owned();
    match RouteFilter::compile(typed, cx) {
        Some(config) => Ok(Some(Override::Config(Arc::new(config?)))),
        None if optional && !unsupported::is_policy(&kind) => {
            cx.notice("FilterConfig.is_optional", "an optional filter is left out");
            Ok(None)
        }
        None => Err(Error::new(format!(
            "{kind} is not supported: refusing the route rather than letting traffic pass \
             without what it configures"
        ))),
    }
}
