package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// How long a plugin may take to answer after it was started.
	startLimit = 30 * time.Second
	// A client that came first tries again at least so often.
	lateLimit = 45 * time.Second
)

func restartRules() []rule {
	of := func(id, title, source string, after []string, do func(*suite) error) rule {
		return rule{id: id, title: title, source: source, stop: true, after: after, do: do}
	}
	return []rule{
		of("X01", "a restart keeps the key_id", guide, []string{"S01", "S05"}, (*suite).restartKeepsKeyID),
		of("X02", "what was encrypted before a restart is decrypted", guide, []string{"S01", "D01"}, (*suite).readsLast),
		of("X03", "no call hangs when the plugin stops", wire, []string{"S01"}, (*suite).stopHangsNobody),
		of("X04", "a client that was there before the plugin is answered", client, []string{"S01"}, (*suite).startsLate),
	}
}

func (s *suite) restart() error {
	if err := s.shell(s.stop); err != nil {
		return err
	}
	if err := s.shell(s.start); err != nil {
		return err
	}
	return s.waitOK(s.plugin)
}

func (s *suite) waitOK(plugin *plugin) error {
	last := errors.New("it was not asked")
	for start := time.Now(); time.Since(start) < startLimit; time.Sleep(rotationPace) {
		answer, err := plugin.status(s.ctx)
		if err == nil && answer.healthz == "ok" {
			return nil
		}
		last = err
		if err == nil {
			last = fmt.Errorf("healthz is %q", answer.healthz)
		}
	}
	return fmt.Errorf("not ok after %v: %w", startLimit, last)
}

func (s *suite) restartKeepsKeyID() error {
	before, err := s.plugin.status(s.ctx)
	if err != nil {
		return err
	}
	if _, err := s.stores(); err != nil {
		return err
	}
	if err := s.restart(); err != nil {
		return err
	}
	after, err := s.plugin.status(s.ctx)
	if err == nil && after.keyID != before.keyID {
		err = fmt.Errorf("%q, then %q", before.keyID, after.keyID)
	}
	return err
}

// readsLast is about what X01 stored; whatever is older may need an older key.
func (s *suite) readsLast() error {
	return s.reads(s.stored[len(s.stored)-1])
}

// stopHangsNobody calls all the time while the plugin stops: each call ends before its deadline, with an
// answer or an error.
func (s *suite) stopHangsNobody() error {
	callers, err := dial(s.path, "localhost")
	if err != nil {
		return err
	}
	defer callers.close()
	var hung atomic.Int64
	var running sync.WaitGroup
	done := make(chan struct{})
	for range repeats {
		running.Add(1)
		go func() {
			defer running.Done()
			for isOpen(done) {
				// Without a connection it fails at once, so that only the plugin can make it wait.
				_, err := callers.call(s.ctx, "Encrypt", message(field{1, random(32)}), grpc.WaitForReady(false))
				if status.Code(errors.Unwrap(err)) == codes.DeadlineExceeded {
					hung.Add(1)
				}
				time.Sleep(time.Millisecond)
			}
		}()
	}
	stopped := s.shell(s.stop)
	close(done)
	running.Wait()
	if err := errors.Join(stopped, s.shell(s.start), s.waitOK(s.plugin)); err != nil {
		return err
	}
	if count := hung.Load(); count > 0 {
		return fmt.Errorf("%d calls waited until their deadline", count)
	}
	return nil
}

func isOpen(done <-chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

func (s *suite) startsLate() error {
	if err := s.shell(s.stop); err != nil {
		return err
	}
	early, err := dial(s.path, "localhost")
	if err != nil {
		return err
	}
	defer early.close()
	if _, err := early.status(s.ctx); err == nil {
		return errors.New("it answers although it was stopped")
	}
	if err := s.shell(s.start); err != nil {
		return err
	}
	return s.waitOK(early)
}
