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
    // Expressions are not evaluated: more is logged than was asked for.
    except: &["spec.accessLogging[].filter"],
    harmless: &[],
};
