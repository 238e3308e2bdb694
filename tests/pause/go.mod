module vault-kms-plugin/tests/pause

go 1.26.0
