package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/demo"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
)

// nanoDir is the folder of the miniature checkpoint.
const nanoDir = "../../engine/imagedoctor/nano"

// smallDir is a folder with the same for small images, which take little time. TestMain
// makes it.
var smallDir string

// linkSmall fills smallDir.
func linkSmall() (err error) {
	if smallDir, err = os.MkdirTemp("", "densereward-test-"); err != nil {
		return err
	}
	return qwenvltest.LinkInto(smallDir, nanoDir, map[string]string{checkpoint.PreprocessorFile: qwenvltest.SmallImages})
}

// casesDir holds what the reference computes with it.
const casesDir = "../../engine/imagedoctor/testdata/cases"

// densereward runs the program with args and returns what it printed. Tests let
// it score on one thread: other packages' tests keep the other cores busy, and
// threads that wait for each other then wait long.
func densereward(t testing.TB, args ...string) (code int, out, errors string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), args, cli.Terminal{Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// lines decodes one JSON object a line.
func lines[T any](t testing.TB, out string) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(out) {
		var one T
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&one); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		all = append(all, one)
	}
	return all
}

// demoImages are the paths of the images of the demo's first prompt.
func demoImages() []string {
	var paths []string
	for _, name := range demo.Names(demo.Prompts()[0]) {
		paths = append(paths, filepath.Join("demo", name+".png"))
	}
	return paths
}

func TestWrongCommandLinesAreUsageErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string // what is said
	}{
		"no command":                              {nil, "expected one of"},
		"an unknown command":                      {[]string{"judge"}, "unexpected argument judge"},
		"an unknown flag":                         {[]string{"score", "--color"}, "unknown flag --color"},
		"no prompt":                               {[]string{"score", "x.png"}, "missing flags: --prompt=TEXT"},
		"no image":                                {[]string{"score", "-prompt", "x"}, `expected "<image> ..."`},
		"a mode that does not exist":              {[]string{"score", "-prompt", "x", "-mode", "dream", "x.png"}, "--mode must be one of"},
		"a grid that does not exist":              {[]string{"score", "-prompt", "x", "-grid", "sd9", "x.png"}, "--grid: "},
		"a grid without cells":                    {[]string{"score", "-prompt", "x", "-grid", "0x8", "x.png"}, "--grid: "},
		"a device that does not exist":            {[]string{"score", "-prompt", "x", "-device", "tpu", "x.png"}, "--device: "},
		"a penalty that is not positive":          {[]string{"score", "-prompt", "x", "-repetition-penalty", "0", "x.png"}, "--repetition-penalty: "},
		"operators that are none":                 {[]string{"score", "-prompt", "x", "-operators", "gelu", "x.png"}, "--operators: "},
		"a precision that is none":                {[]string{"score", "-prompt", "x", "-precision", "fp4", "x.png"}, "--precision"},
		"no batch in flight":                      {[]string{"score", "-prompt", "x", "-in-flight", "0", "x.png"}, "--in-flight: "},
		"an infinite penalty":                     {[]string{"score", "-prompt", "x", "-repetition-penalty", "Inf", "x.png"}, "--repetition-penalty: "},
		"an empty batch":                          {[]string{"score", "-prompt", "x", "-batch", "0", "x.png"}, "--batch: "},
		"an address that others can reach":        {[]string{"serve", "-listen", "0.0.0.0:0"}, "--public allows it"},
		"an address for everybody without tokens": {[]string{"serve", "-listen", "0.0.0.0:0", "-public"}, "--no-tokens if that is meant"},
		"tokens in a file without a name":         {[]string{"serve", "-listen", "127.0.0.1:0", "-tokens", ""}, "--tokens: "},
		"a certificate without its key":           {[]string{"serve", "-tls-cert", "cert.pem"}, "--tls-cert and --tls-key must be used together"},
		"client certificates without TLS":         {[]string{"serve", "-listen", "127.0.0.1:0", "-client-ca", "ca.pem"}, "--client-ca: "},
		"a size that is not one":                  {[]string{"serve", "-cache", "4 gigs"}, "is not a number of bytes"},
		"a size beyond all bounds":                {[]string{"serve", "-cache", "9999999TiB"}, "is not a number of bytes"},
		"profiles where others can reach":         {[]string{"serve", "-listen", "127.0.0.1:0", "-debug-listen", "0.0.0.0:0"}, "--debug-listen: "},
		"a flag whose value is missing":           {[]string{"score", "-prompt"}, "--prompt"},
		"a flag of another command is not here":   {[]string{"version", "-prompt", "x"}, "unknown flag"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, said := densereward(t, c.args...)
			if code != exitUsage || out != "" {
				t.Errorf("exit code %d and output %q, want %d and none", code, out, exitUsage)
			}
			if !strings.Contains(said, c.want) {
				t.Errorf("said %q, want %q in it", said, c.want)
			}
		})
	}
}

func TestFailuresAreNotUsageErrors(t *testing.T) {
	for name, args := range map[string][]string{
		"a model that does not exist":       {"score", "-model", "nowhere", "-prompt", "x", "x.png"},
		"a library that does not exist":     {"score", "-onnxruntime", "nowhere.so", "-prompt", "x", "x.png"},
		"a folder that cannot be made":      {"score", "-out", "main.go/maps", "-prompt", "x", "x.png"},
		"a token file that does not exist":  {"serve", "-listen", "127.0.0.1:0", "-tokens", "nowhere"},
		"a certificate that does not exist": {"serve", "-listen", "127.0.0.1:0", "-tls-cert", "nowhere", "-tls-key", "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, said := densereward(t, args...)
			if code != exitFailure || out != "" || !strings.Contains(said, "densereward: ") {
				t.Errorf("exit code %d, output %q, said %q; want %d, none and why", code, out, said, exitFailure)
			}
		})
	}
}

func TestHelpTeaches(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"the program": {
			[]string{"--help"},
			[]string{"densereward demo", "GYX97/ImageDoctor", "Exit codes:", "score", "serve", "demo", "version"},
		},
		"with one dash":    {[]string{"-help"}, []string{"Usage: densereward"}},
		"score":            {[]string{"score", "--help"}, []string{"Examples:", `"semantic_alignment"`, "NAME.overlay.png", "--repetition-penalty"}},
		"serve":            {[]string{"serve", "-help"}, []string{"Examples:", "--listen=ADDR", "SIGTERM"}},
		"demo":             {[]string{"demo", "--help"}, []string{"free port"}},
		"help before flag": {[]string{"score", "-h"}, []string{"--prompt=TEXT"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, said := densereward(t, c.args...)
			if code != exitOK || said != "" {
				t.Errorf("exit code %d, said %q; want 0 and nothing", code, said)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
			}
		})
	}
}

func TestTheChangelogBeginsWithTheRelease(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, after, _ := strings.Cut(string(text), "\n## "); !strings.HasPrefix(after, release+"\n") {
		t.Errorf("CHANGELOG.md does not begin with %s", release)
	}
}

func TestVersionTellsTheBuild(t *testing.T) {
	code, out, _ := densereward(t, "version")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"densereward 0.2.0", "go          go1.", "onnxruntime 1.", "platform    "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
