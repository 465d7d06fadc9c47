package flowgrpo

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
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
	similarity, err := cosines(embeddings, len(prompts))
	if err != nil {
		return err
	}
	t.record(prompts, rewards, columns)
	for _, members := range GroupBy(prompts) {
		factors := diversity(similarity, members)
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

// cosines is the matrix of cosines between n rows.
func cosines(embeddings []float64, n int) (mat.Symmetric, error) {
	units := mat.NewDense(n, len(embeddings)/n, nil)
	for i := range n {
		row := embeddings[i*len(embeddings)/n : (i+1)*len(embeddings)/n]
		norm := floats.Norm(row, 2)
		if norm == 0 || !finite(norm) {
			return nil, fmt.Errorf("flowgrpo: embedding of sample %d has length %v", i, norm)
		}
		floats.ScaleTo(units.RawRowView(i), 1/norm, row)
	}
	var cosines mat.SymDense
	cosines.SymOuterK(1, units)
	return &cosines, nil
}

// sameEmbedding is a mean cosine distance below which embeddings are one: what
// rounding leaves of the distance between equal vectors of any usual width.
const sameEmbedding = 1e-12

// diversity returns d/mean(d) of a group's members.
func diversity(cosines mat.Symmetric, members []int) []float64 {
	nearest := make([]float64, len(members))
	for i, a := range members {
		nearest[i] = math.Inf(1)
		for j, b := range members {
			if i == j {
				continue
			}
			nearest[i] = min(nearest[i], 1-min(max(cosines.At(a, b), -1), 1))
		}
	}
	mean := stat.Mean(nearest, nil)
	for i := range nearest {
		if mean < sameEmbedding || math.IsInf(mean, 1) {
			nearest[i] = 1
		} else {
			nearest[i] /= mean
		}
	}
	return nearest
}
