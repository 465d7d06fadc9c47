package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
)

// benchServer is a server with a stand-in for the evaluator.
func benchServer(t *testing.T, tls bool) (*httptest.Server, *rewardtest.Fake) {
	t.Helper()
	fake := &rewardtest.Fake{}
	scheduling := batch.DefaultConfig()
	scheduling.MaxDelay = 0
	s, err := hosting.NewService([]evaluators.Hosted{{
		Assignment:  evaluators.Assignment{Batch: scheduling.MaxBatch},
		Description: fake.Describe(), Evaluators: []reward.Evaluator{fake},
	}}, scheduling, server.Config{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(s.Handler)
	if tls {
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(web.Close)
	return web, fake
}

// bench runs the command and returns its exit code and what it printed.
func runBench(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	var o, e bytes.Buffer
	args = append([]string{"bench", "--warmup=0s", "--duration=200ms", "--concurrency=2", "--batch=3", "--size=32"}, args...)
	code = run(t.Context(), args, cli.Terminal{Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestBenchReportsWhatTheServerDid(t *testing.T) {
	web, fake := benchServer(t, false)
	for _, form := range []string{"raw", "png", "jpeg"} {
		t.Run(form, func(t *testing.T) {
			before := fake.Samples()
			code, out, said := runBench(t, web.URL, "--json", "--form="+form)
			if code != exitOK {
				t.Fatalf("exit code %d: %s", code, said)
			}
			var r loadgen.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err)
			}
			if r.Images == 0 || r.Images != 3*r.Codes["ok"] || r.Requests != r.Codes["ok"] || r.ServerCPU == 0 {
				t.Errorf("%+v", r)
			}
			if scored := fake.Samples() - before; scored < int64(r.Images) {
				t.Errorf("%d images were counted, %d scored: answers came from the cache", r.Images, scored)
			}
		})
	}
}

func TestBenchPrintsATable(t *testing.T) {
	web, _ := benchServer(t, false)
	code, out, said := runBench(t, web.URL+"/", "--rate=100", "--random", "--mode=think", "--return=boxes,text")
	if code != exitOK || !strings.Contains(out, "latency ms") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
}

func TestBenchSendsFilesAsTheyAre(t *testing.T) {
	web, _ := benchServer(t, false)
	image, err := loadgen.Encode(loadgen.Photograph(1, 40, 30), loadgen.PNG)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.png")
	if err := os.WriteFile(path, image.Encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"file", "raw"} {
		if code, _, said := runBench(t, web.URL, "--form="+form, "--image="+path); code != exitOK {
			t.Errorf("%s: exit code %d: %s", form, code, said)
		}
	}
}

func TestBenchTrustsTheCertificatesItIsGiven(t *testing.T) {
	web, _ := benchServer(t, true)
	path := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, said := runBench(t, web.URL, "--ca="+path); code != exitOK {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, out, _ := runBench(t, web.URL); code != exitFailure || !strings.Contains(out, "connection") {
		t.Errorf("exit code %d without the certificate: %s", code, out)
	}
}

func TestBenchRefusesWhatMakesNoSense(t *testing.T) {
	web, _ := benchServer(t, false)
	text := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(text, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"an empty batch", []string{"--batch=0"}, exitUsage, "--batch"},
		{"files without any", []string{"--form=file"}, exitUsage, "--image"},
		{"a file that is no image", []string{"--image=" + text}, exitUsage, "--image"},
		{"a huge image", []string{"--size=100000"}, exitUsage, "--size"},
		{"a certificate that is none", []string{"--ca=" + text}, exitUsage, "--ca"},
		{"no concurrency", []string{"--concurrency=0"}, exitFailure, "concurrency"},
		{"an unknown form", []string{"--form=gif"}, exitUsage, "--form"},
		{"something the server refuses", []string{"--return=secrets"}, exitFailure, "no request was answered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, said := runBench(t, append([]string{web.URL}, tt.args...)...)
			if code != tt.code || !strings.Contains(said, tt.want) {
				t.Errorf("exit code %d, want %d with %q: %s", code, tt.code, tt.want, said)
			}
		})
	}
}
