package relabel

import (
	"fmt"
	"strconv"
	"strings"
)

// Share is one of N equal processes; the zero value is the only one.
type Share struct {
	Index, Count int
}

// ParseShare reads I/N with I from 0 to N-1.
func ParseShare(text string) (Share, error) {
	index, count, ok := strings.Cut(text, "/")
	i, errIndex := strconv.Atoi(index)
	n, errCount := strconv.Atoi(count)
	if !ok || errIndex != nil || errCount != nil || i < 0 || i >= n {
		return Share{}, fmt.Errorf("%q is not I/N with I from 0 to N-1", text)
	}
	return Share{i, n}, nil
}

// ShareOf completes a share whose index the environment knows: text is I/N, or N
// alone, which takes I from the environment variable JOB_COMPLETION_INDEX (a
// Kubernetes Indexed Job) or SLURM_ARRAY_TASK_ID (less SLURM_ARRAY_TASK_MIN); or
// it is empty, which takes N as well from SLURM_ARRAY_TASK_COUNT where that is
// set, and otherwise is the only process.
func ShareOf(text string, env func(string) string) (Share, error) {
	if strings.Contains(text, "/") {
		return ParseShare(text)
	}
	index, slurm := env("JOB_COMPLETION_INDEX"), env("SLURM_ARRAY_TASK_ID")
	if text == "" && slurm != "" && index == "" {
		text = env("SLURM_ARRAY_TASK_COUNT")
	}
	switch {
	case text == "":
		return Share{}, nil
	case index == "" && slurm == "":
		return Share{}, fmt.Errorf("%q says how many processes there are but not which this is: neither JOB_COMPLETION_INDEX nor SLURM_ARRAY_TASK_ID is set", text)
	case index == "":
		task, err := strconv.Atoi(slurm)
		if err != nil {
			return Share{}, fmt.Errorf("SLURM_ARRAY_TASK_ID is %q", slurm)
		}
		first, err := strconv.Atoi(env("SLURM_ARRAY_TASK_MIN"))
		if err != nil {
			first = 0
		}
		index = strconv.Itoa(task - first)
	}
	return ParseShare(index + "/" + text)
}

// Of is the shards of s: every Count-th from Index on.
func (s Share) Of(shards []Shard) []Shard {
	if s.Count <= 1 {
		return shards
	}
	var own []Shard
	for i := s.Index; i < len(shards); i += s.Count {
		own = append(own, shards[i])
	}
	return own
}
