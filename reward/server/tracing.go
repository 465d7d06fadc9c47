package server

import (
	"context"
	"fmt"

	"github.com/denseflow/densereward/reward"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// NewTracing makes a provider that sends spans to an OTLP/HTTP collector. ratio
// is the share of requests traced whose caller has not decided. endpoint is a
// URL; "" leaves it to OpenTelemetry's own environment variables. The caller
// shuts the provider down, which sends what is left.
func NewTracing(ctx context.Context, endpoint, version string, ratio float64) (*sdktrace.TracerProvider, error) {
	if !(ratio >= 0 && ratio <= 1) {
		return nil, fmt.Errorf("server: trace ratio is %v, want 0 to 1", ratio)
	}
	var options []otlptracehttp.Option
	if endpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(endpoint))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("server: trace exporter: %w", err)
	}
	about := resource.NewSchemaless(
		attribute.String("service.name", "densereward"),
		attribute.String("service.version", version),
	)
	return sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
	), nil
}

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
		ctx, span := tracer.Start(ctx, knownMethod(r.Method)+" "+route(c), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", knownMethod(r.Method)),
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
		_, child := tracer.Start(ctx, l.stage, trace.WithTimestamp(at))
		at = at.Add(l.length)
		child.End(trace.WithTimestamp(at))
	}
}
