//! The manifest of a pod, or of what makes pods: command, arguments, environment and mounts of the plugin's
//! container. The data of a ConfigMap is environment.

use super::super::detect;
use super::super::mounts::{Mount, Volume};
use super::{Input, command_line, scalar};
use crate::commands::document::value::Value;

/// Adds what a manifest of this kind says.
pub(super) fn add(
    kind: &str,
    document: &Value,
    from: Option<&str>,
    input: &mut Input,
) -> Result<(), String> {
    let spec = document.get("spec");
    let pod = match kind {
        "ConfigMap" => return data(document.get("data"), input),
        "Secret" => return data(document.get("stringData"), input),
        "Pod" => spec,
        "DaemonSet" | "Deployment" | "StatefulSet" => {
            let template = spec.and_then(|it| it.get("template"));
            template.and_then(|it| it.get("spec"))
        }
        other => return Err(format!("a {other} is not understood; a Pod is")),
    };
    let pod = pod.ok_or("it has no spec")?;
    input.is_pod = true;
    let container = container(pod, from)?;
    input.image = container
        .get("image")
        .and_then(Value::text)
        .map(str::to_owned);
    environment(container, input);
    let variables = input.variables.clone();
    let words = |name| {
        let list = container.get(name).map(Value::items).unwrap_or_default();
        let texts = list.iter().filter_map(scalar);
        texts
            .map(|text| expanded(&text, &variables))
            .collect::<Vec<_>>()
    };
    command_line::add([words("command"), words("args")].concat(), input);
    if let Some(dir) = container.get("workingDir").and_then(Value::text) {
        input.working_directory = Some(dir.into());
    } else {
        input.working_directory = Some(detect::working_directory(input.image.as_deref()).into());
    }
    let mounts = mounts(pod, container);
    input.mounts.get_or_insert_default().extend(mounts);
    Ok(())
}

/// Only a map of texts.
fn data(entries: Option<&Value>, input: &mut Input) -> Result<(), String> {
    let entries = entries.ok_or("it has no data in clear; a Secret has stringData")?;
    for (name, value) in entries.entries() {
        input
            .variables
            .extend(scalar(value).map(|text| (name.clone(), text)));
    }
    Ok(())
}

/// The container of the plugin, which may be a sidecar that is an init container.
fn container<'a>(pod: &'a Value, from: Option<&str>) -> Result<&'a Value, String> {
    let all = |name| pod.get(name).map(Value::items).unwrap_or_default();
    let mut found: Vec<_> = all("containers")
        .iter()
        .chain(all("initContainers"))
        .collect();
    if let [one] = found.as_slice() {
        return Ok(one);
    }
    found.retain(|container| {
        let plugin = detect::of_container(container);
        plugin.is_some_and(|plugin| from.is_none_or(|from| from == plugin.name()))
    });
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err("none of its containers is a plugin that is known".to_owned()),
        _ => Err("several of its containers are plugins: name one with --from, or convert each by itself".to_owned()),
    }
}

fn environment(container: &Value, input: &mut Input) {
    for variable in container.get("env").map(Value::items).unwrap_or_default() {
        let name = variable
            .get("name")
            .and_then(Value::text)
            .unwrap_or_default();
        match (variable.get("value").and_then(scalar), variable.get("valueFrom")) {
            (_, Some(_)) => input.error(
                name,
                "its value is not in the manifest (valueFrom): give it as NAME=VALUE in a file with --input, and take \
                 this entry out",
            ),
            (Some(value), None) => input.variables.push((name.to_owned(), value)),
            (None, None) => {}
        }
    }
    for source in container
        .get("envFrom")
        .map(Value::items)
        .unwrap_or_default()
    {
        let reference = source.get("configMapRef").or(source.get("secretRef"));
        let name = reference
            .and_then(|it| it.get("name"))
            .and_then(Value::text);
        let given = !input.variables.is_empty();
        // The ConfigMap may be among the files before this one.
        if !given {
            input.error(
                name.unwrap_or("envFrom"),
                "the variables are not in the manifest (envFrom): name the file of that ConfigMap, or a file with \
                 NAME=VALUE lines, with --input before the manifest",
            );
        }
    }
}

/// `$(NAME)` is the value of a variable, as kubelet replaces it; `$$` is a dollar sign.
fn expanded(text: &str, variables: &[(String, String)]) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            whole.push('$');
            rest = after;
            continue;
        }
        let named = after.strip_prefix('(').and_then(|it| it.split_once(')'));
        let value = named.and_then(|(name, after)| {
            let found = variables.iter().rev().find(|(it, _)| it == name)?;
            Some((found.1.as_str(), after))
        });
        match value {
            Some((value, after)) => {
                whole.push_str(value);
                rest = after;
            }
            None => {
                whole.push('$');
                rest = after;
            }
        }
    }
    whole.push_str(rest);
    whole
}

fn mounts(pod: &Value, container: &Value) -> Vec<Mount> {
    let volumes = pod.get("volumes").map(Value::items).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::text).map(str::to_owned);
    let mounts = container
        .get("volumeMounts")
        .map(Value::items)
        .unwrap_or_default();
    let mounts = mounts.iter().filter_map(|mount| {
        let name = text(mount, "name")?;
        let volume = volumes
            .iter()
            .find(|it| text(it, "name").as_deref() == Some(&name));
        let host_path = volume
            .and_then(|it| it.get("hostPath"))
            .and_then(|it| text(it, "path"));
        let kind = volume.and_then(|it| {
            let mut kinds = it.entries().iter().map(|(kind, _)| kind.as_str());
            kinds.find(|kind| *kind != "name").map(str::to_owned)
        });
        let below = text(mount, "subPath").map_or_else(String::new, |it| format!("/{it}"));
        Some(Mount {
            path: text(mount, "mountPath")?.into(),
            volume: match host_path {
                Some(path) => Volume::Host(format!("{}{below}", path.trim_end_matches('/')).into()),
                None => Volume::Other(kind.unwrap_or_else(|| "unknown".to_owned())),
            },
        })
    });
    mounts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_arguments_are_replaced_as_kubelet_does() {
        let variables = [("A".to_owned(), "1".to_owned())];
        let replaced = |text: &str| expanded(text, &variables);
        assert_eq!(replaced("-x=$(A)$(B)$$(A)$A"), "-x=1$(B)$(A)$A");
    }
}
