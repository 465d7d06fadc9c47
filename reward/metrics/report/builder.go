package report

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/metrics"
	"github.com/denseflow/densereward/reward/relabel/table"
)

// Pair names a column and the truth's column that it is held against.
type Pair struct{ Predicted, Truth string }

// Options say what is measured.
type Options struct {
	Prefix   string   // of the labels' columns, see relabel.Labels
	Scores   []string // columns; the first orders the examples
	By       string   // column whose values make groups; "" for none
	Key      string   // column that tells rows apart; "" for the usual one
	Truth    []Pair   // scores
	Maps     []Pair
	Boxes    *Pair
	Fixation float64 // see metrics.CompareHeatmaps

	Level  float64 // of intervals, such as 0.95
	Rounds int     // of the bootstrap
	Seed   uint64

	// Examples is how many of the best and of the worst rows are kept for a
	// page, and Draw makes the image of one; 0 and nil for none.
	Examples int
	Draw     func(*table.Row) *Image
}

// Builder takes rows and makes a Report of them. Its memory is that of the
// numbers of each row.
type Builder struct {
	o      Options
	report Report

	values map[string][]scored // by score
	keys   map[string][]float64
	twice  map[string]bool // keys of several rows
	pairs  map[Pair]*columns
	maps   []*mapColumn
	boxes  map[string]*metrics.Detection
	labels []string // of boxes, in the order in which they came
	ranked examples
}

type scored struct {
	group string
	value float64
}

// columns are a prediction and a truth, row by row.
type columns struct{ predicted, truth []float64 }

type mapColumn struct {
	pair    Pair
	summary metrics.HeatmapSummary
	peaks   columns
}

// NewBuilder makes an empty Builder; its Report has the level of o.
func NewBuilder(o Options) *Builder {
	b := &Builder{
		o: o, values: map[string][]scored{}, keys: map[string][]float64{}, twice: map[string]bool{}, pairs: map[Pair]*columns{}, boxes: map[string]*metrics.Detection{},
		ranked: examples{most: o.Examples},
	}
	b.report.Level = o.Level
	for _, pair := range o.Truth {
		b.pairs[pair] = &columns{}
	}
	for _, pair := range o.Maps {
		b.maps = append(b.maps, &mapColumn{pair: pair})
	}
	return b
}

// Add takes a row. truth is the row of the same key that holds the truth, often
// row itself; nil if there is none.
func (b *Builder) Add(row, truth *table.Row) error {
	b.report.Rows++
	if row.ErrorCode(b.o.Prefix) != "" {
		b.report.Failed++
		return nil
	}
	group, _ := row.Text(b.o.By)
	key, keyed := row.KeyOf(b.o.Key)
	values := make([]float64, len(b.o.Scores))
	for i, name := range b.o.Scores {
		v, ok := row.Float(name)
		if !ok {
			return fmt.Errorf("%s has no number %q", row.Name(), name)
		}
		values[i] = v
		b.values[name] = append(b.values[name], scored{group, v})
	}
	if keyed {
		if _, there := b.keys[key]; there {
			b.twice[key] = true
		}
		b.keys[key] = values
	}
	b.ranked.add(row, values, b.o.Draw)
	if len(b.o.Truth)+len(b.o.Maps) == 0 && b.o.Boxes == nil {
		return nil
	}
	if truth == nil {
		b.report.Unmatched++
		return nil
	}
	return errors.Join(b.addScores(row, truth), b.addMaps(row, truth), b.addBoxes(row, truth))
}

// addScores leaves out rows whose truth is null.
func (b *Builder) addScores(row, truth *table.Row) error {
	for pair, c := range b.pairs {
		p, ok := row.Float(pair.Predicted)
		if !ok {
			return fmt.Errorf("%s has no number %q", row.Name(), pair.Predicted)
		}
		if t, ok := truth.Float(pair.Truth); ok {
			c.predicted, c.truth = append(c.predicted, p), append(c.truth, t)
		}
	}
	return nil
}

