package telemetry

import (
	"context"
	"fmt"

	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/metric"
)

// Push sends the metrics of a server to an OTLP/HTTP collector, as often as
// OpenTelemetry's environment variables say, by default every minute. endpoint is a URL.
// The caller shuts the provider down, which sends what is left.
func Push(ctx context.Context, endpoint, version string, m *Metrics) (*metric.MeterProvider, error) {
	exporter, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("telemetry: metrics exporter: %w", err)
	}
	producer := bridge.NewMetricProducer(bridge.WithGatherer(m.registry))
	return metric.NewMeterProvider(
		metric.WithResource(about(version)),
		metric.WithReader(metric.NewPeriodicReader(exporter, metric.WithProducer(producer))),
	), nil
}
