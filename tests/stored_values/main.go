// stored_values writes a value of each form that kube-apiserver stores, with the code of kube-apiserver itself, and
// reads such values back. Its envelope service stands for a KMS plugin: it wraps a seed by a fixed transformation, so
// that whoever knows it can unwrap one. Seeds and keys of this program protect nothing.
//
//	stored_values write          prints one JSON object per line
//	stored_values read < LINES   prints for each {etcd_key, value} its plaintext, or why there is none
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/apiserver/pkg/storage/value/encrypt/secretbox"
	kmsservice "k8s.io/kms/pkg/service"
)

const (
	provider  = "vault"
	keyName   = "key1"
	keyID     = "transit1::transit:kms:v3:1795471780"
	wrappedBy = "vault:v3:"
	mask      = 0x5a
)

// The keys of local providers: 32 bytes each, which everybody may know.
var localKey = bytes.Repeat([]byte{7}, 32)

// sample is a stored value with what is in it.
type sample struct {
	Form      string `json:"form"`
	EtcdKey   string `json:"etcd_key"`
	Value     []byte `json:"value"`
	Provider  string `json:"provider,omitempty"`
	KeyID     string `json:"key_id,omitempty"`
	Wrapped   []byte `json:"wrapped,omitempty"`
	Seed      []byte `json:"seed,omitempty"`
	Plaintext []byte `json:"plaintext,omitempty"`
	Error     string `json:"error,omitempty"`
}

// service wraps and unwraps for both versions of KMS, and remembers what it was given last.
type service struct{ seed, wrapped []byte }

func (s *service) Encrypt(seed []byte) ([]byte, error) {
	s.seed = bytes.Clone(seed)
	masked := bytes.Clone(seed)
	for at := range masked {
		masked[at] ^= mask
	}
	s.wrapped = []byte(wrappedBy + base64.StdEncoding.EncodeToString(masked))
	return s.wrapped, nil
}

func (s *service) Decrypt(wrapped []byte) ([]byte, error) {
	text, found := strings.CutPrefix(string(wrapped), wrappedBy)
	if !found {
		return nil, fmt.Errorf("%q is not wrapped by this program", wrapped)
	}
	seed, err := base64.StdEncoding.DecodeString(text)
	for at := range seed {
		seed[at] ^= mask
	}
	return seed, err
}

// v2 is the same service as KMS v2 calls it.
type v2 struct{ *service }

func (s v2) Encrypt(_ context.Context, _ string, seed []byte) (*kmsservice.EncryptResponse, error) {
	wrapped, err := s.service.Encrypt(seed)
	annotations := map[string][]byte{"sample.example.org": []byte("1")}
	return &kmsservice.EncryptResponse{Ciphertext: wrapped, KeyID: keyID, Annotations: annotations}, err
}

func (s v2) Decrypt(_ context.Context, _ string, request *kmsservice.DecryptRequest) ([]byte, error) {
	return s.service.Decrypt(request.Ciphertext)
}

func (v2) Status(context.Context) (*kmsservice.StatusResponse, error) {
	return &kmsservice.StatusResponse{Version: "v2", Healthz: "ok", KeyID: keyID}, nil
}

// union reads with each of its transformers, and writes with the first: what kube-apiserver does for KMS v1, which
// wrote AES-CBC before Kubernetes 1.25.
type union []value.Transformer

func (u union) TransformFromStorage(ctx context.Context, data []byte, dataCtx value.Context) (out []byte, stale bool, err error) {
	for _, one := range u {
		if out, stale, err = one.TransformFromStorage(ctx, data, dataCtx); err == nil {
			return out, stale, nil
		}
	}
	return nil, false, err
}

func (u union) TransformToStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, error) {
	return u[0].TransformToStorage(ctx, data, dataCtx)
}

func gcm(block cipher.Block) value.Transformer {
	transformer, err := aestransformer.NewGCMTransformer(block)
	must(err)
	return transformer
}

func kmsV1(s *service, first func(cipher.Block) value.Transformer) value.Transformer {
	return envelope.NewEnvelopeTransformer(s, 10, func(block cipher.Block) (value.Transformer, error) {
		return union{first(block), gcm(block), aestransformer.NewCBCTransformer(block)}, nil
	})
}

func kmsV2(s *service, useSeed bool) value.Transformer {
	transformer, object, cacheKey, err := kmsv2.GenerateTransformer(context.Background(), "uid", v2{s}, useSeed)
	must(err)
	state := kmsv2.State{
		Transformer:                           transformer,
		EncryptedObjectKeyID:                  object.KeyID,
		EncryptedObjectEncryptedDEKSource:     object.EncryptedDEKSource,
		EncryptedObjectAnnotations:            object.Annotations,
		EncryptedObjectEncryptedDEKSourceType: object.EncryptedDEKSourceType,
		ExpirationTimestamp:                   time.Now().Add(time.Hour),
		CacheKey:                              cacheKey,
		KMSProviderName:                       provider,
	}
	return kmsv2.NewEnvelopeTransformer(v2{s}, provider, func() (kmsv2.State, error) { return state, nil }, "")
}

