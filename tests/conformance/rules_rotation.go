package main

import (
	"errors"
	"fmt"
	"time"
)

const (
	rotationPace = 100 * time.Millisecond
	// How long the new key_id is watched: a plugin with several servers behind it may waver.
	watched = 10 * time.Second
)

// rotation is what was seen of one, from the command to the end of the watch.
type rotation struct {
	announced time.Duration // until Status named another key_id
	mismatch  error         // an Encrypt with neither the key_id of the Status before nor of that after
	wavered   error         // a key_id that came back
}

func rotationRules() []rule {
	of := func(id, title string, after []string, do func(*suite) error) rule {
		return rule{id: id, title: title, source: guide, rotate: true, after: after, do: do}
	}
	return []rule{
		of("R01", "Status names another key_id after a rotation", []string{"E02"}, (*suite).rotates),
		of("R02", "meanwhile each Encrypt names the key_id of a Status beside it", []string{"R01"}, (*suite).agreed),
		of("R03", "the key_id does not flip back in the next 10 seconds", []string{"R01"}, (*suite).didNotWaver),
		of("R04", "what was encrypted before a rotation is decrypted", []string{"R01", "D01"}, (*suite).readsOld),
		of("R05", "the next rotation brings a key_id that was never used", []string{"R01", "R03"}, (*suite).neverReused),
	}
}

func (s *suite) rotates() error {
	observed, err := s.observeRotation()
	s.rotations = observed
	if err == nil {
		s.notef("after %v", observed.announced.Round(100*time.Millisecond))
	}
	return err
}

// observeRotation encrypts between two Status calls, again and again.
func (s *suite) observeRotation() (*rotation, error) {
	before, err := s.plugin.status(s.ctx)
	if err != nil {
		return nil, err
	}
	if err := s.shell(s.rotate); err != nil {
		return nil, err
	}
	observed := &rotation{}
	first, start := before.keyID, time.Now()
	for observed.announced == 0 || time.Since(start) < observed.announced+watched {
		if observed.announced == 0 && time.Since(start) > s.rotationLimit {
			return nil, fmt.Errorf("still %q after %v", first, s.rotationLimit)
		}
		time.Sleep(rotationPace)
		encrypted, err := s.plugin.encrypt(s.ctx, random(32))
		if err != nil {
			return nil, err
		}
		after, err := s.plugin.status(s.ctx)
		if err != nil {
			return nil, err
		}
		observed.add(before.keyID, encrypted.keyID, after.keyID)
		if observed.announced == 0 && after.keyID != first {
			observed.announced = time.Since(start)
		} else if observed.announced > 0 && after.keyID != before.keyID {
			observed.wavered = fmt.Errorf("%q, then %q", before.keyID, after.keyID)
		}
		before = after
	}
	return observed, nil
}

func (r *rotation) add(before, encrypted, after string) {
	if encrypted != before && encrypted != after {
		r.mismatch = fmt.Errorf("Status named %q, Encrypt %q, Status %q", before, encrypted, after)
	}
}

func (s *suite) agreed() error {
	return s.rotations.mismatch
}

func (s *suite) didNotWaver() error {
	return s.rotations.wavered
}

func (s *suite) readsOld() error {
	for _, stored := range s.stored {
		if err := s.reads(stored); err != nil {
			return fmt.Errorf("%q: %w", stored.keyID, err)
		}
	}
	return nil
}

func (s *suite) neverReused() error {
	status, err := s.plugin.status(s.ctx)
	if err != nil {
		return err
	}
	s.seen[status.keyID] = true
	if _, err := s.observeRotation(); err != nil {
		return err
	}
	if status, err = s.plugin.status(s.ctx); err != nil {
		return err
	}
	if s.seen[status.keyID] {
		return errors.New(status.keyID + " is used again")
	}
	return nil
}
