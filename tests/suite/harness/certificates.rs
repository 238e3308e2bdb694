//! A CA for one test, and the certificates that it has issued, as files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PKCS_ECDSA_P256_SHA256, SerialNumber, SignatureAlgorithm,
};
use tempfile::TempDir;

/// A CA with a directory; gone when dropped.
pub struct Certificates {
    dir: TempDir,
    name: String,
    keys: &'static SignatureAlgorithm,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// A new CA, whose certificate is `ca.pem`.
    pub fn new() -> Self {
        Self::with_keys(&PKCS_ECDSA_P256_SHA256)
    }

    /// The same, but `ca.pem` says that it is no CA.
    pub fn of_no_ca() -> Self {
        Self::made(&PKCS_ECDSA_P256_SHA256, IsCa::ExplicitNoCa)
    }

    /// The same with keys of this kind, its own and those of all that it issues.
    pub fn with_keys(keys: &'static SignatureAlgorithm) -> Self {
        Self::made(keys, IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn made(keys: &'static SignatureAlgorithm, is_ca: IsCa) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = is_ca;
        // Each CA has its own name, else one is mistaken for another with a bad signature.
        let name = format!("test CA {}", fastrand::u64(..));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, name.clone());
        let key = KeyPair::generate_for(keys).expect("a key can be made");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a CA can be made");
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        write(&dir.path().join("ca.pem"), &ca.pem());
        Self {
            dir,
            name,
            keys,
            ca,
        }
    }

    /// `test CA …`
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The CA's certificate.
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `<name>.pem` and `<name>.key` of a server.
    pub fn server(&self, name: &str) {
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, |_| {});
    }

    /// Writes `<name>.pem` and `<name>.key` of a client; its serial number as Vault writes it.
    pub fn client(&self, name: &str) -> String {
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth, |_| {})
    }

    /// Writes `<name>.pem`, `<name>.key` and both in `<name>.both`.
    pub fn issue(
        &self,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> String {
        let mut params = named(name);
        params.extended_key_usages = vec![purpose];
        let serial = fastrand::u32(1..);
        params.serial_number = Some(SerialNumber::from(u64::from(serial)));
        adjust(&mut params);
        let key = KeyPair::generate_for(self.keys).expect("a key can be made");
        let certificate = params.signed_by(&key, &self.ca).expect("it can be signed");
        self.write_pair(name, &certificate.pem(), &key.serialize_pem());
        serial.to_string()
    }

    /// Writes the same files for a certificate that no CA has issued.
    pub fn self_signed(&self, name: &str, adjust: impl FnOnce(&mut CertificateParams)) {
        let mut params = named(name);
        adjust(&mut params);
        let key = KeyPair::generate_for(self.keys).expect("a key can be made");
        let certificate = params.self_signed(&key).expect("it can be signed");
        self.write_pair(name, &certificate.pem(), &key.serialize_pem());
    }

    fn write_pair(&self, name: &str, pem: &str, key: &str) {
        self.write(&format!("{name}.pem"), pem);
        self.write(&format!("{name}.key"), key);
        // The key first, as some programs do it.
        self.write(&format!("{name}.both"), &format!("{key}{pem}"));
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        write(&path, content);
        path
    }

    /// Makes `name` a link to `target` atomically, as kubelet does.
    pub fn link(&self, target: &str, name: &str) -> PathBuf {
        let (fresh, path) = (self.path("fresh-link"), self.path(name));
        std::os::unix::fs::symlink(Path::new(target), &fresh).expect("a link can be made");
        fs::rename(&fresh, &path).expect("a link can be renamed");
        path
    }
}

/// A certificate for this name, as its subject and as its only name.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Whatever the umask: a CA that a group can write to is refused.
fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a file can be written");
    fs::set_permissions(path, PermissionsExt::from_mode(0o644)).expect("the mode can be set");
}
