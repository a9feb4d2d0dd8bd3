//! Services that select nothing, although their namespace has workloads.

use meltemi_api::k8s::Service;
use meltemi_api::nearest;

use crate::code::SERVICE_WITHOUT_WORKLOADS;
use crate::report::at;
use crate::selector::{selects, show};
use crate::workload::{Workload, workloads};
use crate::{Analyzer, Index, Report};

pub struct ServiceWorkloads;

impl Analyzer for ServiceWorkloads {
    fn name(&self) -> &'static str {
        "service.WorkloadAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that Services select workloads of their namespace"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = workloads(index);
        for (resource, service) in index.of::<Service>() {
            let selector = service
                .spec
                .as_ref()
                .and_then(|spec| spec.selector.as_ref());
            let Some(selector) = selector.filter(|labels| !labels.is_empty()) else {
                continue;
            };
            let there: Vec<&Workload<'_>> = workloads
                .iter()
                .filter(|workload| workload.namespace() == resource.namespace())
                .collect();
            if there.is_empty()
                || there
                    .iter()
                    .any(|workload| selects(selector, &workload.labels))
            {
                continue;
            }
            let values = selector.iter().find_map(|(key, value)| {
                let labels = there.iter().filter_map(|workload| workload.labels.get(key));
                let near = nearest(value, labels.map(String::as_str))?;
                (near != value).then(|| format!("did you mean {key}: {near}?"))
            });
            report.add(
                &SERVICE_WITHOUT_WORKLOADS,
                resource,
                at!(spec.selector),
                format!(
                    "no workload of namespace {} has the labels {}; requests to it get 503",
                    resource.namespace(),
                    show(selector)
                ),
                values.unwrap_or_else(|| "correct the selector, or start the workload".to_owned()),
            );
        }
    }
}
