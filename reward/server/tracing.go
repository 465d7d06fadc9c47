package server

import (
	"context"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracerName is the instrumentation scope of this package's spans.
const tracerName = "github.com/denseflow/densereward/reward/server"

// trace makes a span of each request, a child of the caller's if the caller
// traces (W3C traceparent).
func (s *Server) trace(next echo.HandlerFunc) echo.HandlerFunc {
	if s.cfg.Tracing == nil {
		return next
	}
	tracer := s.cfg.Tracing.Tracer(tracerName)
	return func(c echo.Context) error {
		r := c.Request()
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, telemetry.KnownMethod(r.Method)+" "+route(c), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", telemetry.KnownMethod(r.Method)),
			attribute.String("url.path", route(c)),
			attribute.String("densereward.request_id", requestID(c)),
		))
		defer span.End()
		c.SetRequest(r.WithContext(ctx))
		err := next(c)
		if err != nil {
			e := asError(err)
			span.SetAttributes(attribute.String("error.type", e.Code()))
			span.SetStatus(codes.Error, e.Code())
		}
		return err
	}
}

// traceStages adds the stages of a scored request to its span, as children.
func (s *Server) traceStages(ctx context.Context, w *stopwatch, errs []*reward.Error) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	failed := 0
	for _, e := range errs {
		if e != nil {
			failed++
		}
	}
	span.SetAttributes(attribute.Int("densereward.samples", len(errs)), attribute.Int("densereward.samples_failed", failed))
	tracer := s.cfg.Tracing.Tracer(tracerName)
	at := w.first
	for _, l := range w.laps {
		_, child := tracer.Start(ctx, l.Name, trace.WithTimestamp(at))
		at = at.Add(l.Took)
		child.End(trace.WithTimestamp(at))
	}
}
