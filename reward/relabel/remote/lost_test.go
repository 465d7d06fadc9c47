package remote_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/inputs"
	"github.com/denseflow/densereward/reward/relabel/remote"
	"github.com/denseflow/densereward/reward/relabel/store"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// flaky drops the connections of requests from..to (from 1) as a server that was
// killed does.
type flaky struct {
	http.Handler
	from, to int64
	seen     atomic.Int64
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n := f.seen.Add(1); n >= f.from && n <= f.to {
		panic(http.ErrAbortHandler)
	}
	f.Handler.ServeHTTP(w, r)
}

// writeSamples writes a shard of n images and returns its folder.
func writeSamples(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	var list strings.Builder
	for i := range n {
		name := fmt.Sprintf("%d.png", i)
		if err := os.WriteFile(filepath.Join(dir, name), rewardtest.PNG(rewardtest.Image(uint64(i), 32, 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, `{"image":%q,"prompt":"prompt %d"}`+"\n", name, i)
	}
	if err := os.WriteFile(filepath.Join(dir, "list.jsonl"), []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runOn labels dir with a server, two chunks of three samples at a time.
func runOn(t *testing.T, dir, out string, handler http.Handler) (relabel.Summary, error) {
	t.Helper()
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	c, err := client.New(web.URL, client.WithTries(3), client.WithBackoff(time.Millisecond, time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	shards, err := inputs.Find(context.Background(), []string{dir}, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	labels := labelsOf(&rewardtest.Fake{})
	labels.Maps = nil
	return relabel.Run(context.Background(), relabel.Job{
		Config: relabel.Config{Evaluator: "fake", ChunkSize: 3, Labels: labels},
		Shards: shards, Output: store.Folder(out), State: filepath.Join(out, ".densereward", "journals"),
		Evaluate:    remote.New(remote.Options{Client: c, Labels: labels}).Evaluate,
		Concurrency: 2, Now: time.Now,
	})
}

func readOutput(t *testing.T, out string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(out, "list.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAServerIsLostWithinARun(t *testing.T) {
	dir, calm := writeSamples(t, 12), t.TempDir()
	if s, err := runOn(t, dir, calm, newServer(t, &rewardtest.Fake{})); err != nil || s.Samples != 12 || s.Failed != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	want := readOutput(t, calm)

	t.Run("and comes back while the client still tries", func(t *testing.T) {
		out := t.TempDir()
		s, err := runOn(t, dir, out, &flaky{Handler: newServer(t, &rewardtest.Fake{}), from: 2, to: 3})
		if err != nil || s.Samples != 12 || s.Failed != 0 {
			t.Fatalf("%+v, %v", s, err)
		}
		if got := readOutput(t, out); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	})
	t.Run("and never comes back, until the command is run again", func(t *testing.T) {
		out := t.TempDir()
		if _, err := runOn(t, dir, out, &flaky{Handler: newServer(t, &rewardtest.Fake{}), from: 3, to: 1 << 40}); err == nil {
			t.Fatal("no error")
		}
		if _, err := os.Stat(filepath.Join(out, "list.jsonl")); !os.IsNotExist(err) {
			t.Errorf("half a shard is visible, or %v", err)
		}
		s, err := runOn(t, dir, out, newServer(t, &rewardtest.Fake{}))
		if err != nil || s.Samples != 12 || s.Failed != 0 || s.Resumed == 0 {
			t.Fatalf("%+v, %v", s, err)
		}
		if got := readOutput(t, out); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	})
}
