//! The providers that lead to this plugin, and their settings.

use std::time::Duration;

use super::endpoint::{dialled, endpoint_of, is_same};
use super::file::{File, Kms};
use super::finding::Finding;
use crate::grpc::SocketPath;
use crate::system::root_dir::RootDir;

/// A shorter timeout fails calls that a busy Vault would answer.
const SHORT: Duration = Duration::from_secs(1);

/// All KMS providers of the file.
pub(super) fn providers(file: &File) -> impl Iterator<Item = &Kms> {
    let all = file.entries.iter().flat_map(|entry| &entry.providers);
    all.filter_map(|provider| provider.kms.as_ref())
}

/// Those that lead to the socket, from a kube-apiserver with this root directory or on this host.
pub(super) fn ours<'a>(
    file: &'a File,
    root: Option<&RootDir>,
    socket: &SocketPath,
) -> Vec<&'a Kms> {
    let is_ours =
        |kms: &&Kms| dialled(&kms.endpoint).is_ok_and(|path| is_same(&path, root, socket));
    providers(file).filter(is_ours).collect()
}

/// Why none of them leads to the socket.
pub(super) fn others(file: &File, socket: &SocketPath) -> Vec<Finding> {
    let wanted = endpoint_of(socket);
    let describe = |kms: &Kms| {
        let Kms { name, endpoint, .. } = kms;
        let leads = match dialled(endpoint) {
            Ok(path) if endpoint_of(&path) == *endpoint => "is not this plugin's socket".to_owned(),
            Ok(path) => format!("leads to {path}, which is not this plugin's socket"),
            Err(problem) => format!("is invalid: {problem}"),
        };
        let text = format!("the endpoint {endpoint} of provider {name:?} {leads}");
        let remedy = if dialled(endpoint).is_ok_and(|path| path == *socket) {
            "kube-apiserver sees another file at this path, or none: mount the directory of the socket, and not the \
             socket, into its pod, and start that again"
                .to_owned()
        } else {
            format!(
                "if it is for this plugin, set `endpoint: {wanted}` there, or correct socket.path; if it is for another \
                 one, keep it and add one of another name"
            )
        };
        Finding::error(text, remedy)
    };
    let found: Vec<_> = providers(file).map(describe).collect();
    if found.is_empty() {
        let remedy = format!(
            "add one with `endpoint: {wanted}`: with several nodes first behind the others on each of them, then \
             before all others"
        );
        return vec![Finding::error("it has no kms provider", remedy)];
    }
    found
}

/// What an operator should know about the settings of a provider.
pub(super) fn settings(kms: &Kms) -> Option<Finding> {
    let name = &kms.name;
    let timeout = kms.timeout.as_ref()?;
    (timeout.time < SHORT).then(|| {
        Finding::warning(format!(
            "the timeout of provider {name:?} is {} ms, in which a busy Vault does not answer: 3s is the default",
            timeout.time.as_millis()
        ))
    })
}
