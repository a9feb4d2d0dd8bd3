//! Sidecar.

use super::super::Table;

pub(super) const TABLE: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status", "spec"],
    except: &[
        "spec.outboundTrafficPolicy.egressProxy",
        "spec.ingress[].tls.credentialName",
        "spec.ingress[].tls.credentialNames",
        "spec.ingress[].tls.insecureSkipVerify",
        "spec.ingress[].bind",
    ],
    harmless: &[],
};
