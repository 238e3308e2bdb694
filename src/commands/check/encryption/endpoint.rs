//! The endpoint of a KMS provider: the socket that kube-apiserver connects to, and whether it is
//! the plugin's.

mod url;

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::grpc::SocketPath;
use crate::system::root_dir::RootDir;

/// What kube-apiserver connects to: the path of the URL alone, whatever precedes it.
///
/// # Errors
/// Why no plugin can be there. kube-apiserver itself refuses some of these.
pub(super) fn dialled(endpoint: &str) -> Result<SocketPath, String> {
    let path = url::path(endpoint)?;
    match path.strip_prefix("/@") {
        Some(name) => Ok(SocketPath::Abstract(name.to_owned())),
        None if path.starts_with('/') => Ok(SocketPath::File(path.into())),
        None => Err("it has no path: unix:/// needs three slashes".to_owned()),
    }
}

/// Why kube-apiserver refuses the endpoint.
pub(super) fn refusal(endpoint: &str) -> Option<String> {
    let path = match url::path(endpoint) {
        Ok(path) => path,
        Err(problem) => return Some(problem),
    };
    // gRPC takes the path for a URL once more.
    url::has_invalid_escape(&path)
        .then(|| "its path has a % that is no escape once it is decoded".to_owned())
}

/// The endpoint of a socket.
pub(super) fn endpoint_of(socket: &SocketPath) -> String {
    let path = match socket {
        SocketPath::File(path) => path.display().to_string(),
        SocketPath::Abstract(name) => format!("/@{name}"),
    };
    let mut endpoint = "unix://".to_owned();
    for c in path.chars() {
        // Writing to a string never fails.
        let _ = match c {
            '%' | '?' | '#' => write!(endpoint, "%{:02X}", u32::from(c)),
            c => write!(endpoint, "{c}"),
        };
    }
    endpoint
}

/// Whether both are the same socket, `one` below `root` or on this host, `other` on this host: links are
/// followed, and `/var/run` is `/run` where it is missing, as in a container.
pub(super) fn is_same(one: &SocketPath, root: Option<&RootDir>, other: &SocketPath) -> bool {
    match (one, other) {
        (SocketPath::File(one), SocketPath::File(other)) => {
            let found = match root {
                Some(root) => root.inode(one).ok(),
                None => inode(one),
            };
            // A socket that is not there yet has only its path.
            match (found, inode(other)) {
                (Some(one), Some(other)) => one == other,
                (None, Some(_)) if root.is_some() => false,
                _ => resolved(one) == resolved(other),
            }
        }
        (one, other) => one == other,
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    let file = path.metadata().ok()?;
    Some((file.dev(), file.ino()))
}

/// The path without links, as far as it exists; `..` goes up after that.
fn resolved(path: &Path) -> PathBuf {
    let existing = path
        .ancestors()
        .find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, mut resolved)) = existing else {
        return path.to_owned();
    };
    let rest = path.strip_prefix(above).unwrap_or(path);
    for part in rest.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => resolved.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    match resolved.strip_prefix("/var/run") {
        Ok(rest) if !Path::new("/var/run").exists() => Path::new("/run").join(rest),
        _ => resolved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_parsed_as_kube_apiserver_parses_it() {
        let file = |path: &str| Ok(SocketPath::File(path.into()));
        assert_eq!(dialled("unix:///run/k.sock"), file("/run/k.sock"));
        assert_eq!(dialled("unix:/run/k.sock"), file("/run/k.sock"));
        assert_eq!(dialled("unix://run/k.sock"), file("/k.sock"));
        assert_eq!(dialled("UNIX:///run/k%2Ds.sock?x#y"), file("/run/k-s.sock"));
        let name = SocketPath::Abstract("kms/a".to_owned());
        assert_eq!(dialled("unix:///@kms/a"), Ok(name));
        for wrong in [
            "unix://@kms",
            "unix:@kms",
            "/run/k.sock",
            "http://a/b",
            "unix://",
        ] {
            assert!(dialled(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_endpoint_of_a_socket_leads_to_it() {
        for path in ["/run/kms.sock", "/run/100%/a?b#c d"] {
            let socket = SocketPath::File(path.into());
            assert_eq!(dialled(&endpoint_of(&socket)), Ok(socket));
        }
    }

    #[test]
    fn sockets_are_compared_as_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().join("real");
        std::fs::create_dir(&real).expect("a directory");
        std::os::unix::fs::symlink(&real, dir.path().join("link")).expect("a link");
        let socket = |path: &str| SocketPath::File(dir.path().join(path));
        assert!(is_same(
            &socket("real/k.sock"),
            None,
            &socket("link/k.sock")
        ));
        assert!(is_same(
            &socket("real/x/../k.sock"),
            None,
            &socket("link/k.sock")
        ));
        assert!(!is_same(&socket("real/k.sock"), None, &socket("k.sock")));
        let at = |path: &str| SocketPath::File(path.into());
        assert!(is_same(
            &at("/var/run/none/k.sock"),
            None,
            &at("/run/none/k.sock")
        ));
    }
}
