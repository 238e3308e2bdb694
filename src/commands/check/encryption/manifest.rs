//! The manifest of a static pod: with which arguments kubelet starts kube-apiserver.

use crate::commands::document::value::Value;
use crate::commands::document::yaml;

const CONTAINER: &str = "kube-apiserver";

/// The command line of the container kube-apiserver in the manifest of a pod.
///
/// # Errors
/// If the text is not YAML, or is no pod with such a container: what is wrong with it.
pub(crate) fn apiserver_command(text: &[u8]) -> Result<Vec<String>, String> {
    let document = yaml::read(text);
    let document = document.map_err(|error| format!("line {}: {}", error.line, error.problem))?;
    let spec = document.value.get("spec");
    let container = spec
        .and_then(|spec| spec.get("containers"))
        .and_then(|containers| containers.items().iter().find(|one| is_apiserver(one)))
        .ok_or_else(|| format!("it is no pod with a container {CONTAINER}"))?;
    let texts = |name| {
        let list = container.get(name).map(Value::items).unwrap_or_default();
        list.iter().filter_map(Value::text).map(str::to_owned)
    };
    Ok(texts("command").chain(texts("args")).collect())
}

fn is_apiserver(container: &Value) -> bool {
    container.get("name").and_then(Value::text) == Some(CONTAINER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_container() {
        let text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: other\n    command: [sh]\n  - name: \
                    kube-apiserver\n    command:\n    - kube-apiserver\n    - --v=2\n    args: ['--a', b]\n";
        let command = apiserver_command(text.as_bytes()).expect("a command");
        assert_eq!(command, ["kube-apiserver", "--v=2", "--a", "b"]);
        let error = |text: &str| apiserver_command(text.as_bytes()).expect_err("no command");
        assert!(error("kind: Pod").contains("no pod"));
        assert!(error("a: [").starts_with("line "));
    }
}
