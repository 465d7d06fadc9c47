package wire

import (
	"github.com/denseflow/densereward/reward"
)

// RFTPath is where an RFTRequest is posted.
const RFTPath = "/v1/rft"

// RFTRequest asks for the rewards of reinforcement fine-tuning: what N
// completions of an evaluator that is being trained earn against the truth. See
// package rft.
type RFTRequest struct {
	Completions []string // N
	// The true scores: one of Solutions (N), texts in whose <answer> they are, and
	// Scores, float64 (N,4) or (1,4) for all.
	Solutions []string
	Scores    *reward.Tensor
	// The true heatmaps, float32 in [0,1] or uint8 for 255 times that, (N,h,w) or
	// (1,h,w) for all.
	Misalignment, Artifact *reward.Tensor
	// The heatmaps that came with the completions, nil where there are none.
	PredictedMisalignment, PredictedArtifact *reward.Tensor // (N,h,w)
	Groups                                   []string       // N names; nil is one group
}

// RFTScores is the number of scores of a completion.
const RFTScores = 4

// maxCompletionBytes bounds a completion and a solution.
const maxCompletionBytes = 1 << 20

// DecodeRFTRequest reads an RFTRequest as DecodeRequest reads a Request.
func DecodeRFTRequest(body []byte, limits Limits) (*RFTRequest, error) {
	r := newReader(body)
	q := &RFTRequest{}
	err := r.Fields(func(key string) (bool, error) {
		if key == "completions" {
			var err error
			q.Completions, err = r.sampleTexts(limits, maxCompletionBytes)
			return true, err
		}
		if absent, err := r.SkipNil(); absent || err != nil {
			return true, err
		}
		return r.rftField(q, key, limits)
	})
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	return q, q.check(limits)
}

func (r *reader) rftField(q *RFTRequest, key string, limits Limits) (known bool, err error) {
	switch key {
	case "solutions":
		q.Solutions, err = r.sampleTexts(limits, maxCompletionBytes)
	case "groups":
		q.Groups, err = r.sampleTexts(limits, limits.NameBytes)
	case "scores":
		q.Scores, err = r.Tensor()
	case "truth":
		q.Misalignment, q.Artifact, err = r.mapPair()
	case "predicted":
		q.PredictedMisalignment, q.PredictedArtifact, err = r.mapPair()
	default:
		return false, nil
	}
	return true, err
}

func (r *reader) sampleTexts(limits Limits, limit int) ([]string, error) {
	n, err := r.samples(limits)
	if err != nil {
		return nil, err
	}
	return r.texts(n, limit)
}

// mapPair reads {misalignment, artifact}.
func (r *reader) mapPair() (misalignment, artifact *reward.Tensor, err error) {
	err = r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "misalignment":
			misalignment, err = r.Tensor()
		case "artifact":
			artifact, err = r.Tensor()
		default:
			return false, nil
		}
		return true, err
	})
	return misalignment, artifact, err
}

// check holds the fields against each other.
func (q *RFTRequest) check(limits Limits) error {
	n := len(q.Completions)
	switch {
	case n == 0:
		return reward.ErrMissingField.With("completions: want at least one")
	case (q.Solutions == nil) == (q.Scores == nil):
		return reward.ErrMissingField.With("solutions: give these or scores, one of them")
	case q.Solutions != nil && len(q.Solutions) != n:
		return reward.ErrImageCountMismatch.With("solutions: %d for %d completions", len(q.Solutions), n)
	case q.Groups != nil && len(q.Groups) != n:
		return reward.ErrImageCountMismatch.With("groups: %d for %d completions", len(q.Groups), n)
	case q.Misalignment == nil || q.Artifact == nil:
		return reward.ErrMissingField.With("truth: want misalignment and artifact")
	}
	if s := q.Scores; s != nil && (s.Type != reward.Float64 || len(s.Shape) != 2 || s.Shape[0] != 1 && s.Shape[0] != n || s.Shape[1] != RFTScores) {
		return reward.ErrInvalidValue.With("scores: %s of shape %v: want float64 (%d,%d) or (1,%d)", s.Type, s.Shape, n, RFTScores, RFTScores)
	}
	for _, c := range []struct {
		field  string
		t      *reward.Tensor
		shared bool
	}{
		{"truth.misalignment", q.Misalignment, true}, {"truth.artifact", q.Artifact, true},
		{"predicted.misalignment", q.PredictedMisalignment, false}, {"predicted.artifact", q.PredictedArtifact, false},
	} {
		if err := checkMaps(c.field, c.t, n, c.shared, limits); err != nil {
			return err
		}
	}
	return nil
}

