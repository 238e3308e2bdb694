//go:build v0.27 || v0.28

package main

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
)

// load in Kubernetes 1.27 and 1.28, where an apiserver has no id yet.
func load(ctx context.Context, file string) (map[schema.GroupResource]value.Transformer, []healthz.HealthChecker, error) {
	loaded, err := encryptionconfig.LoadEncryptionConfig(ctx, file, false)
	if err != nil {
		return nil, nil, err
	}
	return loaded.Transformers, loaded.HealthChecks, nil
}
