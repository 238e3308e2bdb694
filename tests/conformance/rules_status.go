package main

import (
	"fmt"
	"slices"
	"time"
)

const (
	repeats      = 20
	maxKeyID     = 1024
	statusLimit  = 100 * time.Millisecond
	encryptLimit = 100 * time.Millisecond
	decryptLimit = 10 * time.Millisecond
)

func statusRules() []rule {
	return []rule{
		{id: "S01", title: "Status says healthz ok", source: guide, do: (*suite).statusIsOK},
		{id: "S02", title: "Status names the API version v2 or v2beta1", source: client, do: (*suite).statusVersion},
		{id: "S03", title: "Status names a key_id of 1 to 1,024 bytes", source: client, do: (*suite).statusKeyID},
		{id: "S04", title: "Status takes at most 100 ms at the median of 20 calls", source: guide, do: (*suite).statusIsQuick},
		{id: "S05", title: "20 Status calls name one key_id and one version", source: guide, do: (*suite).statusIsStable},
	}
}

func (s *suite) statusIsOK() error {
	status, err := s.plugin.status(s.ctx)
	if err == nil && status.healthz != "ok" {
		err = fmt.Errorf("healthz is %q", status.healthz)
	}
	return err
}

func (s *suite) statusVersion() error {
	status, err := s.plugin.status(s.ctx)
	if err == nil && status.version != "v2" && status.version != "v2beta1" {
		err = fmt.Errorf("version is %q", status.version)
	}
	s.notef("%s", status.version)
	return err
}

func (s *suite) statusKeyID() error {
	status, err := s.plugin.status(s.ctx)
	if err == nil && (status.keyID == "" || len(status.keyID) > maxKeyID) {
		err = fmt.Errorf("the key_id has %d bytes", len(status.keyID))
	}
	return err
}

func (s *suite) statusIsQuick() error {
	return s.medianWithin(statusLimit, func() error {
		_, err := s.plugin.status(s.ctx)
		return err
	})
}

func (s *suite) statusIsStable() error {
	first, err := s.plugin.status(s.ctx)
	for range repeats {
		var next statusResponse
		if next, err = s.plugin.status(s.ctx); err != nil {
			break
		}
		if next.keyID != first.keyID || next.version != first.version {
			return fmt.Errorf("%q %q, then %q %q", first.version, first.keyID, next.version, next.keyID)
		}
	}
	s.seen[first.keyID] = true
	return err
}

// medianWithin makes a call some times, one after the other.
func (s *suite) medianWithin(limit time.Duration, call func() error) error {
	var times []time.Duration
	for range repeats {
		start := time.Now()
		if err := call(); err != nil {
			return err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	median := times[len(times)/2]
	s.notef("median %v", median.Round(10*time.Microsecond))
	if median > limit {
		return fmt.Errorf("the median is %v", median.Round(time.Millisecond))
	}
	return nil
}
