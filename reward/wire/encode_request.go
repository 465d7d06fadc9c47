package wire

import (
	"maps"
	"slices"

	"github.com/denseflow/densereward/reward"
)

// Encode is the request as it travels. Images and tensors are borrowed, not
// copied. It fails, with an *Error, where a server of the same limits would
// refuse the request unseen.
func (q *Request) Encode(limits Limits) (*Message, error) {
	if err := q.check(limits); err != nil {
		return nil, err
	}
	w := newWriter()
	w.mapLen(q.fieldCount())
	w.text("prompts")
	w.texts(q.Prompts)
	if err := q.encodeInputs(w); err != nil {
		return nil, err
	}
	if q.Metadata != nil {
		if err := w.encodeMetadata(q.Metadata); err != nil {
			return nil, err
		}
	}
	q.encodeOptions(w)
	m := w.message()
	if m.Len() > limits.BodyBytes {
		return nil, reward.ErrBodyTooLarge.With("the request takes %d bytes, limit %d", m.Len(), limits.BodyBytes)
	}
	return m, nil
}

func (w *writer) texts(texts []string) {
	w.arrayLen(len(texts))
	for _, t := range texts {
		w.text(t)
	}
}

// fieldCount is the number of top-level keys that Encode writes.
func (q *Request) fieldCount() int {
	n := 2 // prompts, and images or latents
	for _, present := range []bool{
		q.VAE != "", q.Metadata != nil, q.Mode != "", q.Grid != reward.GridSpec{}, groupsGiven(&q.Groups),
		q.Advantage != nil, q.Weights != nil, q.Return != nil, q.Evaluator != "", q.Missing != "", q.Clamp, q.Rank,
	} {
		if present {
			n++
		}
	}
	return n
}

func groupsGiven(g *reward.Groups) bool { return g.Names != nil || g.Step != "" }

func (q *Request) encodeInputs(w *writer) error {
	if q.Latents != nil {
		if err := q.Latents.Check(); err != nil {
			return err
		}
		w.text("latents")
		w.tensor(q.Latents)
		w.text("vae")
		w.text(q.VAE)
		return nil
	}
	w.text("images")
	w.arrayLen(len(q.Images))
	for i, p := range q.Images {
		switch {
		case p.Tensor != nil:
			if err := p.Tensor.Check(); err != nil {
				e := reward.AsError(err, reward.ErrInvalidValue)
				return e.With("images[%d]: %s", i, e.Message())
			}
			w.tensor(p.Tensor)
		case p.Encoded != nil:
			w.bin(p.Encoded)
		default:
			return reward.ErrMissingField.With("images[%d]: holds neither a file nor a tensor", i)
		}
	}
	return nil
}

func (q *Request) encodeOptions(w *writer) {
	if q.Mode != "" {
		w.text("mode")
		w.text(string(q.Mode))
	}
	if q.Grid != (reward.GridSpec{}) {
		w.text("grid")
		w.grid(q.Grid)
	}
	if groupsGiven(&q.Groups) {
		w.text("groups")
		w.groups(&q.Groups)
	}
	if q.Advantage != nil {
		w.text("advantage")
		w.advantage(q.Advantage)
	}
	if q.Weights != nil {
		w.text("weights")
		w.weights(q.Weights)
	}
	if q.Return != nil {
		w.text("return")
		w.arrayLen(len(q.Return))
		for _, r := range q.Return {
			w.text(string(r))
		}
	}
	if q.Evaluator != "" {
		w.text("evaluator")
		w.text(q.Evaluator)
	}
	if q.Rank {
		w.text("rank")
		w.bool(true)
	}
	if q.Missing != "" {
		w.text("missing")
		w.text(string(q.Missing))
	}
	if q.Clamp {
		w.text("clamp")
		w.bool(true)
	}
}

func (w *writer) grid(g reward.GridSpec) {
	if g.Preset != "" {
		w.mapLen(1)
		w.text("preset")
		w.text(g.Preset)
		return
	}
	w.mapLen(2)
	w.text("height")
	w.int(g.Height)
	w.text("width")
	w.int(g.Width)
}

func (w *writer) groups(g *reward.Groups) {
	if g.Step == "" {
		w.texts(g.Names)
		return
	}
	n := 2
	if g.Names != nil {
		n++
	}
	if g.Members != nil {
		n++
	}
	if g.Count != 0 {
		n++
	}
	w.mapLen(n)
	w.text("step")
	w.text(g.Step)
	w.text("size")
	w.int(g.Size)
	if g.Names != nil {
		w.text("names")
		w.texts(g.Names)
	}
	if g.Members != nil {
		w.text("members")
		w.arrayLen(len(g.Members))
		for _, m := range g.Members {
			w.int(m)
		}
	}
	if g.Count != 0 {
		w.text("count")
		w.int(g.Count)
	}
}

func (w *writer) advantage(a *reward.Advantage) {
	n := 1
	for _, present := range []bool{a.GlobalStd, a.Floor != nil, a.Smoothing != 0, a.Penalty != nil, a.Steps != 0} {
		if present {
			n++
		}
	}
	w.mapLen(n)
	w.text("method")
	w.text(string(a.Method))
	if a.GlobalStd {
		w.text("global_std")
		w.bool(true)
	}
	if a.Floor != nil {
		w.text("floor")
		w.float(*a.Floor)
	}
	if a.Smoothing != 0 {
		w.text("smoothing")
		w.int(a.Smoothing)
	}
	if a.Penalty != nil {
		w.text("penalty")
		w.mapLen(3)
		w.text("artifact")
		w.float(a.Penalty.Artifact)
		w.text("misalignment")
		w.float(a.Penalty.Misalignment)
		w.text("min")
		w.float(a.Penalty.Min)
	}
	if a.Steps != 0 {
		w.text("steps")
		w.int(a.Steps)
	}
}

func (w *writer) weights(g *reward.Weights) {
	n := 0
	for _, named := range []map[string]float64{g.Scores, g.Maps} {
		if named != nil {
			n++
		}
	}
	w.mapLen(n)
	w.weightsByName("scores", g.Scores)
	w.weightsByName("heatmaps", g.Maps)
}

// weightsByName writes weights that are given, in the order of their names.
func (w *writer) weightsByName(key string, named map[string]float64) {
	if named == nil {
		return
	}
	w.text(key)
	w.mapLen(len(named))
	for _, name := range slices.Sorted(maps.Keys(named)) {
		w.text(name)
		w.float(named[name])
	}
}
