package main

import (
	"bufio"
	"context"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/demo"
	"github.com/denseflow/densereward/engine/imagedoctor/pocket"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// served is a running "densereward serve".
type served struct {
	address string // http://host:port
	debug   string // of the private listener
	stop    func() (code int)
	log     *strings.Builder // whole once stop has returned
}

// serve starts the server with flags and returns when it is ready. Its model is smallDir
// unless they say otherwise.
func serve(t *testing.T, flags ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	read, write := io.Pipe()
	codes := make(chan int, 1)
	go func() {
		defer write.Close()
		args := append([]string{"serve", "-listen", "127.0.0.1:0", "-threads", "1"}, flags...)
		if !slices.Contains(flags, "-model") {
			args = append(args, "-model", smallDir)
		}
		codes <- run(ctx, args, cli.Terminal{Out: io.Discard, Err: write})
	}()
	s := &served{log: &strings.Builder{}}
	ready, logged := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(logged)
		listening := regexp.MustCompile(`msg=listening address=(\S+)(?: debug=(\S+))?`)
		for lines := bufio.NewScanner(read); lines.Scan(); {
			s.log.WriteString(lines.Text() + "\n")
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				s.address, s.debug = "http://"+m[1], "http://"+m[2]
			}
			if strings.Contains(lines.Text(), "msg=ready") {
				close(ready)
			}
		}
	}()
	s.stop = func() int {
		cancel()
		<-logged
		code := <-codes
		codes <- code
		return code
	}
	t.Cleanup(func() { s.stop() })
	select {
	case <-ready:
	case <-logged:
		t.Fatalf("the server ended with %d and said\n%s", s.stop(), s.log)
	}
	return s
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

// demoScore sends one of the demo's images.
func demoScore(t *testing.T, address string, opts ...client.Option) (*wire.Response, error) {
	t.Helper()
	file, err := os.ReadFile(demoImages()[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(address, append(opts, client.WithTries(1))...)
	if err != nil {
		t.Fatal(err)
	}
	return c.Score(t.Context(), &wire.Request{
		Prompts: demo.Prompts()[:1],
		Images:  []wire.Image{{Encoded: file}},
	})
}

func TestServeAnswersAsScoreDoes(t *testing.T) {
	s := serve(t)
	response, err := demoScore(t, s.address)
	if err != nil {
		t.Fatal(err)
	}
	_, out, _ := densereward(t, "score", "-threads", "1", "-model", smallDir, "-prompt", demo.Prompts()[0], demoImages()[0])
	want := lines[record](t, out)[0]
	if got := response.Rewards[0]; math.Abs(got-want.Reward) > 1e-12 {
		t.Errorf("reward %v, score says %v", got, want.Reward)
	}
	if response.Dense.Height != 64 || response.Dense.Width != 64 {
		t.Errorf("grid %dx%d for an image of 512x512", response.Dense.Height, response.Dense.Width)
	}
	if status, body := get(t, s.address+"/v1/models"); status != http.StatusOK || !strings.Contains(body, response.Model) {
		t.Errorf("models: %d %s", status, body)
	}
	if status, _ := get(t, s.address+"/readyz"); status != http.StatusOK {
		t.Errorf("readyz answers %d when warm", status)
	}
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d after a stop", code)
	}
	for _, want := range []string{"msg=loaded", "msg=listening", `msg="memory with models" limit_bytes=`, "msg=request", "path=/v1/score", "status=200", "msg=draining", "msg=stopped"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("%q is not in the log\n%s", want, s.log)
		}
	}
}

func TestServeLetsInWhoHasAToken(t *testing.T) {
	const token = "4f0c1d6a9b2e8f7733d1"
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("alice "+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "-tokens", tokens, "-no-access-log")
	if _, err := demoScore(t, s.address, client.WithToken(token)); err != nil {
		t.Error(err)
	}
	if _, err := demoScore(t, s.address); reward.AsError(err, reward.ErrInternal).Code() != reward.ErrUnauthorized.Code() {
		t.Errorf("without a token: %v", err)
	}
	s.stop()
	if strings.Contains(s.log.String(), "msg=request") || strings.Contains(s.log.String(), token) {
		t.Errorf("the log holds requests or a token:\n%s", s.log)
	}
}

