package offline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/table"
)

// Rank is the command that picks the best of several images.
type Rank struct {
	In []string `arg:"" name:"in" help:"Folders with one folder of candidates for each prompt, which are scored; or labelled shards."`

	By    string `placeholder:"NAME" help:"Of labelled shards: column whose values make groups. [prompt, caption or text]"`
	Score string `default:"reward" placeholder:"NAME" help:"Score that ranks. [${default}]"`
	Top   int    `default:"1" placeholder:"N" help:"How many of each group win. [${default}]"`
	Copy  string `placeholder:"DIR" help:"Copy the winners' images here, as GROUP/PLACE-NAME." xor:"place"`
	Link  string `placeholder:"DIR" help:"Make links to the winners' images here." xor:"place"`
	JSON  bool   `help:"Print one JSON object for each candidate rather than a table."`

	Mode            reward.Mode `enum:"answer,think" default:"answer" placeholder:"MODE" help:"${enum}. [${default}]"`
	Server          []string    `placeholder:"URL" help:"Ask these servers rather than evaluators of this process."`
	ServerEvaluator string      `placeholder:"NAME" help:"With --server: which of its evaluators. [the first]"`
	Token           string      `env:"DENSEREWARD_TOKEN" placeholder:"TOKEN" help:"With --server: bearer token. [$$${env}]"`

	hosting.EvaluatorFlags `group:"Evaluator flags:"`
}

func (Rank) Help() string {
	return `Picks the best of N. Candidates for one prompt lie in a folder of their own; the prompt is in its prompt.txt, or is the folder's name with spaces for underscores. Folders of one name in several places are one group. Rows that were labelled before, by relabel or score, are ranked as they are.

The table has a line for each candidate: group, place, score, name; equal scores share the better place and the next is skipped. Among winners of equal scores the earlier one is taken. A candidate that failed has no place and never wins; a group all of whose candidates failed has no winner. Where --copy or --link finds a group's folder that is not empty, nothing is done. The exit code is 3 where any failed.

Examples:

	densereward rank candidates --model DIR --copy best
	densereward rank candidates --server http://gpu1:8080 --top 3 --link best
	densereward rank labelled/*.parquet --by prompt --json`
}

// Candidate is one image that is ranked.
type Candidate struct {
	Group string   `json:"group"`
	Place int      `json:"place"` // 0 where it failed
	Score *float64 `json:"score"` // null where it failed
	Name  string   `json:"name"`
	Error string   `json:"error,omitempty"`

	path string // of the image, where it is a file
}

func (c *Rank) Run(ctx context.Context, t cli.Terminal) error {
	if err := cli.AtLeast("top", c.Top, 1); err != nil {
		return err
	}
	candidates, err := c.find(ctx, t)
	if err != nil {
		return err
	}
	scores, groups := make([]float64, len(candidates)), make([]string, len(candidates))
	failed := 0
	for i, one := range candidates {
		groups[i], scores[i] = one.Group, math.NaN()
		if one.Score != nil {
			scores[i] = *one.Score
		} else {
			failed++
		}
	}
	for i, place := range reward.Ranks(scores, groups) {
		candidates[i].Place = place
	}
	if err := c.print(t, candidates, groups); err != nil {
		return err
	}
	if err := c.placeAll(ctx, candidates, reward.Best(scores, groups, c.Top)); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d of %d", cli.ErrPartial, failed, len(candidates))
	}
	return nil
}

// find lists the candidates with their scores.
func (c *Rank) find(ctx context.Context, t cli.Terminal) ([]*Candidate, error) {
	var candidates []*Candidate
	var records []*relabel.Record
	for _, dir := range c.In {
		some, listed, err := listCandidates(dir)
		if err != nil {
			return nil, err
		}
		candidates, records = append(candidates, some...), append(records, listed...)
	}
	if len(candidates) == 0 {
		return c.readLabelled(ctx)
	}
	prompts := map[string]string{}
	for i, one := range candidates {
		prompt, known := prompts[one.Group]
		if known && prompt != records[i].Prompt {
			return nil, fmt.Errorf("two folders %s have the prompts %q and %q", one.Group, prompt, records[i].Prompt)
		}
		prompts[one.Group] = records[i].Prompt
		if len(c.In) > 1 { // names may be the same in several
			one.Name = one.path
		}
	}
	if err := c.checkFree(candidates); err != nil { // what follows takes long
		return nil, err
	}
	return candidates, c.evaluate(ctx, t, candidates, records)
}

