//! The built-in resources of Kubernetes whose directory does not show their group
//! (`pkg/controlplane/instance.go` and the storage of each group, Kubernetes 1.25 to 1.37).

/// The directory below the prefix, the group, and the name in the API.
const STORED_BY_ANOTHER_NAME: [(&str, &str, &str); 4] = [
    ("minions", "", "nodes"),
    ("services/specs", "", "services"),
    ("services/endpoints", "", "endpoints"),
    ("ingress", "networking.k8s.io", "ingresses"),
];

/// The groups, and their resources, which are stored by their own names.
const GROUPS: [(&str, &[&str]); 17] = [
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ],
    ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "deployments",
            "replicasets",
            "statefulsets",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    (
        "certificates.k8s.io",
        &[
            "certificatesigningrequests",
            "clustertrustbundles",
            "podcertificaterequests",
        ],
    ),
    ("coordination.k8s.io", &["leasecandidates", "leases"]),
    ("discovery.k8s.io", &["endpointslices"]),
    (
        "flowcontrol.apiserver.k8s.io",
        &["flowschemas", "prioritylevelconfigurations"],
    ),
    ("internal.apiserver.k8s.io", &["storageversions"]),
    (
        "networking.k8s.io",
        &[
            "ingressclasses",
            "ipaddresses",
            "networkpolicies",
            "servicecidrs",
        ],
    ),
    ("node.k8s.io", &["runtimeclasses"]),
    ("policy", &["poddisruptionbudgets", "podsecuritypolicy"]),
    (
        "rbac.authorization.k8s.io",
        &[
            "clusterrolebindings",
            "clusterroles",
            "rolebindings",
            "roles",
        ],
    ),
    (
        "resource.k8s.io",
        &[
            "deviceclasses",
            "devicetaintrules",
            "resourceclaims",
            "resourceclaimtemplates",
            "resourceslices",
        ],
    ),
    (
        "scheduling.k8s.io",
        &["priorityclasses", "podgroups", "workloads"],
    ),
    (
        "storage.k8s.io",
        &[
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "storageclasses",
            "volumeattachments",
            "volumeattributesclasses",
        ],
    ),
    ("storagemigration.k8s.io", &["storageversionmigrations"]),
];

/// The group and the name of what is stored in a directory that shows no group.
pub(super) fn of_directory(directory: &str) -> (&'static str, &str) {
    let renamed = STORED_BY_ANOTHER_NAME
        .iter()
        .find(|(of, ..)| *of == directory);
    if let Some((_, group, name)) = renamed {
        return (group, name);
    }
    let group = GROUPS.iter().find(|(_, names)| names.contains(&directory));
    (group.map_or("", |(group, _)| group), directory)
}

/// The directory of a resource that is stored by another name.
pub(super) fn another_name(group: &str, name: &str) -> Option<&'static str> {
    let renamed = STORED_BY_ANOTHER_NAME
        .iter()
        .find(|(_, of, named)| *of == group && *named == name);
    renamed.map(|(directory, ..)| *directory)
}
