//! WasmPlugin and TrafficExtension.

use std::collections::BTreeSet;

use super::attachment::Attachment;
use super::names::url_scheme;
use super::report::Report;
use crate::FieldPath;
use crate::extensions::{
    EnvValueSource, TrafficExtension, TrafficSelector, VmConfig, WasmConfig, WasmPlugin,
};

/// Where modules come from; `oci` without a scheme.
const SCHEMES: [&str; 4] = ["http", "https", "file", "oci"];
/// Most variables, and the length of their names and values.
const MAX_VARIABLES: usize = 256;
const MAX_NAME: usize = 256;
const MAX_VALUE: usize = 2048;
/// Longest name of a Secret.
const MAX_SECRET: usize = 253;
/// Longest script.
const MAX_SCRIPT: usize = 65_536;

pub(super) fn wasm_plugin(spec: &WasmPlugin, at: &FieldPath, report: &mut Report) {
    Attachment {
        selector: spec.selector.as_ref(),
        target_ref: spec.target_ref.as_ref(),
        target_refs: &spec.target_refs,
    }
    .check(at, report);
    traffic(&spec.r#match, at, report);
    Module {
        url: &spec.url,
        sha256: &spec.sha256,
        image_pull_secret: spec.image_pull_secret.as_deref(),
        plugin_name: spec.plugin_name.as_deref(),
        vm_config: spec.vm_config.as_ref(),
    }
    .check(at, report);
}

pub(super) fn traffic_extension(spec: &TrafficExtension, at: &FieldPath, report: &mut Report) {
    Attachment {
        selector: spec.selector.as_ref(),
        target_ref: None,
        target_refs: &spec.target_refs,
    }
    .check(at, report);
    traffic(&spec.r#match, at, report);
    match (&spec.wasm, &spec.lua) {
        (None, None) => report.error(at, "has neither wasm nor lua", "add one of them"),
        (Some(_), Some(_)) => report.error(at, "has both wasm and lua", "keep one of them"),
        _ => {}
    }
    if let Some(wasm) = &spec.wasm {
        wasm_config(wasm, &at.field("wasm"), report);
    }
    if let Some(lua) = &spec.lua {
        let at = at.field("lua").field("inlineCode");
        report.required(&at, &lua.inline_code, "write the script");
        report.at_most(&at, &lua.inline_code, MAX_SCRIPT);
    }
}

fn wasm_config(wasm: &WasmConfig, at: &FieldPath, report: &mut Report) {
    Module {
        url: &wasm.url,
        sha256: &wasm.sha256,
        image_pull_secret: wasm.image_pull_secret.as_deref(),
        plugin_name: wasm.plugin_name.as_deref(),
        vm_config: wasm.vm_config.as_ref(),
    }
    .check(at, report);
}

fn traffic(selectors: &[TrafficSelector], at: &FieldPath, report: &mut Report) {
    for (index, selector) in selectors.iter().enumerate() {
        let at = at.field("match").index(index).field("ports");
        for (index, port) in selector.ports.iter().enumerate() {
            report.port(&at.index(index).field("number"), port.number);
        }
    }
}

/// What the two kinds say of a module.
struct Module<'a> {
    url: &'a str,
    sha256: &'a str,
    image_pull_secret: Option<&'a str>,
    plugin_name: Option<&'a str>,
    vm_config: Option<&'a VmConfig>,
}

impl Module<'_> {
    fn check(&self, at: &FieldPath, report: &mut Report) {
        self.url(&at.field("url"), report);
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if !self.sha256.is_empty() && (self.sha256.len() != 64 || !self.sha256.bytes().all(digits))
        {
            report.error(
                &at.field("sha256"),
                format!("{:?} is not a SHA-256", self.sha256),
                "write 64 lower-case hexadecimal digits",
            );
        }
        for (name, value, most) in [
            ("imagePullSecret", self.image_pull_secret, MAX_SECRET),
            ("pluginName", self.plugin_name, MAX_NAME),
        ] {
            if let Some(value) = value {
                report.required(&at.field(name), value, "name it, or leave it out");
                report.at_most(&at.field(name), value, most);
            }
        }
        if let Some(vm) = self.vm_config {
            environment(vm, &at.field("vmConfig").field("env"), report);
        }
    }

    fn url(&self, at: &FieldPath, report: &mut Report) {
        if self.url.is_empty() {
            return report.error(at, "is required", "write for example oci://HOST/IMAGE:TAG");
        }
        let message = format!("{:?} is not where a module can come from", self.url);
        match url_scheme(self.url) {
            Ok(None) => {}
            Ok(Some(scheme)) if SCHEMES.contains(&scheme) => {}
            Ok(Some(_)) => report.error(
                at,
                message,
                "begin with oci://, http://, https:// or file://",
            ),
            Err(reason) => report.error(at, format!("{message}: {reason}"), "correct the URL"),
        }
    }
}

fn environment(vm: &VmConfig, at: &FieldPath, report: &mut Report) {
    report.at_most_items(at, vm.env.len(), MAX_VARIABLES);
    let mut names = BTreeSet::new();
    for (index, variable) in vm.env.iter().enumerate() {
        let at = at.index(index);
        let name_at = at.field("name");
        report.required(&name_at, &variable.name, "name the variable");
        report.at_most(&name_at, &variable.name, MAX_NAME);
        if !names.insert(&variable.name) {
            let message = format!("{:?} is there for a second time", variable.name);
            report.error(&name_at, message, "keep one of them");
        }
        if let Some(value) = &variable.value {
            let at = at.field("value");
            report.at_most(&at, value, MAX_VALUE);
            if variable.value_from == EnvValueSource::Host {
                let message = "the value comes from the proxy's environment";
                report.error(&at, message, "remove it, or use valueFrom: INLINE");
            }
        }
    }
}
