//! Which plugin something belongs to.

use super::input::Input;
use crate::commands::document::value::Value;
use crate::drop_in::Plugin;

/// Images and programs, by a part of their names.
const IMAGES: [(&str, Plugin); 6] = [
    ("vault-kubernetes-kms", Plugin::VaultKubernetesKms),
    ("vault-kms-provider", Plugin::VaultKmsProvider),
    ("vault-kube-kms", Plugin::VaultKubeKms),
    ("kleidi", Plugin::Kleidi),
    ("bao-kms-provider", Plugin::BaoKmsProvider),
    ("openbao-kubernetes-kms", Plugin::BaoKmsProvider),
];
/// Flags that one plugin alone has.
const FLAGS: [(&str, Plugin); 5] = [
    ("auth-method", Plugin::VaultKubernetesKms),
    ("vault-key-path", Plugin::VaultKubeKms),
    ("listen-address", Plugin::VaultKubeKms),
    ("configfile", Plugin::Kleidi),
    ("listen", Plugin::Kleidi),
];
/// Variables, by their beginnings; the first that fits counts.
const VARIABLES: [(&str, Plugin); 7] = [
    ("VAULT_KUBE_KMS_", Plugin::VaultKubeKms),
    ("BAO_KMS_PROVIDER_", Plugin::BaoKmsProvider),
    ("VAULT_KMS_", Plugin::VaultKubernetesKms),
    ("SOCKET_PATH", Plugin::VaultKmsProvider),
    ("HTTP_ADDRESS", Plugin::VaultKmsProvider),
    ("VAULT_ADDRESS", Plugin::VaultKmsProvider),
    ("VAULT_TRANSIT_", Plugin::VaultKmsProvider),
];

/// The plugin that the option names, or else the one that the input is of.
///
/// # Errors
/// If neither says it.
pub(super) fn plugin(from: Option<&str>, input: &Input) -> Result<Plugin, String> {
    let names: Vec<_> = Plugin::ALL.iter().map(|plugin| plugin.name()).collect();
    let names = names.join(", ");
    if let Some(from) = from {
        return Plugin::named(from)
            .ok_or_else(|| format!("--from: {from:?} is not known; use one of {names}"));
    }
    of(input).ok_or_else(|| {
        format!("which plugin it is cannot be seen: name it with --from, one of {names}")
    })
}

fn of(input: &Input) -> Option<Plugin> {
    let by_program = input.program.as_deref().and_then(of_program);
    let by_image = || input.image.as_deref().and_then(of_image);
    let by_field = || {
        let has = |name: &str| input.fields.iter().any(|(field, _)| field == name);
        if has("configVersion") {
            Some(Plugin::BaoKmsProvider)
        } else if has("transitkey") {
            Some(Plugin::Kleidi)
        } else {
            None
        }
    };
    let by_chart = || input.is_chart.then_some(Plugin::VaultKmsProvider);
    by_program
        .or_else(by_image)
        .or_else(by_field)
        .or_else(by_chart)
        .or_else(|| of_arguments(&input.arguments))
        .or_else(|| {
            let names: Vec<_> = input
                .variables
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            let is_set = |start: &str| {
                names
                    .iter()
                    .any(|name| name.starts_with(start) && !name.starts_with("VAULT_KMS_PLUGIN_"))
            };
            VARIABLES
                .iter()
                .find(|(start, _)| is_set(start))
                .map(|(_, plugin)| *plugin)
        })
}

/// By the file name, which may be longer than the name of the plugin: `kleidi-kms-plugin`.
fn of_program(program: &str) -> Option<Plugin> {
    of_image(program.rsplit('/').next().unwrap_or_default())
}

fn of_image(image: &str) -> Option<Plugin> {
    IMAGES
        .iter()
        .find(|(part, _)| image.contains(part))
        .map(|(_, plugin)| *plugin)
}

fn of_arguments(arguments: &[String]) -> Option<Plugin> {
    let flag = |argument: &String| {
        let name = argument.strip_prefix("--").or(argument.strip_prefix('-'))?;
        let name = name.split('=').next()?;
        FLAGS
            .iter()
            .find(|(flag, _)| *flag == name)
            .map(|(_, plugin)| *plugin)
    };
    arguments.iter().find_map(flag)
}

/// The plugin of a container in a manifest.
pub(super) fn of_container(container: &Value) -> Option<Plugin> {
    let text = |name: &str| container.get(name).and_then(Value::text);
    let words = |name: &str| container.get(name).map(Value::items).unwrap_or_default();
    let program = words("command")
        .first()
        .and_then(Value::text)
        .and_then(of_program);
    let name = || text("name").and_then(of_image);
    program
        .or_else(|| text("image").and_then(of_image))
        .or_else(name)
}

/// The working directory of a container, if the manifest sets none: that of the image.
pub(super) fn working_directory(image: Option<&str>) -> &'static str {
    match image.and_then(of_image) {
        Some(Plugin::VaultKmsProvider) => "/user/local/bin",
        _ => "/",
    }
}
