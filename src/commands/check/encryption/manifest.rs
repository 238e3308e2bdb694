//! The manifest of a static pod: with which arguments kubelet starts kube-apiserver.

use super::value::Value;
use super::yaml;

const CONTAINER: &str = "kube-apiserver";

/// The command line of the container kube-apiserver in the manifest of a pod.
///
/// # Errors
/// If the text is not YAML, or is no pod with such a container: what is wrong with it.
pub(crate) fn apiserver_command(text: &[u8]) -> Result<Vec<String>, String> {
    let document = yaml::read(text);
    let document = document.map_err(|error| format!("line {}: {}", error.line, error.problem))?;
    let container = field(&document.value, "spec")
        .and_then(|spec| field(spec, "containers"))
        .and_then(|containers| items(containers).iter().find(|one| is_apiserver(one)))
        .ok_or_else(|| format!("it is no pod with a container {CONTAINER}"))?;
    let texts = |name| {
        let list = field(container, name).map(items).unwrap_or_default();
        list.iter().filter_map(text_of).map(str::to_owned)
    };
    Ok(texts("command").chain(texts("args")).collect())
}

fn is_apiserver(container: &Value) -> bool {
    field(container, "name").and_then(text_of) == Some(CONTAINER)
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Map(entries) = value else {
        return None;
    };
    let mut found = entries.iter().rev();
    found.find(|(key, _)| key == name).map(|(_, value)| value)
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::List(items) => items,
        _ => &[],
    }
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
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
