//go:build v0.25

package main

import "k8s.io/apiserver/pkg/storage/value/encrypt/envelope"

// speaksV2 is whether this release has the KMS v2 of today: its own was v2alpha1.
const speaksV2 = false

// callOften in Kubernetes 1.25, whose v2 was another protocol.
func (r *run) callOften() error {
	service, err := envelope.NewGRPCService(r.endpoint, callTimeout)
	if err != nil {
		return err
	}
	return wrapOften(service, r.calls)
}
