//! Telemetry.

use super::super::Table;

pub(super) const TABLE: Table = Table {
    honoured: &[
        "apiVersion",
        "kind",
        "metadata",
        "status",
        "spec.selector",
        "spec.tracing",
        "spec.accessLogging",
    ],
    except: &[],
    harmless: &[],
};
