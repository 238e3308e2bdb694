//go:build !v0.25

package main

import (
	"fmt"

	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
)

// speaksV2 is whether this release has the KMS v2 of today.
const speaksV2 = true

// callOften makes many calls on one connection. Each has a timeout of its own among its headers,
// so that the tables of their compression fill up and are turned over again and again.
func (r *run) callOften() error {
	if r.api == "v1" {
		service, err := envelope.NewGRPCService(r.ctx, r.endpoint, callTimeout)
		if err != nil {
			return err
		}
		return wrapOften(service, r.calls)
	}
	service, err := kmsv2.NewGRPCService(r.ctx, r.endpoint, provider, callTimeout)
	if err != nil {
		return err
	}
	for number := range r.calls {
		status, err := service.Status(r.ctx)
		if err != nil {
			return fmt.Errorf("call %d: %w", number, err)
		}
		if status.Healthz != "ok" || status.KeyID == "" {
			return fmt.Errorf("call %d: %+v", number, status)
		}
	}
	return nil
}
