package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

const versionAnnotation = "version.double.example"

// doublePlugin is `conformance double`: a plugin that keeps all rules, or breaks one, so that the suite can be
// seen to find it. It keeps no secret: its keys are made of the number of their version.
type doublePlugin struct {
	fault    string
	state    string // the file that holds the number of rotations
	started  time.Time
	mutex    sync.Mutex
	version  int
	rotated  time.Time
	decrypts atomic.Int64 // how many are under way
	stopped  atomic.Bool
}

func double(arguments []string) {
	set := flag.NewFlagSet("double", flag.ExitOnError)
	socket := set.String("socket", "", "the path of the socket")
	state := set.String("state", "", "a file that keeps the version of the key over a restart")
	fault := set.String("fault", "", "the rule to break: "+strings.Join(faults(), ", "))
	onlyList := set.Bool("list", false, "print each fault with the rule that it breaks, and end")
	_ = set.Parse(arguments)
	if *onlyList {
		for _, fault := range brokenRules {
			fmt.Println(fault[0], fault[1])
		}
		return
	}
	_ = os.Remove(*socket)
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		fail(err.Error())
	}
	d := &doublePlugin{fault: *fault, state: *state, started: time.Now()}
	text, _ := os.ReadFile(*state)
	d.version, _ = strconv.Atoi(string(text))
	server := d.server()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for received := range signals {
			if received != syscall.SIGHUP {
				d.stop()
				server.Stop()
				return
			}
			d.rotate()
		}
	}()
	_ = server.Serve(listener)
}

func (d *doublePlugin) rotate() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.fault != "never-rotates" {
		d.version++
		d.rotated = time.Now()
		_ = os.WriteFile(d.state, []byte(strconv.Itoa(d.version)), 0o600)
	}
}

func (d *doublePlugin) server() *grpc.Server {
	options := []grpc.ServerOption{grpc.UnaryInterceptor(d.intercept)}
	options = append(options, d.faultyOptions()...)
	server := grpc.NewServer(options...)
	method := func(name string, do func(context.Context, *emptypb.Empty) (*emptypb.Empty, error)) grpc.MethodDesc {
		handler := func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			request := &emptypb.Empty{}
			if err := decode(request); err != nil {
				return nil, err
			}
			info := &grpc.UnaryServerInfo{Server: d, FullMethod: service + name}
			return intercept(ctx, request, info, func(ctx context.Context, request any) (any, error) {
				return do(ctx, request.(*emptypb.Empty))
			})
		}
		return grpc.MethodDesc{MethodName: name, Handler: handler}
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: strings.Trim(service, "/"),
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{method("Status", d.status), method("Encrypt", d.encrypt), method("Decrypt", d.decrypt)},
	}, d)
	return server
}

// keyID names a version of the key.
func (d *doublePlugin) keyID(version int) string {
	return fmt.Sprintf("double-%d", version)
}

func (d *doublePlugin) current() int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.version
}

func (d *doublePlugin) status(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	status := statusResponse{version: "v2", healthz: "ok", keyID: d.announced()}
	d.breakStatus(&status)
	return message(field{1, []byte(status.version)}, field{2, []byte(status.healthz)}, field{3, []byte(status.keyID)}), nil
}

func (d *doublePlugin) encrypt(_ context.Context, request *emptypb.Empty) (*emptypb.Empty, error) {
	plaintext, err := first(request, 1)
	if err != nil {
		return nil, err
	}
	version := d.current()
	encrypted := encryptResponse{
		ciphertext:  d.seal(version, plaintext),
		keyID:       d.announced(),
		annotations: map[string][]byte{versionAnnotation: []byte(strconv.Itoa(version))},
	}
	d.breakEncrypted(&encrypted, plaintext)
	fields := []field{{1, encrypted.ciphertext}, {2, []byte(encrypted.keyID)}}
	return message(append(fields, annotationFields(3, encrypted.annotations)...)...), nil
}

func (d *doublePlugin) decrypt(_ context.Context, request *emptypb.Empty) (*emptypb.Empty, error) {
	fields, err := fieldsOf(request)
	if err != nil {
		return nil, err
	}
	asked := encryptResponse{}
	version := -1
	for _, field := range fields {
		switch field.number {
		case 1:
			asked.ciphertext = field.value
		case 3:
			asked.keyID = string(field.value)
		case 4:
			if key, value, _ := readEntry(field.value); key == versionAnnotation {
				version, _ = strconv.Atoi(string(value))
			}
		}
	}
	plaintext, err := d.open(version, asked)
	return message(field{1, plaintext}), err
}

// sealer is the cipher of a version of the key.
func (d *doublePlugin) sealer(version int) cipher.AEAD {
	key := sha256.Sum256([]byte(fmt.Sprint("version ", version, d.salt())))
	block, _ := aes.NewCipher(key[:])
	sealer, _ := cipher.NewGCM(block)
	return sealer
}

func (d *doublePlugin) seal(version int, plaintext []byte) []byte {
	nonce := random(12)
	return d.sealer(version).Seal(nonce, nonce, plaintext, nil)
}
