package flowgrpo

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
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
	var group []float64
	for _, members := range groups {
		for at := range locations {
			group = group[:0]
			for _, sample := range members {
				group = append(group, float64(rewards[sample*locations+at]))
			}
			mean, std := moments(group, norm.SampleStd)
			if norm.GlobalStd {
				std = global
			}
			if !finite(std) {
				return fmt.Errorf("flowgrpo: the variance of the rewards of sample %d's group overflows", members[0])
			}
			sigma := math.Max(std+norm.Epsilon, norm.Floor)
			for i, sample := range members {
				dst[sample*locations+at] = T(advantage(group[i], mean, sigma))
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

// moments returns the mean and standard deviation of values. When all are equal
// the mean is that value and the deviation 0, without rounding.
func moments(values []float64, sample bool) (mean, std float64) {
	if floats.Min(values) == floats.Max(values) {
		return values[0], 0
	}
	if sample {
		return stat.MeanStdDev(values, nil)
	}
	return stat.PopMeanStdDev(values, nil)
}

// globalStd is the standard deviation over all grouped rewards and locations.
func globalStd[T Float](rewards []T, locations int, groups Groups, norm Normalization) float64 {
	values := make([]float64, 0, groups.size()*locations)
	for _, members := range groups {
		for _, sample := range members {
			for _, r := range rewards[sample*locations : (sample+1)*locations] {
				values = append(values, float64(r))
			}
		}
	}
	_, std := moments(values, norm.SampleStd)
	return std
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
	stds := make([]float64, len(groups))
	for i, members := range groups {
		_, stds[i] = moments(Gather(rewards, members), false)
	}
	zeros := floats.Count(func(std float64) bool { return std == 0 }, stds)
	return float64(zeros) / float64(len(stds)), stat.Mean(stds, nil), nil
}
