package report

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/denseflow/densereward/reward/drawing"
	"github.com/denseflow/densereward/reward/metrics"
)

// section is a table of a rendered report.
type section struct {
	Title  string
	Head   []string
	Rows   [][]string
	Footer string
}

func (r *Report) sections() []section {
	percent := fmt.Sprintf("%g %% intervals", 100*r.Level)
	var all []section
	add := func(s section) {
		if len(s.Rows) > 0 {
			all = append(all, s)
		}
	}
	means := section{Title: "Scores", Head: []string{"group", "score", "n", "mean"}, Footer: percent + " are Student's."}
	for _, m := range r.Means {
		group := m.Group
		if group == "" {
			group = "all"
		}
		means.Rows = append(means.Rows, []string{group, m.Score, fmt.Sprint(m.N), interval(m.Interval)})
	}
	add(means)
	comparison := section{
		Title: "Against the other model", Head: []string{"score", "n", "difference", "p", "won", "tied", "lost", "win rate"},
		Footer: "Differences: paired bootstrap; win rates: Wilson, ties count one half; " + percent + ".",
	}
	for _, c := range r.Comparison {
		comparison.Rows = append(comparison.Rows, []string{
			c.Score, fmt.Sprint(c.N), interval(c.Difference), number(c.P), fmt.Sprint(c.Won), fmt.Sprint(c.Tied), fmt.Sprint(c.Lost), interval(c.WinRate),
		})
	}
	add(comparison)
	agreement := section{Title: "Agreement with people", Head: []string{"score", "truth", "n", "PLCC", "SRCC", "Kendall"}, Footer: percent + " are bootstrapped."}
	for _, a := range r.Agreement {
		agreement.Rows = append(agreement.Rows, []string{a.Score, a.Truth, fmt.Sprint(a.N), interval(a.PLCC), interval(a.SRCC), interval(a.Kendall)})
	}
	add(agreement)
	preferences := section{Title: "Preference pairs", Head: []string{"score", "n", "right", "tied", "wrong", "accuracy"}, Footer: "Ties count one half."}
	for _, p := range r.Preferences {
		preferences.Rows = append(preferences.Rows, []string{p.Score, fmt.Sprint(p.N()), fmt.Sprint(p.Won), fmt.Sprint(p.Tied), fmt.Sprint(p.Lost), interval(p.Accuracy)})
	}
	add(preferences)
	r.mapSections(add)
	return all
}

// mapSections are the tables of heatmaps and boxes.
func (r *Report) mapSections(add func(section)) {
	heatmaps := section{
		Title: "Heatmaps", Head: []string{"map", "n", "MSE", "MSE, empty truth", "n", "MSE, others", "CC", "KLD", "SIM", "NSS", "AUC-Judd"},
		Footer: "The first n counts all images with a truth, the second those whose truth is not empty; CC to AUC-Judd are over the latter.",
	}
	presence := section{Title: "Presence of a flaw", Head: detectionHead("map", "threshold")}
	for _, h := range r.Heatmaps {
		row := []string{h.Map, fmt.Sprint(h.MSE.N), mean(h.MSE), mean(h.MSEEmpty), fmt.Sprint(h.MSENonEmpty.N)}
		for _, m := range []metrics.Mean{h.MSENonEmpty, h.CC, h.KLD, h.SIM, h.NSS, h.AUCJudd} {
			row = append(row, mean(m))
		}
		heatmaps.Rows = append(heatmaps.Rows, row)
		for _, p := range h.Presence {
			presence.Rows = append(presence.Rows, detectionRow(p.Rates, h.Map, number(p.Threshold)))
		}
	}
	add(heatmaps)
	add(presence)
	boxes := section{Title: "Boxes", Head: detectionHead("label", "IoU")}
	for _, b := range r.Boxes {
		label := b.Label
		if label == "" {
			label = "all"
		}
		boxes.Rows = append(boxes.Rows, detectionRow(b.Rates, label, number(b.IoU)))
	}
	add(boxes)
}

func detectionHead(first ...string) []string {
	return append(first, "precision", "recall", "F1", "true positives", "false positives", "false negatives")
}

func detectionRow(r Rates, first ...string) []string {
	return append(first, number(r.Precision), number(r.Recall), number(r.F1),
		fmt.Sprint(r.TruePositives), fmt.Sprint(r.FalsePositives), fmt.Sprint(r.FalseNegatives))
}

func number(v float64) string { return fmt.Sprintf("%.4g", v) }

func interval(i metrics.Interval) string {
	return fmt.Sprintf("%.4f [%.4f, %.4f]", i.Value, i.Low, i.High)
}

// mean is a dash where there is nothing to average.
func mean(m metrics.Mean) string {
	if m.N == 0 {
		return "–"
	}
	return fmt.Sprintf("%.4f", m.Value)
}

func (r *Report) summary() string {
	text := fmt.Sprintf("%d rows, %d failed", r.Rows, r.Failed)
	if r.Unmatched > 0 {
		text += fmt.Sprintf(", %d without a counterpart", r.Unmatched)
	}
	return text
}

// Markdown writes the report as tables.
func (r *Report) Markdown(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s.\n", r.summary())
	escape := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	line := func(cells []string) {
		for _, c := range cells {
			out.WriteString("| " + escape(c) + " ")
		}
		out.WriteString("|\n")
	}
	for _, s := range r.sections() {
		fmt.Fprintf(&out, "\n## %s\n\n", s.Title)
		line(s.Head)
		out.WriteString(strings.Repeat("| --- ", len(s.Head)) + "|\n")
		for _, row := range s.Rows {
			line(row)
		}
		if s.Footer != "" {
			fmt.Fprintf(&out, "\n%s\n", s.Footer)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

//go:embed page.html
var pageText string

//go:embed page.js
var pageScript string

// HTML writes the report as one page that needs nothing else.
func (r *Report) HTML(w io.Writer) error {
	page, err := template.New("page").Funcs(template.FuncMap{
		"png": func(image []byte) template.URL {
			return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(image)) //nolint:gosec // an image of ours
		},
		"number": number,
	}).Parse(pageText)
	if err != nil {
		return err
	}
	return page.Execute(w, map[string]any{
		"Summary": r.summary(), "Sections": r.sections(), "Histograms": drawn(r.histograms), "Examples": r.examples, "MapNames": r.mapNames(),
		"Style": template.CSS(drawing.Style), "Script": template.JS(drawing.Module + pageScript), //nolint:gosec // files of ours
	})
}

// mapNames are those of the maps of the examples.
func (r *Report) mapNames() []string {
	var names []string
	for _, one := range r.examples {
		if one.Image == nil {
			continue
		}
		for _, m := range one.Maps {
			if !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	}
	return names
}

// bar is one bar of a histogram's drawing.
type bar struct{ X, Y, Width, Height, Count int }

type chart struct {
	Score     string
	Low, High float64
	Bars      []bar
}

const (
	barWidth  = 14
	barHeight = 100
)

func drawn(histograms []histogram) []chart {
	var all []chart
	for _, h := range histograms {
		d := chart{Score: h.score, Low: h.low, High: h.high}
		most := 1
		for _, n := range h.counts {
			most = max(most, n)
		}
		for i, n := range h.counts {
			height := n * barHeight / most
			d.Bars = append(d.Bars, bar{X: i * barWidth, Y: barHeight - height, Width: barWidth - 1, Height: height, Count: n})
		}
		all = append(all, d)
	}
	return all
}
