//go:build v0.25

package main

import "k8s.io/apiserver/pkg/storage/value/encrypt/envelope"

// callOften in Kubernetes 1.25, whose v2 was another protocol.
func (r *run) callOften() error {
	service, err := envelope.NewGRPCService(r.endpoint, callTimeout)
	if err != nil {
		return err
	}
	return wrapOften(service, r.calls)
}