// addMaps takes a prediction that is null for an empty map, and leaves out rows
// whose truth is null.
func (b *Builder) addMaps(row, truth *table.Row) error {
	for _, m := range b.maps {
		t, there, err := truth.Map(m.pair.Truth)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		p, there, err := row.Map(m.pair.Predicted)
		if err != nil {
			return err
		}
		if !there {
			p = reward.Map{Height: t.Height, Width: t.Width, Data: make([]float32, len(t.Data))}
		}
		compared, err := metrics.CompareHeatmaps(p, pooled(t, p), b.o.Fixation)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", row.Name(), m.pair.Predicted, err)
		}
		m.summary.Add(compared)
		m.peaks.predicted = append(m.peaks.predicted, metrics.Peak(p))
		m.peaks.truth = append(m.peaks.truth, metrics.Peak(t))
	}
	return nil
}

// pooled brings a truth to the size of the prediction by adaptive average
// pooling.
func pooled(truth, prediction reward.Map) reward.Map {
	if truth.Height == prediction.Height && truth.Width == prediction.Width || len(truth.Data) == 0 || len(prediction.Data) == 0 {
		return truth
	}
	m := reward.Map{Height: prediction.Height, Width: prediction.Width, Data: make([]float32, len(prediction.Data))}
	dense.AdaptiveAvgPool(m.Data, dense.Grid{Height: m.Height, Width: m.Width}, truth.Data, dense.Grid{Height: truth.Height, Width: truth.Width})
	return m
}

func (b *Builder) addBoxes(row, truth *table.Row) error {
	if b.o.Boxes == nil {
		return nil
	}
	want, there, err := truth.Boxes(b.o.Boxes.Truth)
	if err != nil || !there {
		return err
	}
	got, _, err := row.Boxes(b.o.Boxes.Predicted)
	if err != nil {
		return err
	}
	b.countBoxes("", metrics.MatchBoxes(got, want, metrics.BoxIoU))
	var labels []string
	for _, box := range append(slices.Clone(want), got...) {
		if box.Label != "" && !slices.Contains(labels, box.Label) {
			labels = append(labels, box.Label)
		}
	}
	for _, label := range labels {
		b.countBoxes(label, metrics.MatchBoxes(labelled(got, label), labelled(want, label), metrics.BoxIoU))
	}
	return nil
}

func labelled(boxes []reward.Box, label string) []reward.Box {
	var some []reward.Box
	for _, b := range boxes {
		if b.Label == label {
			some = append(some, b)
		}
	}
	return some
}

func (b *Builder) countBoxes(label string, d metrics.Detection) {
	if b.boxes[label] == nil {
		b.boxes[label] = &metrics.Detection{}
		b.labels = append(b.labels, label)
	}
	b.boxes[label].Add(d)
}

