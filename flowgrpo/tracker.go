package flowgrpo

import (
	"fmt"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// AdvantageType is a way to turn the rewards of a prompt's images into
// advantages.
type AdvantageType string

// The types of the reference's PerPromptStatTracker.
const (
	GRPO  AdvantageType = "grpo"  // (R - mean) / (std + 1e-4)
	RWR   AdvantageType = "rwr"   // R itself: reward-weighted regression
	SFT   AdvantageType = "sft"   // 1 for the best of the prompt's images, all of them on a tie; else 0
	DPO   AdvantageType = "dpo"   // 1 for the first best, -1 for the first worst; else 0
	GARDO AdvantageType = "gardo" // (R - mean), times the image's diversity where it is positive
)

// StatTracker keeps the rewards of each prompt across calls within an epoch, so
// that a group may arrive in several batches. It is not safe for concurrent use.
type StatTracker struct {
	globalStd bool
	columns   int                  // rewards an image has; 0 until the first
	rewards   map[string][]float64 // (n, columns) by prompt, since Clear
	seen      map[string]struct{}  // prompts since the beginning
}

// NewStatTracker returns an empty tracker. With globalStd, GRPO divides by the
// standard deviation of the call's rewards instead of the prompt's.
func NewStatTracker(globalStd bool) *StatTracker {
	return &StatTracker{
		globalStd: globalStd,
		rewards:   make(map[string][]float64),
		seen:      make(map[string]struct{}),
	}
}

// Update records a batch of rewards and fills dst with its advantages of the
// given type: GRPO, RWR, SFT or DPO. Both are (N,T) row major, where N is the
// number of prompts and T, the columns, are rewards of different kinds or
// timesteps that are treated by themselves; T is the same in every call until
// Clear. dst may be rewards.
//
// Mean and deviation of GRPO are taken over everything that the prompt was given
// since Clear; with a global deviation, that deviation is the batch's alone. SFT
// and DPO look at the batch only and need T = 1. In DPO a prompt whose images
// all have one reward gets -1 for its first image and 1 for its second, as in
// the reference; a prompt with a single image gets 0.
//
// It fails, recording nothing, for an empty batch, a reward that is NaN or
// infinite, or a type it does not know, and, having recorded it, for rewards so
// large that their variance overflows. It panics on wrong lengths.
func (t *StatTracker) Update(dst []float64, kind AdvantageType, prompts []string, rewards []float64) error {
	columns, err := t.check(dst, prompts, rewards)
	if err != nil {
		return err
	}
	switch kind {
	case GRPO, RWR:
	case SFT, DPO:
		if columns != 1 {
			panic(fmt.Sprintf("flowgrpo: advantages of type %s need one reward an image, not %d", kind, columns))
		}
	default:
		return fmt.Errorf("flowgrpo: advantages of type %q: Update knows grpo, rwr, sft and dpo", kind)
	}
	groups := GroupBy(prompts)
	t.record(prompts, rewards, columns)
	switch kind {
	case GRPO:
		return t.fillGRPO(dst, prompts, rewards, groups)
	case RWR:
		copy(dst, rewards)
	case SFT:
		fillSFT(dst, rewards, groups)
	case DPO:
		fillDPO(dst, rewards, groups)
	}
	return nil
}

// GroupSize is the mean number of images that a prompt was given since Clear.
func (t *StatTracker) GroupSize() float64 {
	if len(t.rewards) == 0 {
		return 0
	}
	var n int
	for _, values := range t.rewards {
		n += len(values) / t.columns
	}
	return float64(n) / float64(len(t.rewards))
}

// TrainedPrompts is the number of different prompts since the beginning; Clear
// does not reset it.
func (t *StatTracker) TrainedPrompts() int { return len(t.seen) }

// Clear forgets the rewards, as a trainer does at the end of an epoch.
func (t *StatTracker) Clear() {
	clear(t.rewards)
	t.columns = 0
}

// check validates a batch and returns its number of columns.
func (t *StatTracker) check(dst []float64, prompts []string, rewards []float64) (int, error) {
	if len(dst) != len(rewards) {
		panic(fmt.Sprintf("flowgrpo: dst has %d values for %d rewards", len(dst), len(rewards)))
	}
	if len(prompts) == 0 {
		if len(rewards) != 0 {
			panic(fmt.Sprintf("flowgrpo: %d rewards without prompts", len(rewards)))
		}
		return 0, fmt.Errorf("flowgrpo: advantages need at least one group")
	}
	if len(rewards) == 0 || len(rewards)%len(prompts) != 0 {
		panic(fmt.Sprintf("flowgrpo: %d rewards for %d prompts", len(rewards), len(prompts)))
	}
	columns := len(rewards) / len(prompts)
	if t.columns != 0 && columns != t.columns {
		panic(fmt.Sprintf("flowgrpo: %d rewards an image, %d in earlier calls", columns, t.columns))
	}
	for i, r := range rewards {
		if !finite(r) {
			return 0, fmt.Errorf("flowgrpo: reward of sample %d is %v", i/columns, r)
		}
	}
	return columns, nil
}

func (t *StatTracker) record(prompts []string, rewards []float64, columns int) {
	t.columns = columns
	for i, prompt := range prompts {
		t.rewards[prompt] = append(t.rewards[prompt], rewards[i*columns:(i+1)*columns]...)
		t.seen[prompt] = struct{}{}
	}
}

// columnOf gathers one column of a row-major matrix.
func columnOf(values []float64, columns, column int) []float64 {
	matrix := mat.NewDense(len(values)/columns, columns, values)
	return mat.Col(nil, column, matrix)
}

// moments returns mean and deviation of one column of a prompt's record.
func (t *StatTracker) moments(prompt string, column int) (mean, std float64) {
	return moments(columnOf(t.rewards[prompt], t.columns, column), false)
}

func (t *StatTracker) fillGRPO(dst []float64, prompts []string, rewards []float64, groups Groups) error {
	for column := range t.columns {
		_, global := moments(columnOf(rewards, t.columns, column), false)
		for _, members := range groups {
			mean, std := t.moments(prompts[members[0]], column)
			if t.globalStd {
				std = global
			}
			if !finite(std) {
				return fmt.Errorf("flowgrpo: the variance of the rewards of prompt %q overflows", prompts[members[0]])
			}
			for _, sample := range members {
				at := sample*t.columns + column
				dst[at] = advantage(rewards[at], mean, std+FlowNormalization(false).Epsilon)
			}
		}
	}
	return nil
}

func fillSFT(dst, rewards []float64, groups Groups) {
	for _, members := range groups {
		best := floats.Max(Gather(rewards, members))
		for _, sample := range members {
			if rewards[sample] == best {
				dst[sample] = 1
			} else {
				dst[sample] = 0
			}
		}
	}
}

func fillDPO(dst, rewards []float64, groups Groups) {
	for _, members := range groups {
		group := Gather(rewards, members)
		best, worst := floats.MaxIdx(group), floats.MinIdx(group)
		if best == worst && len(members) > 1 {
			best, worst = 1, 0
		}
		for _, sample := range members {
			dst[sample] = 0
		}
		if best != worst {
			dst[members[best]], dst[members[worst]] = 1, -1
		}
	}
}
