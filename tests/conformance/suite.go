package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// A limit for one check; kube-apiserver notices a rotation within two minutes.
const checkLimit = 4 * time.Minute

// Where the rules come from; README.md names the places.
const (
	guide  = "guide"
	client = "kube-apiserver"
	wire   = "gRPC"
)

// rule is a numbered check. Its id is stable: a rule that goes leaves its number unused.
type rule struct {
	id     string
	title  string
	source string
	advice bool     // the source says "should": a failure is reported, and is none of the suite
	rotate bool     // needs --rotate
	stop   bool     // needs --stop and --start
	after  []string // what it would fail with
	do     func(*suite) error
}

// outcome is what came of a rule.
type outcome struct {
	rule
	err     error
	skipped string // why it was not run
	note    string // what was measured
	took    time.Duration
}

// suite is what the checks of one plugin share.
type suite struct {
	options
	ctx       context.Context
	path      string // of the socket
	plugin    *plugin
	note      string
	stored    []storedSeed
	seen      map[string]bool // all key_ids so far
	rotations *rotation
	genuine   *run
}

// storedSeed is a seed and what the plugin made of it.
type storedSeed struct {
	plaintext []byte
	encryptResponse
}

func rules() []rule {
	var all []rule
	for _, group := range [][]rule{
		statusRules(), encryptRules(), decryptRules(), connectionRules(), rotationRules(), restartRules(), clientRules(),
	} {
		all = append(all, group...)
	}
	return all
}

// run runs all checks in order, and hands each outcome over as soon as it is there.
func (s *suite) run(report func(outcome)) []outcome {
	var outcomes []outcome
	failed := map[string]bool{}
	for _, rule := range rules() {
		outcome := s.outcome(rule, failed)
		failed[rule.id] = outcome.err != nil || outcome.skipped != ""
		report(outcome)
		outcomes = append(outcomes, outcome)
	}
	return outcomes
}

func (s *suite) outcome(rule rule, failed map[string]bool) outcome {
	if why := s.lacks(rule); why != "" {
		return outcome{rule: rule, skipped: why}
	}
	for _, id := range rule.after {
		if failed[id] {
			return outcome{rule: rule, skipped: id + " did not pass"}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkLimit)
	defer cancel()
	s.ctx, s.note = ctx, ""
	start := time.Now()
	err := rule.do(s)
	return outcome{rule: rule, err: err, note: s.note, took: time.Since(start)}
}

func (s *suite) lacks(rule rule) string {
	switch {
	case rule.rotate && s.rotate == "":
		return "needs --rotate"
	case rule.stop && (s.stop == "" || s.start == ""):
		return "needs --stop and --start"
	case strings.HasPrefix(rule.id, "K") && s.api == "v2" && !speaksV2:
		return "this release of Kubernetes speaks another KMS v2"
	}
	return ""
}

// shell runs one of the operator's commands.
func (s *suite) shell(command string) error {
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	process := exec.CommandContext(ctx, "sh", "-c", command)
	// No pipe that a plugin which it leaves behind could keep open.
	if err := process.Run(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

func (s *suite) notef(format string, values ...any) {
	s.note = fmt.Sprintf(format, values...)
}

// stores encrypts a new seed, and keeps it for later checks.
func (s *suite) stores() (storedSeed, error) {
	seed := random(32)
	encrypted, err := s.plugin.encrypt(s.ctx, seed)
	stored := storedSeed{seed, encrypted}
	if err == nil {
		s.stored = append(s.stored, stored)
		s.seen[encrypted.keyID] = true
	}
	return stored, err
}
