package judge

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/denseflow/densereward/reward"
)

// File is a judge file. Make it with Load or Parse; it is not changed afterwards and
// safe for concurrent use.
type File struct {
	Name         string  `toml:"name"`
	Doc          string  `toml:"doc"`
	Source       string  `toml:"source"`
	System       string  `toml:"system"`
	Prompt       string  `toml:"prompt"`
	ImageSize    []int   `toml:"image_size"` // width, height; nil leaves images as they are
	ImageLast    bool    `toml:"image_last"`
	MaxNewTokens int     `toml:"max_new_tokens"`
	Scores       []Score `toml:"score"`
	Boxes        *Boxes  `toml:"boxes"`
	Probability  *Token  `toml:"probability"`
}

// Score is a number in the answer.
type Score struct {
	Name    string  `toml:"name"`
	Doc     string  `toml:"doc"`
	Pattern string  `toml:"pattern"`
	Min     float64 `toml:"min"`
	Max     float64 `toml:"max"`
	Weight  float64 `toml:"weight"`

	pattern *regexp.Regexp
}

// Boxes is a JSON list of boxes in the answer.
type Boxes struct {
	Block       string  `toml:"block"`
	Box         string  `toml:"box"`
	Label       string  `toml:"label"`
	Description string  `toml:"description"`
	Importance  string  `toml:"importance"`
	Order       string  `toml:"order"`
	Scale       float64 `toml:"scale"`

	block *regexp.Regexp
}

// Token is a score that is the probability of one of some tokens at the first place
// of the answer.
type Token struct {
	Name    string   `toml:"name"`
	Doc     string   `toml:"doc"`
	Tokens  []string `toml:"tokens"`
	Against []string `toml:"against"`
	Weight  float64  `toml:"weight"`
}

// Placeholder stands for the sample's prompt in a file's prompt.
const Placeholder = "{prompt}"

// Limits of a judge file.
const (
	maxFileBytes     = 1 << 20
	maxNewTokens     = 1 << 16
	defaultNewTokens = 1024
	maxImageSide     = 1 << 13
)

//go:embed files/*.toml
var embedded embed.FS

// Names lists the embedded files.
func Names() []string {
	entries, err := fs.ReadDir(embedded, "files")
	if err != nil {
		panic(err) // what is embedded is there
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".toml")
	}
	return names
}

// Load reads the embedded file of that name, or else the file at that path.
func Load(nameOrPath string) (*File, error) {
	data, err := embedded.ReadFile("files/" + nameOrPath + ".toml")
	if err != nil {
		data, err = readFile(nameOrPath)
	}
	if err != nil {
		return nil, fmt.Errorf("judge: %w; embedded are %s", err, strings.Join(Names(), ", "))
	}
	f, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("judge %s: %w", nameOrPath, err)
	}
	return f, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, maxFileBytes)
	}
	return os.ReadFile(path)
}

// Parse reads a judge file and checks it. An error names the key.
func Parse(data []byte) (*File, error) {
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("a file of %d bytes, limit %d", len(data), maxFileBytes)
	}
	var f File
	meta, err := toml.Decode(string(data), &f)
	if err != nil {
		return nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key", unknown[0])
	}
	return &f, f.prepare()
}

// prepare checks the file, compiles its patterns and fills in defaults.
func (f *File) prepare() error {
	if f.MaxNewTokens == 0 {
		f.MaxNewTokens = defaultNewTokens
	}
	switch {
	case f.Name == "":
		return errors.New("name: there is none")
	case !strings.Contains(f.Prompt, Placeholder):
		return fmt.Errorf("prompt: %s does not occur in it", Placeholder)
	case f.MaxNewTokens < 1 || f.MaxNewTokens > maxNewTokens:
		return fmt.Errorf("max_new_tokens: %d is not in 1 to %d", f.MaxNewTokens, maxNewTokens)
	case f.ImageSize != nil && len(f.ImageSize) != 2:
		return fmt.Errorf("image_size: %v is not a width and a height", f.ImageSize)
	case len(f.Scores) == 0 && f.Boxes == nil && f.Probability == nil:
		return errors.New("neither score nor boxes nor probability says what to read")
	}
	for _, side := range f.ImageSize {
		if side < 1 || side > maxImageSide {
			return fmt.Errorf("image_size: %v is not in 1 to %d", f.ImageSize, maxImageSide)
		}
	}
	for i := range f.Scores {
		if err := f.Scores[i].prepare(); err != nil {
			return fmt.Errorf("score %q: %w", f.Scores[i].Name, err)
		}
	}
	if f.Boxes != nil {
		if err := f.Boxes.prepare(); err != nil {
			return fmt.Errorf("boxes: %w", err)
		}
	}
	if p := f.Probability; p != nil && (p.Name == "" || len(p.Tokens) == 0) {
		return errors.New("probability: name and tokens are needed")
	}
	about := f.Describe()
	return about.Validate()
}

func (s *Score) prepare() error {
	var err error
	if s.pattern, err = regexp.Compile(s.Pattern); err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	switch {
	case s.pattern.NumSubexp() < 1:
		return fmt.Errorf("pattern %q has no group for the number", s.Pattern)
	case !(s.Min < s.Max) || math.IsInf(s.Min, 0) || math.IsInf(s.Max, 0):
		return fmt.Errorf("min %v and max %v are no range", s.Min, s.Max)
	}
	return nil
}

func (b *Boxes) prepare() error {
	if b.Block != "" {
		var err error
		if b.block, err = regexp.Compile(b.Block); err != nil {
			return fmt.Errorf("block: %w", err)
		}
		if b.block.NumSubexp() < 1 {
			return fmt.Errorf("block %q has no group for the list", b.Block)
		}
	}
	for _, d := range []struct {
		to    *string
		value string
	}{{&b.Box, "box_2d"}, {&b.Label, "label"}, {&b.Description, "description"}, {&b.Importance, "importance"}, {&b.Order, "xyxy"}} {
		if *d.to == "" {
			*d.to = d.value
		}
	}
	if b.Scale == 0 {
		b.Scale = 1000
	}
	switch {
	case b.Order != "xyxy" && b.Order != "yxyx":
		return fmt.Errorf("order %q is neither xyxy nor yxyx", b.Order)
	case !(b.Scale > 0) || math.IsInf(b.Scale, 0):
		return fmt.Errorf("scale %v is not a positive number", b.Scale)
	}
	return nil
}

// Describe says what a model that is asked by this file gives. The caller fills in
// what is the model's: name, kind and fingerprint, where it wants others.
func (f *File) Describe() reward.Description {
	d := reward.Description{
		Name: f.Name, Kind: "judge", Fingerprint: f.Name, Modes: []reward.Mode{reward.ModeAnswer},
		Text: true, Boxes: f.Boxes != nil, Note: f.Doc,
	}
	for _, s := range f.Scores {
		d.Scores = append(d.Scores, reward.ScoreSpec{Name: s.Name, Min: s.Min, Max: s.Max, Weight: s.Weight, Doc: s.Doc})
	}
	if p := f.Probability; p != nil {
		d.Scores = append(d.Scores, reward.ScoreSpec{Name: p.Name, Min: 0, Max: 1, Weight: p.Weight, Doc: p.Doc})
	}
	return d
}

// Ask is the text that goes with a sample's image.
func (f *File) Ask(prompt string) string { return strings.ReplaceAll(f.Prompt, Placeholder, prompt) }
