package flowgrpo

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
)

// UpdateGARDO is [StatTracker.Update] for advantages of type GARDO,
//
//	A = (R - mean) d / mean(d)   where R >= mean,
//	A =  R - mean                elsewhere,
//
// with d an image's diversity: the smallest cosine distance between its embedding
// and those of the prompt's other images in the batch. There is no division by a
// standard deviation. embeddings is (N,D) row major; its rows need not be
// normalised.
//
// A prompt with one image in the batch, or whose images all have one embedding
// (the reference divides zero by zero), has the factor 1. It fails as Update
// does, and for an embedding that is zero or not finite.
func (t *StatTracker) UpdateGARDO(dst []float64, prompts []string, rewards, embeddings []float64) error {
	columns, err := t.check(dst, prompts, rewards)
	if err != nil {
		return err
	}
	if len(embeddings) == 0 || len(embeddings)%len(prompts) != 0 {
		panic(fmt.Sprintf("flowgrpo: %d embedding values for %d prompts", len(embeddings), len(prompts)))
	}
	units, err := unitRows(embeddings, len(prompts))
	if err != nil {
		return err
	}
	t.record(prompts, rewards, columns)
	for _, members := range GroupBy(prompts) {
		factors := diversity(units, members)
		for column := range columns {
			mean, std := t.moments(prompts[members[0]], column)
			if !finite(std) {
				return fmt.Errorf("flowgrpo: the variance of the rewards of prompt %q overflows", prompts[members[0]])
			}
			for i, sample := range members {
				at := sample*columns + column
				dst[at] = rewards[at] - mean
				if dst[at] >= 0 {
					dst[at] *= factors[i]
				}
			}
		}
	}
	return nil
}

// unitRows normalises n rows to length 1.
func unitRows(embeddings []float64, n int) ([][]float64, error) {
	width := len(embeddings) / n
	rows := make([][]float64, n)
	for i := range rows {
		row := embeddings[i*width : (i+1)*width]
		norm := floats.Norm(row, 2)
		if norm == 0 || !finite(norm) {
			return nil, fmt.Errorf("flowgrpo: embedding of sample %d has length %v", i, norm)
		}
		rows[i] = make([]float64, width)
		floats.ScaleTo(rows[i], 1/norm, row)
	}
	return rows, nil
}

// sameEmbedding is a mean cosine distance below which embeddings are one: what
// rounding leaves of the distance between equal vectors of any usual width.
const sameEmbedding = 1e-12

// diversity returns d/mean(d) of a group's members.
func diversity(units [][]float64, members []int) []float64 {
	nearest := make([]float64, len(members))
	for i, a := range members {
		nearest[i] = math.Inf(1)
		for j, b := range members {
			if i == j {
				continue
			}
			similarity := min(max(floats.Dot(units[a], units[b]), -1), 1)
			nearest[i] = min(nearest[i], 1-similarity)
		}
	}
	mean := floats.Sum(nearest) / float64(len(nearest))
	for i := range nearest {
		if mean < sameEmbedding || math.IsInf(mean, 1) {
			nearest[i] = 1
		} else {
			nearest[i] /= mean
		}
	}
	return nearest
}
