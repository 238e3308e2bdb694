// Marks where the program begins. What it is built with stands in pins/, one pair of files for each
// Kubernetes release: go build -modfile=pins/v0.37.2.mod -tags=v0.37
module vault-kms-plugin/tests/conformance

go 1.26.0
