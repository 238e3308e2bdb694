#!/bin/sh
# Prepares Vault or OpenBao for vault-kms-plugin: the Transit engine, the key, the policy in policy.hcl beside this
# file, and the login. Run it as an operator of Vault, with VAULT_ADDR and VAULT_TOKEN set:
#
#   sh vault-setup.sh             engine, key, policy, auth method and role
#   sh vault-setup.sh node NAME   the credential of one control-plane node, into nodes/NAME beside this file
#
# It can be repeated: it makes what is missing and keeps what exists. It ends with an error if something exists and is
# different; how long a login lasts is not compared. It deletes nothing that was there, rotates nothing, and prints no secret.
set -eu
umask 077
# The directory of the caller stays: VAULT_CACERT and its like may name a file in it.
here=$(dirname -- "$0")
# What the caller prefers to read, or to get wrapped, is not what is compared and stored here.
unset VAULT_FORMAT BAO_FORMAT VAULT_WRAP_TTL BAO_WRAP_TTL

# `vault-kms-plugin init` writes these.
namespace=''
mount='transit'
key='kms'
policy='vault-kms-plugin'
method='token'
auth_mount='token'
role='vault-kms-plugin'
username='vault-kms-plugin'
issuer='https://kubernetes.default.svc.cluster.local'
kubernetes_host=''
node_names=''

fail() {
    echo "vault-setup.sh: $1" >&2
    exit 1
}

if [ -n "$namespace" ]; then
    export VAULT_NAMESPACE="$namespace" BAO_NAMESPACE="$namespace"
else
    inherited=${BAO_NAMESPACE:-${VAULT_NAMESPACE-}}
    case $inherited in
    '' | / | root | root/) ;;
    *) fail "the environment names the namespace $inherited, which the plugin would not use: give it to init with --namespace, or unset VAULT_NAMESPACE and BAO_NAMESPACE" ;;
    esac
fi
cli=${VAULT_CLI:-$(command -v vault || command -v bao)} || fail 'neither vault nor bao is on PATH: install one of them, or name it in VAULT_CLI'

# Runs a command that reads. Returns 1 if what it reads does not exist, and ends the script if that is not known.
exists() {
    if problem=$("$cli" "$@" 2>&1 >/dev/null); then
        return 0
    fi
    case $problem in
    *'No value found at'* | *'No secret engine mount at'* | *'No auth engine at'* | *'No policy named'*) return 1 ;;
    esac
    fail "$cli $*: $problem"
}

# Runs a command that writes, whose output nobody needs.
run() {
    "$cli" "$@" >/dev/null
}

# Ends the script unless the file is there.
need() {
    [ -s "$here/$1" ] || fail "$1 is missing beside this file: $2"
}

# Ends the script unless what exists has this value in this field.
same() {
    found=$("$cli" read -field="$2" "$1")
    [ "$found" = "$3" ] || fail "$1 exists and has $2 $found instead of $3: choose another name, or correct it"
}

engine() {
    if exists read "sys/mounts/$mount"; then
        kind=$("$cli" read -field=type "sys/mounts/$mount")
        [ "$kind" = transit ] || fail "$mount is an engine of type $kind: choose another --mount"
        echo "kept the Transit engine at $mount"
    else
        run secrets enable -path="$mount" transit
        echo "enabled the Transit engine at $mount"
    fi
}

transit_key() {
    if exists read "$mount/keys/$key"; then
        derived=$("$cli" read -field=derived "$mount/keys/$key")
        [ "$derived" = false ] || fail "the key $mount/keys/$key is derived, which the plugin cannot use: choose another --key"
        kind=$("$cli" read -field=type "$mount/keys/$key")
        for ability in supports_encryption supports_decryption; do
            [ "$("$cli" read -field="$ability" "$mount/keys/$key")" = true ] ||
                fail "the key $mount/keys/$key is of type $kind, which cannot encrypt and decrypt: choose another --key"
        done
        echo "kept the key $mount/keys/$key of type $kind: it must not be the key of another cluster"
        for setting in deletion_allowed exportable allow_plaintext_backup; do
            if [ "$("$cli" read -field="$setting" "$mount/keys/$key")" != false ]; then
                echo "warning: $setting is true for it" >&2
            fi
        done
    else
        # A new key may not be deleted, which is Vault's default.
        run write "$mount/keys/$key" type=aes256-gcm96 derived=false exportable=false allow_plaintext_backup=false
        echo "created the key $mount/keys/$key: losing it is losing what it encrypted, so back up Vault"
    fi
}

