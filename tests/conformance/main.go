// Command conformance is the kube-apiserver of one Kubernetes release, as far as a KMS plugin can
// tell: it goes through the release's own packages from the EncryptionConfiguration to the stored
// bytes and back. It prints a line for each check and fails when one of them fails.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// A limit for all checks of one endpoint; a rotation is noticed within a minute.
const limit = 150 * time.Second

// settings is what the command line says.
type settings struct {
	api    string // "v1" or "v2"
	rotate string // the URL that adds a version to the plugin's key; "" leaves the rotation out
	token  string // of Vault, for that
	calls  int    // how many calls one connection has to stand; 0 leaves that out
}

func main() {
	var s settings
	flag.StringVar(&s.api, "api", "v2", "the KMS API: v1 or v2")
	flag.StringVar(&s.rotate, "rotate", "", "the URL that adds a version to the plugin's key")
	flag.StringVar(&s.token, "token", "", "the Vault token for -rotate")
	flag.IntVar(&s.calls, "calls", 0, "how many calls one connection has to stand")
	flag.Parse()
	if flag.NArg() == 0 {
		fail("usage: conformance [-api v1|v2] [-rotate URL -token TOKEN] [-calls COUNT] ENDPOINT...")
	}
	if err := enableV1(); err != nil {
		fail(err.Error())
	}
	good := true
	for _, endpoint := range flag.Args() {
		good = conforms(s, endpoint) && good
	}
	if !good {
		os.Exit(1)
	}
}

// conforms runs all checks against one endpoint, up to the first that fails.
func conforms(s settings, endpoint string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	run := &run{settings: s, ctx: ctx, endpoint: endpoint}
	for _, check := range run.checks() {
		start := time.Now()
		if err := check.do(); err != nil {
			fmt.Printf("FAILED %s %s: %v\n", endpoint, check.name, err)
			return false
		}
		fmt.Printf("ok %s %s (%v)\n", endpoint, check.name, time.Since(start).Round(time.Millisecond))
	}
	return true
}

// enableV1 opens the feature gate of KMS v1, which is closed since Kubernetes 1.28.
func enableV1() error {
	gates := utilfeature.DefaultMutableFeatureGate
	if _, known := gates.GetAll()["KMSv1"]; !known {
		return nil
	}
	return gates.Set("KMSv1=true")
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(64)
}
