package main

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	maxCiphertext  = 1024
	maxAnnotations = 32 * 1024
)

// label is a part of a domain name.
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func encryptRules() []rule {
	return []rule{
		{id: "E01", title: "Encrypt of a seed returns 1 to 1,024 bytes", source: client, do: (*suite).ciphertextSize},
		{id: "E02", title: "Encrypt names the key_id of Status", source: guide, after: []string{"S05"}, do: (*suite).encryptKeyID},
		{id: "E03", title: "annotations have domain names as keys, and 32 KiB at most", source: client, do: (*suite).annotations},
		{id: "E04", title: "distinct plaintexts have distinct responses", source: guide, do: (*suite).distinct},
		{id: "E05", title: "the plaintext is in no response", source: guide, do: (*suite).secret},
		{id: "E06", title: "Encrypt takes at most 100 ms at the median of 20 calls", source: guide, advice: true, do: (*suite).encryptIsQuick},
	}
}

func decryptRules() []rule {
	return []rule{
		{id: "D01", title: "Decrypt returns the plaintext", source: guide, after: []string{"E04"}, do: (*suite).decryptIsInverse},
		{id: "D02", title: "50 Decrypts at once return the plaintext", source: client, after: []string{"D01"}, do: (*suite).decryptAtOnce},
		{id: "D03", title: "Decrypt refuses a key_id that was never announced", source: guide, do: (*suite).decryptForeignKeyID},
		{id: "D04", title: "Decrypt refuses a changed ciphertext", source: guide, do: (*suite).decryptChanged},
		{id: "D05", title: "Decrypt refuses an empty ciphertext", source: guide, do: (*suite).decryptEmpty},
		{id: "D06", title: "Decrypt takes at most 10 ms at the median of 20 calls", source: guide, advice: true, after: []string{"D01"}, do: (*suite).decryptIsQuick},
	}
}

func (s *suite) ciphertextSize() error {
	stored, err := s.stores()
	size := len(stored.ciphertext)
	if err == nil && (size == 0 || size > maxCiphertext) {
		err = fmt.Errorf("the ciphertext has %d bytes", size)
	}
	s.notef("%d bytes", size)
	return err
}

func (s *suite) encryptKeyID() error {
	before, err := s.plugin.status(s.ctx)
	if err != nil {
		return err
	}
	stored, err := s.stores()
	if err == nil && stored.keyID != before.keyID {
		err = fmt.Errorf("Status names %q, Encrypt %q", before.keyID, stored.keyID)
	}
	return err
}

func (s *suite) annotations() error {
	stored, err := s.stores()
	size := 0
	for key, value := range stored.annotations {
		size += len(key) + len(value)
		if !isDomainName(key) {
			return fmt.Errorf("%q is no fully qualified domain name", key)
		}
	}
	if err == nil && size > maxAnnotations {
		err = fmt.Errorf("they have %d bytes", size)
	}
	return err
}

func isDomainName(name string) bool {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, part := range labels {
		if !label.MatchString(part) {
			return false
		}
	}
	return len(labels) > 1 && len(name) <= 253
}

func (s *suite) distinct() error {
	seen := map[string]bool{}
	for range repeats {
		stored, err := s.stores()
		if err != nil {
			return err
		}
		response := fmt.Sprintf("%q %q %q", stored.ciphertext, stored.keyID, stored.annotations)
		if seen[response] {
			return errors.New("two plaintexts have the same response")
		}
		seen[response] = true
	}
	return nil
}

func (s *suite) secret() error {
	stored, err := s.stores()
	if err != nil {
		return err
	}
	whole := [][]byte{stored.ciphertext, []byte(stored.keyID)}
	for _, value := range stored.annotations {
		whole = append(whole, value)
	}
	for _, part := range whole {
		if bytes.Contains(part, stored.plaintext) {
			return errors.New("it is part of the response, as it was sent")
		}
	}
	return nil
}

func (s *suite) encryptIsQuick() error {
	return s.medianWithin(encryptLimit, func() error {
		_, err := s.stores()
		return err
	})
}

func (s *suite) decryptIsInverse() error {
	stored, err := s.stores()
	if err != nil {
		return err
	}
	return s.reads(stored)
}

// reads decrypts what was stored, as kube-apiserver does.
func (s *suite) reads(stored storedSeed) error {
	plaintext, err := s.plugin.decrypt(s.ctx, stored.encryptResponse)
	if err == nil && !bytes.Equal(plaintext, stored.plaintext) {
		err = errors.New("another plaintext came back")
	}
	return err
}

func (s *suite) decryptAtOnce() error {
	stored, err := s.stores()
	if err != nil {
		return err
	}
	for _, failure := range atOnce(func() error { return s.reads(stored) }) {
		if failure != nil {
			return failure
		}
	}
	return nil
}

func (s *suite) decryptForeignKeyID() error {
	return s.refuses(func(stored *storedSeed) {
		stored.keyID = "conformance-never-announced"
	})
}

func (s *suite) decryptChanged() error {
	return s.refuses(func(stored *storedSeed) {
		changed := bytes.Clone(stored.ciphertext)
		// The last character of base64 may hold bits that count for nothing.
		changed[len(changed)/2] ^= 1
		stored.ciphertext = changed
	})
}

func (s *suite) decryptEmpty() error {
	return s.refuses(func(stored *storedSeed) { stored.ciphertext = nil })
}

// refuses expects an error for what was stored and then changed.
func (s *suite) refuses(change func(*storedSeed)) error {
	stored, err := s.stores()
	if err != nil {
		return err
	}
	change(&stored)
	if _, err := s.plugin.decrypt(s.ctx, stored.encryptResponse); err == nil {
		return errors.New("it was decrypted")
	}
	return nil
}

func (s *suite) decryptIsQuick() error {
	stored, err := s.stores()
	if err != nil {
		return err
	}
	return s.medianWithin(decryptLimit, func() error { return s.reads(stored) })
}