func TestServeChecksAndStops(t *testing.T) {
	for name, c := range map[string]struct {
		flags []string
		code  int
		said  string
	}{
		"a checkpoint that serves": {[]string{"-model", smallDir}, exitOK, "msg=loaded"},
		"in JSON":                  {[]string{"-model", smallDir, "-log-format", "json"}, exitOK, `"msg":"loaded"`},
		"the embedded checkpoint":  {nil, exitOK, pocket.Note},
		"no checkpoint":            {[]string{"-model", t.TempDir()}, exitFailure, "config.json"},
		"a time that has passed":   {[]string{"-timeout", "-1s"}, exitUsage, "--timeout"},
		"no time":                  {[]string{"-timeout", "0"}, exitUsage, "--timeout"},
		"no images":                {[]string{"-max-images", "0"}, exitUsage, "--max-images"},
		"no pixels":                {[]string{"-max-pixels", "0"}, exitUsage, "--max-pixels"},
		"no bodies":                {[]string{"-max-body", "0"}, exitUsage, "--max-body"},
		"a memory of 3 GiB":        {[]string{"-model", smallDir, "-memory", "3GiB", "-max-pixels", "4194304"}, exitOK, "msg=memory limit_bytes=322122547"},
		"no memory to speak of":    {[]string{"-memory", "1MiB"}, exitUsage, "--memory"},
		"no memory for bodies":     {[]string{"-body-memory", "0"}, exitUsage, "--body-memory"},
		"no connections":           {[]string{"-connections", "0"}, exitUsage, "--connections"},
		"no queue":                 {[]string{"-queue-samples", "0"}, exitUsage, "--queue-samples"},
		"no memory for the queue":  {[]string{"-queue-bytes", "0"}, exitUsage, "--queue-bytes"},
		"a delay before its cause": {[]string{"-batch-delay", "-1s"}, exitUsage, "--batch-delay"},
		"a drain that is over":     {[]string{"-drain-limit", "-1s"}, exitUsage, "--drain-limit"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, said := densereward(t, append([]string{"serve", "-check", "-listen", "127.0.0.1:0"}, c.flags...)...)
			if code != c.code || !strings.Contains(said, c.said) {
				t.Errorf("exit code %d, said %q; want %d and %q", code, said, c.code, c.said)
			}
		})
	}
}

func TestServeKeepsProfilesToItself(t *testing.T) {
	s := serve(t, "-debug-listen", "127.0.0.1:0")
	if status, _ := get(t, s.address+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("profiles answer %d to clients", status)
	}
	if status, _ := get(t, s.debug+"/debug/pprof/cmdline"); status != http.StatusOK {
		t.Errorf("profiles answer %d on the private listener", status)
	}
}

func TestAPortThatIsTakenIsAFailure(t *testing.T) {
	s := serve(t)
	code, _, said := densereward(t, "serve", "-model", smallDir, "-listen", strings.TrimPrefix(s.address, "http://"))
	if code != exitFailure || !strings.Contains(said, "address already in use") {
		t.Errorf("exit code %d, said %q", code, said)
	}
}

func TestServeHostsSeveralEvaluators(t *testing.T) {
	s := serve(t, "-evaluator", "text=ocr", "-evaluator", "second=imagedoctor:"+smallDir)
	c, err := client.New(s.address)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range m.Evaluators {
		names = append(names, e.Name+" "+e.Kind)
	}
	if got := strings.Join(names, ", "); got != "imagedoctor imagedoctor, text ocr, second imagedoctor" {
		t.Errorf("evaluators are %s", got)
	}
	file, err := os.ReadFile(demoImages()[0])
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string) *wire.Response {
		q := &wire.Request{Prompts: []string{`a sign with "OPEN"`}, Images: []wire.Image{{Encoded: file}}, Evaluator: name}
		p, err := c.Score(t.Context(), q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.Errors[0] != nil {
			t.Fatalf("%s: %v", name, p.Errors[0])
		}
		return p
	}
	first, text, second := ask(""), ask("text"), ask("second")
	if first.Evaluator != "imagedoctor" || second.Evaluator != "second" || first.Rewards[0] != second.Rewards[0] || second.Cached[0] {
		t.Errorf("%s gives %v, %s %v (cached %v)", first.Evaluator, first.Rewards, second.Evaluator, second.Rewards, second.Cached)
	}
	if len(text.Scores) != 1 || text.Rewards[0] != 0 {
		t.Errorf("text: scores %v, rewards %v", text.Scores, text.Rewards)
	}
	_, metrics := get(t, s.address+"/metrics")
	for _, name := range []string{"imagedoctor", "text", "second"} {
		if !strings.Contains(metrics, `densereward_samples_total{event="scored",model="`+name+`"} 1`) {
			t.Errorf("no sample of %s is counted", name)
		}
	}
	if code := s.stop(); code != exitOK || strings.Count(s.log.String(), "msg=plan") != 3 {
		t.Errorf("exit code %d, log\n%s", code, s.log)
	}
}
