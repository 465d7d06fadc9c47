package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/cli"
)

func TestFlagsMayStandInTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serve.toml")
	if err := os.WriteFile(file, []byte("listen = \"127.0.0.1:file\"\nqueue-samples = 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want string // what is said
	}{
		"a flag with a dash":                        {map[string]string{"DENSEREWARD_QUEUE_SAMPLES": "few"}, []string{"serve"}, "DENSEREWARD_QUEUE_SAMPLES"},
		"a flag with digits":                        {map[string]string{"DENSEREWARD_FLOAT32": "perhaps"}, []string{"serve"}, "DENSEREWARD_FLOAT32"},
		"the command line goes before it":           {map[string]string{"DENSEREWARD_BATCH": "2"}, []string{"serve", "--batch", "0"}, "--batch: 0"},
		"it goes before the configuration":          {map[string]string{"DENSEREWARD_QUEUE_SAMPLES": "-5"}, []string{"serve", "--config", file}, "--queue-samples: -5"},
		"the configuration may be named by it":      {map[string]string{"DENSEREWARD_CONFIG": file}, []string{"serve"}, "queue-samples"},
		"a flag that is required may stand in it":   {map[string]string{"DENSEREWARD_PROMPT": "a", "DENSEREWARD_GRID": "0x0"}, []string{"score", "a.png"}, "--grid"},
		"an evaluator a line":                       {map[string]string{"DENSEREWARD_EVALUATOR": "both=mix:a=1,b=2\na=ocr\nb=nonesuch"}, []string{"serve"}, `"nonesuch"`},
		"an empty model is not the embedded one":    {map[string]string{"DENSEREWARD_MODEL": ""}, []string{"serve"}, "--model: the name is empty"},
		"an empty model of the command line either": {nil, []string{"serve", "--model", ""}, "--model: the name is empty"},
		"a flag that comes twice on a command line": {nil, []string{"serve", "--model", "a", "-model=b"}, "--model: comes twice"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range c.env {
				t.Setenv(key, value)
			}
			code, _, said := densereward(t, c.args...)
			if code != exitUsage || !strings.Contains(said, c.want) {
				t.Errorf("code %d: %s", code, said)
			}
		})
	}
}

func TestAVariableThatIsNoFlagsIsToldOf(t *testing.T) {
	for name, told := range map[string]bool{
		"DENSEREWARD_BTACH": true, "DENSEREWARD_TOKEN_S": true, "DENSEREWARD_BATCH": false, "DENSEREWARD_ONNXRUNTIME": false,
		"DENSEREWARD_PORT": false, "DENSEREWARD_PORT_8080_TCP_ADDR": false, "DENSEREWARD_SERVICE_HOST": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "1")
			if _, _, said := densereward(t, "completion", "bash"); strings.Contains(said, "has "+name) != told {
				t.Errorf("said %q", said)
			}
		})
	}
}

func TestTheVersionIsAFlagToo(t *testing.T) {
	if code, out, said := densereward(t, "--version"); code != exitOK || !strings.HasPrefix(out, "densereward "+release) || said != "" {
		t.Errorf("code %d: %q, %q", code, out, said)
	}
}

func TestAnInterruptHasTheExitCodeOfShells(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, said bytes.Buffer
	args := append([]string{"score", "--model", smallDir, "--prompt", "a"}, demoImages()...)
	if code := run(ctx, args, cli.Terminal{Out: &out, Err: &said}); code != exitInterrupted || !strings.Contains(said.String(), "interrupted") {
		t.Errorf("code %d: %s", code, said.String())
	}
}
