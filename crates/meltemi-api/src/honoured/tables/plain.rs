//! Kinds of which everything, or nearly nothing, is honoured.

use super::super::Table;

pub(super) const ALL: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status", "spec"],
    except: &[],
    harmless: &[],
};

/// Nothing enrols virtual machines yet.
pub(super) const WORKLOAD_GROUP: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status"],
    except: &[],
    harmless: &[],
};

pub(super) const SERVICE_ACCOUNT: Table = Table {
    honoured: &["apiVersion", "kind", "metadata"],
    except: &[],
    harmless: &[
        "imagePullSecrets",
        "secrets",
        "automountServiceAccountToken",
    ],
};

pub(super) const NAMESPACE: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status"],
    except: &[],
    harmless: &["spec"],
};

pub(super) const CONFIG_MAP: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "data", "binaryData"],
    except: &[],
    harmless: &["immutable"],
};

pub(super) const SECRET: Table = Table {
    honoured: &[
        "apiVersion",
        "kind",
        "metadata",
        "data",
        "stringData",
        "type",
    ],
    except: &[],
    harmless: &["immutable"],
};
