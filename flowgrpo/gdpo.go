package flowgrpo

import (
	"fmt"

	"gonum.org/v1/gonum/floats"
)

// GDPONormalization is that of the published GDPO: the sample's standard deviation
// plus 1e-4.
func GDPONormalization() Normalization { return Normalization{SampleStd: true, Epsilon: 1e-4} }

// GDPOAdvantages fills dst (N,L) with the advantages of several rewards, which GDPO
// (arXiv 2601.05242) normalises one by one before it adds them up, so that none
// drowns the others, and once more over the whole batch:
//
//	A_k(l) = (R_k(l) - mean_group) / sigma_group   of each reward k, as norm says
//	S(l)   = sum_k weight_k A_k(l)
//	A(l)   = (S(l) - mean_batch) / sigma_batch     over all grouped samples and locations.
//
// rewards[k] is (N), a reward of each image, which counts at every location, or
// (N,L), a reward map; weights is (K). With L = 1 it is GDPO: [GDPO] takes
// [GDPONormalization], [Flow-Factory] Normalization{Floor: 1e-6}.
//
// dst may be one of the rewards. It fails as [MapAdvantages] does, saying which
// reward is bad, and panics on wrong lengths.
func GDPOAdvantages[T Float](dst []T, rewards [][]T, weights []float64, locations int, groups Groups, norm Normalization) error {
	if len(rewards) == 0 || len(weights) != len(rewards) {
		panic(fmt.Sprintf("flowgrpo: %d weights for %d rewards", len(weights), len(rewards)))
	}
	if locations < 1 || len(dst)%locations != 0 {
		panic(fmt.Sprintf("flowgrpo: dst of %d values does not divide into maps of %d locations", len(dst), locations))
	}
	n := len(dst) / locations
	combined := make([]float64, len(dst))
	for k, r := range rewards {
		if len(r) != n && len(r) != len(dst) {
			panic(fmt.Sprintf("flowgrpo: reward %d has %d values for %d samples of %d locations", k, len(r), n, locations))
		}
		width := len(r) / n
		normalized := make([]float64, len(r))
		for i, v := range r {
			normalized[i] = float64(v)
		}
		if err := MapAdvantages(normalized, normalized, width, groups, norm); err != nil {
			return fmt.Errorf("flowgrpo: reward %d of %d: %w", k, len(rewards), err)
		}
		for i := range combined {
			combined[i] += weights[k] * normalized[i*len(r)/len(dst)]
		}
	}
	return whiten(dst, combined, locations, groups, norm)
}

// whiten fills dst with (S - mean) / sigma over all grouped samples and locations.
func whiten[T Float](dst []T, combined []float64, locations int, groups Groups, norm Normalization) error {
	var batch []float64
	for _, members := range groups {
		for _, sample := range members {
			batch = append(batch, combined[sample*locations:(sample+1)*locations]...)
		}
	}
	mean, std := moments(batch, norm.SampleStd)
	if !finite(mean) || !finite(std) {
		return fmt.Errorf("flowgrpo: the combined advantages, up to %v, have mean %v and deviation %v", floats.Max(batch), mean, std)
	}
	sigma := max(std+norm.Epsilon, norm.Floor)
	for _, members := range groups {
		for _, sample := range members {
			for l := sample * locations; l < (sample+1)*locations; l++ {
				dst[l] = T(advantage(combined[l], mean, sigma))
			}
		}
	}
	return nil
}
