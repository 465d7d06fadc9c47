package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// Job is an answer that is on its way. It is safe for concurrent use.
type Job struct {
	done     chan struct{}
	cancel   context.CancelFunc
	response *wire.Response
	err      error
}

// Submit has q answered later, as Score answers it: the server says at once that it has
// q and keeps its answer, so that the rollout goes on meanwhile and a connection that
// breaks costs nothing. A server that has started since gets q again. ctx is that
// of the whole job. Its images must not change until the job is done.
func (c *Client) Submit(ctx context.Context, q *wire.Request) (*Job, error) {
	if err := checkWhole(q, c.opts.limits); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	j := &Job{done: make(chan struct{})}
	ctx, j.cancel = c.opts.bound(ctx)
	go func() {
		defer close(j.done)
		defer j.cancel()
		j.response, j.err = c.score(ctx, q, c.exchangeJob)
	}()
	return j, nil
}

// Done is closed once the answer, or the reason why there is none, is there.
func (j *Job) Done() <-chan struct{} { return j.done }

// Cancel gives the job up, on the server too. An answer that is there stays.
func (j *Job) Cancel() { j.cancel() }

// Result is the answer, which it waits for until ctx ends: then it fails with ctx's error, and
// can be asked again.
func (j *Job) Result(ctx context.Context) (*wire.Response, error) {
	select {
	case <-j.done:
		return j.response, j.err
	default:
	}
	select {
	case <-j.done:
		return j.response, j.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

const (
	jobWait     = 30 * time.Second // for which a server is asked to wait with an answer
	jobGrace    = 5 * time.Second  // in which it then answers, or the connection is dead
	lostFetches = 3                // questions in a row without an answer, after which it is lost
)

// exchangeJob has s score the message as a job, and fetches the answer.
func (c *Client) exchangeJob(ctx context.Context, s *server, message *wire.Message) (*wire.Response, error) {
	answer, body, err := c.ask(ctx, s, http.MethodPost, wire.JobsPath, message, maxJSON)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusAccepted {
		return c.response(s, answer, body)
	}
	var job struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &job); err != nil || job.ID == "" {
		return nil, &exchangeError{server: s.base, cause: fmt.Errorf("response: job without an id: %.80q", body)}
	}
	path := wire.JobsPath + "/" + url.PathEscape(job.ID)
	answer, body, err = c.fetch(ctx, s, path)
	if errors.Is(ctx.Err(), context.Canceled) {
		c.drop(ctx, s, path)
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusNotFound && errors.Is(told(answer, body), reward.ErrNotFound) {
		const why = "it has started since, or the address stands for several servers that do not share jobs"
		return nil, &exchangeError{server: s.base, broken: true, cause: errors.New("does not know a job that it took: " + why)}
	}
	return c.response(s, answer, body)
}

// fetch asks s for the answer of a job until it is there. A connection that breaks
// costs nothing.
func (c *Client) fetch(ctx context.Context, s *server, path string) (*http.Response, []byte, error) {
	for lost := 0; ; {
		wait := jobWait
		if deadline, limited := ctx.Deadline(); limited {
			wait = max(min(wait, deadline.Sub(c.opts.now())), 0)
		}
		// A connection that died without a word is found out by the question's own end.
		once, cancel := context.WithTimeout(ctx, wait+jobGrace)
		answer, body, err := c.ask(once, s, http.MethodGet, fmt.Sprintf("%s?wait=%.3f", path, wait.Seconds()), nil, c.opts.maxResponse)
		cancel()
		switch failed := (*exchangeError)(nil); {
		case err == nil && answer.StatusCode != http.StatusAccepted:
			return answer, body, nil
		case err == nil:
			lost = 0
			continue
		case ctx.Err() != nil:
			return nil, nil, err
		case errors.As(err, &failed) && !failed.broken:
			return nil, nil, err
		}
		if lost++; lost == lostFetches {
			return nil, nil, &exchangeError{server: s.base, broken: true, cause: fmt.Errorf("has a job and does not answer any more: %v", err)}
		}
		if err := c.opts.sleep(ctx, c.opts.backoff(lost)); err != nil {
			return nil, nil, err
		}
	}
}

// drop tells s that nobody waits for a job any more. If it does not hear that, the job
// ends by itself.
func (c *Client) drop(ctx context.Context, s *server, path string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobGrace)
	defer cancel()
	_, _, _ = c.ask(ctx, s, http.MethodDelete, path, nil, maxJSON)
}
