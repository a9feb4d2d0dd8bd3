//! Telemetry.

use super::super::Table;

pub(super) const TABLE: Table = Table {
    honoured: &[
        "apiVersion",
        "kind",
        "metadata",
        "status",
        "spec.selector",
        "spec.targetRef",
        "spec.targetRefs",
        "spec.tracing",
        "spec.metrics",
        "spec.accessLogging",
    ],
    // Connections report when they open and when they end, and there are Istio's metrics only.
    except: &[
        "spec.metrics[].reportingInterval",
        "spec.metrics[].overrides[].match.customMetric",
    ],
    harmless: &[],
};
