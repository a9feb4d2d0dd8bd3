//! The codes of messages: Istio's (IST), with Istio's names and levels, and Meltemi's own (MEL).

use crate::Level;

/// A code.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `IST0101`.
    pub id: &'static str,
    /// `ReferencedResourceNotFound`.
    pub name: &'static str,
    /// Level of all messages with this code.
    pub level: Level,
    /// What it means.
    pub meaning: &'static str,
    /// What helps.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($constant:ident = $id:literal $name:literal $level:ident: $meaning:literal, $remedy:literal;)*) => {
        $(
            pub(crate) static $constant: Code = Code {
                id: $id,
                name: $name,
                level: Level::$level,
                meaning: $meaning,
                remedy: $remedy,
            };
        )*

        /// All codes that an analyzer can report, in order.
        pub fn codes() -> Vec<&'static Code> {
            vec![$(&$constant),*]
        }
    };
}

codes! {
    DEPRECATED = "IST0002" "Deprecated" Warning:
        "a field or kind that Istio has deprecated or removed", "use what replaces it";
    REFERENCED_RESOURCE_NOT_FOUND = "IST0101" "ReferencedResourceNotFound" Error:
        "a host, subset, port, gateway, secret, namespace or workload that is referred to does not exist",
        "correct the name, or apply what is missing";
    NAMESPACE_NOT_INJECTED = "IST0102" "NamespaceNotInjected" Info:
        "a namespace says neither that its pods get a sidecar nor that they do not",
        "label it istio-injection=enabled or =disabled";
    POD_MISSING_PROXY = "IST0103" "PodMissingProxy" Warning:
        "a pod of an injected namespace runs without a sidecar", "restart its workload";
    SCHEMA_VALIDATION_ERROR = "IST0106" "SchemaValidationError" Error:
        "the object or document is wrong by itself and is refused", "correct the field";
    MISPLACED_ANNOTATION = "IST0107" "MisplacedAnnotation" Warning:
        "an annotation stands on a kind on which it has no effect", "move it to the kind named";
    UNKNOWN_ANNOTATION = "IST0108" "UnknownAnnotation" Warning:
        "an annotation of an istio.io domain that Istio does not know", "correct or remove it";
    CONFLICTING_MESH_GATEWAY_HOSTS = "IST0109" "ConflictingMeshGatewayVirtualServiceHosts" Error:
        "several VirtualServices for sidecars have rules for one host", "merge them into one";
    CONFLICTING_SIDECAR_SELECTORS = "IST0110" "ConflictingSidecarWorkloadSelectors" Error:
        "several Sidecars select the same workload", "make their selectors distinct";
    MULTIPLE_SIDECARS_WITHOUT_SELECTORS = "IST0111" "MultipleSidecarsWithoutWorkloadSelectors" Error:
        "several Sidecars of a namespace have no selector", "keep one";
    PORT_SELECTOR_REQUIRED = "IST0112" "VirtualServiceDestinationPortSelectorRequired" Error:
        "a destination with several ports does not say which", "set port.number";
    MTLS_POLICY_CONFLICT = "IST0113" "MTLSPolicyConflict" Error:
        "a DestinationRule makes clients send plaintext or their own TLS to workloads that accept mTLS only",
        "use ISTIO_MUTUAL, or leave tls out";
    MULTIPLE_SERVICES = "IST0116" "DeploymentAssociatedToMultipleServices" Warning:
        "Services of one workload use a port with different protocols", "use distinct ports";
    PORT_NAME = "IST0118" "PortNameIsNotUnderNamingConvention" Info:
        "neither name nor appProtocol says what a port speaks; it is detected per connection",
        "name it PROTOCOL or PROTOCOL-SUFFIX, or set appProtocol";
    MULTIPLE_INJECTION_LABELS = "IST0123" "NamespaceMultipleInjectionLabels" Warning:
        "a namespace has labels of several ways into the mesh", "keep one";
    INVALID_ANNOTATION = "IST0125" "InvalidAnnotation" Warning:
        "an annotation's value is wrong", "correct the value";
    UNKNOWN_SERVICE_REGISTRY = "IST0126" "UnknownMeshNetworksServiceRegistry" Error:
        "MeshNetworks names a registry (cluster) that does not exist", "correct fromRegistry";
    NO_MATCHING_WORKLOADS = "IST0127" "NoMatchingWorkloadsFound" Warning:
        "a policy applies to no workload", "correct the selector or the namespace";
    NO_VERIFICATION_DESTINATION = "IST0128" "NoServerCertificateVerificationDestinationLevel" Warning:
        "TLS to a destination does not say which CA the server's certificate must be of",
        "set caCertificates or credentialName";
    NO_VERIFICATION_PORT = "IST0129" "NoServerCertificateVerificationPortLevel" Warning:
        "TLS to a port does not say which CA the server's certificate must be of",
        "set caCertificates or credentialName";
    UNREACHABLE_RULE = "IST0130" "VirtualServiceUnreachableRule" Warning:
        "an HTTP rule stands behind one that takes all its requests", "move it, or narrow the other rule's match";
    INEFFECTIVE_MATCH = "IST0131" "VirtualServiceIneffectiveMatch" Info:
        "an alternative of a rule's match is an earlier rule's already", "remove it";
    HOST_NOT_IN_GATEWAY = "IST0132" "VirtualServiceHostNotFoundInGateway" Warning:
        "no host of a VirtualService is one of its gateway's", "align the hosts";
    SCHEMA_WARNING = "IST0133" "SchemaWarning" Warning:
        "the object is taken, but something in it will not do what it says", "see the message";
    ADDRESSES_REQUIRED = "IST0134" "ServiceEntryAddressesRequired" Warning:
        "a TCP port of a ServiceEntry without addresses takes all traffic of that port",
        "give addresses, or a protocol with a host name";
    DEPRECATED_ANNOTATION = "IST0135" "DeprecatedAnnotation" Info:
        "a deprecated annotation", "use what replaces it";
    ALPHA_ANNOTATION = "IST0136" "AlphaAnnotation" Info:
        "an annotation of a feature that Istio calls alpha", "do not rely on it";
    CONFLICTING_PORTS = "IST0137" "DeploymentConflictingPorts" Warning:
        "Services of one workload reach the same targetPort by different ports",
        "use one port";
    DUPLICATE_CERTIFICATE = "IST0138" "GatewayDuplicateCertificate" Warning:
        "several Gateways show one certificate; HTTP/2 clients reuse connections across them and get 404",
        "put the servers into one Gateway, or use certificates of their own";
    INVALID_WEBHOOK = "IST0139" "InvalidWebhook" Error:
        "injection webhooks overlap, or their service does not exist", "remove what is left over";
    SUBSET_WITHOUT_EFFECT = "IST0140" "IngressRouteRulesNotAffected" Warning:
        "a gateway's route goes past the subsets that another VirtualService chooses for the host",
        "repeat the subsets in the gateway's VirtualService, or bind one VirtualService to both";
    APPLICATION_UID = "IST0144" "InvalidApplicationUID" Warning:
        "an application runs as user 1337, whose traffic is not captured", "use another user";
    CONFLICTING_GATEWAYS = "IST0145" "ConflictingGateways" Error:
        "Gateways of one workload have the same port and host", "merge them, or separate the hosts";
    IMAGE_AUTO_WARNING = "IST0146" "ImageAutoWithoutInjectionWarning" Warning:
        "a workload waits for injection to fill in its image, and no webhook selects it",
        "label the namespace or the pod template";
    IMAGE_AUTO_ERROR = "IST0147" "ImageAutoWithoutInjectionError" Error:
        "a pod runs with the placeholder image `auto`", "recreate it once injection selects it";
    INJECTED_BY_DEFAULT = "IST0148" "NamespaceInjectionEnabledByDefault" Info:
        "a namespace without label is injected because Istio is installed so", "nothing to do";
    CLAIM_WITHOUT_AUTHENTICATION = "IST0149" "JwtClaimBasedRoutingWithoutRequestAuthN" Error:
        "a route looks at JWT claims that nothing validates at the gateway",
        "apply a RequestAuthentication to the gateway";
    EXTERNAL_NAME_PORT = "IST0150" "ExternalNameServiceTypeInvalidPortName" Warning:
        "an ExternalName Service's port has no usable protocol in its name", "name it https or tls";
    RELATIVE_OPERATION = "IST0151" "EnvoyFilterUsesRelativeOperation" Warning:
        "an EnvoyFilter's effect depends on what other EnvoyFilters do first",
        "set priority, or use INSERT_FIRST or ADD";
    REPLACE_INCORRECT = "IST0152" "EnvoyFilterUsesReplaceOperationIncorrectly" Error:
        "REPLACE is ignored for what it is applied to", "use MERGE, or REMOVE and ADD";
    ADD_INCORRECT = "IST0153" "EnvoyFilterUsesAddOperationIncorrectly" Error:
        "ADD is ignored for what it is applied to", "use MERGE or INSERT_FIRST";
    REMOVE_INCORRECT = "IST0154" "EnvoyFilterUsesRemoveOperationIncorrectly" Error:
        "REMOVE is ignored for what it is applied to", "remove the VirtualService's rule instead";
    RELATIVE_OPERATION_WITH_VERSION = "IST0155" "EnvoyFilterUsesRelativeOperationWithProxyVersion" Warning:
        "as IST0151, and the patch is bound to a proxy version", "set priority";
    INVALID_TELEMETRY_PROVIDER = "IST0157" "InvalidTelemetryProvider" Warning:
        "access logging names no provider and the mesh has no default one", "name a provider";
    IMAGE_MISMATCH = "IST0158" "PodsIstioProxyImageMismatchInNamespace" Warning:
        "pods run another proxy image than injection gives", "restart their workloads";
    CONFLICTING_TELEMETRY_SELECTORS = "IST0159" "ConflictingTelemetryWorkloadSelectors" Error:
        "several Telemetries select the same workload", "make their selectors distinct";
    MULTIPLE_TELEMETRIES_WITHOUT_SELECTORS = "IST0160" "MultipleTelemetriesWithoutWorkloadSelectors" Error:
        "several Telemetries of a namespace have no selector", "keep one";
    INVALID_GATEWAY_CREDENTIAL = "IST0161" "InvalidGatewayCredential" Error:
        "a Gateway's secret holds no usable certificate and key", "put tls.crt and tls.key into it";
    GATEWAY_PORT_NOT_ON_SERVICE = "IST0162" "GatewayPortNotDefinedOnService" Warning:
        "a Gateway's port is not on the Service of its workload", "add the port to the Service";
    INVALID_EXTERNAL_CONTROL_PLANE = "IST0163" "InvalidExternalControlPlaneConfig" Warning:
        "a webhook has no usable address of its external control plane", "set clientConfig.url";
    EXTERNAL_CONTROL_PLANE_IP = "IST0164" "ExternalControlPlaneAddressIsNotAHostname" Info:
        "a webhook reaches its external control plane by an IP address", "use a host name";
    INTERNAL_GATEWAY = "IST0165" "ReferencedInternalGateway" Warning:
        "a VirtualService names a Gateway that is generated from a Kubernetes Gateway",
        "name the Kubernetes Gateway, or use an HTTPRoute";
    INEFFECTIVE_SELECTOR = "IST0166" "IneffectiveSelector" Warning:
        "a policy selects the pods of a Kubernetes Gateway by label, which has no effect",
        "use targetRefs";
    INEFFECTIVE_POLICY = "IST0167" "IneffectivePolicy" Warning:
        "a policy has no effect on the workloads it is for", "see the message";
    INCONSISTENT_SERVICE = "IST0170" "MultiClusterInconsistentService" Warning:
        "a Service differs between clusters", "make it the same in all of them";
    NEGATIVE_CONDITION = "IST0171" "NegativeConditionStatus" Warning:
        "the status of an object says that it is not in force", "see the message";
    SUBSET_SELECTS_NO_PODS = "IST0173" "DestinationRuleSubsetNotSelectPods" Error:
        "a subset selects no workload; requests to it get 503", "correct its labels";
    UNKNOWN_RULE_HOST = "IST0174" "UnknownDestinationRuleHost" Warning:
        "a DestinationRule's host is no service that its namespace sees", "correct the host";
    JWKS_FETCH_UNRESTRICTED = "IST0175" "JwksUriFetchUnrestricted" Warning:
        "istiod fetches jwksUris from any address", "set BLOCKED_CIDRS_IN_JWKS_URIS on istiod";
    CONFLICTING_ENTRY_PROTOCOLS = "IST0177" "ConflictingServiceEntryProtocol" Warning:
        "ServiceEntries give one host and port different protocols", "use one protocol";
    NOT_HONOURED = "MEL0001" "FieldNotHonoured" Warning:
        "a field that Istio has and Meltemi does not honour yet", "do not rely on it";
    DUPLICATE_OBJECT = "MEL0002" "DuplicateObject" Error:
        "an object is defined twice; the first definition counts", "keep one";
    ROUTE_TO_EMPTY_SUBSET = "MEL0101" "RouteToEmptySubset" Error:
        "a route leads to a subset or Service without workloads; its requests get 503",
        "correct the labels, or shift the weight away";
    RETRIES_CUT_OFF = "MEL0102" "RetriesCutOff" Warning:
        "a rule's timeout leaves no time for its retries, or its fault no time for an answer",
        "raise timeout, or lower perTryTimeout or the delay";
    HTTP_RULES_ON_TCP_PORT = "MEL0103" "HttpRulesOnOpaquePort" Warning:
        "HTTP rules for a host whose ports are declared as something else; they never apply",
        "name the port http..., grpc... or http2..., or use tcp or tls rules";
    PORT_NAME_LOOKS_LIKE_PROTOCOL = "MEL0104" "PortNameHidesProtocol" Warning:
        "a port's name begins with a protocol but not in the form that is read",
        "separate the suffix with a hyphen";
    TARGET_PORT_NOT_FOUND = "MEL0105" "TargetPortNotFound" Warning:
        "a Service's targetPort is a name that no container port of its workloads has",
        "correct the name";
    SERVICE_WITHOUT_WORKLOADS = "MEL0106" "ServiceSelectsNothing" Warning:
        "a Service's selector selects none of its namespace's workloads", "correct the selector";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        let ids: Vec<&str> = codes().iter().map(|code| code.id).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }
}
