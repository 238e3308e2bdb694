package main

import (
	"errors"
	"time"
)

// The rules below go through the code of kube-apiserver, of the release that this program is built with.
func clientRules() []rule {
	sound := []string{"S01", "S02", "S03", "S05", "E01", "E02", "E03", "D01"}
	of := func(id, title string, after []string, do func(*suite) error) rule {
		return rule{id: id, title: title, source: client, after: after, do: do}
	}
	rotated := of("K05", "a rotation makes old objects stale, and they stay readable", []string{"K02", "R02", "R03", "R04"},
		(*suite).clientRotates)
	rotated.rotate = true
	rewritten := of("K06", "a cold kube-apiserver reads old and new objects, and rewritten ones are not stale", []string{"K05"},
		(*suite).clientRewrites)
	rewritten.rotate = true
	late := of("K07", "a kube-apiserver that starts before the plugin becomes healthy", []string{"K01", "X04"}, (*suite).clientStartsFirst)
	late.stop = true
	return []rule{
		of("K01", "kube-apiserver loads the configuration and is healthy", sound, (*suite).clientLoads),
		of("K02", "kube-apiserver reads what it wrote, and etcd holds no plaintext", []string{"K01"}, (*suite).clientWrites),
		of("K03", "a cold kube-apiserver reads it", []string{"K02"}, (*suite).clientReadsCold),
		of("K04", "a cold kube-apiserver reads one object 50 times at once", []string{"K02", "D02"}, (*suite).clientReadsAtOnce),
		rotated,
		rewritten,
		late,
	}
}

func (s *suite) clientLoads() error {
	s.genuine = &run{settings: settings{api: s.api}, ctx: s.background, endpoint: s.endpoint()}
	return inOrder(s.genuine.load, s.genuine.healthy)
}

func (s *suite) clientWrites() error {
	return inOrder(s.genuine.write, s.genuine.readOwn)
}

func (s *suite) clientReadsCold() error {
	return s.genuine.readCold()
}

func (s *suite) clientReadsAtOnce() error {
	return s.genuine.readConcurrently()
}

func (s *suite) clientRotates() error {
	rotate := func() error { return s.shell(s.rotate) }
	return inOrder(rotate, s.genuine.noticeRotation, s.genuine.readOld)
}

func (s *suite) clientRewrites() error {
	return inOrder(s.genuine.readOldAndNewCold, s.genuine.rewrite, s.genuine.healthy)
}

// clientStartsFirst loads the configuration while there is no plugin; kube-apiserver asks every 10 s.
func (s *suite) clientStartsFirst() error {
	if err := s.shell(s.stop); err != nil {
		return err
	}
	early := &run{settings: settings{api: s.api}, ctx: s.background, endpoint: s.endpoint()}
	loaded := early.load()
	if err := s.shell(s.start); err != nil {
		return err
	}
	if loaded != nil {
		return loaded
	}
	last := errors.New("it was not asked")
	for start := time.Now(); time.Since(start) < lateLimit; time.Sleep(paceOfWaits) {
		if last = early.healthy(); last == nil {
			return inOrder(early.write, early.readOwn)
		}
	}
	return last
}

func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
