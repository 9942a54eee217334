// Package oracle answers what Talos' own packages make of a machine config: one JSON object a line in, one a line out.
package oracle

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/config/validation"
)

// Question is what the tests ask.
type Question struct {
	// A machine config.
	Config string `json:"config"`
	// Patches to lay over it, in order.
	Patches []string `json:"patches"`
	// A secrets bundle and what to generate from it; Config is empty then.
	Secrets    string `json:"secrets"`
	Cluster    string `json:"cluster"`
	Endpoint   string `json:"endpoint"`
	Type       string `json:"type"`
	Contract   string `json:"contract"`
	Disk       string `json:"disk"`
	Image      string `json:"image"`
	Kubernetes string `json:"kubernetes"`
}

// Answer is what Talos makes of it.
type Answer struct {
	// The patched config as Talos writes it, when it could be patched.
	Config string `json:"config"`
	// Why it could not be read or patched.
	Refused string `json:"refused"`
	// What strict validation for metal says; empty when it is valid.
	Invalid string `json:"invalid"`
	// What validation warns of.
	Warnings []string `json:"warnings"`
}

type metal struct{}

func (metal) String() string        { return "metal" }
func (metal) RequiresInstall() bool { return true }
func (metal) InContainer() bool     { return false }

// Main is the program: `fields` writes the table of fields, `answer` answers questions until its input ends.
func Main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: oracle fields|answer")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "fields":
		err = WriteFields(os.Stdout)
	case "answer":
		err = answerAll(os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answerAll(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	writer := bufio.NewWriter(out)
	encoder := json.NewEncoder(writer)
	for {
		var question Question
		if err := decoder.Decode(&question); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := encoder.Encode(answer(question)); err != nil {
			return err
		}
		if err := writer.Flush(); err != nil {
			return err
		}
	}
}

func answer(question Question) (answer Answer) {
	// Talos recovers from its YAML package's panics in loading only; a panic in merging is a refusal here.
	defer func() {
		if reason := recover(); reason != nil {
			answer = Answer{Refused: fmt.Sprintf("panic: %v", reason)}
		}
	}()
	var err error
	if question.Secrets != "" {
		if question.Config, err = generated(question); err != nil {
			return Answer{Refused: err.Error()}
		}
	}
	patches := []configpatcher.Patch{}
	for _, text := range question.Patches {
		patch, err := configpatcher.LoadPatch([]byte(text))
		if err != nil {
			return Answer{Refused: "patch: " + err.Error()}
		}
		patches = append(patches, patch)
	}
	output, err := configpatcher.Apply(configpatcher.WithBytes([]byte(question.Config)), patches)
	if err != nil {
		return Answer{Refused: "apply: " + err.Error()}
	}
	provider, err := output.Config()
	if err != nil {
		return Answer{Refused: "load: " + err.Error()}
	}
	// Releases before 1.14 keep a delete of what is not there as if it were a document.
	for _, document := range provider.Documents() {
		if _, ok := document.(configloader.Selector); ok {
			return Answer{Refused: "apply: a delete in a document that is not there"}
		}
	}
	written, err := encode(provider)
	if err != nil {
		return Answer{Refused: "encode: " + err.Error()}
	}
	answer.Config = string(written)
	warnings, err := provider.Validate(metal{}, validation.WithStrict())
	if err != nil {
		answer.Invalid = err.Error()
	}
	answer.Warnings = warnings

	return answer
}

// A container that was only read gives back the bytes that it was read from; its copy is written anew.
func encode(provider config.Provider) ([]byte, error) {
	return provider.Clone().EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
}

func generated(question Question) (string, error) {
	bundle, err := secrets.LoadBundle(question.Secrets)
	if err != nil {
		return "", err
	}
	contract, err := config.ParseContractFromVersion(question.Contract)
	if err != nil {
		return "", err
	}
	kind, err := machine.ParseType(question.Type)
	if err != nil {
		return "", err
	}
	input, err := generate.NewInput(question.Cluster, question.Endpoint, strings.TrimPrefix(question.Kubernetes, "v"),
		generate.WithVersionContract(contract), generate.WithSecretsBundle(bundle),
		generate.WithInstallDisk(question.Disk), generate.WithInstallImage(question.Image))
	if err != nil {
		return "", err
	}
	provider, err := input.Config(kind)
	if err != nil {
		return "", err
	}
	bytes, err := encode(provider)

	return string(bytes), err
}
