//! The Gateway API's kinds. Filters that are not supported are validation's to name: their rules
//! answer 500.

use super::super::Table;

const HEAD: &[&str] = &["apiVersion", "kind", "metadata", "status", "spec"];

pub(super) const GATEWAY_CLASS: Table = Table {
    honoured: HEAD,
    except: &["spec.parametersRef"],
    harmless: &[],
};

pub(super) const GATEWAY: Table = Table {
    honoured: HEAD,
    except: &[
        "spec.allowedListeners",
        "spec.defaultScope",
        "spec.infrastructure.parametersRef",
        "spec.tls.backend",
    ],
    // Nothing is deployed for a Gateway.
    harmless: &[
        "spec.infrastructure.labels",
        "spec.infrastructure.annotations",
    ],
};

pub(super) const HTTP: Table = Table {
    honoured: HEAD,
    except: &["spec.rules[].sessionPersistence", "spec.useDefaultGateways"],
    harmless: &[],
};

pub(super) const L4: Table = Table {
    honoured: HEAD,
    except: &["spec.useDefaultGateways"],
    harmless: &[],
};
