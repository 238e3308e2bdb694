//! What etcd holds, and what kube-apiserver can read of it.

use super::node::Node;
use super::site::docs;

impl Node {
    /// A Secret whose value is its name.
    pub(super) async fn create_secret(&self, name: &str) {
        self.sh(&format!(
            "kubectl create secret generic {name} --from-literal=value={name}"
        ))
        .await;
    }

    /// Panics unless kube-apiserver of this node returns what the Secret was made with.
    pub(super) async fn expect_secret(&self, name: &str) {
        let said = self
            .sh(&format!(
                "kubectl --server https://{}:6443 get secret {name} -o 'jsonpath={{.data.value}}' | base64 -d",
                self.address
            ))
            .await;
        assert_eq!(said, name, "{}", self.name);
    }

    /// docs/operations/re-encryption.md; then every Secret in etcd is under this version of the key.
    pub(super) async fn write_all_again(&self, version: u32) {
        let blocks = docs("operations/re-encryption.md").blocks("Write all objects again", "sh");
        let said = self.sh(&blocks.concat()).await;
        assert!(said.contains(": done"), "{said}");
        self.expect_all_under(version).await;
    }

    /// What etcd holds below this key, one line each, without what cannot be printed.
    pub(super) async fn stored(&self, prefix: &str) -> Vec<String> {
        let certificates = "--cacert /etc/kubernetes/pki/etcd/ca.crt \
             --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key";
        let said = self
            .sh(&format!(
                r#"from=$(printf '%s' '{prefix}' | base64 -w0)
to=$(printf '%s' '{prefix}' | sed 's,/$,0,' | base64 -w0)
curl -sS --fail {certificates} https://127.0.0.1:2379/v3/kv/range -d '{{"key":"'"$from"'","range_end":"'"$to"'"}}' |
  jq -r '.kvs[]?.value' | while read -r value; do
    printf '%s' "$value" | base64 -d | tr -cd '[:print:]'
    echo
  done"#
            ))
            .await;
        said.lines().map(str::to_owned).collect()
    }

    /// Panics unless every Secret in etcd is encrypted, by this version of the key.
    pub(super) async fn expect_all_under(&self, version: u32) {
        let stored = self.stored("/registry/secrets/").await;
        assert!(!stored.is_empty());
        let key = format!(":v{version}:");
        for value in stored {
            let is_right = value.starts_with("k8s:enc:kms:v2:")
                && value.contains("transit1:")
                && value.contains(&key);
            assert!(is_right, "not under version {version}: {value}");
        }
    }
}