// form is a prefix with what writes and reads after it.
type form struct {
	name, prefix, provider string
	transformer            func(*service) value.Transformer
}

func forms() []form {
	block, err := aes.NewCipher(localKey)
	must(err)
	local := func(transformer value.Transformer) func(*service) value.Transformer {
		return func(*service) value.Transformer { return transformer }
	}
	return []form{
		{"aescbc", "k8s:enc:aescbc:v1:" + keyName + ":", "", local(aestransformer.NewCBCTransformer(block))},
		{"aesgcm", "k8s:enc:aesgcm:v1:" + keyName + ":", "", local(gcm(block))},
		{"secretbox", "k8s:enc:secretbox:v1:" + keyName + ":", "", local(secretbox.NewSecretboxTransformer([32]byte(localKey)))},
		{"kms v1 AES-GCM", "k8s:enc:kms:v1:" + provider + ":", provider, func(s *service) value.Transformer {
			return kmsV1(s, gcm)
		}},
		{"kms v1 AES-CBC", "k8s:enc:kms:v1:" + provider + ":", provider, func(s *service) value.Transformer {
			return kmsV1(s, func(block cipher.Block) value.Transformer { return aestransformer.NewCBCTransformer(block) })
		}},
		{"kms v2 AES_GCM_KEY", "k8s:enc:kms:v2:" + provider + ":", provider, func(s *service) value.Transformer {
			return kmsV2(s, false)
		}},
		{"kms v2 HKDF_SHA256_XNONCE_AES_GCM_SEED", "k8s:enc:kms:v2:" + provider + ":", provider, func(s *service) value.Transformer {
			return kmsV2(s, true)
		}},
	}
}

// plaintexts are objects as kube-apiserver serializes them.
func plaintexts() (asProtobuf, asJSON, asCBOR []byte) {
	scheme := runtime.NewScheme()
	must(corev1.AddToScheme(scheme))
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: "sample", Namespace: "default"},
		Data:       map[string][]byte{"password": []byte("sample-of-a-password")},
	}
	asProtobuf, err := runtime.Encode(protobuf.NewSerializer(scheme, scheme), secret)
	must(err)
	asJSON = []byte(`{"apiVersion":"example.org/v1","kind":"Widget","metadata":{"name":"sample","namespace":"default"}}`)
	asCBOR, err = runtime.Encode(cbor.NewSerializer(scheme, scheme), secret)
	must(err)
	return asProtobuf, asJSON, asCBOR
}

func write(out *json.Encoder) {
	ctx := context.Background()
	asProtobuf, asJSON, asCBOR := plaintexts()
	plain := func(name, key string, text []byte) {
		stored, err := identity.NewEncryptCheckTransformer().TransformToStorage(ctx, text, value.DefaultContext(key))
		must(err)
		must(out.Encode(sample{Form: name, EtcdKey: key, Value: stored, Plaintext: text}))
	}
	plain("identity protobuf", "/registry/secrets/default/plain", asProtobuf)
	plain("identity JSON", "/registry/example.org/widgets/default/plain", asJSON)
	plain("identity CBOR", "/registry/example.org/widgets/default/cbor", asCBOR)
	for at, form := range forms() {
		s := &service{}
		one := sample{Form: form.name, EtcdKey: fmt.Sprintf("/registry/secrets/default/sample-%d", at), Provider: form.provider, Plaintext: asProtobuf}
		all := value.NewPrefixTransformers(nil, value.PrefixTransformer{Prefix: []byte(form.prefix), Transformer: form.transformer(s)})
		stored, err := all.TransformToStorage(ctx, asProtobuf, value.DefaultContext(one.EtcdKey))
		must(err)
		one.Value, one.Seed, one.Wrapped = stored, s.seed, s.wrapped
		if strings.HasPrefix(form.name, "kms v2") {
			one.KeyID = keyID
		}
		must(out.Encode(one))
	}
}

func read(out *json.Encoder) {
	prefixes := []value.PrefixTransformer{{Transformer: identity.NewEncryptCheckTransformer()}}
	known := map[string]bool{}
	for _, form := range forms() {
		if !known[form.prefix] {
			known[form.prefix] = true
			one := value.PrefixTransformer{Prefix: []byte(form.prefix), Transformer: form.transformer(&service{})}
			prefixes = append([]value.PrefixTransformer{one}, prefixes...)
		}
	}
	all := value.NewPrefixTransformers(fmt.Errorf("no provider of this program wrote it"), prefixes...)
	lines := bufio.NewReader(os.Stdin)
	for decoder := json.NewDecoder(lines); decoder.More(); {
		var one sample
		must(decoder.Decode(&one))
		text, _, err := all.TransformFromStorage(context.Background(), one.Value, value.DefaultContext(one.EtcdKey))
		read := sample{Form: one.Form, EtcdKey: one.EtcdKey, Plaintext: text}
		if err != nil {
			read.Error = err.Error()
		}
		must(out.Encode(read))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	out := json.NewEncoder(os.Stdout)
	switch strings.Join(os.Args[1:], " ") {
	case "write":
		write(out)
	case "read":
		read(out)
	default:
		fmt.Fprintln(os.Stderr, "usage: stored_values write | read")
		os.Exit(64)
	}
}
