package main

import (
	"bytes"
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope"
)

// callTimeout is kube-apiserver's own default.
const callTimeout = 3 * time.Second

// wrapOften makes so many calls of KMS v1, an Encrypt and its Decrypt in turn.
func wrapOften(service envelope.Service, calls int) error {
	seed := bytes.Repeat([]byte{7}, 32)
	for number := 0; number < calls; number += 2 {
		wrapped, err := service.Encrypt(seed)
		if err != nil {
			return fmt.Errorf("call %d: %w", number, err)
		}
		unwrapped, err := service.Decrypt(wrapped)
		if err != nil {
			return fmt.Errorf("call %d: %w", number+1, err)
		}
		if !bytes.Equal(seed, unwrapped) {
			return fmt.Errorf("call %d: another plaintext came back", number+1)
		}
	}
	return nil
}
