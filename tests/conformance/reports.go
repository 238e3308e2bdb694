package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// fails is whether it makes the plugin fail the suite.
func (o outcome) fails() bool {
	return o.err != nil && !o.advice
}

func (o outcome) word() string {
	switch {
	case o.skipped != "":
		return "skipped"
	case o.err == nil:
		return "ok"
	case o.advice:
		return "should"
	}
	return "FAILED"
}

// detail is what there is to say in one line.
func (o outcome) detail() string {
	text := o.note
	if o.skipped != "" {
		text = o.skipped
	}
	if o.err != nil {
		text = o.err.Error()
	}
	return strings.Join(strings.Fields(text), " ")
}

// startTAP writes the head of a TAP stream, and returns what writes a line of it.
func startTAP(out io.Writer, count int) func(outcome) {
	fmt.Fprintf(out, "TAP version 13\n1..%d\n", count)
	number := 0
	return func(o outcome) {
		number++
		result, directive := "ok", ""
		if o.err != nil {
			result = "not ok"
		}
		if o.skipped != "" {
			directive = " # SKIP " + o.skipped
		} else if o.err != nil && o.advice {
			directive = " # TODO the source says should"
		}
		fmt.Fprintf(out, "%s %d - %s %s%s\n", result, number, o.id, o.title, directive)
		if detail := o.detail(); detail != "" && o.skipped == "" {
			fmt.Fprintf(out, "# %s: %s\n", o.id, detail)
		}
	}
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Seconds string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
}

func writeJUnit(out io.Writer, o options, outcomes []outcome) error {
	report := junitSuite{Name: o.name, Tests: len(outcomes)}
	for _, outcome := range outcomes {
		one := junitCase{
			Class:   "kms-v2",
			Name:    outcome.id + " " + outcome.title,
			Seconds: fmt.Sprintf("%.3f", outcome.took.Seconds()),
			Output:  outcome.note,
		}
		switch message := (&junitMessage{outcome.detail()}); {
		case outcome.fails():
			one.Failure = message
			report.Failures++
		case outcome.skipped != "" || outcome.err != nil:
			one.Skipped = message
			report.Skipped++
		}
		report.Cases = append(report.Cases, one)
	}
	fmt.Fprint(out, xml.Header)
	encoder := xml.NewEncoder(out)
	encoder.Indent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

// summary is a page for people.
func summary(o options, outcomes []outcome) string {
	counts := map[string]int{}
	rows := ""
	for _, outcome := range outcomes {
		counts[outcome.word()]++
		rows += fmt.Sprintf("| %s | %s | %s | %s | %v |\n", outcome.id, outcome.title, outcome.word(),
			strings.ReplaceAll(outcome.detail(), "|", `\|`), outcome.took.Round(10*time.Millisecond))
	}
	return fmt.Sprintf(`# KMS v2 conformance of %s

With the client code of Kubernetes %s: %d ok, %d failed, %d as it should not be, %d skipped.

| rule | what it says | result | detail | took |
|---|---|---|---|---|
%s`, o.name, kubernetes(), counts["ok"], counts["FAILED"], counts["should"], counts["skipped"], rows)
}

// kubernetes is the release whose client code is built in: v0.37.2 is that of 1.37.2.
func kubernetes() string {
	return strings.Replace(release(), "v0.", "1.", 1)
}

// list is the table of all rules.
func list() string {
	text := "| rule | what it says | source | needs |\n|---|---|---|---|\n"
	for _, rule := range rules() {
		needs := ""
		if rule.rotate {
			needs = "`--rotate`"
		}
		if rule.stop {
			needs = "`--stop`, `--start`"
		}
		title := rule.title
		if rule.advice {
			title += " (advice)"
		}
		text += fmt.Sprintf("| %s | %s | %s | %s |\n", rule.id, title, rule.source, needs)
	}
	return text
}
