package evaluators

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Spec is an evaluator as it is named: NAME=KIND:SOURCE on the command line, or
// a table [evaluator.NAME] of the configuration file.
type Spec struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Source string   `json:"source"` // a folder, a file or an address: the kind says which
	Device []string `json:"device"` // none for the command's
	Batch  int      `json:"batch"`  // most images in one batch, 0 for the command's

	// Options are the kind's own.
	Options Options `json:"-"`
}

// Options are settings of one kind, by the names that a configuration file has.
type Options map[string]json.RawMessage

// UnmarshalText reads NAME=KIND:SOURCE or NAME=KIND, or a JSON object with the
// keys of a table and "name".
func (s *Spec) UnmarshalText(text []byte) error {
	if bytes.HasPrefix(text, []byte("{")) {
		return s.readTable(text)
	}
	name, rest, named := strings.Cut(string(text), "=")
	if !named {
		return fmt.Errorf("%q is not NAME=KIND:SOURCE", text)
	}
	kind, source, _ := strings.Cut(rest, ":")
	*s = Spec{Name: name, Kind: kind, Source: source}
	return s.check()
}

func (s *Spec) readTable(text []byte) error {
	*s = Spec{}
	if err := json.Unmarshal(text, &s.Options); err != nil {
		return fmt.Errorf("evaluator: %w", err)
	}
	type table Spec // without UnmarshalText
	if err := json.Unmarshal(text, (*table)(s)); err != nil {
		return fmt.Errorf("evaluator %.80q: %w", s.Name, err)
	}
	for _, own := range []string{"name", "kind", "source", "device", "batch"} {
		delete(s.Options, own)
	}
	return s.check()
}

// maxName bounds an evaluator's name, which stands in metrics and responses.
const maxName = 64

func (s *Spec) check() error {
	switch {
	case s.Name == "" || len(s.Name) > maxName || strings.ContainsAny(s.Name, " ,\t\r\n"):
		return fmt.Errorf("evaluator %.80q: want a name of 1 to %d characters without spaces and commas", s.Name, maxName)
	case s.Kind == "":
		return fmt.Errorf("evaluator %s: kind: required", s.Name)
	case s.Batch < 0:
		return fmt.Errorf("evaluator %s: batch: %d is below 0", s.Name, s.Batch)
	}
	return nil
}

// Decode reads the options into v, a pointer to a struct, and fails for one that
// it does not have.
func (o Options) Decode(v any) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}
