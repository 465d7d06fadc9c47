package otlp

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// NewTracing makes a provider that sends spans to an OTLP/HTTP collector. ratio
// is the share of requests traced whose caller has not decided. endpoint is a
// URL; "" leaves it to OpenTelemetry's own environment variables. The caller
// shuts the provider down, which sends what is left.
func NewTracing(ctx context.Context, endpoint, version string, ratio float64) (*sdktrace.TracerProvider, error) {
	if !(ratio >= 0 && ratio <= 1) {
		return nil, fmt.Errorf("otlp: trace ratio is %v, want 0 to 1", ratio)
	}
	var options []otlptracehttp.Option
	if endpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(endpoint))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("otlp: trace exporter: %w", err)
	}
	return sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(about(version)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
	), nil
}

// about is who tells.
func about(version string) *resource.Resource {
	return resource.NewSchemaless(
		attribute.String("service.name", "densereward"),
		attribute.String("service.version", version),
	)
}