// checkFree fails where winners of another run lie in the way: they would pass for
// this one's.
func (c *Rank) checkFree(candidates []*Candidate) error {
	dir := c.Copy + c.Link // one of them
	if dir == "" {
		return nil
	}
	for _, one := range candidates {
		folder := filepath.Join(dir, fileName(one.Group))
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if len(entries) > 0 {
			return fmt.Errorf("%s is not empty; remove it, or name another folder", folder)
		}
	}
	return nil
}

// listCandidates finds the folders of candidates in dir; none in anything else.
func listCandidates(dir string) (candidates []*Candidate, records []*relabel.Record, err error) {
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, nil //nolint:nilerr // a file, or a remote address
	}
	for _, folder := range folders {
		if !folder.IsDir() || strings.HasPrefix(folder.Name(), ".") || strings.HasPrefix(folder.Name(), "_") {
			continue
		}
		path := filepath.Join(dir, folder.Name())
		files, err := os.ReadDir(path)
		if err != nil {
			return nil, nil, err
		}
		prompt := strings.ReplaceAll(folder.Name(), "_", " ")
		if text, err := os.ReadFile(filepath.Join(path, "prompt.txt")); err == nil {
			prompt = strings.TrimSpace(string(text))
		}
		for _, file := range files {
			if !slices.Contains([]string{".png", ".jpg", ".jpeg", ".webp"}, strings.ToLower(filepath.Ext(file.Name()))) {
				continue
			}
			image := filepath.Join(path, file.Name())
			candidates = append(candidates, &Candidate{Group: folder.Name(), Name: file.Name(), path: image})
			records = append(records, &relabel.Record{Name: image, Prompt: prompt, Load: func() ([]byte, error) { return os.ReadFile(image) }})
		}
	}
	return candidates, records, nil
}

// evaluate scores candidates, a batch at a time.
func (c *Rank) evaluate(ctx context.Context, t cli.Terminal, candidates []*Candidate, records []*relabel.Record) (err error) {
	if err := cli.AtLeast("batch", c.Batch, 1); err != nil {
		return err
	}
	var job relabel.Job
	choice := Relabel{Mode: c.Mode, Server: c.Server, ServerEvaluator: c.ServerEvaluator, ServerTimeout: serverTimeout, Token: c.Token, EvaluatorFlags: c.EvaluatorFlags}
	closeEvaluator, err := choice.chooseEvaluator(ctx, t, &job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEvaluator()) }()
	at := -1 // of the score that ranks; the reward
	if c.Score != relabel.ColumnReward {
		if at = slices.Index(job.Config.Labels.Scores, c.Score); at < 0 {
			return cli.Usage("score", fmt.Errorf("%q is neither reward nor one of %q", c.Score, job.Config.Labels.Scores))
		}
	}
	for first := 0; first < len(records); first += c.Batch {
		last := min(first+c.Batch, len(records))
		labels, err := job.Evaluate(ctx, records[first:last])
		if err != nil {
			return err
		}
		for i, label := range labels {
			one := candidates[first+i]
			switch {
			case label.Failed():
				one.Error = label.ErrorCode + ": " + label.ErrorMessage
			case at < 0:
				one.Score = &label.Reward
			default:
				one.Score = &label.Scores[at]
			}
		}
	}
	return nil
}

// readLabelled takes candidates from shards that were labelled before.
func (c *Rank) readLabelled(ctx context.Context) ([]*Candidate, error) {
	var all []*Candidate
	err := table.Read(ctx, c.In, os.Getenv, func(row *table.Row) error {
		one := &Candidate{Name: row.Name()}
		if key, ok := row.KeyOf(""); ok {
			one.Name = key
		}
		var ok bool
		for _, name := range groupNames(c.By) {
			if one.Group, ok = row.Text(name); ok {
				break
			}
		}
		if !ok {
			return fmt.Errorf("%s has none of the columns %q", row.Name(), groupNames(c.By))
		}
		if code := row.ErrorCode(""); code != "" {
			one.Error = code
		} else if v, ok := row.Float(c.Score); ok {
			one.Score = &v
		} else if v, ok := row.Float(relabel.DefaultPrefix + c.Score); ok {
			one.Score = &v
		} else {
			return fmt.Errorf("%s has no number %q", row.Name(), c.Score)
		}
		all = append(all, one)
		return nil
	})
	return all, errors.Join(err, c.checkFree(all))
}

