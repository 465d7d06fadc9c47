package relabel_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/lines"
	"github.com/denseflow/densereward/reward/relabel/store"
)

// listShards writes n shards of JSONL with some lines each, whose images are the
// list itself, and returns their folder.
func listShards(t *testing.T, n, lines int) store.Folder {
	t.Helper()
	dir := t.TempDir()
	for s := range n {
		var text strings.Builder
		for i := range lines {
			fmt.Fprintf(&text, `{"image":"%d.jsonl","prompt":"shard %d line %d"}`+"\n", s, s, i)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jsonl", s)), []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return store.Folder(dir)
}

func shards(t *testing.T, in store.Folder) []relabel.Shard {
	t.Helper()
	var all []relabel.Shard
	err := in.List(context.Background(), "", func(name string, size int64) error {
		all = append(all, relabel.Shard{Name: name, Store: in, Path: name, Size: size, Format: lines.JSONL{}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// counting evaluates each record to a reward that follows from its prompt and
// from the size of its chunk, and counts how often each was evaluated.
type counting struct {
	mu     sync.Mutex
	counts map[string]int
	before func(chunk []*relabel.Record) error
	fail   func(prompt string) error
}

func (c *counting) evaluate(ctx context.Context, chunk []*relabel.Record) ([]relabel.Label, error) {
	if c.before != nil {
		if err := c.before(chunk); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	labels := make([]relabel.Label, len(chunk))
	for i, r := range chunk {
		c.counts[r.Prompt]++
		if c.fail != nil && c.fail(r.Prompt) != nil {
			labels[i] = relabel.Failure(c.fail(r.Prompt))
			continue
		}
		labels[i] = relabel.Label{Reward: float64(len(r.Prompt)) + float64(len(chunk))/100, Scores: []float64{float64(i) / 3}}
	}
	return labels, nil
}

func newJob(t *testing.T, in store.Folder, out string, c *counting) relabel.Job {
	return relabel.Job{
		Config: relabel.Config{Evaluator: "fake", Fingerprint: "1", ChunkSize: 4, Labels: relabel.Labels{Scores: []string{"score"}}},
		Shards: shards(t, in), Output: store.Folder(out), State: filepath.Join(out, ".densereward", "journal"),
		Evaluate: c.evaluate, Concurrency: 3, MaxBytes: 1 << 20,
		Now: func() time.Time { return time.Unix(0, 0) },
	}
}

func newCounting() *counting { return &counting{counts: map[string]int{}} }

func mustRun(t *testing.T, job relabel.Job) relabel.Summary {
	t.Helper()
	summary, err := relabel.Run(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// tree reads every file below a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func equalTrees(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s differs:\n%.300s\nwant\n%.300s", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, there := want[name]; !there {
			t.Errorf("%s is left behind", name)
		}
	}
}

func TestEveryRecordIsLabelledOnce(t *testing.T) {
	in, out, c := listShards(t, 3, 10), t.TempDir(), newCounting()
	summary := mustRun(t, newJob(t, in, out, c))
	if summary.Samples != 30 || summary.Finished != 3 || summary.Failed != 0 || summary.Bytes != summary.AllBytes {
		t.Errorf("%+v", summary)
	}
	for prompt, n := range c.counts {
		if n != 1 {
			t.Errorf("%s was evaluated %d times", prompt, n)
		}
	}
	lines := strings.Split(strings.TrimSpace(tree(t, out)["1.jsonl"]), "\n")
	if want := `{"image":"1.jsonl","prompt":"shard 1 line 9","reward":14.02,"score":0.3333333333333333,"missing":[],"error_code":null,"error_message":null}`; len(lines) != 10 || lines[9] != want {
		t.Errorf("%d lines, the last is %s, want %s", len(lines), lines[9], want)
	}
	m, err := relabel.ReadManifest(context.Background(), store.Folder(out))
	if err != nil || m.Total.Samples != 30 || len(m.Shards) != 3 || m.Config.Evaluator != "fake" {
		t.Errorf("manifest %+v, %v", m, err)
	}
}

var errInterrupted = errors.New("interrupted")

func TestAnInterruptedRunGivesTheBytesOfAnUndisturbedOne(t *testing.T) {
	in := listShards(t, 4, 23)
	undisturbed := t.TempDir()
	fail := func(prompt string) error {
		if strings.HasSuffix(prompt, "5") {
			return reward.ErrImageCorrupt
		}
		return nil
	}
	c := newCounting()
	c.fail = fail
	mustRun(t, newJob(t, in, undisturbed, c))
	want := tree(t, undisturbed)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 10 {
		out, c := t.TempDir(), newCounting()
		c.fail = fail
		for runs := 1; ; runs++ {
			left := atomic.Int64{}
			left.Store(int64(random.IntN(8)))
			c.before = func([]*relabel.Record) error {
				if left.Add(-1) < 0 {
					return errInterrupted
				}
				return nil
			}
			_, err := relabel.Run(context.Background(), newJob(t, in, out, c))
			if err == nil {
				break
			}
			if !errors.Is(err, errInterrupted) {
				t.Fatal(err)
			}
			if runs > 200 {
				t.Fatal("no run gets anywhere")
			}
		}
		equalTrees(t, tree(t, out), want)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

func TestARerunDoesNothing(t *testing.T) {
	in, out, c := listShards(t, 2, 5), t.TempDir(), newCounting()
	mustRun(t, newJob(t, in, out, c))
	before := tree(t, out)
	again := newCounting()
	summary := mustRun(t, newJob(t, in, out, again))
	if len(again.counts) != 0 || summary.Skipped != 2 || summary.Samples != 0 {
		t.Errorf("%d records were evaluated again; %+v", len(again.counts), summary)
	}
	equalTrees(t, tree(t, out), before)
}

func TestAnotherConfigurationIsRefusedUnlessTold(t *testing.T) {
	in, out, c := listShards(t, 2, 5), t.TempDir(), newCounting()
	mustRun(t, newJob(t, in, out, c))
	other := newJob(t, in, out, c)
	other.Config.Fingerprint = "2"
	_, err := relabel.Run(context.Background(), other)
	if !errors.Is(err, relabel.ErrOtherConfig) || !strings.Contains(err.Error(), `fingerprint "1", now "2"`) {
		t.Errorf("error %v", err)
	}
	other.Overwrite = true
	if summary := mustRun(t, other); summary.Samples != 10 || summary.Skipped != 0 {
		t.Errorf("%+v", summary)
	}
}

func TestRetryFailedEvaluatesFailuresAlone(t *testing.T) {
	in, out, c := listShards(t, 2, 9), t.TempDir(), newCounting()
	c.fail = func(prompt string) error {
		if prompt == "shard 1 line 6" {
			return reward.ErrEvaluatorFailed
		}
		return nil
	}
	if summary := mustRun(t, newJob(t, in, out, c)); summary.Failed != 1 || summary.Errors["evaluator_failed"] != 1 {
		t.Errorf("%+v", summary)
	}
	again := newCounting()
	retry := newJob(t, in, out, again)
	retry.RetryFailed = true
	summary := mustRun(t, retry)
	if names := slices.Collect(maps.Keys(again.counts)); len(names) != 1 || names[0] != "shard 1 line 6" {
		t.Errorf("%q were evaluated again", names)
	}
	if summary.Failed != 0 || summary.Skipped != 1 || summary.Samples != 9 {
		t.Errorf("%+v", summary)
	}
	for name, data := range tree(t, out) {
		if strings.HasSuffix(name, ".journal") || strings.Contains(data, "evaluator_failed") {
			t.Errorf("%s: %.200s", name, data)
		}
	}
}

func TestABadShardCostsTheOthersNothing(t *testing.T) {
	in, out, c := listShards(t, 3, 9), t.TempDir(), newCounting()
	good, err := os.ReadFile(filepath.Join(string(in), "1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"broken":    string(good[:len(good)-20]),
		"collision": string(good) + `{"image":"1.jsonl","prompt":"p","reward":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(string(in), "1.jsonl"), []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(out, name)
			summary := mustRun(t, newJob(t, in, out, c))
			if summary.Finished != 2 || summary.Unreadable != 1 || len(summary.ShardErrors) != 1 || summary.ShardErrors[0].Shard != "1.jsonl" {
				t.Errorf("%+v", summary)
			}
			files := tree(t, out)
			if _, there := files["1.jsonl"]; there || files["0.jsonl"] == "" || files["2.jsonl"] == "" {
				t.Errorf("outputs %q", slices.Sorted(maps.Keys(files)))
			}
			if err := os.WriteFile(filepath.Join(string(in), "1.jsonl"), good, 0o600); err != nil {
				t.Fatal(err)
			}
			if summary := mustRun(t, newJob(t, in, out, c)); summary.Skipped != 2 || summary.Finished != 3 {
				t.Errorf("once it is whole: %+v", summary)
			}
		})
	}
}

func TestAnInputThatChangedIsNotPassedOver(t *testing.T) {
	in, out, c := listShards(t, 2, 5), t.TempDir(), newCounting()
	mustRun(t, newJob(t, in, out, c))
	path := filepath.Join(string(in), "0.jsonl")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(data, data...), 0o600); err != nil {
		t.Fatal(err)
	}
	summary := mustRun(t, newJob(t, in, out, c))
	if summary.Skipped != 1 || len(summary.ShardErrors) != 1 || !strings.Contains(summary.ShardErrors[0].Error(), "the input has changed") {
		t.Errorf("%+v", summary)
	}
}

func TestADamagedJournalCostsOnlyWhatIsDamaged(t *testing.T) {
	in, out, c := listShards(t, 1, 20), t.TempDir(), newCounting()
	undisturbed := t.TempDir()
	mustRun(t, newJob(t, in, undisturbed, newCounting()))
	want := tree(t, undisturbed)
	var done atomic.Int64
	c.before = func([]*relabel.Record) error {
		if done.Add(1) > 4 {
			return errInterrupted
		}
		return nil
	}
	job := newJob(t, in, out, c)
	job.Concurrency = 1
	if _, err := relabel.Run(context.Background(), job); !errors.Is(err, errInterrupted) {
		t.Fatal(err)
	}
	journal := filepath.Join(out, ".densereward", "journal", "0.jsonl.journal")
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(whole), "\n"); lines != 5 {
		t.Fatalf("the journal has %d lines, not a header and four chunks", lines)
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)-20] ^= 1
	for name, c := range map[string]struct {
		data      []byte
		evaluated int
	}{
		"whole":          {whole, 4},
		"cut short":      {whole[:len(whole)-1], 8},
		"a bit flipped":  {flipped, 8},
		"garbage behind": {append(slices.Clone(whole), "00000000 {}\nmore"...), 4},
		"zeros behind":   {append(slices.Clone(whole), make([]byte, 5000)...), 4},
		"empty":          {nil, 20},
		"another's":      {[]byte("nonsense\n"), 20},
	} {
		if err := os.WriteFile(journal, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		again := newCounting()
		mustRun(t, newJob(t, in, out, again))
		if len(again.counts) != c.evaluated {
			t.Errorf("%s: %d records were evaluated again, want %d", name, len(again.counts), c.evaluated)
		}
		equalTrees(t, tree(t, out), want)
		if err := os.Remove(filepath.Join(out, ".densereward", "shards", "0.jsonl.json")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskEndsTheRunAndLosesNothing(t *testing.T) {
	in, out, c := listShards(t, 2, 20), t.TempDir(), newCounting()
	job := newJob(t, in, out, c)
	job.Output = fullDisk{store.Folder(out)}
	_, err := relabel.Run(context.Background(), job)
	if !errors.Is(err, errDiskFull) {
		t.Fatalf("error %v", err)
	}
	evaluated := len(c.counts)
	mustRun(t, newJob(t, in, out, c))
	for prompt, n := range c.counts {
		if n > 2 || n == 2 && evaluated == 0 {
			t.Errorf("%s was evaluated %d times", prompt, n)
		}
	}
	undisturbed := t.TempDir()
	mustRun(t, newJob(t, in, undisturbed, newCounting()))
	equalTrees(t, tree(t, out), tree(t, undisturbed))
}

var errDiskFull = errors.New("no space left on device")

// fullDisk has room for 1000 bytes of a file.
type fullDisk struct{ store.Folder }

func (d fullDisk) Create(ctx context.Context, name string) (relabel.Upload, error) {
	u, err := d.Folder.Create(ctx, name)
	return &fullFile{Upload: u, room: 1000}, err
}

type fullFile struct {
	relabel.Upload
	room int
}

func (f *fullFile) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errDiskFull
	}
	return f.Upload.Write(p)
}

func TestManyProcessesShareTheWork(t *testing.T) {
	in, out := listShards(t, 7, 5), t.TempDir()
	single := t.TempDir()
	mustRun(t, newJob(t, in, single, newCounting()))
	c := newCounting()
	for i := range 3 {
		job := newJob(t, in, out, c)
		job.Shards = relabel.Share{Index: i, Count: 3}.Of(job.Shards)
		mustRun(t, job)
	}
	equalTrees(t, tree(t, out), tree(t, single))
	if len(c.counts) != 35 {
		t.Errorf("%d records were evaluated, not 35", len(c.counts))
	}
}

func TestSharesAreReadFromTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		name, text string
		env        map[string]string
		want       relabel.Share
		wrong      bool
	}{
		{"nothing", "", nil, relabel.Share{}, false},
		{"in full", "2/5", nil, relabel.Share{Index: 2, Count: 5}, false},
		{"in full, whatever the environment says", "2/5", map[string]string{"JOB_COMPLETION_INDEX": "1"}, relabel.Share{Index: 2, Count: 5}, false},
		{"Kubernetes", "5", map[string]string{"JOB_COMPLETION_INDEX": "4"}, relabel.Share{Index: 4, Count: 5}, false},
		{"Slurm", "5", map[string]string{"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MIN": "1"}, relabel.Share{Index: 3, Count: 5}, false},
		{"Slurm alone", "", map[string]string{"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "3"}, relabel.Share{Index: 0, Count: 3}, false},
		{"a count and no environment", "5", nil, relabel.Share{}, true},
		{"an index beyond the count", "5/5", nil, relabel.Share{}, true},
		{"a negative index", "-1/5", nil, relabel.Share{}, true},
		{"no numbers", "a/b", nil, relabel.Share{}, true},
		{"Kubernetes beyond the count", "2", map[string]string{"JOB_COMPLETION_INDEX": "4"}, relabel.Share{}, true},
	} {
		got, err := relabel.ShareOf(c.text, func(name string) string { return c.env[name] })
		if got != c.want || (err != nil) != c.wrong {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestShardsOfOneNameAreRefused(t *testing.T) {
	job := newJob(t, listShards(t, 1, 1), t.TempDir(), newCounting())
	job.Shards = append(job.Shards, job.Shards[0])
	if _, err := relabel.Run(context.Background(), job); err == nil || !strings.Contains(err.Error(), "/0.jsonl would both become 0.jsonl; label them to two outputs") {
		t.Errorf("error %v", err)
	}
}

func TestAnInputIsNotReplacedByItsOutput(t *testing.T) {
	in := listShards(t, 1, 3)
	before := tree(t, string(in))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(string(in), link); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{string(in), string(in) + "/../" + filepath.Base(string(in)), link} {
		_, err := relabel.Run(context.Background(), newJob(t, in, out, newCounting()))
		if err == nil || !strings.Contains(err.Error(), "would be replaced by its own output") {
			t.Errorf("%s: error %v", out, err)
		}
	}
	equalTrees(t, tree(t, string(in)), before)
}

func TestACancelledRunSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	c := newCounting()
	c.before = func([]*relabel.Record) error { cancel(); return nil }
	if _, err := relabel.Run(ctx, newJob(t, listShards(t, 2, 50), t.TempDir(), c)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestMapsAreStoredRounded(t *testing.T) {
	m := reward.Map{Height: 1, Width: 5, Data: []float32{0, 0.5, 1, 2, -1}}
	if got := relabel.NewMap(m, relabel.Uint8); string(got.Data) != "\x00\x80\xff\xff\x00" {
		t.Errorf("uint8: %v", got.Data)
	}
	if got := relabel.NewMap(m, relabel.Float16); string(got.Data) != "\x00\x00\x00\x38\x00\x3c\x00\x3c\x00\x00" {
		t.Errorf("float16: %v", got.Data)
	}
}
