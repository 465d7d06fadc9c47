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

// given is a name that was given up.
type given struct {
	needle  string // in lower case, part of every match
	pattern string
	now     string // the term of the field that took its place
}

// renamed are identifiers, flags, metrics and phrases that were given up. Only
// CHANGELOG.md may hold them. Words that are ordinary English elsewhere stand
// here as the names that they were part of.
func renamed() []given {
	return []given{
		{"reward.picture", `reward\.Picture\b`, "wire.Image"},
		{"rewardtest.picture(", `rewardtest\.Picture\(`, "rewardtest.Image"},
		{"rewardtest.judge(", `rewardtest\.Judge\(`, "rewardtest.Answer"},
		{"picture", `\w*Pictures?(\b|[A-Z]\w*)|\bpictures?[A-Z]\w*`, "Image"},
		{"judged", `\bjudged\b`, "scored"},
		{"judging", `\bjudging\b`, "scoring"},
		{"want of memory", `(?i)want of memory`, "out of memory"},
		{"one-by-one", `(?i)-one-by-one\b`, "--no-speculative"},
		{"onebyone", `\bOneByOne\b`, "NoSpeculative"},
		{"with guesses", `\bwith guesses\b`, "speculative"},
		{"guess", `\b[gG]uess(es)?([A-Z]\w*|_?(ids|tokens)\b)|\b\w+Guess(es)?\b`, "draft tokens"},
		{"wording", `\b[wW]ordings?([A-Z]|\.[A-Z])|\b[a-z]+Wordings?\b`, "answer template"},
		{"lot", `\blots?[A-Z]\w*|\b\w*Lots?(Alone|Size)?\b`, "chunk"},
		{"lane", `\b[lL]anes?\b`, "queue"},
		{"party", `\bpart(y|ies)[A-Z]\w*|\bnewParty\b|\*party\b`, "participant"},
		{"highest", `\b[hH]ighest[A-Z(]\w*|\bhighest\.go\b`, "argmax"},
		{"rotation", `\bRotations?\b|\brotations?[A-Z]\w*|\brotation\.go\b`, "rope"},
		{"forced", `\bforced(Prefix|IDs|Tokens|Answer)\w*|\bForced(Prefix|Answer)\w*|\bforced answer\b`, "answer prefix"},
		{"floor", `\bfloor(Time|Seconds|Bytes|Of)\b|\bfloor\.go\b|-floor\b`, "roofline"},
		{"gatherer", `\b[gG]atherer\b`, "group barrier"},
		{"gathering{", `\bGathering\{`, "groups.Config"},
		{"seat", `\b([sS]eat|anySeat|seated|seatOne)\b`, "member"},
		{"overdue", `(?i)overdue`, "hung"},
		{"batch_limit", `\bbatch_limit\b`, "max_batch_size"},
		{"batchlimit", `\bBatchLimit\b`, "MaxBatchSize"},
		{"madeup", `\bmade[uU]p\b`, "synthetic"},
		{"made-up", `\bmade-up\b`, "synthetic"},
		{"server.pace", `\bserver\.Pace\b`, "server.DataRate"},
		{"paced", `\bpaced(Body|Writer)?\b`, "minimum data rate"},
		{"pacing", `\bpacing\b`, "minimum data rate"},
		{"heatmap_height", `\bheatmap_height\b`, "maps of GET /v1/models"},
		{"heatmap_width", `\bheatmap_width\b`, "maps of GET /v1/models"},
		{"flowgrpo.evaluator", `\bflowgrpo\.Evaluator\b`, "flowgrpo.FusedLoss"},
		{"reward.defaultweights", `reward\.DefaultWeights\b`, "Description"},
		{"reward.heatmap", `reward\.Heatmaps?\b`, "reward.Map"},
		{"pixels.rgb", `\bpixels\.RGB\b`, "reward.Image"},
	}
}

// withWords are the kinds of files that hold names and prose.
var withWords = []string{".go", ".md", ".py", ".toml", ".sh", ".yml"}

func TestNoRenamedNameIsLeft(t *testing.T) {
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
		lower := strings.ToLower(string(text))
		for _, g := range renamed() {
			if !strings.Contains(lower, g.needle) {
				continue
			}
			for _, at := range regexp.MustCompile(g.pattern).FindAllIndex(text, -1) {
				t.Errorf("%s:%d: %q is now %s", name, 1+strings.Count(string(text[:at[0]]), "\n"), text[at[0]:at[1]], g.now)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