// Finish measures what has been added. other, if not nil, holds another model's
// rows, which are compared by their keys; preferences are pairs of keys, what
// people preferred first.
func (b *Builder) Finish(other *Builder, preferences [][2]string) (*Report, error) {
	r := &b.report
	for _, step := range []func() error{
		b.means, b.agreement, b.presence,
		func() error { return b.compare(other) },
		func() error { return b.prefer(preferences) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	for _, label := range b.labels {
		r.Boxes = append(r.Boxes, Boxes{label, metrics.BoxIoU, rates(*b.boxes[label])})
	}
	for _, name := range b.o.Scores {
		r.histograms = append(r.histograms, newHistogram(name, b.values[name]))
	}
	r.examples = b.ranked.all()
	return r, nil
}

func (b *Builder) source() rand.Source { return rand.NewPCG(b.o.Seed, 0) }

// means are of all rows, then of each group in order.
func (b *Builder) means() error {
	for _, name := range b.o.Scores {
		groups := map[string][]float64{}
		var all []float64
		for _, v := range b.values[name] {
			all = append(all, v.value)
			groups[v.group] = append(groups[v.group], v.value)
		}
		names := []string{""}
		if b.o.By != "" {
			for group := range groups {
				names = append(names, group)
			}
			slices.Sort(names[1:])
		}
		for i, group := range names {
			values := groups[group]
			if i == 0 {
				values = all
			}
			if len(values) == 0 {
				continue
			}
			interval, err := metrics.MeanInterval(values, b.o.Level)
			if err != nil {
				return err
			}
			b.report.Means = append(b.report.Means, Mean{group, name, len(values), interval})
		}
	}
	return nil
}

func (b *Builder) agreement() error {
	for _, pair := range b.o.Truth {
		c := b.pairs[pair]
		a := Agreement{Score: pair.Predicted, Truth: pair.Truth, N: len(c.truth)}
		for _, one := range []struct {
			into *metrics.Interval
			of   func(metrics.Correlations) float64
		}{
			{&a.PLCC, func(m metrics.Correlations) float64 { return m.PLCC }},
			{&a.SRCC, func(m metrics.Correlations) float64 { return m.SRCC }},
			{&a.Kendall, func(m metrics.Correlations) float64 { return m.Kendall }},
		} {
			interval, err := metrics.Bootstrap(len(c.truth), b.o.Level, b.o.Rounds, b.source(), func(sample []int) (float64, error) {
				m, err := metrics.Correlate(gather(c.predicted, sample), gather(c.truth, sample))
				return one.of(m), err
			})
			if err != nil {
				return fmt.Errorf("%s against %s: %w", pair.Predicted, pair.Truth, err)
			}
			*one.into = interval
		}
		b.report.Agreement = append(b.report.Agreement, a)
	}
	return nil
}

func gather(values []float64, sample []int) []float64 {
	out := make([]float64, len(sample))
	for i, at := range sample {
		out[i] = values[at]
	}
	return out
}

func (b *Builder) presence() error {
	for _, m := range b.maps {
		h := Heatmap{Map: m.pair.Predicted, Truth: m.pair.Truth, HeatmapSummary: m.summary}
		for _, threshold := range metrics.PresenceThresholds() {
			d, err := metrics.Presence(m.peaks.predicted, m.peaks.truth, threshold)
			if err != nil {
				return err
			}
			h.Presence = append(h.Presence, Presence{threshold, rates(d)})
		}
		b.report.Heatmaps = append(b.report.Heatmaps, h)
	}
	return nil
}

// compare pairs rows by their keys.
func (b *Builder) compare(other *Builder) error {
	if other == nil {
		return nil
	}
	var keys []string
	for key := range b.keys {
		if _, there := other.keys[key]; there {
			keys = append(keys, key)
		}
	}
	b.report.Unmatched += len(b.keys) + len(other.keys) - 2*len(keys)
	if len(keys) == 0 {
		return errors.New("the two models have no key in common")
	}
	slices.Sort(keys)
	for _, key := range keys {
		if b.twice[key] || other.twice[key] {
			return fmt.Errorf("%q is the key of two rows of one model; --key names a column that tells them apart", key)
		}
	}
	for i, name := range b.o.Scores {
		var mine, theirs []float64
		for _, key := range keys {
			mine, theirs = append(mine, b.keys[key][i]), append(theirs, other.keys[key][i])
		}
		c, err := metrics.Compare(mine, theirs, b.o.Level, b.o.Rounds, b.source())
		if err != nil {
			return err
		}
		b.report.Comparison = append(b.report.Comparison, Comparison{name, len(keys), c})
	}
	return nil
}

func (b *Builder) prefer(preferences [][2]string) error {
	if len(preferences) == 0 {
		return nil
	}
	for i, name := range b.o.Scores {
		var better, worse []float64
		for _, pair := range preferences {
			one, ok1 := b.keys[pair[0]]
			two, ok2 := b.keys[pair[1]]
			if !ok1 || !ok2 {
				return fmt.Errorf("preference %q over %q: not both have a score", pair[0], pair[1])
			}
			if b.twice[pair[0]] || b.twice[pair[1]] {
				return fmt.Errorf("preference %q over %q: one is the key of two rows", pair[0], pair[1])
			}
			better, worse = append(better, one[i]), append(worse, two[i])
		}
		wins, err := metrics.CountWins(better, worse)
		if err != nil {
			return err
		}
		b.report.Preferences = append(b.report.Preferences, Preference{name, wins, wins.Rate(b.o.Level)})
	}
	return nil
}
