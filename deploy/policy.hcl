# Everything that vault-kms-plugin needs. `transit` is the mount and `kms` the key of its configuration.
#
# `update` and not `create`: with `create`, Vault silently creates a key when the name of an Encrypt is
# mistyped. With `update` alone a missing key is a 403.

# Encrypts the seeds of kube-apiserver.
path "transit/encrypt/kms" {
  capabilities = ["update"]
}

# Decrypts them, also those of older key versions.
path "transit/decrypt/kms" {
  capabilities = ["update"]
}

# Reads the latest version of the key and its creation time: both are part of the key_id.
path "transit/keys/kms" {
  capabilities = ["read"]
}
