// Package otlp sends what a server tells of itself to an OpenTelemetry collector. It is apart
// from package telemetry because of the size of its libraries, which only the program needs.
package otlp

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/metric"
)

// PushMetrics sends the metrics of a server to an OTLP/HTTP collector, as often as
// OpenTelemetry's environment variables say, by default every minute. endpoint is a URL.
// The caller shuts the provider down, which sends what is left.
func PushMetrics(ctx context.Context, endpoint, version string, metrics *prometheus.Registry) (*metric.MeterProvider, error) {
	exporter, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("otlp: metrics exporter: %w", err)
	}
	producer := bridge.NewMetricProducer(bridge.WithGatherer(metrics))
	return metric.NewMeterProvider(
		metric.WithResource(about(version)),
		metric.WithReader(metric.NewPeriodicReader(exporter, metric.WithProducer(producer))),
	), nil
}
