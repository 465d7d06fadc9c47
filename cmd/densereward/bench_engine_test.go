package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/engine/imagedoctor/bench"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
)

func TestBenchEngineMeasuresARandomCheckpoint(t *testing.T) {
	dir := t.TempDir()
	if code, _, said := densereward(t, "model", "random", "-like", "nano", dir); code != exitOK {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if err := os.WriteFile(filepath.Join(dir, checkpoint.PreprocessorFile), []byte(qwenvltest.SmallImages), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, said := densereward(t, "bench", "-engine", "-model", dir, "-batch", "1", "-rounds", "1",
		"-prompt-tokens", "100", "-precision", "fp8", "-no-stages")
	if code != exitOK || !strings.Contains(out, "images  ") || strings.Contains(out, "stage") {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	code, out, said = densereward(t, "bench", "-engine", "-model", dir, "-batch", "1", "-rounds", "1",
		"-prompt-tokens", "100", "-json")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, said)
	}
	var m bench.Measurement
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if m.Batch != 1 || m.PromptTokens != 100 || m.NewTokens != 60 || !m.Speculation || !(m.ImagesPerSec > 0) || len(m.Stages) != 9 {
		t.Errorf("%+v", m)
	}
}

func TestBenchEngineRefusesWhatMakesNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a server as well":          {[]string{"-engine", "http://127.0.0.1:1"}, exitUsage, "--engine"},
		"neither server nor engine": {nil, exitUsage, "--engine"},
		"an empty batch":            {[]string{"-engine", "-batch", "0"}, exitUsage, "--batch"},
		"no rounds":                 {[]string{"-engine", "-rounds", "0"}, exitUsage, "--rounds"},
		"no new tokens":             {[]string{"-engine", "-new-tokens", "0"}, exitUsage, "--new-tokens"},
		"a device that is none":     {[]string{"-engine", "-device", "tpu"}, exitUsage, "--device"},
		"a checkpoint that is none": {[]string{"-engine", "-model", "demo"}, exitFailure, "config.json"},
		"prompts without the image": {[]string{"-engine", "-model", nanoDir, "-prompt-tokens", "100"}, exitFailure, "the least is"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, said := densereward(t, append([]string{"bench"}, c.args...)...)
			if code != c.code || out != "" || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d, want %d with %q: %s%s", code, c.code, c.want, out, said)
			}
		})
	}
}

func TestAMeasurementsTableTellsSharesMemoryAndFloor(t *testing.T) {
	var out bytes.Buffer
	err := writeMeasurement(&out, bench.Measurement{
		Batch: 32, InFlight: 1, PromptTokens: 671, NewTokens: 60, Speculation: true, Steps: 11,
		Devices: []bench.Device{
			{Device: "cuda:0", Name: "NVIDIA H100", ImagesPerSec: 40, PeakBytes: 18.2e9, MemoryBytes: 85e9},
			{Device: "cuda:1", ImagesPerSec: 40},
		},
		ImagesPerSec: 80, TokensPerSec: 4800, LoadSeconds: 2, BatchSeconds: 0.8, RooflineSeconds: 0.25,
		Stages: []bench.Stage{
			{Name: "decode", Seconds: 0.16, Where: bench.OnHost},
			{Name: "vision", Seconds: 0.2, Where: bench.OnDevice},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `images      80.00 a second
new tokens  4800 a second
load        32 images a batch, 1 in flight on each device, prompts of 671 tokens, 60 new tokens in 12 steps, speculative
batch       0.800 s, 3.20 times the 0.250 s that an H100's peaks allow
loading     2.0 s
cuda:0      40.00 images a second, memory 18.2 GB at most of 85.0 GB, NVIDIA H100
cuda:1      40.00 images a second, memory unknown

stage   where   s a batch  ms an image  of the batch
decode  host    0.1600     5.00         20.0 %
vision  device  0.2000     6.25         25.0 %

Stages are timed by themselves; the host's are of one core and run beside the device's.
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAnyEvaluatorIsMeasured(t *testing.T) {
	code, out, said := densereward(t, "bench", "--engine", "--evaluator", "signs=ocr", "--batch", "2", "--size", "64", "--rounds", "1", "--json")
	var speed hosting.Speed
	if code != exitOK || json.Unmarshal([]byte(out), &speed) != nil {
		t.Fatalf("exit code %d, output %q, said %q", code, out, said)
	}
	if speed.Evaluator != "signs" || speed.Kind != "ocr" || speed.Batch != 2 || speed.ImagesPerSec <= 0 || speed.BatchSeconds <= 0 {
		t.Errorf("got %+v", speed)
	}
	for name, args := range map[string][]string{
		"a kind that does not exist": {"--evaluator", "x=fortune"},
		"no kind":                    {"--evaluator", "x"},
		"no images":                  {"--evaluator", "x=ocr", "--size", "0"},
	} {
		if code, _, said := densereward(t, append([]string{"bench", "--engine"}, args...)...); code != exitUsage {
			t.Errorf("%s: exit code %d, said %q", name, code, said)
		}
	}
}
