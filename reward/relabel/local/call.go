package local

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/scoring"
)

// call brings the records of a chunk together: the last one to arrive evaluates
// them all.
type call struct {
	evaluator *Evaluator
	lost      error // the evaluator gives nothing any more

	mu       sync.Mutex
	waiting  int // records that have not arrived
	jobs     [][]batch.Job
	outcomes [][]batch.Outcome
	done     chan struct{}
}

// expect says which records will arrive.
func (c *call) expect(loaded []*scoring.Loaded) {
	c.jobs, c.outcomes, c.done = make([][]batch.Job, len(loaded)), make([][]batch.Outcome, len(loaded)), make(chan struct{})
	for _, l := range loaded {
		if l != nil {
			c.waiting++
		}
	}
}

func (c *call) score(ctx context.Context, index int, jobs []batch.Job) ([]batch.Outcome, error) {
	c.mu.Lock()
	c.jobs[index] = jobs
	c.waiting--
	last := c.waiting == 0
	c.mu.Unlock()
	if last {
		c.evaluate(ctx)
		close(c.done)
	}
	<-c.done
	return c.outcomes[index], nil
}

// evaluate gives every job its outcome.
func (c *call) evaluate(ctx context.Context) {
	var jobs []*batch.Job
	var outcomes []*batch.Outcome
	for i := range c.jobs {
		c.outcomes[i] = make([]batch.Outcome, len(c.jobs[i]))
		for k := range c.jobs[i] {
			jobs, outcomes = append(jobs, &c.jobs[i][k]), append(outcomes, &c.outcomes[i][k])
		}
	}
	c.evaluator.each(len(jobs), func(i int) { outcomes[i].Err = c.evaluator.prepare(ctx, jobs[i]) })
	var samples []reward.Sample
	var results []*reward.Result
	for i, job := range jobs {
		if outcomes[i].Err == nil {
			samples, results = append(samples, job.Sample), append(results, &outcomes[i].Result)
		}
	}
	if len(samples) > 0 {
		c.lost = c.evaluator.run(ctx, samples, results)
	}
	for _, job := range jobs {
		if job.Release != nil {
			job.Release()
		}
	}
}

// prepare decodes a job's image and does the host's share of its evaluation.
func (e *Evaluator) prepare(ctx context.Context, job *batch.Job) (err error) {
	defer recovered(&err)
	if job.Sample.Image == nil {
		if job.Sample.Image, err = job.Load(ctx); err != nil {
			return err
		}
	}
	if p, ok := e.o.Evaluators[0].(reward.Preparer); ok {
		return p.Prepare(ctx, &job.Sample)
	}
	return nil
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
	}
}

// lostAfter chunks in a row that fail altogether, the evaluator is lost.
const lostAfter = 3

// run evaluates samples on the next idle device. Its error is that the evaluator
// is lost.
func (e *Evaluator) run(ctx context.Context, samples []reward.Sample, results []*reward.Result) error {
	var one reward.Evaluator
	select {
	case one = <-e.idle:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { e.idle <- one }()
	failed, last := 0, error(nil)
	halve(ctx, one, samples, results, func(err error) { failed, last = failed+1, err })
	if failed < len(samples) {
		e.failing.Store(0)
		return nil
	}
	if e.failing.Add(1) < lostAfter {
		return nil
	}
	return fmt.Errorf("the evaluator failed for every sample of %d chunks in a row: %w", lostAfter, last)
}

// halve evaluates samples, in halves where they fail together. Each that fails by
// itself is reported.
func halve(ctx context.Context, one reward.Evaluator, samples []reward.Sample, results []*reward.Result, report func(error)) {
	got, err := evaluate(ctx, one, samples)
	if err == nil {
		for i := range got {
			*results[i] = got[i]
		}
		return
	}
	if len(samples) == 1 || ctx.Err() != nil {
		for _, r := range results {
			*r = reward.Result{Err: reward.AsError(err, reward.ErrEvaluatorFailed)}
			report(err)
		}
		return
	}
	half := len(samples) / 2
	halve(ctx, one, samples[:half], results[:half], report)
	halve(ctx, one, samples[half:], results[half:], report)
}

func evaluate(ctx context.Context, one reward.Evaluator, samples []reward.Sample) (results []reward.Result, err error) {
	defer recovered(&err)
	results, err = one.Evaluate(ctx, samples)
	if err == nil && len(results) != len(samples) {
		err = errors.New("the evaluator gave another number of results than it had samples")
	}
	return results, err
}
