// Package config reads the flags of a command from a TOML file.
package config

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"
	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/internal/modelfile"
)

// MaxBytes bounds a configuration file.
const MaxBytes = 1 << 20

// file is flags from a TOML file: a key for each long flag, its value as
// it would stand on the command line, or as TOML's own number, boolean or
// array. The command line goes before the file.
//
//	listen = "0.0.0.0:8080"
//	public = true
//	model = "/models/ImageDoctor"
//	device = ["cuda:0", "cuda:1"]
//	batch-delay = "10ms"
//
//	[evaluator.doctor]
//	kind = "imagedoctor"
//	source = "/models/ImageDoctor"
//
// Evaluators that need more than NAME=KIND:SOURCE have a table each, in the
// order in which they are listed.
type file struct {
	values map[string]any // a string, or of evaluators a list of strings
}

var _ kong.Resolver = (*file)(nil)

// Flag is the path of a configuration file: kong.ConfigFlag for regular files alone, since to open a pipe
// might wait for ever.
type Flag string

// BeforeResolve reads the file.
func (Flag) BeforeResolve(parser *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	path := kong.ExpandPath(string(ctx.FlagValue(trace.Flag).(Flag)))
	f, err := modelfile.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	resolver, err := Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	ctx.AddResolver(resolver)
	return nil
}

// Read reads the flags of a configuration file.
func Read(r io.Reader) (kong.Resolver, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("configuration file: more than %d bytes", MaxBytes)
	}
	var tree map[string]any
	keys, err := toml.Decode(string(text), &tree)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	c := &file{values: map[string]any{}}
	for key, value := range tree {
		if tables, ok := value.(map[string]any); ok && key == evaluatorFlag {
			if c.values[key], err = evaluatorTables(tables, keys.Keys()); err != nil {
				return nil, fmt.Errorf("configuration file: %w", err)
			}
			continue
		}
		if list, ok := value.([]any); ok && key == evaluatorFlag {
			c.values[key] = list
			continue
		}
		if c.values[key], err = flagText(value); err != nil {
			return nil, fmt.Errorf("configuration file: %s: %w", key, err)
		}
	}
	return c, nil
}

const evaluatorFlag = "evaluator"

// evaluatorTables gives the tables [evaluator.NAME] as the flag takes them, in
// their order in the file.
func evaluatorTables(tables map[string]any, keys []toml.Key) ([]any, error) {
	var specs []any
	listed := map[string]bool{}
	for _, key := range keys {
		if len(key) < 2 || key[0] != evaluatorFlag || listed[key[1]] {
			continue
		}
		name := key[1]
		listed[name] = true
		table, ok := tables[name].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("evaluator.%s: want a table, got %T", name, tables[name])
		}
		table["name"] = name
		if device, ok := table["device"].(string); ok {
			table["device"] = []string{device}
		}
		text, err := json.Marshal(table)
		if err != nil {
			return nil, fmt.Errorf("evaluator.%s: %w", name, err)
		}
		specs = append(specs, string(text))
	}
	return specs, nil
}

// flagText is a TOML value as it stands on a command line.
func flagText(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			part, err := flagText(v[i])
			if err != nil {
				return "", err
			}
			parts[i] = strings.ReplaceAll(part, ",", `\,`)
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("want a string, a number, a boolean or an array of them, got %T", value)
}

// Validate refuses keys that no command with a flag --config has a flag for.
func (c *file) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, command := range app.Children {
		if !slices.ContainsFunc(command.Flags, func(f *kong.Flag) bool { return f.Name == fileFlag }) {
			continue
		}
		for _, f := range command.Flags {
			known[f.Name] = f.Name != fileFlag
		}
	}
	var unknown []string
	for key := range c.values {
		if !known[key] {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("configuration file: unknown flag %s", strings.Join(unknown, ", "))
	}
	return nil
}

const fileFlag = "config"

// Resolve gives the file's value of a flag that neither the command line nor the
// environment has.
func (c *file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if text, ok := c.values[flag.Name]; ok && !cli.InEnvironment(flag) {
		return text, nil
	}
	return nil, nil
}
