package report

import (
	"github.com/denseflow/densereward/reward/metrics"
)

// Report is what was measured. Parts that were not asked for are empty.
type Report struct {
	Rows      int     `json:"rows"`
	Failed    int     `json:"failed"`    // rows with an error_code
	Unmatched int     `json:"unmatched"` // rows whose key the truth, or the other model, does not have
	Level     float64 `json:"level"`     // of all intervals

	Means       []Mean       `json:"means"`
	Comparison  []Comparison `json:"comparison,omitempty"`
	Agreement   []Agreement  `json:"agreement,omitempty"`
	Heatmaps    []Heatmap    `json:"heatmaps,omitempty"`
	Boxes       []Boxes      `json:"boxes,omitempty"`
	Preferences []Preference `json:"preferences,omitempty"`

	histograms []histogram
	examples   []Example
}

// Mean is one score's mean over the rows of a group, "" for all.
type Mean struct {
	Group string `json:"group"`
	Score string `json:"score"`
	N     int    `json:"n"`
	metrics.Interval
}

// Comparison is one score of this model against the other's, row by row.
type Comparison struct {
	Score string `json:"score"`
	N     int    `json:"n"`
	metrics.Comparison
}

// Agreement is how well one score agrees with a human one.
type Agreement struct {
	Score   string           `json:"score"`
	Truth   string           `json:"truth"`
	N       int              `json:"n"`
	PLCC    metrics.Interval `json:"plcc"`
	SRCC    metrics.Interval `json:"srcc"`
	Kendall metrics.Interval `json:"kendall"`
}

// Heatmap is how well one map agrees with the truth's.
type Heatmap struct {
	Map   string `json:"map"`
	Truth string `json:"truth"`
	metrics.HeatmapSummary
	Presence []Presence `json:"presence"`
}

// Presence is whether a flaw was seen, at one threshold.
type Presence struct {
	Threshold float64 `json:"threshold"`
	Rates
}

// Boxes is which boxes were found, of one label, "" for all.
type Boxes struct {
	Label string  `json:"label"`
	IoU   float64 `json:"iou"`
	Rates
}

// Rates are counts with what follows from them.
type Rates struct {
	metrics.Detection
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
}

func rates(d metrics.Detection) Rates {
	return Rates{d, d.Precision(), d.Recall(), d.F1()}
}

// Preference is how often a score prefers what people preferred.
type Preference struct {
	Score string `json:"score"`
	metrics.Wins
	Accuracy metrics.Interval `json:"accuracy"`
}

// Example is one of the best or worst rows, for the page.
type Example struct {
	Best   bool
	Name   string
	Prompt string
	Value  float64
	*Image // nil where there is none
}

// Image is an image with what was found in it, which the page draws.
type Image struct {
	File  []byte // PNG
	Maps  []ImageMap
	Boxes []ImageBox
}

// ImageMap is a map over an image, a byte a cell, 255 for 1.
type ImageMap struct {
	Name   string `json:"name"`
	Height int    `json:"height"`
	Width  int    `json:"width"`
	Data   []byte `json:"data"`
}

// ImageBox is a box in thousandths of width and height.
type ImageBox struct {
	Box        [4]float64 `json:"box"`
	Label      string     `json:"label"`
	Importance float64    `json:"importance"`
}