// checkMaps fails unless t is nil or maps of n samples; shared ones may be one.
func checkMaps(field string, t *reward.Tensor, n int, shared bool, limits Limits) error {
	if t == nil {
		return nil
	}
	if t.Type != reward.Float32 && t.Type != reward.Uint8 {
		return reward.ErrUnsupportedDType.With("%s: type %s: want float32 or uint8", field, t.Type)
	}
	if len(t.Shape) != 3 || t.Shape[0] != n && !(shared && t.Shape[0] == 1) || t.Shape[1] < 1 || t.Shape[2] < 1 {
		return reward.ErrInvalidValue.With("%s: shape %v: want (%d,h,w)", field, t.Shape, n)
	}
	if cells := t.Shape[0] * t.Shape[1] * t.Shape[2]; cells > limits.MapCells {
		return reward.ErrInvalidValue.With("%s: %d cells, limit %d", field, cells, limits.MapCells)
	}
	return nil
}

// Encode fails for a request that a server with these limits would refuse.
func (q *RFTRequest) Encode(limits Limits) (*Message, error) {
	if err := q.check(limits); err != nil {
		return nil, err
	}
	w := newWriter()
	n := 2
	for _, present := range []bool{q.Solutions != nil, q.Scores != nil, q.PredictedMisalignment != nil || q.PredictedArtifact != nil, q.Groups != nil} {
		if present {
			n++
		}
	}
	w.mapLen(n)
	w.text("completions")
	w.texts(q.Completions)
	if q.Solutions != nil {
		w.text("solutions")
		w.texts(q.Solutions)
	}
	if q.Scores != nil {
		w.text("scores")
		w.tensor(q.Scores)
	}
	w.text("truth")
	w.mapPair(q.Misalignment, q.Artifact)
	if q.PredictedMisalignment != nil || q.PredictedArtifact != nil {
		w.text("predicted")
		w.mapPair(q.PredictedMisalignment, q.PredictedArtifact)
	}
	if q.Groups != nil {
		w.text("groups")
		w.texts(q.Groups)
	}
	return w.message(), nil
}

func (w *writer) mapPair(misalignment, artifact *reward.Tensor) {
	n := 0
	for _, t := range []*reward.Tensor{misalignment, artifact} {
		if t != nil {
			n++
		}
	}
	w.mapLen(n)
	if misalignment != nil {
		w.text("misalignment")
		w.tensor(misalignment)
	}
	if artifact != nil {
		w.text("artifact")
		w.tensor(artifact)
	}
}

// RFTResponse answers an RFTRequest.
type RFTResponse struct {
	Rewards    []NamedScores // the twelve, in the published run's order
	Format     []float64     // N
	Sums       []float64     // N, without Format
	Advantages []float64     // N
}

// Encode is the response as it travels.
func (p *RFTResponse) Encode() *Message {
	w := newWriter()
	w.mapLen(4)
	w.text("rewards")
	w.mapLen(len(p.Rewards))
	for _, s := range p.Rewards {
		w.text(s.Name)
		w.tensor(reward.Float64Tensor(s.Values, len(s.Values)))
	}
	for _, field := range []struct {
		name   string
		values []float64
	}{{"format", p.Format}, {"sums", p.Sums}, {"advantages", p.Advantages}} {
		w.text(field.name)
		w.tensor(reward.Float64Tensor(field.values, len(field.values)))
	}
	return w.message()
}

// DecodeRFTResponse reads an RFTResponse as DecodeResponse reads a Response.
func DecodeRFTResponse(body []byte) (*RFTResponse, error) {
	r := newReader(body)
	p := &RFTResponse{}
	err := r.Fields(func(key string) (bool, error) {
		var err error
		switch key {
		case "rewards":
			p.Rewards, err = r.scores()
		case "format":
			p.Format, err = r.numbers()
		case "sums":
			p.Sums, err = r.numbers()
		case "advantages":
			p.Advantages, err = r.numbers()
		default:
			err = r.Skip()
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	return p, r.End()
}