policy() {
    need policy.hcl 'it is written together with it'
    if exists policy read "$policy"; then
        if [ "$("$cli" policy read "$policy")" != "$(cat "$here/policy.hcl")" ]; then
            fail "the policy $policy exists and is not policy.hcl: choose another --policy, or write it yourself"
        fi
        echo "kept the policy $policy"
    else
        run policy write "$policy" "$here/policy.hcl"
        echo "wrote the policy $policy"
    fi
}

auth_method() {
    if exists read "sys/auth/$auth_mount"; then
        kind=$("$cli" read -field=type "sys/auth/$auth_mount")
        [ "$kind" = "$method" ] || fail "$auth_mount is an auth method of type $kind: choose another --auth-mount"
        echo "kept the auth method at $auth_mount"
    else
        run auth enable -path="$auth_mount" "$method"
        echo "enabled the auth method $method at $auth_mount"
    fi
}

# Writes a role or a user, unless it is there with this policy and these settings, which decide who may log in.
role() {
    path=$1
    shift
    if exists read "$path"; then
        same "$path" token_policies "[$policy]"
        for setting in "$@"; do
            value=${setting#*=}
            case $setting in
            token_* | password=*) ;;
            certificate=*)
                [ "$("$cli" read -field=certificate "$path")" = "$(cat "${value#@}")" ] ||
                    fail "$path exists and has another certificate than client-ca.pem: choose another name, or correct it"
                ;;
            allowed_* | bound_audiences=* | bound_service_*) same "$path" "${setting%%=*}" "[$(printf '%s' "$value" | tr , ' ')]" ;;
            *) same "$path" "${setting%%=*}" "$value" ;;
            esac
        done
        echo "kept $path"
    else
        run write "$path" token_policies="$policy" "$@"
        echo "wrote $path"
    fi
}

login() {
    case $method in
    token)
        # Each node gets a token of its own: see below.
        ;;
    approle)
        auth_method
        role "auth/$auth_mount/role/$role" bind_secret_id=true token_ttl=24h token_max_ttl=720h
        ;;
    userpass)
        auth_method
        user="auth/$auth_mount/users/$username"
        if ! exists read "$user"; then
            # Without a newline, which would become a part of it; and never a part of one, where the disk was full.
            if [ ! -s "$here/password" ]; then
                head -c 32 /dev/urandom | base64 | tr -d '\n' >"$here/password.new"
                mv "$here/password.new" "$here/password"
            fi
        fi
        role "$user" password=@"$here/password" token_ttl=24h token_max_ttl=720h
        ;;
    jwt)
        auth_method
        if exists read "auth/$auth_mount/config"; then
            same "auth/$auth_mount/config" bound_issuer "$issuer"
            if [ -s "$here/sa.pub" ]; then
                # While the key of the cluster is replaced, Vault has two.
                case $("$cli" read -field=jwt_validation_pubkeys "auth/$auth_mount/config") in
                *"$(cat "$here/sa.pub")"*) ;;
                *) fail "auth/$auth_mount/config exists and does not trust the key in sa.pub: choose another --auth-mount, or correct it" ;;
                esac
            fi
            echo "kept auth/$auth_mount/config: it must trust no other cluster"
        else
            need sa.pub 'the public key of the service accounts, on a kubeadm control plane /etc/kubernetes/pki/sa.pub'
            run write "auth/$auth_mount/config" jwt_validation_pubkeys=@"$here/sa.pub" bound_issuer="$issuer"
            echo "wrote auth/$auth_mount/config"
        fi
        role "auth/$auth_mount/role/$role" role_type=jwt user_claim=sub bound_audiences=vault \
            bound_subject=system:serviceaccount:kube-system:vault-kms-plugin token_ttl=24h token_max_ttl=720h
        ;;
    kubernetes)
        auth_method
        if exists read "auth/$auth_mount/config"; then
            same "auth/$auth_mount/config" kubernetes_host "$kubernetes_host"
            echo "kept auth/$auth_mount/config"
        else
            need kubernetes-ca.pem 'the certificate of the CA of kube-apiserver'
            need reviewer.jwt 'the token of a service account that may review tokens, see docs/authentication.md'
            run write "auth/$auth_mount/config" kubernetes_host="$kubernetes_host" \
                kubernetes_ca_cert=@"$here/kubernetes-ca.pem" token_reviewer_jwt=@"$here/reviewer.jwt"
            echo "wrote auth/$auth_mount/config"
        fi
        role "auth/$auth_mount/role/$role" bound_service_account_names=vault-kms-plugin \
            bound_service_account_namespaces=kube-system token_ttl=24h token_max_ttl=720h
        ;;
    cert)
        auth_method
        need client-ca.pem 'the certificate of the CA that signs the certificates of the nodes'
        role "auth/$auth_mount/certs/$role" certificate=@"$here/client-ca.pem" allowed_common_names="$node_names" \
            token_ttl=1h token_max_ttl=24h
        ;;
    *)
        fail "$method is not supported"
        ;;
    esac
}

