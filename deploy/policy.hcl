# All that vault-kms-plugin needs. `transit` is the mount and `kms` the key of its configuration.
#
# `update` and not `create`: where `create` is granted, Vault answers an Encrypt with a mistyped key
# name by making a new key of that name. With `update` alone a missing key is a 403.

# Wraps the seeds of kube-apiserver.
path "transit/encrypt/kms" {
  capabilities = ["update"]
}

# Unwraps them, also those of older key versions.
path "transit/decrypt/kms" {
  capabilities = ["update"]
}

# Tells the latest version of the key and when it was made: both are part of the key_id.
path "transit/keys/kms" {
  capabilities = ["read"]
}
