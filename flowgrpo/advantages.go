package flowgrpo

import (
	"fmt"
	"math"
)

// Normalization says how rewards become group-relative advantages,
//
//	A = (R - mean) / max(std + Epsilon, Floor),
//
// where mean is that of the group, at each location by itself.
type Normalization struct {
	// GlobalStd takes one standard deviation over the rewards of all groups and
	// locations together instead of one for each group and location.
	GlobalStd bool
	// SampleStd divides by n-1 instead of n. It is 0 for a single value, where
	// the reference has NaN.
	SampleStd bool
	Epsilon   float64
	Floor     float64
}

// FlowNormalization is that of Flow-GRPO and DenseFlow-GRPO: the population's
// standard deviation plus 1e-4.
func FlowNormalization(globalStd bool) Normalization {
	return Normalization{GlobalStd: globalStd, Epsilon: 1e-4}
}

// BoxNormalization is that of BoxFlow-GRPO: the sample's standard deviation, and
// not less than 0.1.
func BoxNormalization() Normalization {
	return Normalization{SampleStd: true, Floor: 0.1}
}

// GroupAdvantages fills dst (N) with the advantages of scalar rewards (N). dst
// may be rewards.
//
// A group of one has advantage 0, and so has every sample of a group whose
// rewards are all equal: exactly 0, where the reference may leave a rounding
// error of its mean. It fails for no groups at all, for a group without samples,
// for a reward that is NaN or infinite, which it names, and for rewards so large
// that their variance overflows; it never writes a NaN. It panics if dst and
// rewards differ in length or a group names a sample that does not exist.
func GroupAdvantages(dst, rewards []float64, groups Groups, norm Normalization) error {
	return MapAdvantages(dst, rewards, 1, groups, norm)
}

// MapAdvantages fills dst (N,L) with the advantages of dense rewards (N,L), where
// L is the number of locations, each normalised over its group by itself. dst may
// be rewards. Everything else is as for [GroupAdvantages].
func MapAdvantages[T Float](dst, rewards []T, locations int, groups Groups, norm Normalization) error {
	if locations < 1 || len(rewards)%locations != 0 {
		panic(fmt.Sprintf("flowgrpo: %d rewards do not divide into maps of %d locations", len(rewards), locations))
	}
	if len(dst) != len(rewards) {
		panic(fmt.Sprintf("flowgrpo: dst has %d values for %d rewards", len(dst), len(rewards)))
	}
	if err := checkRewards(rewards, locations, groups); err != nil {
		return err
	}
	var global float64
	if norm.GlobalStd {
		global = globalStd(rewards, locations, groups, norm)
	}
	for _, members := range groups {
		for at := range locations {
			value := func(i int) float64 { return float64(rewards[members[i]*locations+at]) }
			mean, std := moments(len(members), value, norm.SampleStd)
			if norm.GlobalStd {
				std = global
			}
			if !finite(std) {
				return fmt.Errorf("flowgrpo: the variance of the rewards of sample %d's group overflows", members[0])
			}
			sigma := math.Max(std+norm.Epsilon, norm.Floor)
			for i, sample := range members {
				dst[sample*locations+at] = T(advantage(value(i), mean, sigma))
			}
		}
	}
	return nil
}

// advantage is (reward-mean)/sigma, and 0 for a reward that is the mean even
// when nothing keeps sigma from being 0.
func advantage(reward, mean, sigma float64) float64 {
	if reward == mean {
		return 0
	}
	return (reward - mean) / sigma
}

// moments returns the mean and standard deviation of n values. When all are
// equal the mean is that value and the deviation 0, without rounding.
func moments(n int, value func(i int) float64, sample bool) (mean, std float64) {
	first, equal := value(0), true
	var sum float64
	for i := range n {
		v := value(i)
		sum += v
		equal = equal && v == first
	}
	if equal {
		return first, 0
	}
	mean = sum / float64(n)
	var squares float64
	for i := range n {
		d := value(i) - mean
		squares += d * d
	}
	if sample {
		n--
	}
	return mean, math.Sqrt(squares / float64(n))
}

// globalStd is the standard deviation over all grouped rewards and locations.
func globalStd[T Float](rewards []T, locations int, groups Groups, norm Normalization) float64 {
	var sum float64
	n := groups.size() * locations
	each := func(visit func(v float64)) {
		for _, members := range groups {
			for _, sample := range members {
				for _, r := range rewards[sample*locations : (sample+1)*locations] {
					visit(float64(r))
				}
			}
		}
	}
	each(func(v float64) { sum += v })
	mean := sum / float64(n)
	var squares float64
	each(func(v float64) { squares += (v - mean) * (v - mean) })
	if norm.SampleStd {
		n = max(n-1, 1)
	}
	return math.Sqrt(squares / float64(n))
}

// checkRewards fails where there is nothing to normalise or a grouped reward is
// not finite.
func checkRewards[T Float](rewards []T, locations int, groups Groups) error {
	if len(groups) == 0 {
		return fmt.Errorf("flowgrpo: advantages need at least one group")
	}
	if err := groups.check(len(rewards) / locations); err != nil {
		return err
	}
	for _, members := range groups {
		for _, sample := range members {
			for at, r := range rewards[sample*locations : (sample+1)*locations] {
				if finite(float64(r)) {
					continue
				}
				if locations == 1 {
					return fmt.Errorf("flowgrpo: reward of sample %d is %v", sample, r)
				}
				return fmt.Errorf("flowgrpo: reward of sample %d is %v at location %d", sample, r, at)
			}
		}
	}
	return nil
}

// ZeroStd returns the share of groups whose rewards are all equal, which teach
// nothing, and the mean over groups of the population's standard deviation. It
// fails as [GroupAdvantages] does.
func ZeroStd(rewards []float64, groups Groups) (ratio, meanStd float64, err error) {
	if err := checkRewards(rewards, 1, groups); err != nil {
		return 0, 0, err
	}
	var zeros, sum float64
	for _, members := range groups {
		_, std := moments(len(members), func(i int) float64 { return rewards[members[i]] }, false)
		if std == 0 {
			zeros++
		}
		sum += std
	}
	n := float64(len(groups))
	return zeros / n, sum / n, nil
}
