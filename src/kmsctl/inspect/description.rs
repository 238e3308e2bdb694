//! What a stored value says of itself, for people and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::etcd::object_name::ObjectName;
use crate::etcd::stored::{KmsV1, KmsV2, Local, LocalKind, SeedType, Stored, transit_version};
use crate::keys::{KeyId, KeyIdParts};
use crate::kmsctl::words::time;
use crate::system::one_line;

/// What is known of one value.
#[derive(Debug, Serialize)]
pub(super) struct Description {
    /// The key of etcd, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The object, where the key is below `/registry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    /// In what form the value was given.
    given_as: &'static str,
    /// The size of the value in bytes.
    bytes: usize,
    #[serde(flatten)]
    form: Form,
}

#[derive(Debug, Serialize)]
#[serde(tag = "form", rename_all = "snake_case")]
enum Form {
    NotEncrypted {
        encoding: String,
    },
    LocalKey {
        provider: &'static str,
        key_name: String,
        nonce_bytes: usize,
        ciphertext_bytes: usize,
    },
    Kms(Box<Kms>),
    Damaged {
        cause: String,
    },
}

#[derive(Debug, Serialize)]
struct Kms {
    kms_version: &'static str,
    provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<KeyIdDescription>,
    seed_type: &'static str,
    wrapped_bytes: usize,
    transit_version: Option<u32>,
    annotations: BTreeMap<String, usize>,
    data: Data,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct KeyIdDescription {
    text: String,
    hash: String,
    parts: Option<KeyIdParts>,
}

/// The sizes of the parts of the encrypted data, in bytes.
#[derive(Debug, Serialize)]
struct Data {
    info: usize,
    nonce: usize,
    ciphertext: usize,
    tag: usize,
}

impl Description {
    /// Describes a value.
    pub(super) fn new(key: Option<&str>, value: &[u8], given_as: &'static str) -> Self {
        let object = key.and_then(|key| ObjectName::parse(key.as_bytes(), "/registry"));
        let form = match Stored::parse(value) {
            Ok(Stored::Plain(encoding)) => Form::NotEncrypted {
                encoding: encoding.to_string(),
            },
            Ok(Stored::Local(local)) => of_local(&local),
            Ok(Stored::KmsV1(kms)) => of_kms_v1(&kms),
            Ok(Stored::KmsV2(kms)) => of_kms_v2(&kms),
            Err(damaged) => Form::Damaged {
                cause: damaged.to_string(),
            },
        };
        Self {
            key: key.map(one_line),
            object: object.map(|name| one_line(&name.to_string())),
            given_as,
            bytes: value.len(),
            form,
        }
    }

