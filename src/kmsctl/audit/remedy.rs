//! What is left when an object cannot be read any more: the request that removes it, and what depends on it.
//!
//! KEP-3926: `AllowUnsafeMalformedObjectDeletion`, on by default since Kubernetes 1.37.

use crate::etcd::object_name::{ObjectName, Resource};
use crate::kmsctl::words::quoted;

/// The option of KEP-3926. It needs the verb `unsafe-delete-ignore-read-errors` on the resource.
const OPTIONS: &str = r#"{"kind":"DeleteOptions","apiVersion":"v1","ignoreStoreReadErrorWithClusterBreakingPotential":true}"#;

/// The request that removes an object which cannot be read. kube-apiserver refuses it for one that can.
pub(super) fn give_up(name: &ObjectName) -> String {
    let (base, place) = (base(&name.resource), quoted(&place(name)));
    format!("kubectl delete --raw {base}{place} -f - <<<'{OPTIONS}'")
}

/// A command that lists what names an object of a namespace.
pub(super) fn dependents(name: &ObjectName) -> String {
    let namespace = match name.namespace.as_str() {
        "" => "--all-namespaces".to_owned(),
        namespace => format!("--namespace={}", quoted(namespace)),
    };
    format!(
        "kubectl get pods,serviceaccounts,deployments.apps,statefulsets.apps,daemonsets.apps,cronjobs.batch,ingresses.networking.k8s.io \
         {namespace} -o json | jq -r --arg name {} '.items[] | select([.. | strings] | any(. == $name)) | \"\\(.kind) \\(.metadata.name)\"'",
        quoted(&name.name)
    )
}

/// The path of the version that serves the resource, for a shell. Each built-in group has a v1; that of a custom resource
/// is for its own to say.
fn base(resource: &Resource) -> String {
    let group = quoted(&resource.group);
    let is_built_in = !resource.group.contains('.') || resource.directory == resource.name;
    match resource.group.as_str() {
        "" => "/api/v1".to_owned(),
        _ if is_built_in => format!("/apis/{group}/v1"),
        _ => format!(
            "/apis/{group}/\"$(kubectl get --raw /apis/{group} | jq -r .preferredVersion.version)\""
        ),
    }
}

fn place(name: &ObjectName) -> String {
    let resource = &name.resource.name;
    match name.namespace.as_str() {
        "" => format!("/{resource}/{}", name.name),
        namespace => format!("/namespaces/{namespace}/{resource}/{}", name.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(key: &str) -> String {
        give_up(&ObjectName::parse(key.as_bytes(), "/registry").expect("a name"))
    }

    #[test]
    fn the_request_is_that_of_the_object() {
        let options = format!(" -f - <<<'{OPTIONS}'");
        assert_eq!(
            command("/registry/secrets/default/a"),
            format!("kubectl delete --raw /api/v1/namespaces/default/secrets/a{options}")
        );
        assert_eq!(
            command("/registry/deployments/default/a"),
            format!("kubectl delete --raw /apis/apps/v1/namespaces/default/deployments/a{options}")
        );
        assert_eq!(
            command("/registry/example.org/gadgets/g"),
            format!(
                "kubectl delete --raw /apis/example.org/\"$(kubectl get --raw /apis/example.org | jq -r \
                 .preferredVersion.version)\"/gadgets/g{options}"
            )
        );
    }

    #[test]
    fn no_name_becomes_a_command_of_a_shell() {
        let shown = command("/registry/secrets/default/a$(reboot)'b");
        assert!(
            shown.contains(r"/api/v1'/namespaces/default/secrets/a$(reboot)'\''b'"),
            "{shown}"
        );
        let shown = command("/registry/exa.mple/$(reboot)/default/a");
        assert!(
            shown.contains("'/namespaces/default/$(reboot)/a'"),
            "{shown}"
        );
    }
}
