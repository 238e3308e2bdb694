//go:build !v0.25 && !v0.27 && !v0.28

package main

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
)

// load since Kubernetes 1.29.
func load(ctx context.Context, file string) (map[schema.GroupResource]value.Transformer, []healthz.HealthChecker, error) {
	loaded, err := encryptionconfig.LoadEncryptionConfig(ctx, file, false, "conformance")
	if err != nil {
		return nil, nil, err
	}
	return loaded.Transformers, loaded.HealthChecks, nil
}
