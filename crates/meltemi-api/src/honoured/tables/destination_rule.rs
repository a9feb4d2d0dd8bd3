//! DestinationRule.

use super::super::Table;

pub(super) const TABLE: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status", "spec"],
    except: &[
        "spec.trafficPolicy.retryBudget.budgetInterval",
        "spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes",
        "spec.trafficPolicy.loadBalancer.backendUtilization",
        "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting",
        "spec.trafficPolicy.portLevelSettings[].outlierDetection.outlierDetectionHttpErrorCodes",
        "spec.trafficPolicy.portLevelSettings[].loadBalancer.backendUtilization",
        "spec.trafficPolicy.portLevelSettings[].loadBalancer.zoneAwareLbSetting",
        "spec.subsets[].trafficPolicy.retryBudget.budgetInterval",
        "spec.subsets[].trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes",
        "spec.subsets[].trafficPolicy.loadBalancer.backendUtilization",
        "spec.subsets[].trafficPolicy.loadBalancer.zoneAwareLbSetting",
        "spec.subsets[].trafficPolicy.portLevelSettings[].outlierDetection.outlierDetectionHttpErrorCodes",
        "spec.subsets[].trafficPolicy.portLevelSettings[].loadBalancer.backendUtilization",
        "spec.subsets[].trafficPolicy.portLevelSettings[].loadBalancer.zoneAwareLbSetting",
    ],
    harmless: &[],
};
