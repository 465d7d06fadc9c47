package wire

import (
	"slices"

	"github.com/denseflow/densereward/reward"
)

// Encode is the response as it travels. Tensors and images are borrowed, not
// copied.
func (p *Response) Encode() *Message {
	w := newWriter()
	w.mapLen(p.fieldCount())
	w.text("rewards")
	w.tensor(reward.Float64Tensor(p.Rewards, len(p.Rewards)))
	w.text("scores")
	w.mapLen(len(p.Scores))
	for _, s := range p.Scores {
		w.text(s.Name)
		w.tensor(reward.Float64Tensor(s.Values, len(s.Values)))
	}
	w.text("missing")
	w.arrayLen(len(p.Missing))
	for _, m := range p.Missing {
		w.texts(m)
	}
	w.text("errors")
	w.arrayLen(len(p.Errors))
	for _, e := range p.Errors {
		if e == nil {
			w.null()
		} else {
			w.failure(e)
		}
	}
	if p.Cached != nil {
		w.text("cached")
		w.arrayLen(len(p.Cached))
		for _, c := range p.Cached {
			w.bool(c)
		}
	}
	p.encodeMaps(w)
	p.encodeAnswers(w)
	if p.Warnings != nil {
		w.text("warnings")
		w.texts(p.Warnings)
	}
	w.text("evaluator")
	w.text(p.Evaluator)
	w.text("model")
	w.text(p.Model)
	if p.Resize != "" {
		w.text("resize")
		w.text(p.Resize)
	}
	p.encodeTiming(w)
	return w.message()
}

func (p *Response) fieldCount() int {
	n := 7 // those that are always there
	for _, present := range []bool{
		p.Dense != nil, p.Advantages != nil || p.AdvantageMaps != nil, p.Heatmaps != nil, p.Warnings != nil,
		p.Texts != nil, p.Boxes != nil, p.Images != nil, p.Ranks != nil, p.Resize != "", p.Cached != nil,
	} {
		if present {
			n++
		}
	}
	return n
}

func (p *Response) encodeMaps(w *writer) {
	if d := p.Dense; d != nil {
		w.text("dense")
		if d.Weights == nil {
			w.mapLen(3)
			w.text("grid")
			w.arrayLen(2)
			w.int(d.Height)
			w.int(d.Width)
		} else {
			w.mapLen(2)
		}
		w.text("weight")
		w.tensors(d.Weight, d.Weights)
		w.text("reward")
		w.tensors(d.Reward, d.Rewards)
	}
	if p.Advantages != nil || p.AdvantageMaps != nil {
		w.text("advantages")
		w.tensors(p.Advantages, p.AdvantageMaps)
	}
	if p.Heatmaps != nil {
		w.text("heatmaps")
		w.mapLen(len(p.Heatmaps))
		for _, h := range p.Heatmaps {
			w.text(h.Name)
			w.tensors(h.Maps, h.Each)
		}
	}
}

// tensors writes one tensor, or an array of one a sample where there is none.
func (w *writer) tensors(one *reward.Tensor, each []*reward.Tensor) {
	if one != nil {
		w.tensor(one)
		return
	}
	w.arrayLen(len(each))
	for _, t := range each {
		w.tensor(t)
	}
}

func (p *Response) encodeAnswers(w *writer) {
	if p.Texts != nil {
		w.text("texts")
		w.texts(p.Texts)
	}
	if p.Ranks != nil {
		w.text("ranks")
		w.arrayLen(len(p.Ranks))
		for _, place := range p.Ranks {
			w.int(place)
		}
	}
	if p.Boxes != nil {
		w.text("boxes")
		w.arrayLen(len(p.Boxes))
		for _, boxes := range p.Boxes {
			w.arrayLen(len(boxes))
			for _, b := range boxes {
				w.box(&b)
			}
		}
	}
	if p.Images != nil {
		w.text("images")
		w.arrayLen(len(p.Images))
		for _, image := range p.Images {
			w.bin(image)
		}
	}
}

func (w *writer) box(b *reward.Box) {
	w.mapLen(3)
	w.text("box")
	w.arrayLen(len(b.Coords))
	for _, c := range b.Coords {
		w.float(c)
	}
	w.text("label")
	w.text(b.Label)
	w.text("importance")
	w.float(b.Importance)
}

func (p *Response) encodeTiming(w *writer) {
	stages := make([]string, 0, len(p.TimingMS))
	for stage := range p.TimingMS {
		stages = append(stages, stage)
	}
	slices.Sort(stages)
	w.text("timing_ms")
	w.mapLen(len(stages))
	for _, stage := range stages {
		w.text(stage)
		w.float(p.TimingMS[stage])
	}
}

// failure writes {code, message}.
func (w *writer) failure(e *reward.Error) {
	w.mapLen(2)
	w.text("code")
	w.text(e.Code())
	w.text("message")
	w.text(e.Message())
}

// EncodeError is e as the body of a response.
func EncodeError(e *reward.Error) []byte {
	w := newWriter()
	w.failure(e)
	return w.message().Bytes()
}