func groupNames(by string) []string {
	if by != "" {
		return []string{by}
	}
	return []string{"prompt", "caption", "text", "txt"}
}

// print lists the candidates, each group from its best to those that failed.
func (c *Rank) print(t cli.Terminal, candidates []*Candidate, groups []string) error {
	order := slices.Clone(candidates)
	first := map[string]int{}
	for i, group := range groups {
		if _, known := first[group]; !known {
			first[group] = i
		}
	}
	slices.SortStableFunc(order, func(a, b *Candidate) int {
		if a.Group != b.Group {
			return first[a.Group] - first[b.Group]
		}
		if (a.Place == 0) != (b.Place == 0) {
			return b.Place - a.Place
		}
		return a.Place - b.Place
	})
	if c.JSON {
		lines := json.NewEncoder(t.Out)
		lines.SetEscapeHTML(false)
		for _, one := range order {
			if err := lines.Encode(one); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "group\tplace\tscore\tname") //nolint:errcheck // Flush reports it
	for _, one := range order {
		if one.Score == nil {
			fmt.Fprintf(w, "%s\t–\t%s\t%s\n", one.Group, one.Error, one.Name) //nolint:errcheck // Flush reports it
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%.4f\t%s\n", one.Group, one.Place, *one.Score, one.Name) //nolint:errcheck // Flush reports it
	}
	return w.Flush()
}

// placeAll puts the winners of each group where --copy or --link says. Shards are read
// once more for that, so that no image is kept before it is known to win.
func (c *Rank) placeAll(ctx context.Context, candidates []*Candidate, best [][]int) error {
	if c.Copy+c.Link == "" {
		return nil
	}
	rows := map[int]int{} // places of candidates that are rows
	for _, winners := range best {
		for place, i := range winners {
			switch one := candidates[i]; {
			case one.path == "" && c.Link != "":
				return fmt.Errorf("%s is no file that could be linked to; --copy writes it", one.Name)
			case one.path == "":
				rows[i] = place + 1
			default:
				if err := c.placeFile(one, place+1); err != nil {
					return err
				}
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	i := -1
	return table.Read(ctx, c.In, os.Getenv, func(row *table.Row) error {
		i++
		place, wins := rows[i]
		if !wins {
			return nil
		}
		data := row.Image(nil)
		if data == nil {
			return fmt.Errorf("%s has no image that could be copied", candidates[i].Name)
		}
		target, err := c.target(candidates[i], place)
		if err != nil {
			return err
		}
		return writeNew(target, bytes.NewReader(data))
	})
}

// target is where a winner goes, in a folder that is there.
func (c *Rank) target(one *Candidate, place int) (string, error) {
	dir := c.Copy + c.Link // one of them
	target := filepath.Join(dir, fileName(one.Group), fmt.Sprintf("%d-%s", place, fileName(filepath.Base(one.Name))))
	return target, os.MkdirAll(filepath.Dir(target), 0o755)
}

func (c *Rank) placeFile(one *Candidate, place int) error {
	target, err := c.target(one, place)
	if err != nil {
		return err
	}
	if c.Copy != "" {
		return copyFile(target, one.path)
	}
	source, err := filepath.Abs(one.path)
	if err != nil {
		return err
	}
	return os.Symlink(source, target)
}

// fileName makes a text fit to name a file: what a path cannot hold is replaced
// and what is long is cut, and a hash of the text then tells it from others.
func fileName(text string) string {
	fit := strings.TrimLeft(strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, text), ".")
	const most = 50 // runes, of at most four bytes each: names have 255
	extension := filepath.Ext(fit)
	if runes := []rune(fit); len(runes) > most {
		fit = string(runes[:most])
	} else if fit == text {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return strings.TrimSuffix(fit, extension) + "-" + hex.EncodeToString(sum[:4]) + extension
}

func copyFile(target, source string) (err error) {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	return writeNew(target, from)
}

// writeNew never writes to a file that exists: it might be a link to a candidate.
func writeNew(target string, from io.Reader) error {
	to, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
