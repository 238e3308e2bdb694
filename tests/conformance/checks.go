package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	writes      = 20
	concurrent  = 50
	announced   = 120 * time.Second // the plugin looks every 30 s, a good health check is kept for 20 s
	paceOfWaits = 500 * time.Millisecond
)

// check is one line of the report.
type check struct {
	name string
	do   func() error
}

// run is what the checks of one endpoint share.
type run struct {
	settings
	ctx      context.Context
	endpoint string
	writer   *apiserver
	stored   []object // before a rotation
}

// object is one that the writer stored.
type object struct {
	name  string
	plain []byte
	blob  []byte
}

func (r *run) checks() []check {
	checks := []check{
		{"the configuration loads", r.load},
		{"the health checks pass", r.healthy},
		{"what is written cannot be read", r.write},
		{"the writer reads what it wrote", r.readOwn},
		{"a cold apiserver reads it", r.readCold},
		{"a cold apiserver reads one object 50 times at once", r.readConcurrently},
	}
	if r.calls > 0 {
		checks = append(checks, check{fmt.Sprintf("one connection carries %d calls", r.calls), r.callOften})
	}
	if r.rotateURL == "" {
		return checks
	}
	return append(checks,
		check{"the key is rotated", r.rotateKey},
		check{"a rotation changes the key under which is written", r.noticeRotation},
		check{"old objects stay readable, and v2 calls them stale", r.readOld},
		check{"a cold apiserver reads old and new", r.readOldAndNewCold},
		check{"rewritten objects are no longer stale", r.rewrite},
		check{"the health checks still pass", r.healthy},
	)
}

func (r *run) load() error {
	writer, err := r.start()
	r.writer = writer
	return err
}

func (r *run) start() (*apiserver, error) {
	return startApiserver(r.ctx, r.api, r.endpoint)
}

func (r *run) healthy() error {
	request, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return err
	}
	if len(r.writer.health) == 0 {
		return errors.New("there are none")
	}
	for _, checker := range r.writer.health {
		if err := checker.Check(request); err != nil {
			return fmt.Errorf("%s: %w", checker.Name(), err)
		}
	}
	return nil
}

func (r *run) write() error {
	sources := map[string]bool{}
	for number := range writes {
		object, err := r.writeOne(fmt.Sprintf("secret-%d", number))
		if err != nil {
			return err
		}
		wrapped, err := unwrap(r.api, object.blob)
		if err != nil {
			return err
		}
		sources[string(wrapped.source)] = true
		r.stored = append(r.stored, object)
	}
	// Under v2 one seed serves all writes, under v1 each has a key of its own.
	if want := map[string]int{"v1": writes, "v2": 1}[r.api]; len(sources) != want {
		return fmt.Errorf("%d different wrapped keys, not %d", len(sources), want)
	}
	return nil
}

func (r *run) writeOne(name string) (object, error) {
	plain := []byte("the plaintext of " + name)
	blob, err := r.writer.store(r.ctx, name, plain)
	if err == nil && bytes.Contains(blob, plain) {
		err = errors.New("the plaintext is stored")
	}
	return object{name, plain, blob}, err
}

func (r *run) readOwn() error {
	return r.readAll(r.writer, r.stored, false)
}

func (r *run) readCold() error {
	cold, err := r.start()
	if err != nil {
		return err
	}
	return r.readAll(cold, r.stored, false)
}

func (r *run) readAll(reader *apiserver, objects []object, stale bool) error {
	for _, object := range objects {
		if err := reader.expect(r.ctx, object, stale); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) readConcurrently() error {
	cold, err := r.start()
	if err != nil {
		return err
	}
	read := func() error { return cold.expect(r.ctx, r.stored[0], false) }
	return errors.Join(atOnce(read)...)
}

// atOnce has many do the same at one time, and returns how each of them failed.
func atOnce(act func() error) []error {
	failures := make([]error, concurrent)
	var all sync.WaitGroup
	for number := range failures {
		all.Add(1)
		go func() {
			defer all.Done()
			failures[number] = act()
		}()
	}
	all.Wait()
	return failures
}

func (r *run) rotateKey() error {
	return post(r.ctx, r.rotateURL, r.token)
}

// noticeRotation writes until it happens under another key, which takes the plugin's next look and
// the apiserver's next Status.
func (r *run) noticeRotation() error {
	before, err := unwrap(r.api, r.stored[0].blob)
	if err != nil {
		return err
	}
	for start := time.Now(); time.Since(start) < announced; time.Sleep(paceOfWaits) {
		if err := r.healthy(); err != nil {
			return err
		}
		object, err := r.writeOne("late")
		if err != nil {
			return err
		}
		after, err := unwrap(r.api, object.blob)
		if err != nil {
			return err
		}
		if after.key != before.key {
			if bytes.Equal(after.source, before.source) {
				return errors.New("the key is new and the seed is not")
			}
			return nil
		}
	}
	return fmt.Errorf("still %s after %v", before.key, announced)
}

// stale is what an object under an older key is called; v1 knows no staleness.
func (r *run) stale() bool {
	return r.api == "v2"
}

func (r *run) readOld() error {
	return r.readAll(r.writer, r.stored, r.stale())
}

func (r *run) readOldAndNewCold() error {
	fresh, err := r.writeOne("fresh")
	if err != nil {
		return err
	}
	cold, err := r.start()
	if err != nil {
		return err
	}
	if err := cold.expect(r.ctx, fresh, false); err != nil {
		return err
	}
	return r.readAll(cold, r.stored, r.stale())
}

func (r *run) rewrite() error {
	for _, old := range r.stored {
		rewritten, err := r.writeOne(old.name)
		if err != nil {
			return err
		}
		if err := r.writer.expect(r.ctx, rewritten, false); err != nil {
			return err
		}
	}
	return nil
}
