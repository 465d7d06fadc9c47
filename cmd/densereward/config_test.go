package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/config"
	"github.com/denseflow/densereward/internal/modelfile"
)

// parseServe parses a command line of serve, without running it. Words "FILE"
// stand for a file with the text.
func parseServe(t *testing.T, file string, args ...string) (serveCommand, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "serve.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "FILE", path)
	}
	var c commandLine
	parser, err := kong.New(&c, vars(),
		kong.BindTo(context.Background(), (*context.Context)(nil)), kong.Bind(cli.Terminal{}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(cli.DoubleDashes(parser.Model.Node, append([]string{"serve"}, args...)))
	return c.Serve, err
}

func TestAConfigurationFileEqualsTheFlags(t *testing.T) {
	file := `
# a comment
listen = "0.0.0.0:8443"
public = true
model = "/models/a, b"
device = ["cuda:0", "cuda:1"]
threads = 8
repetition-penalty = 1.05
prefix = ""
batch-delay = "20ms"
cache = "1GiB"
max-images = 64
access-log = false
log-level = "warn"
`
	fromFile, err := parseServe(t, file, "--config", "FILE")
	if err != nil {
		t.Fatal(err)
	}
	fromFlags, err := parseServe(t, file, "--listen=0.0.0.0:8443", "--public", "--model=/models/a, b", "--device=cuda:0,cuda:1",
		"--threads=8", "--repetition-penalty=1.05", "--prefix=", "--batch-delay=20ms", "--cache=1GiB", "--max-images=64",
		"--no-access-log", "--log-level=warn")
	if err != nil {
		t.Fatal(err)
	}
	fromFile.Config = ""
	if !reflect.DeepEqual(fromFile, fromFlags) {
		t.Errorf("file:  %+v\nflags: %+v", fromFile, fromFlags)
	}
	if fromFile.BatchDelay != 20*time.Millisecond || fromFile.Prefix == nil || *fromFile.Prefix != "" || fromFile.AccessLog {
		t.Errorf("%+v", fromFile)
	}
}

func TestEvaluatorsHaveTablesInTheirOrder(t *testing.T) {
	file := `
batch = 8

[evaluator.zeta]
kind = "imagedoctor"
source = "/models/a, b"
device = ["cuda:0", "cuda:1"]
repetition-penalty = 1.05

[evaluator.alpha]
kind = "ocr"
device = "cpu"
`
	c, err := parseServe(t, file, "--config", "FILE")
	if err != nil {
		t.Fatal(err)
	}
	specs, err := c.Specs()
	if err != nil || len(specs) != 2 {
		t.Fatalf("%+v, %v", specs, err)
	}
	if s := specs[0]; s.Name != "zeta" || s.Source != "/models/a, b" || len(s.Device) != 2 || string(s.Options["repetition-penalty"]) != "1.05" {
		t.Errorf("the first is %+v", s)
	}
	if s := specs[1]; s.Name != "alpha" || s.Kind != "ocr" || len(s.Device) != 1 || len(s.Options) != 0 {
		t.Errorf("the second is %+v", s)
	}
	listed, err := parseServe(t, `evaluator = ["a=ocr", "b=pickscore:/x,y"]`, "--config", "FILE", "--model", "/m")
	if err != nil {
		t.Fatal(err)
	}
	if specs, _ := listed.Specs(); len(specs) != 3 || specs[0].Source != "/m" || specs[2].Source != "/x,y" {
		t.Errorf("listed: %+v", specs)
	}
	for name, c := range map[string]struct{ file, want string }{
		"a table without a kind":  {"[evaluator.a]\nsource = \"x\"", "evaluator a: kind: required"},
		"a name that is no table": {"[evaluator]\na = 1", "evaluator.a: want a table"},
		"a batch that is a text":  {"[evaluator.a]\nkind = \"ocr\"\nbatch = \"many\"", "evaluator"},
	} {
		if _, err := parseServe(t, c.file, "--config", "FILE"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestTheCommandLineGoesBeforeTheFile(t *testing.T) {
	for _, args := range [][]string{{"--config", "FILE", "--threads", "2"}, {"-threads=2", "-config=FILE"}} {
		c, err := parseServe(t, "threads = 8\nbatch = 4", args...)
		if err != nil {
			t.Fatal(err)
		}
		if c.Threads != 2 || c.Batch != 4 {
			t.Errorf("%v: threads %d and batch %d, want 2 and 4", args, c.Threads, c.Batch)
		}
	}
}

func TestMistakesInAConfigurationFileAreNamed(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"an unknown flag", "lisen = \"x\"\nthread = 1", "unknown flag lisen, thread"},
		{"a flag of another command", "concurrency = 8", "unknown flag concurrency"},
		{"the file's own flag", "config = \"other.toml\"", "unknown flag config"},
		{"no TOML", "listen: x", "configuration file: toml"},
		{"a table", "[serve]\nlisten = \"x\"", "serve: want a string"},
		{"a date", "listen = 2026-01-01", "listen: want a string"},
		{"an array of arrays of tables", "device = [{a = 1}]", "device: want a string"},
		{"a value that its flag does not take", "threads = \"many\"", "threads"},
		{"a number where a boolean belongs", "public = 7", "public"},
		{"a file of a megabyte and more", "# " + strings.Repeat("x", config.MaxBytes), "more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parseServe(t, tt.file, "--config", "FILE"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := parseServe(t, "", "--config", "FILE.absent"); err == nil {
		t.Error("an absent file was taken")
	}
}

func TestAConfigurationThatIsNoFileIsRefusedAtOnce(t *testing.T) {
	for _, path := range []string{t.TempDir(), os.DevNull} {
		if _, err := parseServe(t, "", "--config", path); !errors.Is(err, modelfile.ErrNotRegular) {
			t.Errorf("--config %s: %v", path, err)
		}
	}
}

// It reads what the documentation of the file shows.
func TestTheExampleOfConfigurationIsRight(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("config", "config.go"))
	if err != nil {
		t.Fatal(err)
	}
	var example strings.Builder
	for line := range strings.Lines(string(source)) {
		if text, ok := strings.CutPrefix(line, "//\t"); ok {
			example.WriteString(text)
		}
	}
	c, err := parseServe(t, example.String(), "--config", "FILE")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "0.0.0.0:8080" || c.BatchDelay != 10*time.Millisecond || len(c.Evaluator) != 1 {
		t.Errorf("%+v in\n%s", c, example.String())
	}
}
