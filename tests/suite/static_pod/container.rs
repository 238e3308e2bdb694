//! A container as kubelet would start it: user, capabilities, mounts and a read-only root, as in the
//! manifest; without cgroups and seccomp.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::{self, CapabilitySet};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::harness::child::{Child, clean_environment};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/suite/static_pod/container.sh"
);
/// What puts the image's root together.
const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/image/root.sh");
/// Passes the container's settings to the process that becomes it.
const SPECIFICATION: &str = "STATIC_POD_CONTAINER";
/// The test below, by its name.
const ENTRY: &str = "static_pod::container::what_a_container_starts_from";

/// A node with one static pod: its own root for host paths, and the pod's image.
pub(super) struct Node {
    dir: TempDir,
    pod: Value,
}

impl Node {
    /// A node without anything, and the image with this program.
    pub(super) fn new(pod: Value, program: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        let made = Command::new("sh")
            .args([Path::new(IMAGE), &image, program])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        Self { dir, pod }
    }

    /// A path of the node, out here.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        let inside = path.trim_start_matches('/');
        self.dir.path().join("node").join(inside)
    }

    /// The pod's containers of this kind.
    fn containers(&self, kind: &str) -> &[Value] {
        self.pod["spec"][kind].as_array().map_or(&[], Vec::as_slice)
    }

    /// The only container.
    pub(super) fn main(&self) -> &Value {
        assert_eq!(self.containers("containers").len(), 1);
        &self.containers("containers")[0]
    }

    /// Makes what the volumes ask for, as kubelet does before each start.
    pub(super) fn mount_volumes(&self) {
        for volume in self.pod["spec"]["volumes"].as_array().unwrap() {
            let host = &volume["hostPath"];
            let path = self.path(text(&host["path"]));
            match text(&host["type"]) {
                "DirectoryOrCreate" if !path.exists() => {
                    fs::create_dir_all(&path).unwrap();
                    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
                }
                kind => {
                    assert!(kind.starts_with("Directory") && path.is_dir(), "{volume}");
                }
            }
        }
    }

    /// Starts a container of the pod.
    pub(super) fn start(&self, container: &Value) -> Child {
        let of = |key: &str| {
            let own = &container["securityContext"][key];
            let pods = &self.pod["spec"]["securityContext"][key];
            if own.is_null() { pods } else { own }
        };
        assert_eq!(of("readOnlyRootFilesystem"), true);
        assert_eq!(of("allowPrivilegeEscalation"), false);
        let capabilities = of("capabilities");
        assert_eq!(capabilities["drop"], json!(["ALL"]));
        let image = self.dir.path().join("image");
        let specification = json!({
            "root": image,
            "uid": of("runAsUser"),
            "gid": of("runAsGroup"),
            "capabilities": capabilities["add"],
            "command": container["command"],
        });
        let mut arguments = ["--mount", "--propagation", "private", "sh", SCRIPT]
            .map(str::to_owned)
            .to_vec();
        arguments.push(image.display().to_string());
        arguments.extend(self.mounts(container));
        let this = std::env::current_exe().unwrap().display().to_string();
        arguments.extend(["--".to_owned(), this]);
        arguments.extend(["--exact", ENTRY, "--ignored", "--nocapture"].map(str::to_owned));
        let log = self.dir.path().join(text(&container["name"]));
        Child::spawn("unshare".as_ref(), &arguments, &log, |command| {
            clean_environment(command);
            command.env(SPECIFICATION, specification.to_string());
        })
    }

    /// Source, target and kind of each mount.
    fn mounts(&self, container: &Value) -> Vec<String> {
        let volumes = self.pod["spec"]["volumes"].as_array().unwrap();
        let mut all = Vec::new();
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volume = volumes.iter().find(|it| it["name"] == mount["name"]);
            let source = self.path(text(&volume.unwrap()["hostPath"]["path"]));
            let kind = if mount["readOnly"] == true {
                "ro"
            } else {
                "rw"
            };
            all.extend([
                source.display().to_string(),
                text(&mount["mountPath"]).to_owned(),
                kind.to_owned(),
            ]);
        }
        all
    }
}

pub(super) fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|it| it.try_into().ok()).unwrap()
}

/// Becomes the container that the environment names, as a runtime does: it changes into the root,
/// gives up what the container shall not have, and executes the command.
fn what_a_container_starts_from() {
    let Some(specification) = std::env::var_os(SPECIFICATION) else {
        return;
    };
    let it: Value = serde_json::from_str(specification.to_str().unwrap()).unwrap();
    rustix::process::chroot(text(&it["root"])).unwrap();
    std::env::set_current_dir("/").unwrap();
    let added = it["capabilities"].as_array().cloned().unwrap_or_default();
    let kept = added.iter().fold(CapabilitySet::empty(), |kept, name| {
        kept | CapabilitySet::from_name(text(name)).unwrap()
    });
    for capability in CapabilitySet::all().difference(kept).iter() {
        // A kernel that does not know one refuses.
        let _ = thread::remove_capability_from_bounding_set(capability);
    }
    let mut sets = thread::capabilities(None).unwrap();
    sets.inheritable = CapabilitySet::empty();
    thread::set_capabilities(None, sets).unwrap();
    thread::set_no_new_privs(true).unwrap();
    let command = it["command"].as_array().unwrap();
    let error = Command::new(text(&command[0]))
        .args(command[1..].iter().map(text))
        .env_clear()
        .env("PATH", "/usr/local/bin")
        .uid(number(&it["uid"]))
        .gid(number(&it["gid"]))
        .exec();
    panic!("{}: {error}", command[0]);
}

tests! {
    plain what_a_container_starts_from soak "no test, but what a container starts from";
}
