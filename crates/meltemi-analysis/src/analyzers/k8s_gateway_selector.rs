//! Policies that select the pods of a Kubernetes Gateway by label.

use std::collections::BTreeSet;

use crate::code::INEFFECTIVE_SELECTOR;
use crate::selector::selects;
use crate::workload::pods;
use crate::{Analyzer, Index, Report};

pub struct GatewaySelector;

/// Label of the pods of a Kubernetes Gateway, with its name.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

const POLICIES: [(&str, &str); 4] = [
    ("security.istio.io", "AuthorizationPolicy"),
    ("security.istio.io", "RequestAuthentication"),
    ("telemetry.istio.io", "Telemetry"),
    ("extensions.istio.io", "WasmPlugin"),
];

impl Analyzer for GatewaySelector {
    fn name(&self) -> &'static str {
        "k8sgateway.SelectorAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that policies for Kubernetes Gateways name them by targetRefs"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (group, kind) in POLICIES {
            for policy in index.kind(group, kind) {
                let spec = policy.tree().get("spec");
                let selector = spec.get("selector");
                if !selector.exists()
                    || spec.get("targetRef").exists()
                    || spec.get("targetRefs").exists()
                {
                    continue;
                }
                let labels = selector.get("matchLabels").texts();
                let gateways: BTreeSet<String> = pods(index)
                    .filter(|pod| pod.namespace() == policy.namespace())
                    .filter(|pod| selects(&labels, &pod.labels))
                    .filter_map(|pod| pod.labels.get(GATEWAY_NAME).cloned())
                    .collect();
                for gateway in gateways {
                    report.add(
                        &INEFFECTIVE_SELECTOR,
                        policy,
                        selector.path.clone(),
                        format!("the selector has no effect on Kubernetes Gateway {gateway}"),
                        format!("write targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: {gateway}}}]"),
                    );
                }
            }
        }
    }
}
