// Command encryption_config asks kube-apiserver of one Kubernetes release about files: whether its
// own loader accepts each as an EncryptionConfiguration, and which provider writes each resource. It
// prints one JSON object, from the path of a file to what was found.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	kmsservice "k8s.io/kms/pkg/service"
)

// found is what kube-apiserver does with one file. Each refusal is its error, "" if it accepts.
type found struct {
	// As it is by default: without KMS v1.
	Default string `json:"default"`
	// With --feature-gates=KMSv1=true.
	V1 string `json:"v1"`
	// With that, and with --encryption-provider-config-automatic-reload=true.
	Reload string `json:"reload"`
	// The provider that writes each resource of the file and each wildcard; empty if it refuses.
	Writers map[string]string `json:"writers"`
	// The provider that writes Secrets; "" if it refuses.
	Secrets string `json:"secrets"`
}

func main() {
	connect := encryptionconfig.EnvelopeKMSv2ServiceFactory
	encryptionconfig.EnvelopeKMSv2ServiceFactory = func(ctx context.Context, endpoint, name string, timeout time.Duration) (kmsservice.Service, error) {
		service, err := connect(ctx, endpoint, name, timeout)
		return absent{service}, err
	}
	files := os.Args[1:]
	all := map[string]*found{}
	for _, file := range files {
		_, err := load(file, false)
		all[file] = &found{Default: text(err), Writers: map[string]string{}}
	}
	if err := utilfeature.DefaultMutableFeatureGate.Set("KMSv1=true"); err != nil {
		panic(err)
	}
	for _, file := range files {
		one := all[file]
		_, err := load(file, true)
		one.Reload = text(err)
		config, err := load(file, false)
		one.V1 = text(err)
		if err != nil {
			continue
		}
		for resource, transformer := range config.Transformers {
			one.Writers[named(resource)] = writer(transformer)
		}
		static := encryptionconfig.StaticTransformers(config.Transformers)
		one.Secrets = writer(static.TransformerForResource(schema.GroupResource{Resource: "secrets"}))
	}
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		panic(err)
	}
}

func load(file string, reload bool) (*encryptionconfig.EncryptionConfiguration, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return encryptionconfig.LoadEncryptionConfig(ctx, file, reload, "")
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// absent is a KMS v2 plugin that is not there: kube-apiserver asks each for its status while it loads
// a file, and would wait for the timeout.
type absent struct{ kmsservice.Service }

func (absent) Status(context.Context) (*kmsservice.StatusResponse, error) {
	return nil, errors.New("absent")
}


// named is a resource as the file names it.
func named(resource schema.GroupResource) string {
	if resource.Group == "" && resource.Resource == "*" {
		return "*."
	}
	return resource.String()
}

// writer names the provider that writes what this transformer is given: the first of a list. It is
// read from the prefix, because KMS v1 would have to be called for a real write.
func writer(transformer value.Transformer) string {
	of := reflect.Indirect(reflect.ValueOf(transformer))
	// From Kubernetes 1.31 on it is wrapped once more for a resource.
	if delegate := of.FieldByName("delegate"); delegate.IsValid() {
		of = reflect.Indirect(delegate.Elem())
	}
	list := of.FieldByName("transformers")
	if !list.IsValid() {
		return "identity"
	}
	prefix := string(list.Index(0).FieldByName("Prefix").Bytes())
	if prefix == "" {
		return "identity"
	}
	// k8s:enc:aescbc:v1: or k8s:enc:kms:v2:NAME:
	kind, rest, _ := strings.Cut(strings.TrimPrefix(prefix, "k8s:enc:"), ":")
	version, name, _ := strings.Cut(rest, ":")
	if kind != "kms" {
		return kind
	}
	return fmt.Sprintf("kms %s %s", version, strings.TrimSuffix(name, ":"))
}
