package judge

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// Answer is what a model wrote.
type Answer struct {
	Text string
	// Truncated is whether it was cut off by the limit on its tokens.
	Truncated bool
	// First are the probabilities of tokens at the first place, as far as they are
	// known; nil where they are not.
	First map[string]float64
}

// Read makes a result of an answer. What it lacks is in Missing; Err is set where the
// answer was cut off before all was there, has none of its scores, a number that cannot
// be one of them, or boxes that cannot be read.
//
// Such an error wraps reward.ErrUnreadable.
func (f *File) Read(a Answer) reward.Result {
	r := f.read(a)
	if r.Err != nil {
		r.Err = reward.AsError(r.Err, reward.ErrEvaluatorFailed).Wrap(reward.ErrUnreadable)
	}
	return r
}

func (f *File) read(a Answer) reward.Result {
	r := reward.Result{Text: a.Text}
	if err := f.readScores(a, &r); err != nil {
		if a.Truncated { // within the number, perhaps
			err = truncated(f.MaxNewTokens)
		}
		return reward.Result{Err: err}
	}
	if f.Boxes != nil {
		boxes, err := f.Boxes.find(a.Text)
		if err != nil && a.Truncated {
			err = truncated(f.MaxNewTokens)
		}
		if err != nil {
			return reward.Result{Err: err}
		}
		r.Boxes = boxes
	}
	switch {
	case a.Truncated && len(f.Scores) > 0 && len(r.Missing) > 0:
		return reward.Result{Err: truncated(f.MaxNewTokens)}
	case len(r.Scores) > 0 && len(r.Missing) == len(r.Scores):
		// A refusal, say, or a model that was never taught this form: 0 would be the
		// worst reward for an image that nobody looked at.
		return reward.Result{Err: reward.ErrEvaluatorFailed.With("the answer has none of %s: %.200q", strings.Join(r.Missing, ", "), a.Text)}
	}
	return r
}

// readScores reads the numbers and the probability.
func (f *File) readScores(a Answer, r *reward.Result) error {
	add := func(name string, v float64, ok bool) {
		if !ok {
			r.Missing = append(r.Missing, name)
			v = 0
		}
		r.Scores = append(r.Scores, v)
	}
	for i := range f.Scores {
		v, ok, err := f.Scores[i].find(a.Text)
		if err != nil {
			return err
		}
		add(f.Scores[i].Name, v, ok)
	}
	if p := f.Probability; p != nil {
		v, ok, err := p.find(a.First)
		if err != nil {
			return err
		}
		add(p.Name, v, ok)
	}
	return nil
}

func truncated(tokens int) error {
	return reward.ErrAnswerTruncated.With("the answer was cut off after %d tokens before all was there", tokens)
}

// find is the number that the pattern finds first, and whether it finds any. One that
// is no number of the score's range is an error: counted as missing it would be 0,
// the worst score, for an answer that may have meant the best of another scale.
func (s *Score) find(text string) (v float64, found bool, err error) {
	match := s.pattern.FindStringSubmatch(text)
	if match == nil {
		return 0, false, nil
	}
	v, err = strconv.ParseFloat(strings.TrimRight(match[1], "."), 64)
	if err != nil || !(v >= s.Min && v <= s.Max) {
		return 0, false, reward.ErrEvaluatorFailed.With("score %s: the answer says %.40q, want a number in [%v,%v]", s.Name, match[1], s.Min, s.Max)
	}
	return v, true, nil
}

// find is the probability of the tokens, or their share in it and the others', and
// whether any of them is known.
func (t *Token) find(first map[string]float64) (p float64, found bool, err error) {
	if first == nil {
		return 0, false, nil
	}
	sum := func(tokens []string) (p float64) {
		for _, token := range tokens {
			p += first[token]
		}
		return p
	}
	const rounding = 1e-6
	p, q := sum(t.Tokens), sum(t.Against)
	if !(p >= 0 && q >= 0 && p+q <= 1+rounding) { // also NaN
		return 0, false, reward.ErrEvaluatorFailed.With("score %s: the tokens' probabilities are %v and %v, want numbers of at most 1 together", t.Name, p, q)
	}
	if len(t.Against) > 0 {
		if p+q == 0 {
			return 0, false, nil
		}
		p /= p + q
	}
	return min(p, 1), true, nil
}

// maxBoxes bounds the boxes of one answer.
const maxBoxes = 1024

// find reads the list of boxes.
func (b *Boxes) find(text string) ([]reward.Box, error) {
	if b.block != nil {
		match := b.block.FindStringSubmatch(text)
		if match == nil {
			return nil, reward.ErrEvaluatorFailed.With("the answer has no block of boxes")
		}
		text = match[1]
	}
	start, end := strings.IndexByte(text, '['), strings.LastIndexByte(text, ']')
	if start < 0 || end < start {
		return nil, reward.ErrEvaluatorFailed.With("the answer has no list of boxes")
	}
	var list []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text[start:end+1]), &list); err != nil {
		return nil, reward.ErrEvaluatorFailed.With("the answer's list of boxes cannot be read: %v", err)
	}
	if len(list) > maxBoxes {
		return nil, reward.ErrEvaluatorFailed.With("the answer has %d boxes, limit %d", len(list), maxBoxes)
	}
	boxes := make([]reward.Box, 0, len(list))
	for i, item := range list {
		box, err := b.box(item)
		if err != nil {
			return nil, reward.ErrEvaluatorFailed.With("box %d of the answer: %v", i, err)
		}
		boxes = append(boxes, box)
	}
	return boxes, nil
}

func (b *Boxes) box(item map[string]json.RawMessage) (reward.Box, error) {
	box := reward.Box{Importance: 100}
	var stated []*float64 // a null, which would leave a float64 at 0, stays nil
	if err := json.Unmarshal(item[b.Box], &stated); err != nil || len(stated) != 4 || slices.Contains(stated, nil) {
		return box, reward.ErrInvalidValue.With("%s is %.80s, not four numbers", b.Box, item[b.Box])
	}
	var corners [4]float64
	for i, v := range stated {
		corners[i] = *v
	}
	if b.Order == "yxyx" {
		corners[0], corners[1], corners[2], corners[3] = corners[1], corners[0], corners[3], corners[2]
	}
	for i, v := range corners {
		v = min(max(v/b.Scale*1000, 0), 1000)
		if math.IsNaN(v) {
			return box, reward.ErrInvalidValue.With("%s holds a number that is none", b.Box)
		}
		box.Coords[i] = v
	}
	if box.Coords[0] > box.Coords[2] {
		box.Coords[0], box.Coords[2] = box.Coords[2], box.Coords[0]
	}
	if box.Coords[1] > box.Coords[3] {
		box.Coords[1], box.Coords[3] = box.Coords[3], box.Coords[1]
	}
	if data, ok := item[b.Label]; ok {
		if err := json.Unmarshal(data, &box.Label); err != nil {
			return box, reward.ErrInvalidValue.With("%s is %.80s, no text", b.Label, data)
		}
	}
	if data, ok := item[b.Importance]; ok {
		if err := json.Unmarshal(data, &box.Importance); err != nil || !(box.Importance >= 0 && box.Importance <= 100) {
			return box, reward.ErrInvalidValue.With("%s is %.80s, not a number in 0 to 100", b.Importance, data)
		}
	}
	return box, nil
}
