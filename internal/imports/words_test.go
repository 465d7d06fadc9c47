package imports

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// renamed are identifiers, flags, metrics and phrases that were given up, each
// with the term of the field that took its place. Only CHANGELOG.md may hold
// them. Words that are ordinary English elsewhere stand here as the names that
// they were part of.
func renamed() map[string]string {
	return map[string]string{
		`reward\.Picture\b`:                    "wire.Image",
		`\brewardtest\.(Picture|Judge)\(`:      "rewardtest.Image, Answer",
		`\bPicture(Height|Width)\b`:            "ImageHeight, ImageWidth",
		`(?i)want of memory`:                   "out of memory",
		`(?i)one-by-one\b|\bOneByOne\b`:        "no-speculative",
		`\b(new)?[gG]atherer\b|\bGathering\b`:  "group barrier",
		`\b(any)?[sS]eat(ed|One)?\b`:           "member",
		`\b[oO]verdue\b|_overdue\b`:            "hung",
		`\bbatch_limit\b|\bBatchLimit\b`:       "max_batch_size",
		`\bmade-?[uU]p\b`:                      "synthetic",
		`\bPace\b|\bpacedBody\b`:               "DataRate: minimum data rate",
		`\b\*?lanes? \[?\]?\*?lane\b`:          "queue",
		`\bheatmap_(height|width)\b`:           "maps of GET /v1/models",
		`\bflowgrpo\.Evaluator\b`:              "flowgrpo.FusedLoss",
		`\b(NumScores|scoreNames)\b.*reward`:   "Description.Scores",
		`reward\.(DefaultWeights|Heatmaps?)\b`: "Description, Map",
		`\bwith guesses\b`:                     "speculative",
		`\bpixels\.RGB\b`:                      "reward.Image",
	}
}

// withWords are the kinds of files that hold names and prose.
var withWords = []string{".go", ".md", ".py", ".toml", ".sh", ".yml"}

func TestNoRenamedNameIsLeft(t *testing.T) {
	patterns := map[*regexp.Regexp]string{}
	for pattern, now := range renamed() {
		patterns[regexp.MustCompile(pattern)] = now
	}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipped(entry.Name()) && name != ".":
			return fs.SkipDir
		case entry.IsDir(), !slices.Contains(withWords, path.Ext(name)), name == "CHANGELOG.md", name == "internal/imports/words_test.go":
			return nil
		}
		text, err := os.ReadFile(root + "/" + name)
		if err != nil {
			return err
		}
		line := 0
		for l := range strings.Lines(string(text)) {
			line++
			for pattern, now := range patterns {
				if found := pattern.FindString(l); found != "" {
					t.Errorf("%s:%d: %q is now %s", name, line, found, now)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
