//! Ingress, IngressClass.

use super::super::Table;

pub(super) const INGRESS: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status", "spec"],
    except: &[
        "spec.defaultBackend.resource",
        "spec.rules[].http.paths[].backend.resource",
    ],
    harmless: &[],
};

pub(super) const INGRESS_CLASS: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "spec.controller"],
    except: &["spec.parameters"],
    harmless: &[],
};
