//go:build v0.25

package main

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
)

// load in Kubernetes 1.25, which reads the file twice and has a second connection for its health.
func load(_ context.Context, file string) (map[schema.GroupResource]value.Transformer, []healthz.HealthChecker, error) {
	transformers, err := encryptionconfig.GetTransformerOverrides(file)
	if err != nil {
		return nil, nil, err
	}
	health, err := encryptionconfig.GetKMSPluginHealthzCheckers(file)
	return transformers, health, err
}
