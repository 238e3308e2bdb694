#!/bin/sh
# Prepares Vault or OpenBao for vault-kms-plugin: the Transit engine, the key, the policy in policy.hcl beside this
# file, and the login. Run it as an operator of Vault, with VAULT_ADDR and VAULT_TOKEN set:
#
#   sh vault-setup.sh             engine, key, policy, auth method and role
#   sh vault-setup.sh node NAME   the credential of one control-plane node, into nodes/NAME beside this file
#
# It can be repeated: it makes what is missing and keeps what exists. It ends with an error if something exists and is
# different. It deletes nothing, rotates nothing, and prints no secret.
set -eu
umask 077
cd "$(dirname "$0")"

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
    [ -s "$1" ] || fail "$1 is missing beside this file: $2"
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
        echo "kept the key $mount/keys/$key: it must not be the key of another cluster"
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
        if [ "$("$cli" policy read "$policy")" != "$(cat policy.hcl)" ]; then
            fail "the policy $policy exists and is not policy.hcl: choose another --policy, or write it yourself"
        fi
        echo "kept the policy $policy"
    else
        run policy write "$policy" policy.hcl
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

# Writes a role or a user, unless it is there with this policy.
role() {
    path=$1
    shift
    if exists read "$path"; then
        policies=$("$cli" read -field=token_policies "$path")
        [ "$policies" = "[$policy]" ] || fail "$path exists and has the policies $policies instead of [$policy]: choose another name, or correct it"
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
        role "auth/$auth_mount/role/$role" token_ttl=24h token_max_ttl=720h
        ;;
    userpass)
        auth_method
        user="auth/$auth_mount/users/$username"
        if ! exists read "$user"; then
            # Without a newline, which would become a part of it.
            [ -s password ] || head -c 32 /dev/urandom | base64 | tr -d '\n' >password
        fi
        role "$user" password=@password token_ttl=24h token_max_ttl=720h
        ;;
    jwt)
        auth_method
        if ! exists read "auth/$auth_mount/config"; then
            need sa.pub 'the public key of the service accounts, on a kubeadm control plane /etc/kubernetes/pki/sa.pub'
            run write "auth/$auth_mount/config" jwt_validation_pubkeys=@sa.pub bound_issuer="$issuer"
            echo "wrote auth/$auth_mount/config"
        fi
        role "auth/$auth_mount/role/$role" role_type=jwt user_claim=sub bound_audiences=vault \
            bound_subject=system:serviceaccount:kube-system:vault-kms-plugin token_ttl=24h token_max_ttl=720h
        ;;
    kubernetes)
        auth_method
        if ! exists read "auth/$auth_mount/config"; then
            need kubernetes-ca.pem 'the certificate of the CA of kube-apiserver'
            need reviewer.jwt 'the token of a service account that may review tokens, see docs/authentication.md'
            run write "auth/$auth_mount/config" kubernetes_host="$kubernetes_host" \
                kubernetes_ca_cert=@kubernetes-ca.pem token_reviewer_jwt=@reviewer.jwt
            echo "wrote auth/$auth_mount/config"
        fi
        role "auth/$auth_mount/role/$role" bound_service_account_names=vault-kms-plugin \
            bound_service_account_namespaces=kube-system token_ttl=24h token_max_ttl=720h
        ;;
    cert)
        auth_method
        need client-ca.pem 'the certificate of the CA that signs the certificates of the nodes'
        role "auth/$auth_mount/certs/$role" certificate=@client-ca.pem allowed_common_names="$node_names" \
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

node() {
    case $1 in
    '' | .* | *[!A-Za-z0-9._-]*) fail "$1 is not the name of a node: use letters, digits, dots, underscores and hyphens" ;;
    esac
    dir=nodes/$1
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
    case $method in
    token)
        token=$("$cli" token create -orphan -period=768h -policy="$policy" -display-name="$1" -field=token)
        mkdir -p "$dir"
        store token "$token"
        # It gives no access, but names the token when it has to be revoked.
        store accessor "$(VAULT_TOKEN=$token BAO_TOKEN=$token "$cli" read -field=accessor auth/token/lookup-self)"
        ;;
    approle)
        role_id=$("$cli" read -field=role_id "auth/$auth_mount/role/$role/role-id")
        secret_id=$("$cli" write -field=secret_id "auth/$auth_mount/role/$role/secret-id" metadata="{\"node\":\"$1\"}")
        mkdir -p "$dir"
        store role-id "$role_id"
        store secret-id "$secret_id"
        ;;
    userpass)
        need password 'run this file without arguments first; if the user was made elsewhere, write its password there'
        mkdir -p "$dir"
        store password "$(cat password)"
        ;;
    esac
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
