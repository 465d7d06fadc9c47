package scoring

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// Evaluated is what the evaluator found in N samples.
type Evaluated struct {
	Evaluator reward.Description
	Outcomes  []batch.Outcome // N; their results are empty where Errors is set
	Errors    []*reward.Error // N, nil where the sample was scored
	Rewards   []float64       // N, R: the weighted sum of the scores; NaN where Errors is set
	Grids     Grids           // of dense maps; of no sample where none are asked for
	Warnings  []string        // what the caller may not have meant

	weights   reward.Weighting
	groups    reward.Groups
	names     []string            // N, of the samples' groups
	digests   [][sha256.Size]byte // N, of the samples' inputs; nil where no member can come again
	advantage *reward.Advantage
}

// Evaluate has the samples evaluated whose images are there. The error concerns
// all of them: a full queue (*batch.OverloadError), or the deadline or departure
// that ended ctx when it left nothing to answer with.
func (l *Loaded) Evaluate(ctx context.Context) (*Evaluated, error) {
	digests := l.digests() // while the images are there
	outcomes, err := l.score(ctx)
	if err != nil {
		return nil, err
	}
	l.showCached(outcomes)
	about := &l.pipeline.Evaluator
	e := &Evaluated{
		Evaluator: *about, Outcomes: outcomes, Errors: slices.Clone(l.errs), Rewards: make([]float64, len(outcomes)), Grids: l.grids,
		weights: l.weights, groups: l.in.Groups, names: make([]string, len(outcomes)), digests: digests, advantage: l.o.Advantage,
	}
	for i := range outcomes {
		o := &outcomes[i]
		if e.Errors[i] == nil && o.Err == nil {
			o.Err = l.check(&o.Result)
		}
		if e.Errors[i] == nil && o.Err != nil {
			e.Errors[i] = reward.ContextError(o.Err, reward.ErrEvaluatorFailed)
			o.Result = reward.Result{}
		}
		e.Rewards[i] = math.NaN()
		if e.Errors[i] == nil {
			e.Rewards[i] = l.weights.Reward(o.Scores)
		}
		e.names[i] = l.in.groupName(i)
	}
	e.warn()
	return e, allFailed(ctx, e.Errors)
}

// WarningLoneMembers says that every group of statistics has one member.
const WarningLoneMembers = "advantages are asked for and every group has one member, so that each is compared with itself alone: " +
	"give groups, or a step and a size where the members come with several requests"

// warn notes groups that were forgotten: each prompt is then a group of its own.
func (e *Evaluated) warn() {
	if e.method() == reward.AdvantageNone {
		return
	}
	member := 1 // in samples: the images of densegrpo's runs are not compared with each other
	if e.method() == reward.AdvantageDenseGRPO {
		member = e.advantage.Steps + 1
	}
	if e.groups.Step != "" && e.groups.Size > member {
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(e.names); i += member {
		if seen[e.names[i]] {
			return
		}
		seen[e.names[i]] = true
	}
	e.Warnings = append(e.Warnings, WarningLoneMembers)
}

// check fails for a result that must not enter any statistic.
func (l *Loaded) check(r *reward.Result) error {
	if err := l.pipeline.Evaluator.Check(r); err != nil {
		return err
	}
	if len(r.Missing) > 0 && l.o.Missing == reward.MissingError {
		return reward.ErrPartMissing.With("the answer lacks %s", strings.Join(r.Missing, ", "))
	}
	if sum := l.weights.Reward(r.Scores); !(math.Abs(sum) <= reward.MaxMagnitude) { // also NaN
		return reward.ErrEvaluatorFailed.With("the weighted sum of the scores is %v, not in [%v,%v]", sum, -reward.MaxMagnitude, reward.MaxMagnitude)
	}
	return nil
}

// score gives the outcomes of all samples, empty for those without an image.
func (l *Loaded) score(ctx context.Context) ([]batch.Outcome, error) {
	var at []int // the job's place among the samples
	for i := range l.samples {
		if l.errs[i] == nil {
			at = append(at, i)
		}
	}
	for {
		jobs := make([]batch.Job, len(at))
		for k, i := range at {
			jobs[k] = l.job(i)
		}
		scored, err := l.pipeline.Scorer.Score(ctx, jobs)
		var full *batch.OverloadError
		if l.o.Patient && errors.As(err, &full) && wait(ctx, full.RetryAfter) {
			continue
		}
		if err != nil {
			return nil, err
		}
		outcomes := make([]batch.Outcome, len(l.samples))
		for k, i := range at {
			outcomes[i] = scored[k]
		}
		return outcomes, nil
	}
}

// wait waits for d, and reports false if ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// allFailed is the deadline's or the departed client's error when it is all
// that a call has come to, so that it is answered with that status.
func allFailed(ctx context.Context, errs []*reward.Error) error {
	if ctx.Err() == nil || slices.Contains(errs, nil) {
		return nil
	}
	return reward.ContextError(context.Cause(ctx), reward.ErrInternal)
}
