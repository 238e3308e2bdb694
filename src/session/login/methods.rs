//! One function per auth method; each returns a [`Grant`].

use serde_json::{Value, json};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::error::LoginError;
use super::settings::{AppRole, Cert, Jwt, JwtSource, Userpass};
use crate::diagnosis::Diagnosis;
use crate::session::credentials::Credential;
use crate::vault::{ApiErrorKind, Client, Grant, Lease, Namespace, Token};

/// One login attempt.
pub(super) struct Attempt<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a Namespace,
    pub(super) deadline: Instant,
}

impl Attempt<'_> {
    pub(super) async fn by_token(&self, credential: &Credential) -> Result<Grant, LoginError> {
        let text = read(credential).await?;
        let origin = credential.origin();
        let token = Token::try_new(&text).map_err(|error| {
            LoginError::credential(Diagnosis::new(format!("{origin}: the token {error}")))
        })?;
        let lease = self
            .client
            .lookup_self(self.namespace, &token, self.deadline)
            .await;
        match lease {
            Ok(lease) => Ok(Grant {
                token,
                lease,
                warnings: Vec::new(),
            }),
            // Valid, but without the default policy, so its lease cannot be read.
            Err(error) if error.api_error() == Some(ApiErrorKind::PolicyDenied) => Ok(Grant {
                token,
                lease: Lease {
                    ttl: None,
                    renewable: false,
                    num_uses: 0,
                },
                warnings: Vec::new(),
            }),
            Err(error) => {
                let advice = format!("put a valid token into {origin}");
                Err(LoginError::failed("token", &error, &advice))
            }
        }
    }

    /// A service account's token, which Vault has kube-apiserver review.
    pub(super) async fn by_kubernetes(&self, jwt: &Jwt) -> Result<Grant, LoginError> {
        let advice = format!(
            "check that auth.mount is {:?}, that role {:?} binds this service account, \
             that {} is fresh, and that Vault reaches kube-apiserver",
            jwt.mount.as_str(),
            jwt.role.as_deref().unwrap_or_default(),
            jwt.source.origin()
        );
        self.with_jwt("kubernetes", jwt, &advice).await
    }

    /// Any JWT, which Vault checks with the issuer's public keys.
    pub(super) async fn by_jwt(&self, jwt: &Jwt) -> Result<Grant, LoginError> {
        let role = match &jwt.role {
            Some(role) => format!("role {role:?}"),
            None => "the mount's default_role".to_owned(),
        };
        let advice = format!(
            "check that auth.mount is {:?}, that {role} binds the subject and audience of the JWT, \
             and that {} is fresh",
            jwt.mount.as_str(),
            jwt.source.origin()
        );
        self.with_jwt("jwt", jwt, &advice).await
    }

    async fn with_jwt(
        &self,
        method: &'static str,
        jwt: &Jwt,
        advice: &str,
    ) -> Result<Grant, LoginError> {
        let token = match &jwt.source {
            JwtSource::File(file) => read(file).await?,
            JwtSource::Spiffe(workload) => workload.fetch(self.deadline).await?,
        };
        let mut body = json!({ "jwt": token.as_str() });
        if let Some(role) = &jwt.role {
            body["role"] = json!(role);
        }
        let path = format!("auth/{}/login", jwt.mount.as_str());
        self.post(method, &path, &body, advice).await
    }

    /// A role_id, with a secret_id unless the role has `bind_secret_id=false`.
    pub(super) async fn by_approle(
        &self,
        approle: &AppRole,
        secret_id: Option<&Credential>,
    ) -> Result<Grant, LoginError> {
        let mut origins = approle.role_id.origin();
        let mut secret = None;
        if let Some(secret_id) = secret_id {
            origins = format!("{origins} and {}", secret_id.origin());
            secret = Some(read(secret_id).await?);
        }
        let advice = format!(
            "check auth.mount {:?}, and put a role_id and secret_id that Vault knows into {origins} \
             (a secret_id ends with its TTL and its uses)",
            approle.mount.as_str()
        );
        let secret = secret.as_ref().map(|secret| secret.as_str());
        self.with_secret_id(approle, secret, &advice).await
    }

    pub(super) async fn with_secret_id(
        &self,
        approle: &AppRole,
        secret_id: Option<&str>,
        advice: &str,
    ) -> Result<Grant, LoginError> {
        let mut body = json!({ "role_id": read(&approle.role_id).await?.as_str() });
        if let Some(secret_id) = secret_id {
            body["secret_id"] = json!(secret_id);
        }
        let path = format!("auth/{}/login", approle.mount.as_str());
        self.post("approle", &path, &body, advice).await
    }

    pub(super) async fn by_userpass(&self, userpass: &Userpass) -> Result<Grant, LoginError> {
        let body = json!({ "password": read(&userpass.password).await?.as_str() });
        let mount = userpass.mount.as_str();
        let user = userpass.username.as_str();
        let advice = format!(
            "check auth.mount {mount:?} and auth.username {user:?}, and put the password into {}",
            userpass.password.origin()
        );
        let path = format!("auth/{mount}/login/{user}");
        self.post("userpass", &path, &body, &advice).await
    }

    /// The connection has presented the certificate already; a role restricts which of Vault's
    /// certificates it is compared with.
    pub(super) async fn by_cert(&self, cert: &Cert) -> Result<Grant, LoginError> {
        let mut body = json!({});
        if let Some(role) = &cert.role {
            body["name"] = json!(role);
        }
        let mount = cert.mount.as_str();
        let file = cert.certificate.origin();
        let role = match &cert.role {
            Some(role) => format!("role {role:?} of Vault"),
            None => "a role of Vault".to_owned(),
        };
        let advice = format!(
            "check that auth.mount is {mount:?}, that {role} holds the CA of {file} and allows \
             its names, and that the certificate is still valid"
        );
        let path = format!("auth/{mount}/login");
        self.post("cert", &path, &body, &advice).await
    }

    async fn post(
        &self,
        method: &'static str,
        path: &str,
        body: &Value,
        advice: &str,
    ) -> Result<Grant, LoginError> {
        self.client
            .login(self.namespace, path, body, self.deadline)
            .await
            .map_err(|error| LoginError::failed(method, &error, advice))
    }
}

impl JwtSource {
    fn origin(&self) -> String {
        match self {
            Self::File(file) => file.origin(),
            Self::Spiffe(workload) => {
                format!(
                    "the JWT-SVID for auth.spiffe_audience {:?}",
                    workload.audience
                )
            }
        }
    }
}

async fn read(credential: &Credential) -> Result<Zeroizing<String>, LoginError> {
    credential.read().await.map_err(LoginError::credential)
}
