//! What nodes that run this plugin in the place of another one serve, write and read for those that
//! still run that one.

mod annotation;
pub(super) mod bound;
mod endpoints;
mod metrics;

use std::collections::HashMap;

use super::harness::http;
use super::harness::kms::KmsClient;
use vault_kms_plugin::grpc::proto::v2::{DecryptRequest, EncryptRequest, EncryptResponse};

/// Annotations of a value.
pub(crate) type Annotations = HashMap<String, Vec<u8>>;

/// `Encrypt` of KMS v2 with all that is returned.
async fn encrypted(client: &KmsClient, seed: &[u8]) -> EncryptResponse {
    let request = EncryptRequest {
        plaintext: seed.to_vec(),
        uid: "surfaces".to_owned(),
    };
    client.v2().encrypt(request).await.unwrap().into_inner()
}

/// `Decrypt` of KMS v2 with annotations.
async fn decrypted(
    client: &KmsClient,
    ciphertext: &str,
    key_id: &str,
    annotations: &Annotations,
) -> Result<Vec<u8>, tonic::Status> {
    let request = DecryptRequest {
        ciphertext: ciphertext.as_bytes().to_vec(),
        uid: "surfaces".to_owned(),
        key_id: key_id.to_owned(),
        annotations: annotations.clone(),
    };
    let answer = client.v2().decrypt(request).await?;
    Ok(answer.into_inner().plaintext)
}

/// Status and text of a GET; `None` while nobody listens there.
pub(super) async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let url = format!("http://{address}{path}");
    let request = http::Request {
        method: "GET",
        url: &url,
        credential: None,
        ca_pem: None,
    };
    http::text(request, None).await.ok()
}

tests! {
    [annotation, bound, endpoints, metrics]
}
