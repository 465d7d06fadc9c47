package report

import (
	"cmp"
	"math"
	"slices"

	"github.com/denseflow/densereward/reward/relabel/table"
)

// examples keeps the best and the worst rows by their first score.
type examples struct {
	most        int
	best, worst []Example
}

func (e *examples) add(row *table.Row, values []float64, draw func(*table.Row) *Image) {
	if e.most == 0 || len(values) == 0 {
		return
	}
	one := Example{Name: row.Name(), Value: values[0]}
	for _, name := range []string{"prompt", "caption", "txt", "text"} {
		if text, ok := row.Text(name); ok {
			one.Prompt = text
			break
		}
	}
	e.best = keep(e.best, one, row, draw, e.most, func(a, b Example) int { return cmp.Compare(b.Value, a.Value) })
	e.worst = keep(e.worst, one, row, draw, e.most, func(a, b Example) int { return cmp.Compare(a.Value, b.Value) })
}

// keep puts one among the first most of list, and draws it only if it stays; of
// equal values the earlier row does.
func keep(list []Example, one Example, row *table.Row, draw func(*table.Row) *Image, most int, compare func(a, b Example) int) []Example {
	at, _ := slices.BinarySearchFunc(list, one, func(a, b Example) int { return cmp.Or(compare(a, b), -1) })
	if at == most {
		return list
	}
	if draw != nil {
		one.Image = draw(row)
	}
	list = slices.Insert(list, at, one)
	return list[:min(len(list), most)]
}

func (e *examples) all() []Example {
	var all []Example
	for _, one := range e.best {
		one.Best = true
		all = append(all, one)
	}
	return append(all, e.worst...)
}

// histogram counts a score's values in equal steps between its bounds.
type histogram struct {
	score     string
	low, high float64
	counts    []int
}

const histogramSteps = 20

func newHistogram(score string, values []scored) histogram {
	h := histogram{score: score, counts: make([]int, histogramSteps)}
	if len(values) == 0 {
		return h
	}
	h.low, h.high = values[0].value, values[0].value
	for _, v := range values {
		h.low, h.high = min(h.low, v.value), max(h.high, v.value)
	}
	scale := 1.0
	if math.IsInf(h.high-h.low, 0) {
		scale = 0.5
	}
	for _, v := range values {
		at := 0
		if h.high > h.low {
			at = min(int((v.value*scale-h.low*scale)/(h.high*scale-h.low*scale)*histogramSteps), histogramSteps-1)
		}
		h.counts[at]++
	}
	return h
}
