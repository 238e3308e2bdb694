package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	manyCalls = 1000
	// A gRPC server of Go receives 4 MiB.
	oversize = 5 << 20
)

func connectionRules() []rule {
	return []rule{
		{id: "C01", title: "every :authority of a Kubernetes release is served", source: client, do: (*suite).authorities},
		{id: "C02", title: "one connection carries 1,000 calls", source: client, do: (*suite).callOften},
		{id: "C03", title: "calls that were given up leave the connection usable", source: wire, after: []string{"D01"}, do: (*suite).giveUp},
		{id: "C04", title: "a plaintext of 5 MiB is answered in time, and the next call too", source: wire, after: []string{"D01"}, do: (*suite).tooLarge},
		{id: "C05", title: "an unknown method is UNIMPLEMENTED", source: wire, do: (*suite).unknownMethod},
		{id: "C06", title: "two connections are served at once", source: client, do: (*suite).twoConnections},
	}
}

// authorities are those of Kubernetes 1.32 and later, of 1.29 to 1.31, and of those before: the path of
// the socket as it is, which may hold spaces and other letters.
func authorities(path string) []string {
	return []string{
		"localhost",
		url.PathEscape(path),
		path,
		"/a directory/[kms]:é@1.sock",
		"%2Fa%20directory%2F%5Bkms%5D.sock",
		"@kms",
	}
}

func (s *suite) authorities() error {
	for _, authority := range authorities(s.path) {
		plugin, err := dial(s.path, authority)
		if err != nil {
			return fmt.Errorf("%q: %w", authority, err)
		}
		_, err = plugin.status(s.ctx)
		plugin.close()
		if err != nil {
			return fmt.Errorf("%q: %w", authority, err)
		}
	}
	return nil
}

func (s *suite) callOften() error {
	plugin, err := dial(s.path, "localhost")
	if err != nil {
		return err
	}
	defer plugin.close()
	for number := range manyCalls {
		if _, err := plugin.status(s.ctx); err != nil {
			return fmt.Errorf("call %d: %w", number+1, err)
		}
	}
	return nil
}

func (s *suite) giveUp() error {
	for number := range repeats {
		ctx, cancel := context.WithTimeout(s.ctx, time.Duration(number)*100*time.Microsecond)
		_, _ = s.plugin.encrypt(ctx, random(32))
		cancel()
	}
	stored, err := s.stores()
	if err != nil {
		return err
	}
	return s.reads(stored)
}

func (s *suite) tooLarge() error {
	_, err := s.plugin.encrypt(s.ctx, bytes.Repeat([]byte{7}, oversize))
	if status.Code(errors.Unwrap(err)) == codes.DeadlineExceeded {
		return err
	}
	s.notef("%v", status.Code(errors.Unwrap(err)))
	stored, err := s.stores()
	if err != nil {
		return fmt.Errorf("the next call: %w", err)
	}
	return s.reads(stored)
}

func (s *suite) unknownMethod() error {
	_, err := s.plugin.call(s.ctx, "Conformance", message())
	if code := status.Code(errors.Unwrap(err)); code != codes.Unimplemented {
		return fmt.Errorf("it is %v", code)
	}
	return nil
}

func (s *suite) twoConnections() error {
	other, err := dial(s.path, "localhost")
	if err != nil {
		return err
	}
	defer other.close()
	for range repeats {
		if _, err := other.status(s.ctx); err != nil {
			return fmt.Errorf("the second one: %w", err)
		}
		if _, err := s.plugin.status(s.ctx); err != nil {
			return fmt.Errorf("the first one: %w", err)
		}
	}
	return nil
}
