package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server/jobs"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/jsonwire"
	"github.com/labstack/echo/v4"
)

// MaxJobWait is the longest that a GET of a job waits for its answer.
const MaxJobWait = time.Minute

// startJob answers POST /v1/jobs: it reads what POST /v1/score would take and has
// it scored, whether or not the client stays.
func (s *Server) startJob(c echo.Context) error {
	if _, known := jsonwire.Sent(c.Request().Header); !known {
		return unsupportedMediaType()
	}
	defer c.Request().Body.Close()
	b, err := s.openBody(c.Request(), stopReading(c))
	if err != nil {
		return err
	}
	owner, _ := c.Get(ownerKey).(string)
	r := c.Request().Clone(context.WithoutCancel(c.Request().Context()))
	r.URL.Path = wire.ScorePath
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b.bytes)), int64(len(b.bytes))
	name := requestID(c) // which echo has for other requests once this one is answered
	// answer is what the client would have been told by POST /v1/score.
	answer := func(ctx context.Context, handle echo.HandlerFunc) jobs.Answer {
		w := jobs.NewRecorder()
		w.Header().Set(wire.HeaderRequestID, name)
		inner := s.echo.NewContext(r.WithContext(ctx), w)
		inner.Set(ownerKey, owner)
		if err := s.contain()(handle)(inner); err != nil {
			s.fail(err, inner)
		}
		return w.Answer()
	}
	lost := func(forever bool) jobs.Answer {
		return answer(r.Context(), func(echo.Context) error {
			if forever {
				return reward.ErrBodyTooLarge.With("the answer exceeds the memory for answers of jobs, %d bytes", s.cfg.Jobs.AnswerBytes)
			}
			return &batch.OverloadError{RetryAfter: retryHeld}
		})
	}
	id := s.jobs.Start(r.Context(), owner, batch.ClientOf(r.Context()), lost, func(ctx context.Context) jobs.Answer {
		defer b.release()
		return answer(ctx, s.score)
	})
	if id == "" {
		b.release()
		return &batch.OverloadError{RetryAfter: retryHeld}
	}
	c.Response().Header().Set(echo.HeaderLocation, wire.JobsPath+"/"+id)
	return c.JSON(http.StatusAccepted, jobStatus{id, "running"})
}

// jobStatus is a job without an answer yet.
type jobStatus struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// fetchJob answers GET /v1/jobs/ID with the answer of POST /v1/score, once it is there.
func (s *Server) fetchJob(c echo.Context) error {
	wait := MaxJobWait / 2
	if text := c.QueryParam("wait"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds >= 0 && seconds <= MaxJobWait.Seconds()) {
			return reward.ErrInvalidValue.With("wait: %.80q: want seconds in [0,%v]", text, MaxJobWait.Seconds())
		}
		wait = time.Duration(seconds * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), wait)
	defer cancel()
	id := c.Param("id")
	owner, _ := c.Get(ownerKey).(string)
	answer, known := s.jobs.Wait(ctx, owner, id)
	switch {
	case !known:
		return reward.ErrNotFound.With("no job %.80q: it has expired, or the server has started since", id)
	case answer == nil:
		return c.JSON(http.StatusAccepted, jobStatus{id, "running"})
	}
	for _, name := range []string{echo.HeaderContentType, wire.HeaderRequestID, "Retry-After"} {
		if value := answer.Header.Get(name); value != "" {
			c.Response().Header().Set(name, value)
		}
	}
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(answer.Body)))
	c.Response().WriteHeader(answer.Status)
	_, err := c.Response().Write(answer.Body)
	return err
}

// dropJob answers DELETE /v1/jobs/ID: nobody waits for the job any more.
func (s *Server) dropJob(c echo.Context) error {
	owner, _ := c.Get(ownerKey).(string)
	if id := c.Param("id"); !s.jobs.Drop(owner, id) {
		return reward.ErrNotFound.With("no job %.80q: it has expired, or the server has started since", id)
	}
	return c.NoContent(http.StatusNoContent)
}
