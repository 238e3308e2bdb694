//! `bao-kms-provider` of dc-tec (`internal/config`): a YAML file, of which variables may change a little. It
//! cannot serve beside this plugin, but what it wrote can be read.

use super::apply;
use super::given::{Entry, Given};
use super::input::Host;
use super::setting::{Kind, Setting};
use super::translation::Translation;

/// Why its limits and intervals have no effect.
const ADMISSION: &str =
    "is not kept: limits.max_waiting bounds the calls that wait, and each connection has a share";
const REFRESH: &str = "is not kept: the key is read every 30 s, and proven every 5 minutes";
const LOGIN: &str = "is not kept: tokens are renewed at 70% of their lease, and logins are tried again with a backoff";
const CLAIMS: &str = "is not kept: OpenBao checks the claims of the JWT, as its role says";
const ROTATION: &str =
    "is not kept: a version is announced as soon as it was proven by an Encrypt and a Decrypt";
const ENDPOINT: &str =
    "is not kept: probes and metrics are at admin.listen, with other paths and names";
const OAUTH2: &str = "an error: a JWT comes from a file or from SPIFFE";
const PKCS11: &str = "an error: a private key is in a file";

/// Its settings.
const ALL: &[Setting] = &[
    Setting::flag("-config", &["BAO_KMS_PROVIDER_CONFIG", "BAO_KMS_PROVIDER_CONFIG_PATH"])
        .decides("the file with the fields below"),
    Setting::field("configVersion").decides("an error unless it is v1alpha1"),
    Setting::field("server.socketPath")
        .default("/run/openbao-kms/kms.sock")
        .decides("`socket.path`"),
    Setting::field("server.socketMode").default("0660").key("socket.mode"),
    Setting::field("server.socketGroup").decides("`socket.group` and, if it is a number, `socket.allow_gids`"),
    Setting::field("server.metricsAddress")
        .or_variables(&[
            "BAO_KMS_PROVIDER_SERVER_METRICS_ADDRESS",
            "BAO_KMS_PROVIDER_SERVER_METRICSADDRESS",
        ])
        .dropped(ENDPOINT),
    Setting::field("server.healthAddress")
        .or_variables(&[
            "BAO_KMS_PROVIDER_SERVER_HEALTH_ADDRESS",
            "BAO_KMS_PROVIDER_SERVER_HEALTHADDRESS",
        ])
        .dropped(ENDPOINT),
    Setting::field("server.maxConcurrentStatus").kind(Kind::Integer).default("16").dropped(ADMISSION),
    Setting::field("server.maxConcurrentEncrypt").kind(Kind::Integer).default("32").dropped(ADMISSION),
    Setting::field("server.maxConcurrentDecrypt").kind(Kind::Integer).default("64").dropped(ADMISSION),
    Setting::field("openbao.address").key("vault.address"),
    Setting::field("openbao.namespace").key("vault.namespace"),
    Setting::field("openbao.caCertFile").kind(Kind::Path).key("vault.ca_file"),
    Setting::field("openbao.tlsServerName").key("vault.tls_server_name"),
    Setting::field("openbao.timeout")
        .kind(Kind::Duration)
        .default("2s")
        .dropped("is not kept: a call ends with kube-apiserver's own deadline"),
    Setting::field("openbao.instanceId").decides("`instance_id` in `[[transit.decrypt_also]]`"),
    Setting::field("auth.method").default("jwt").decides("`auth.method`"),
    Setting::field("auth.loginBeforeTokenExpiry").kind(Kind::Duration).default("5m").dropped(LOGIN),
    Setting::field("auth.tokenRenewalIncrement").kind(Kind::Duration).default("1h").dropped(LOGIN),
    Setting::field("auth.loginTimeout").kind(Kind::Duration).default("0s").dropped(LOGIN),
    Setting::field("auth.jwt.mountPath").decides("`auth.mount`"),
    Setting::field("auth.jwt.role").login(&["jwt"], "auth.role"),
    Setting::field("auth.jwt.source").default("file").decides("an error unless it is file"),
    Setting::field("auth.jwt.jwtFile").kind(Kind::Path).login(&["jwt"], "auth.jwt_file"),
    Setting::field("auth.jwt.minRemainingTtl").kind(Kind::Duration).default("2m").dropped(CLAIMS),
    Setting::field("auth.jwt.clockSkewLeeway").kind(Kind::Duration).default("30s").dropped(CLAIMS),
    Setting::field("auth.jwt.expectedIssuer").dropped(CLAIMS),
    Setting::field("auth.jwt.expectedAudience").dropped(CLAIMS),
    Setting::field("auth.jwt.expectedSubject").dropped(CLAIMS),
    Setting::field("auth.jwt.oauth2.tokenUrl").decides(OAUTH2),
    Setting::field("auth.jwt.oauth2.clientId").decides(OAUTH2),
    Setting::field("auth.jwt.oauth2.clientSecretFile").decides(OAUTH2),
    Setting::field("auth.jwt.oauth2.authMethod").decides(OAUTH2),
    Setting::field("auth.jwt.oauth2.scopes").decides(OAUTH2),
    Setting::field("auth.jwt.oauth2.audience").decides(OAUTH2),
    Setting::field("auth.jwt.oauth2.resources").decides(OAUTH2),
    Setting::field("auth.jwt.oauth2.caCertFile").decides(OAUTH2),
    Setting::field("auth.cert.mountPath").decides("`auth.mount`"),
    Setting::field("auth.cert.name").login(&["cert"], "auth.role"),
    Setting::field("auth.cert.minRemainingTtl").kind(Kind::Duration).default("24h").dropped(LOGIN),
    Setting::field("auth.cert.clockSkewLeeway").kind(Kind::Duration).default("30s").dropped(LOGIN),
    Setting::field("auth.cert.source").decides(PKCS11),
    Setting::field("auth.cert.pkcs11.certificateFile").decides(PKCS11),
    Setting::field("auth.cert.pkcs11.modulePath").decides(PKCS11),
    Setting::field("auth.cert.pkcs11.tokenLabel").decides(PKCS11),
    Setting::field("auth.cert.pkcs11.keyLabel").decides(PKCS11),
    Setting::field("auth.cert.pkcs11.pinFile").decides(PKCS11),
    Setting::field("auth.cert.pkcs11.maxSessions").decides(PKCS11),
    Setting::field("auth.cert.spiffe.workloadAPISocket").decides(PKCS11),
    Setting::field("auth.cert.spiffe.spiffeID").decides(PKCS11),
    Setting::field("auth.cert.spiffe.trustDomain").decides(PKCS11),
    Setting::field("transit.mountPath").key("transit.mount"),
    Setting::field("transit.keyName").key("transit.key"),
    Setting::field("transit.keyIdScope.providerName").decides("`provider_name` in `[[transit.decrypt_also]]`"),
    Setting::field("transit.keyIdScope.clusterId").decides("`cluster_id` in `[[transit.decrypt_also]]`"),
    Setting::field("transit.keyIdScope.transitMountId")
        .decides("nothing: it is in the annotations of what was written"),
    Setting::field("transit.keyIdScope.keyLineageId")
        .decides("nothing: it is in the annotations of what was written"),
    Setting::field("state.path").default("/var/lib/openbao-kms/state/key-registry.json").dropped(
        "is not kept: the state file is in state.dir, and begins empty",
    ),
    Setting::field("bootstrap.graceTimeout").kind(Kind::Duration).default("60s").dropped(
        "is not kept: the daemon serves at once, and waits for OpenBao without a limit",
    ),
    Setting::field("bootstrap.retryInterval").kind(Kind::Duration).default("5s").dropped(LOGIN),
    Setting::field("status.probeInterval").kind(Kind::Duration).default("30s").dropped(REFRESH),
    Setting::field("status.deepProbeInterval").kind(Kind::Duration).default("5m").dropped(REFRESH),
    Setting::field("status.statusMaxStaleness").kind(Kind::Duration).default("2m").dropped(
        "is not kept: health.tolerance and health.fail_after say what Status answers in an outage",
    ),
    Setting::field("rotation.mode").default("observed").dropped(ROTATION),
    Setting::field("rotation.activationDelay").kind(Kind::Duration).default("2m").dropped(ROTATION),
    Setting::field("rotation.requireStableObservationCount")
        .kind(Kind::Integer)
        .default("3")
        .dropped(ROTATION),
    Setting::field("rotation.rejectVersionRollback").kind(Kind::Bool).default("true").dropped(
        "is not kept: a version that goes back is believed after a minute, with a warning",
    ),
    Setting::field("logging.level")
        .or_variables(&["BAO_KMS_PROVIDER_LOG_LEVEL", "BAO_KMS_PROVIDER_LOGGING_LEVEL"])
        .default("info")
        .key("log.level"),
    Setting::field("logging.format").default("json").key("log.format"),
    Setting::field("logging.logOpenBaoRequestIDs").kind(Kind::Bool).default("true").dropped(
        "is not kept: the id of each request is in the log at level debug",
    ),
    Setting::field("logging.debugCorrelation.enabled").kind(Kind::Bool).default("false").dropped(
        "is not kept: the log at level debug joins the uids of kube-apiserver to requests",
    ),
    Setting::field("logging.debugCorrelation.ttl").kind(Kind::Duration).default("15m").dropped(
        "is not kept, without debugCorrelation.enabled",
    ),
    Setting::field("logging.debugCorrelation.incidentId").dropped(
        "is not kept, without debugCorrelation.enabled",
    ),
];

