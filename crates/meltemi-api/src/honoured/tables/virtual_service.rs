//! VirtualService.

use super::super::Table;

pub(super) const TABLE: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status", "spec"],
    except: &[
        "spec.http[].fault.delay.exponentialDelay",
        "spec.http[].fault.abort.http2Error",
        "spec.tcp[].match[].sourceSubnet",
    ],
    harmless: &[],
};
