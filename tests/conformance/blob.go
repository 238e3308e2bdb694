package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// wrapped is what a stored object tells of its encryption without any key.
type wrapped struct {
	key    string // names the key version: v2's key_id, v1's beginning of the plugin's ciphertext
	source []byte // the plugin's ciphertext: v2's seed, v1's key
}

// unwrap reads what was stored through the plugin.
func unwrap(api string, blob []byte) (wrapped, error) {
	prefix := fmt.Sprintf("k8s:enc:kms:%s:%s:", api, provider)
	rest, found := bytes.CutPrefix(blob, []byte(prefix))
	if !found {
		return wrapped{}, fmt.Errorf("it does not begin with %s: %.40q", prefix, blob)
	}
	if api == "v1" {
		return unwrapV1(rest)
	}
	return unwrapV2(rest)
}

// unwrapV1: two bytes of length, the key as the plugin encrypted it ("vault:v1:..."), the data.
func unwrapV1(rest []byte) (wrapped, error) {
	if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
		return wrapped{}, errors.New("it ends too early")
	}
	source := rest[2 : 2+binary.BigEndian.Uint16(rest)]
	parts := bytes.SplitN(source, []byte(":"), 3)
	if len(parts) != 3 || string(parts[0]) != "vault" {
		return wrapped{}, fmt.Errorf("not a ciphertext of Transit: %.40q", source)
	}
	return wrapped{key: string(parts[1]), source: source}, nil
}

// unwrapV2 reads an EncryptedObject: field 2 is the key_id, field 3 the seed (or the key, up to
// Kubernetes 1.28) as the plugin encrypted it.
func unwrapV2(rest []byte) (wrapped, error) {
	var object wrapped
	for len(rest) > 0 {
		number, kind, size := protowire.ConsumeTag(rest)
		if size < 0 {
			return object, protowire.ParseError(size)
		}
		rest = rest[size:]
		size = protowire.ConsumeFieldValue(number, kind, rest)
		if size < 0 {
			return object, protowire.ParseError(size)
		}
		switch number {
		case 2:
			value, _ := protowire.ConsumeBytes(rest)
			object.key = string(value)
		case 3:
			object.source, _ = protowire.ConsumeBytes(rest)
		}
		rest = rest[size:]
	}
	if object.key == "" || len(object.source) == 0 {
		return object, errors.New("it has no key_id or no seed")
	}
	return object, nil
}