/// What has to be given.
const REQUIRED: &[(&str, &str)] = &[
    ("openbao.address", "the address of OpenBao"),
    (
        "openbao.instanceId",
        "what it was, without which old data cannot be read",
    ),
    ("transit.mountPath", "the mount of Transit"),
    ("transit.keyName", "the name of the key"),
    (
        "transit.keyIdScope.providerName",
        "what it was, without which old data cannot be read",
    ),
    (
        "transit.keyIdScope.clusterId",
        "what it was, without which old data cannot be read",
    ),
];

/// The keys of the table that reads what it wrote, and the fields that they come from.
const READER: &[(&str, &str)] = &[
    ("mount", "transit.mountPath"),
    ("key", "transit.keyName"),
    ("provider_name", "transit.keyIdScope.providerName"),
    ("cluster_id", "transit.keyIdScope.clusterId"),
    ("instance_id", "openbao.instanceId"),
];

/// All settings that it reads.
pub(super) fn settings() -> &'static [Setting] {
    ALL
}

/// Translates what is given.
pub(super) fn translate(given: &Given, host: &Host, out: &mut Translation) {
    let login = login(given, out);
    apply::settings(given, login.unwrap_or_default(), host, out);
    for (name, what) in REQUIRED {
        if given.get(name).is_none() {
            apply::missing(given, name, what, out);
        }
    }
    if let Some(version) = given
        .set("configVersion")
        .filter(|it| it.value != "v1alpha1")
    {
        let cause = format!("{:?} is not a version that is known here", version.value);
        out.error(version.origin, cause, "convert a file of version v1alpha1");
    }
    if let Some(entry) = given.get("server.socketPath") {
        apply::socket(entry, entry.value, host, out);
    }
    if let Some(group) = given.set("server.socketGroup") {
        socket_group(group, out);
    }
    out.note(
        "transit",
        "nodes of bao-kms-provider refuse what this plugin writes: stop it on every node, start this one on every \
         node, then re-encrypt; [[transit.decrypt_also]] reads what it wrote until then",
    );
    reader(given, out);
}

