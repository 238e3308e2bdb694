package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/storage/value"
)

// provider is the plugin's name in the EncryptionConfiguration, and so in each stored object.
const provider = "vault"

var secrets = schema.GroupResource{Resource: "secrets"}

// apiserver is what one process has of the plugin: a connection, a seed, an empty cache at first.
// It lives until the context ends in which it was started.
type apiserver struct {
	transformer value.Transformer
	health      []healthz.HealthChecker
}

// startApiserver does what kube-apiserver does with its --encryption-provider-config.
func startApiserver(ctx context.Context, api, endpoint string) (*apiserver, error) {
	file, err := writeConfiguration(api, endpoint)
	if err != nil {
		return nil, err
	}
	defer os.Remove(file)
	transformers, health, err := load(ctx, file)
	if err != nil {
		return nil, err
	}
	transformer, found := transformers[secrets]
	if !found {
		return nil, fmt.Errorf("the configuration has no transformer for %s", secrets)
	}
	return &apiserver{transformer, health}, nil
}

// store is a write to etcd; each object is bound to its key there.
func (a *apiserver) store(ctx context.Context, name string, plain []byte) ([]byte, error) {
	return a.transformer.TransformToStorage(ctx, plain, etcdKey(name))
}

// expect is a read from etcd and its judgement.
func (a *apiserver) expect(ctx context.Context, object object, stale bool) error {
	plain, isStale, err := a.transformer.TransformFromStorage(ctx, object.blob, etcdKey(object.name))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", object.name, err)
	case !bytes.Equal(plain, object.plain):
		return fmt.Errorf("%s: read %q", object.name, plain)
	case isStale != stale:
		return fmt.Errorf("%s: stale is %t", object.name, isStale)
	}
	return nil
}

func etcdKey(name string) value.Context {
	return value.DefaultContext("/registry/secrets/default/" + name)
}

// writeConfiguration makes the file; JSON is YAML in which any endpoint can be written.
func writeConfiguration(api, endpoint string) (string, error) {
	type fields map[string]any
	kms := fields{"apiVersion": api, "name": provider, "endpoint": endpoint, "timeout": "3s"}
	text, err := json.Marshal(fields{
		"apiVersion": "apiserver.config.k8s.io/v1",
		"kind":       "EncryptionConfiguration",
		"resources": []fields{{
			"resources": []string{secrets.Resource},
			"providers": []fields{{"kms": kms}},
		}},
	})
	if err != nil {
		return "", err
	}
	file, err := os.CreateTemp("", "encryption-*.json")
	if err != nil {
		return "", err
	}
	defer file.Close()
	_, err = file.Write(text)
	return file.Name(), err
}