    /// Whether nothing is wrong with the value itself.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self.form, Form::Damaged { .. })
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// What writing gives.
    pub(super) fn write(&self, mut out: impl Write) -> io::Result<()> {
        if let Some(key) = &self.key {
            writeln!(out, "{key}")?;
        }
        let mut line = |name: &str, text: &str| writeln!(out, "  {name:<12}{text}");
        match &self.form {
            Form::NotEncrypted { encoding } => {
                line("form", &format!("NOT ENCRYPTED ({encoding})"))?
            }
            Form::Damaged { cause } => line("form", &format!("unreadable: {cause}"))?,
            Form::LocalKey {
                provider,
                key_name,
                nonce_bytes,
                ciphertext_bytes,
            } => {
                line(
                    "form",
                    &format!(
                        "encrypted by {provider}, whose key is in the EncryptionConfiguration"
                    ),
                )?;
                line("key", key_name)?;
                line(
                    "data",
                    &format!("nonce {nonce_bytes}, ciphertext {ciphertext_bytes} bytes"),
                )?;
            }
            Form::Kms(kms) => kms.write(&mut line)?,
        }
        line(
            "size",
            &format!("{} bytes, given as {}", self.bytes, self.given_as),
        )
    }
}

impl Kms {
    fn write(&self, line: &mut impl FnMut(&str, &str) -> io::Result<()>) -> io::Result<()> {
        line("form", &format!("encrypted by KMS {}", self.kms_version))?;
        line("provider", &self.provider)?;
        if let Some(key_id) = &self.key_id {
            line("key_id", &key_id.text)?;
            line("", &key_id.hash)?;
            match &key_id.parts {
                None => line("", "not of vault-kms-plugin: another plugin wrote it")?,
                Some(parts) => {
                    let namespace = match parts.namespace.as_str() {
                        "" => "(root)",
                        namespace => namespace,
                    };
                    let (mount, key, version) = (&parts.mount, &parts.key, parts.version);
                    line(
                        "",
                        &format!(
                            "namespace {namespace}, mount {mount}, key {key}, version {version}"
                        ),
                    )?;
                    line("", &format!("version created {}", time(parts.created)))?;
                    if let Some(suffix) = &parts.suffix {
                        line("", &format!("suffix {suffix}"))?;
                    }
                }
            }
        }
        let by = match self.transit_version {
            Some(version) => format!("Transit version {version}"),
            None => "not a ciphertext of Transit".to_owned(),
        };
        line(
            "seed",
            &format!(
                "{}, wrapped in {} bytes, {by}",
                self.seed_type, self.wrapped_bytes
            ),
        )?;
        for (name, bytes) in &self.annotations {
            line("annotation", &format!("{name}, {bytes} bytes"))?;
        }
        let Data {
            info,
            nonce,
            ciphertext,
            tag,
        } = self.data;
        line(
            "data",
            &format!("info {info}, nonce {nonce}, ciphertext {ciphertext}, tag {tag} bytes"),
        )?;
        self.warnings
            .iter()
            .try_for_each(|warning| line("WARNING", warning))
    }
}

fn of_local(local: &Local<'_>) -> Form {
    let nonce_bytes = match local.kind {
        LocalKind::AesCbc => 16,
        LocalKind::AesGcm => 12,
        LocalKind::Secretbox => 24,
    };
    Form::LocalKey {
        provider: local.kind.as_str(),
        key_name: one_line(local.key_name),
        nonce_bytes,
        ciphertext_bytes: local.data.len() - nonce_bytes,
    }
}

fn of_kms_v1(kms: &KmsV1<'_>) -> Form {
    Form::Kms(Box::new(Kms {
        kms_version: "v1",
        provider: one_line(kms.provider),
        key_id: None,
        seed_type: "a key of this object alone",
        wrapped_bytes: kms.wrapped.len(),
        transit_version: transit_version(kms.wrapped),
        annotations: BTreeMap::new(),
        data: sealed(0, kms.data.len()),
        warnings: Vec::new(),
    }))
}

fn of_kms_v2(kms: &KmsV2<'_>) -> Form {
    let object = &kms.object;
    let parts = KeyIdParts::parse(&object.key_id);
    let transit_version = transit_version(&object.wrapped);
    let mut warnings = Vec::new();
    if let (Some(parts), Some(version)) = (&parts, transit_version)
        && parts.version != version
    {
        warnings.push(format!(
            "the key_id names version {} and the seed was wrapped with version {version}: report this as a fault",
            parts.version
        ));
    }
    let info = match object.seed_type() {
        SeedType::Key => 0,
        SeedType::Seed => 32,
    };
    let annotations = object.annotations.iter();
    Form::Kms(Box::new(Kms {
        kms_version: "v2",
        provider: one_line(kms.provider),
        key_id: Some(KeyIdDescription {
            text: one_line(&object.key_id),
            hash: KeyId::from(object.key_id.clone()).hash(),
            parts,
        }),
        seed_type: object.seed_type().as_str(),
        wrapped_bytes: object.wrapped.len(),
        transit_version,
        annotations: annotations
            .map(|(name, value)| (one_line(name), value.len()))
            .collect(),
        data: sealed(info, object.encrypted_data.len()),
        warnings,
    }))
}

/// The parts of what AES-GCM sealed.
fn sealed(info: usize, bytes: usize) -> Data {
    let (nonce, tag) = (12, 16);
    Data {
        info,
        nonce,
        ciphertext: bytes.saturating_sub(info + nonce + tag),
        tag,
    }
}
