// Marks where the program begins. What it is built with is in pins/, one pair of files for each
// Kubernetes release: go build -modfile=pins/v0.37.2.mod
module vault-kms-plugin/tests/encryption_config

go 1.26.0
