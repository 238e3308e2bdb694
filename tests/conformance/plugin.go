package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

const service = "/v2.KeyManagementService/"

// plugin is one connection to a KMS plugin.
type plugin struct {
	connection *grpc.ClientConn
}

// socketPath is what kube-apiserver dials of an endpoint; `@name` is an abstract socket.
func socketPath(endpoint string) (string, error) {
	if strings.HasPrefix(endpoint, "/") || strings.HasPrefix(endpoint, "@") {
		return endpoint, nil
	}
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	if parsed.Scheme != "unix" || parsed.Host != "" || parsed.Path == "" {
		return "", fmt.Errorf("%s is not unix:///path", endpoint)
	}
	if strings.HasPrefix(parsed.Path, "/@") {
		return strings.TrimPrefix(parsed.Path, "/"), nil
	}
	return parsed.Path, nil
}

// dial connects when the first call is made, as kube-apiserver does, and again when it breaks.
func dial(path, authority string) (*plugin, error) {
	quickly := backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}
	connection, err := grpc.Dial("passthrough:///kms",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority(authority),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quickly, MinConnectTimeout: time.Second}),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}))
	return &plugin{connection}, err
}

func (p *plugin) close() {
	_ = p.connection.Close()
}

func (p *plugin) call(ctx context.Context, method string, request *emptypb.Empty, options ...grpc.CallOption) (*emptypb.Empty, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response := &emptypb.Empty{}
	if err := p.connection.Invoke(ctx, service+method, request, response, options...); err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return response, nil
}

func (p *plugin) status(ctx context.Context) (statusResponse, error) {
	response, err := p.call(ctx, "Status", message())
	if err != nil {
		return statusResponse{}, err
	}
	return readStatus(response)
}

func (p *plugin) encrypt(ctx context.Context, plaintext []byte) (encryptResponse, error) {
	response, err := p.call(ctx, "Encrypt", message(field{1, plaintext}, field{2, uid()}))
	if err != nil {
		return encryptResponse{}, err
	}
	return readEncrypted(response)
}

func (p *plugin) decrypt(ctx context.Context, of encryptResponse) ([]byte, error) {
	fields := []field{{1, of.ciphertext}, {2, uid()}, {3, []byte(of.keyID)}}
	fields = append(fields, annotationFields(4, of.annotations)...)
	response, err := p.call(ctx, "Decrypt", message(fields...))
	if err != nil {
		return nil, err
	}
	return first(response, 1)
}

// random is what kube-apiserver encrypts: a seed of 32 bytes.
func random(size int) []byte {
	bytes := make([]byte, size)
	_, _ = rand.Read(bytes)
	return bytes
}

func uid() []byte {
	return []byte(hex.EncodeToString(random(16)))
}
