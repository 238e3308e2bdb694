module vault-kms-plugin/tests/no_proxy

go 1.26.0
