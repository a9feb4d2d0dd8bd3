//! Access logging without a provider.

use crate::code::INVALID_TELEMETRY_PROVIDER;
use crate::{Analyzer, Index, Report};

pub struct TelemetryProvider;

impl Analyzer for TelemetryProvider {
    fn name(&self) -> &'static str {
        "telemetry.ProviderAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that access logging names a provider or the mesh has a default one"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let defaults = index.mesh.default_providers.as_ref();
        if defaults.is_some_and(|providers| !providers.access_logging.is_empty()) {
            return;
        }
        for resource in index.kind("telemetry.istio.io", "Telemetry") {
            for logging in resource.tree().at(&["spec", "accessLogging"]).items() {
                let providers = logging.get("providers").items();
                if providers.is_empty() && !logging.get("disabled").is_true() {
                    report.add(
                        &INVALID_TELEMETRY_PROVIDER,
                        resource,
                        logging.path.clone(),
                        "the entry names no provider and the mesh has no default one for access logs: it is ignored",
                        "add providers, or MeshConfig's defaultProviders.accessLogging",
                    );
                }
            }
        }
    }
}