fn socket_group(group: Entry<'_>, out: &mut Translation) {
    out.set("socket.group", group.value, group.origin);
    if group.value.parse::<u32>().is_ok() {
        out.set("socket.allow_gids", group.value, group.origin);
    } else {
        let text = "its number has to be in socket.allow_gids if kube-apiserver is not root: getent group shows it";
        out.note(group.origin, text);
    }
}

/// The table that reads values with their associated data.
fn reader(given: &Given, out: &mut Translation) {
    let values = READER.iter().filter_map(|(key, field)| {
        let entry = given.get(field)?;
        Some((*key, entry.value.to_owned()))
    });
    out.decrypt_also = values.collect();
    out.decrypt_also
        .push(("associated_data", "bao-kms-provider".to_owned()));
}

fn login(given: &Given, out: &mut Translation) -> Option<&'static str> {
    let method = given.get("auth.method")?;
    match method.value {
        "jwt" => jwt(given, out),
        "cert" => {
            let cause = "its private key is in an HSM or with SPIFFE, and cannot be read";
            let remedy = "give the node a certificate with its key in a file, or use another method, and write \
                          [auth] by hand";
            out.error(method.origin, cause, remedy);
            return None;
        }
        other => {
            let cause = format!("{other:?} is no method of this plugin");
            out.error(method.origin, cause, "use jwt");
            return None;
        }
    }
    out.set("auth.method", "jwt", method.origin);
    Some("jwt")
}

fn jwt(given: &Given, out: &mut Translation) {
    let oauth2 = given.settings().iter().filter_map(|setting| {
        let name = setting.name();
        given
            .set(name)
            .filter(|_| name.starts_with("auth.jwt.oauth2."))
    });
    let source = given.get("auth.jwt.source").filter(|it| it.value != "file");
    if let Some(entry) = source.or(oauth2.into_iter().next()) {
        let remedy = "let another program keep a JWT in a file, as a projected service account token, and name it \
                      in auth.jwt_file";
        out.error(
            entry.origin,
            "a JWT from an OAuth 2.0 token endpoint is not supported",
            remedy,
        );
    }
    for (name, what) in [
        ("auth.jwt.mountPath", "the mount of the auth method"),
        ("auth.jwt.role", "the role"),
        ("auth.jwt.jwtFile", "the file with the JWT"),
    ] {
        if given.get(name).is_none() {
            apply::missing(given, name, what, out);
        }
    }
    if let Some(mount) = given.set("auth.jwt.mountPath") {
        let path = mount.value.trim_matches('/');
        out.set(
            "auth.mount",
            path.strip_prefix("auth/").unwrap_or(path),
            mount.origin,
        );
    }
}
