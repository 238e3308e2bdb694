package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"
)

// Exit codes: all rules hold, one does not, and the command line is wrong.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64
)

// options is the command line of the public mode.
type options struct {
	api           string
	socket        string
	rotate        string
	stop          string
	start         string
	rotationLimit time.Duration
	output        string
	summary       string
	name          string
	background    context.Context
}

func (o options) endpoint() string {
	if o.path()[0] == '@' || o.socket[0] == '/' {
		return "unix:///" + trimSlash(o.path())
	}
	return o.socket
}

func (o options) path() string {
	path, _ := socketPath(o.socket)
	return path
}

func trimSlash(path string) string {
	if path[0] == '/' {
		return path[1:]
	}
	return path
}

// public is `conformance --socket ...`. It writes the report to out.
func public(o options, out io.Writer) (int, error) {
	path, err := socketPath(o.socket)
	if err != nil {
		return exitUsage, err
	}
	if o.output != "tap" && o.output != "junit" {
		return exitUsage, fmt.Errorf("--output is tap or junit, not %q", o.output)
	}
	if (o.stop == "") != (o.start == "") {
		return exitUsage, errors.New("--stop and --start belong together")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.background = ctx
	connection, err := dial(path, "localhost")
	if err != nil {
		return exitUsage, err
	}
	defer connection.close()
	s := &suite{options: o, path: path, plugin: connection, seen: map[string]bool{}}
	report := func(outcome) {}
	if o.output == "tap" {
		report = startTAP(out, len(rules()))
	}
	outcomes := s.run(report)
	if o.output == "junit" {
		if err := writeJUnit(out, o, outcomes); err != nil {
			return exitFailed, err
		}
	}
	if o.summary != "" {
		if err := os.WriteFile(o.summary, []byte(summary(o, outcomes)), 0o644); err != nil {
			return exitFailed, err
		}
	}
	for _, outcome := range outcomes {
		if outcome.fails() {
			return exitFailed, nil
		}
	}
	return exitOK, nil
}

func flags(s *settings, o *options) (list *bool) {
	flag.StringVar(&s.rotateURL, "rotate-url", "", "of this repository's tests: the URL that adds a version to the key")
	flag.StringVar(&s.token, "token", "", "of this repository's tests: the Vault token for -rotate-url")
	flag.IntVar(&s.calls, "calls", 0, "of this repository's tests: how many calls one connection has to stand")
	flag.StringVar(&o.api, "api", "v2", "the API that kube-apiserver is configured with in the K rules: v2, or v1")
	flag.StringVar(&o.socket, "socket", "", "the endpoint of the plugin: unix:///path or unix:///@name")
	flag.StringVar(&o.rotate, "rotate", "", "a shell command that rotates the key")
	flag.StringVar(&o.stop, "stop", "", "a shell command that stops the plugin, and returns when it has ended")
	flag.StringVar(&o.start, "start", "", "a shell command that starts the plugin in the background, and returns")
	flag.DurationVar(&o.rotationLimit, "rotation-limit", 2*time.Minute, "how long the plugin may take to notice a rotation")
	flag.StringVar(&o.output, "output", "tap", "the report on standard output: tap or junit")
	flag.StringVar(&o.summary, "summary", "", "a file for a page in Markdown")
	flag.StringVar(&o.name, "name", "plugin", "the name of the plugin in the reports")
	return flag.Bool("list", false, "print the rules as a table in Markdown, and end")
}

// release is the version of k8s.io/apiserver that is built in.
func release() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "k8s.io/apiserver" {
			return module.Version
		}
	}
	return "unknown"
}
