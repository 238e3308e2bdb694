package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A call that is too slow for the rule about its median, and quick enough for all others.
const slowly = 200 * time.Millisecond

// faults are the names of what the double can do wrong, each with the rule that it breaks.
func faults() []string {
	var names []string
	for _, fault := range brokenRules {
		names = append(names, fault[0])
	}
	return names
}

var brokenRules = [][2]string{
	{"unhealthy", "S01"},
	{"odd-version", "S02"},
	{"long-key-id", "S03"},
	{"slow-status", "S04"},
	{"unstable-key-id", "S05"},
	{"large-ciphertext", "E01"},
	{"wrong-key-id", "E02"},
	{"odd-annotation", "E03"},
	{"same-response", "E04"},
	{"plain", "E05"},
	{"slow-encrypt", "E06"},
	{"wrong-plaintext", "D01"},
	{"ten-at-once", "D02"},
	{"any-key-id", "D03"},
	{"changed-ciphertext", "D04"},
	{"empty-ciphertext", "D05"},
	{"slow-decrypt", "D06"},
	{"localhost-only", "C01"},
	{"tires", "C02"},
	{"large-hangs", "C04"},
	{"any-method", "C05"},
	{"never-rotates", "R01"},
	{"late-encrypt", "R02"},
	{"flips-back", "R03"},
	{"forgets-old", "R04"},
	{"uses-again", "R05"},
	{"restart-renames", "X01"},
	{"restart-forgets", "X02"},
	{"stop-hangs", "X03"},
}

// announced is the key_id that is current.
func (d *doublePlugin) announced() string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	since := time.Since(d.rotated)
	switch {
	case d.fault == "uses-again":
		return d.keyID(d.version % 2)
	case d.fault == "flips-back" && d.version > 0 && since > 3*time.Second && since < 5*time.Second:
		return d.keyID(d.version - 1)
	case d.fault == "restart-renames":
		return fmt.Sprintf("%s-%d", d.keyID(d.version), d.started.UnixNano())
	case d.fault == "long-key-id":
		return d.keyID(d.version) + strings.Repeat("k", maxKeyID)
	}
	return d.keyID(d.version)
}

func (d *doublePlugin) breakStatus(status *statusResponse) {
	switch d.fault {
	case "unhealthy":
		status.healthz = "degraded"
	case "odd-version":
		status.version = "v3"
	case "slow-status":
		time.Sleep(slowly)
	case "unstable-key-id":
		status.keyID += fmt.Sprint(time.Now().UnixNano())
	}
}

func (d *doublePlugin) breakEncrypted(encrypted *encryptResponse, plaintext []byte) {
	switch d.fault {
	case "large-ciphertext":
		encrypted.ciphertext = d.seal(d.current(), append(plaintext, make([]byte, maxCiphertext)...))
	case "wrong-key-id":
		encrypted.keyID = "another"
	case "odd-annotation":
		encrypted.annotations["no_domain"] = []byte("value")
	case "same-response":
		encrypted.ciphertext = bytes.Repeat([]byte{7}, 60)
	case "plain":
		encrypted.annotations["plain.double.example"] = plaintext
	case "slow-encrypt":
		time.Sleep(slowly)
	case "large-hangs":
		if len(plaintext) > 1<<20 {
			time.Sleep(2 * callTimeout)
		}
	case "late-encrypt":
		d.mutex.Lock()
		defer d.mutex.Unlock()
		if since := time.Since(d.rotated); d.version > 0 && since < 3*time.Second {
			encrypted.keyID = d.keyID(d.version - 1)
		}
	}
}

func (d *doublePlugin) open(version int, asked encryptResponse) ([]byte, error) {
	if d.fault == "slow-decrypt" {
		time.Sleep(slowly)
	}
	if d.fault == "forgets-old" && version < d.current() {
		return nil, errors.New("this version is gone")
	}
	if !d.knows(asked.keyID) && d.fault != "any-key-id" {
		return nil, errors.New("unknown key_id")
	}
	if len(asked.ciphertext) < 12 {
		if d.fault == "empty-ciphertext" {
			return nil, nil
		}
		return nil, errors.New("too short")
	}
	plaintext, err := d.sealer(version).Open(nil, asked.ciphertext[:12], asked.ciphertext[12:], nil)
	switch {
	case err != nil && d.fault == "changed-ciphertext":
		return []byte("whatever it was"), nil
	case err == nil && d.fault == "wrong-plaintext":
		return random(32), nil
	case err == nil && d.fault == "large-ciphertext":
		return plaintext[:len(plaintext)-maxCiphertext], nil
	}
	return plaintext, err
}

func (d *doublePlugin) knows(keyID string) bool {
	return strings.HasPrefix(keyID, "double-") || keyID == "another"
}

// stop answers no more calls before the end.
func (d *doublePlugin) stop() {
	if d.fault == "stop-hangs" {
		d.stopped.Store(true)
		time.Sleep(callTimeout + time.Second)
	}
}

// salt makes other keys after a restart.
func (d *doublePlugin) salt() string {
	if d.fault == "restart-forgets" {
		return d.started.String()
	}
	return ""
}

func (d *doublePlugin) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if d.stopped.Load() {
		time.Sleep(2 * callTimeout)
	}
	headers, _ := metadata.FromIncomingContext(ctx)
	authority := headers.Get(":authority")
	if d.fault == "localhost-only" && (len(authority) != 1 || authority[0] != "localhost") {
		return nil, status.Error(codes.Internal, "odd :authority")
	}
	if calls, ok := ctx.Value(callsKey{}).(*atomic.Int64); ok && calls.Add(1) > manyCalls*9/10 {
		return nil, status.Error(codes.ResourceExhausted, "too many calls on a connection")
	}
	if d.fault == "ten-at-once" && strings.HasSuffix(info.FullMethod, "/Decrypt") {
		if d.decrypts.Add(1) > 10 {
			d.decrypts.Add(-1)
			return nil, status.Error(codes.ResourceExhausted, "too many calls at once")
		}
		defer d.decrypts.Add(-1)
		time.Sleep(5 * time.Millisecond)
	}
	return handle(ctx, request)
}

func (d *doublePlugin) faultyOptions() []grpc.ServerOption {
	switch d.fault {
	case "large-hangs":
		return []grpc.ServerOption{grpc.MaxRecvMsgSize(2 * oversize)}
	case "any-method":
		return []grpc.ServerOption{grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			return stream.SendMsg(&emptypb.Empty{})
		})}
	case "tires":
		return []grpc.ServerOption{grpc.StatsHandler(callCounter{})}
	}
	return nil
}

// callsKey is where a connection keeps the number of its calls.
type callsKey struct{}

// callCounter gives each connection a counter.
type callCounter struct{ stats.Handler }

func (callCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, callsKey{}, &atomic.Int64{})
}

func (callCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (callCounter) HandleRPC(context.Context, stats.RPCStats) {}

func (callCounter) HandleConn(context.Context, stats.ConnStats) {}