# Writes a secret to a file of the node.
store() {
    printf '%s' "$2" >"$dir/$1"
    echo "wrote $dir/$1"
}

# Takes back what was begun: half a credential must not look like a whole one, nor stay in Vault where nobody knows it.
undo() {
    echo "vault-setup.sh: the credential of this node could not be made or stored: nothing of it is kept" >&2
    if [ -n "$token" ]; then
        VAULT_TOKEN=$token BAO_TOKEN=$token "$cli" token revoke -self >/dev/null || true
    fi
    if [ -n "$secret_id" ]; then
        printf '%s' "$secret_id" | run write "auth/$auth_mount/role/$role/secret-id/destroy" secret_id=- || true
    fi
    for name in token accessor role-id secret-id password; do
        rm -f "$dir/$name"
    done
    rmdir "$dir"
}

node() {
    case $1 in
    '' | .* | *[!A-Za-z0-9._-]*) fail "$1 is not the name of a node: use letters, digits, dots, underscores and hyphens" ;;
    esac
    dir=$here/nodes/$1
    case $method in
    jwt | kubernetes)
        echo 'the credential is the token of the service account kube-system/vault-kms-plugin: see docs/authentication.md'
        return
        ;;
    cert)
        echo "the credential is a certificate of $1 that the CA of client-ca.pem has signed"
        return
        ;;
    esac
    [ ! -e "$dir" ] || fail "$dir exists: this node has a credential; move it away to make another one"
    [ "$method" != userpass ] || need password 'run this file without arguments first; if the user was made elsewhere, write its password there'
    mkdir -p "$here/nodes"
    # Of two that run at once, one fails here, before it has asked Vault for anything.
    mkdir "$dir"
    token='' secret_id=''
    trap undo EXIT
    trap 'exit 1' HUP INT TERM
    case $method in
    token)
        token=$("$cli" token create -orphan -period=768h -policy="$policy" -display-name="$1" -field=token)
        store token "$token"
        # It gives no access, but names the token when it has to be revoked.
        accessor=$(VAULT_TOKEN=$token BAO_TOKEN=$token "$cli" read -field=accessor auth/token/lookup-self)
        store accessor "$accessor"
        ;;
    approle)
        role_id=$("$cli" read -field=role_id "auth/$auth_mount/role/$role/role-id")
        secret_id=$("$cli" write -field=secret_id "auth/$auth_mount/role/$role/secret-id" metadata="{\"node\":\"$1\"}")
        store role-id "$role_id"
        store secret-id "$secret_id"
        ;;
    userpass)
        store password "$(cat "$here/password")"
        ;;
    esac
    trap - EXIT HUP INT TERM
}

case ${1-} in
'')
    engine
    transit_key
    policy
    login
    ;;
node)
    [ $# -eq 2 ] || fail 'node needs the name of the node'
    node "$2"
    ;;
*)
    fail "$1 is unknown: use no argument, or: node NAME"
    ;;
esac
