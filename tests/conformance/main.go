// Command conformance checks a KMS v2 plugin against the rules of Kubernetes, see README.md.
//
// With an ENDPOINT in place of --socket it is the kube-apiserver of one Kubernetes release, as far as a
// plugin can tell: it goes through the release's own packages from the EncryptionConfiguration to the
// stored bytes and back. It prints a line for each check and fails when one of them fails.
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
	api       string // "v1" or "v2"
	rotateURL string // adds a version to the plugin's key; "" leaves the rotation out
	token     string // of Vault, for that
	calls     int    // how many calls one connection has to stand; 0 leaves that out
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "double" {
		double(os.Args[2:])
		return
	}
	var s settings
	var o options
	onlyList := flags(&s, &o)
	flag.Parse()
	s.api = o.api
	if *onlyList {
		fmt.Print(list())
		return
	}
	if err := enableV1(); err != nil {
		fail(err.Error())
	}
	if o.socket != "" {
		code, err := public(o, os.Stdout)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	if flag.NArg() == 0 {
		fail("usage: conformance --socket unix:///PATH [--rotate CMD] [--stop CMD --start CMD], see --help")
	}
	good := true
	for _, endpoint := range flag.Args() {
		good = conforms(s, endpoint) && good
	}
	if !good {
		os.Exit(exitFailed)
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
	os.Exit(exitUsage)
}
