//! Gateway.

use super::super::Table;

pub(super) const TABLE: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status", "spec"],
    except: &[
        "spec.servers[].defaultEndpoint",
        "spec.servers[].tls.insecureSkipVerify",
    ],
    harmless: &[],
};
