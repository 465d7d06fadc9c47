package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/config"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/compat"
	"github.com/denseflow/densereward/reward/groups"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/budget"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/jobs"
	"github.com/denseflow/densereward/reward/server/recent"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/server/telemetry/otlp"
	"github.com/denseflow/densereward/reward/wire"
)

// queueFlags shape the scheduler.
type queueFlags struct {
	BatchDelay   time.Duration `default:"5ms" placeholder:"TIME" help:"How long an idle evaluator waits for a fuller batch. [${default}]"`
	QueueSamples int           `default:"4096" placeholder:"N" help:"Samples that may wait; beyond them clients are told to come back. [${default}]"`
	QueueBytes   cli.ByteSize  `default:"4GiB" placeholder:"SIZE" help:"Memory of the samples that wait, shared evenly among evaluators. [${default}]"`
	Cache        cli.ByteSize  `default:"256MiB" placeholder:"SIZE" help:"Memory of the result caches, shared evenly among evaluators; 0 turns them off. [${default}]"`
}

func (f *queueFlags) check() error {
	return cmp.Or(
		cli.AtLeast("batch-delay", f.BatchDelay, 0), cli.AtLeast("queue-samples", f.QueueSamples, 1), cli.AtLeast("queue-bytes", f.QueueBytes, 1),
	)
}

func (f *queueFlags) scheduling() batch.Config {
	cfg := batch.DefaultConfig()
	cfg.MaxDelay = f.BatchDelay
	cfg.QueueSamples, cfg.QueueBytes = f.QueueSamples, int64(f.QueueBytes)
	cfg.CacheBytes = int64(f.Cache)
	return cfg
}

// limitFlags bound a request.
type limitFlags struct {
	MaxBody     cli.ByteSize  `default:"256MiB" placeholder:"SIZE" help:"Largest body of a request. [${default}]"`
	MaxImages   int           `default:"256" placeholder:"N" help:"Most images of a request. [${default}]"`
	MaxPixels   int           `default:"67108864" placeholder:"N" help:"Most pixels of an image, width times height. [${default}]"`
	BodyMemory  cli.ByteSize  `default:"4GiB" placeholder:"SIZE" help:"Memory of all bodies and answers together. [${default}]"`
	Memory      cli.ByteSize  `default:"0" placeholder:"SIZE" help:"Memory of the server without its models; bodies, queue, cache and groups are cut in proportion to fit. 0: what they come to."`
	Timeout     time.Duration `default:"10m" placeholder:"TIME" help:"Time of a request that names none. [${default}]"`
	Connections int           `default:"1024" placeholder:"N" help:"Most connections at a time. [${default}]"`

	ClientMemory      cli.ByteSize `default:"0" placeholder:"SIZE" help:"Memory of the bodies and answers of one client, the owner of a token or an address, that has some already. 0: three quarters of --body-memory."`
	ClientConnections int          `default:"0" placeholder:"N" help:"Most connections of one client at a time. 0: three quarters of --connections."`

	KeepRecent int  `default:"0" placeholder:"N" help:"Keep thumbnails, prompts, scores and maps of the N samples scored last, up to 64 KiB each, for the owner of their token to look at on the page. [${default}]"`
	NoPage     bool `name:"no-page" help:"Do not answer GET / with a page for people."`

	Missing           string `enum:"zero,error" default:"zero" placeholder:"POLICY" help:"What becomes of a sample whose answer lacks a score or a map where the request does not say, as Flow-Factory's and UniRL's cannot: zero counts the part as 0, which says of a map that there is no flaw; error fails the sample. [${default}]"`
	UniRLSampleErrors bool   `name:"unirl-sample-errors" help:"Answer UniRL's requests with errors of single samples, which its client turns into 0.0, instead of failing the request."`
}

func (f *limitFlags) check() error {
	return cmp.Or(
		cli.AtLeast("max-body", f.MaxBody, 1), cli.AtLeast("max-images", f.MaxImages, 1), cli.AtLeast("max-pixels", f.MaxPixels, 1),
		cli.AtLeast("body-memory", f.BodyMemory, 1), cli.AtLeast("memory", f.Memory, 0), cli.AtLeast("timeout", f.Timeout, time.Millisecond), cli.AtLeast("connections", f.Connections, 1), cli.AtLeast("client-memory", f.ClientMemory, 0), cli.AtLeast("client-connections", f.ClientConnections, 0), cli.AtLeast("keep-recent", f.KeepRecent, 0),
	)
}

// clientConnections is one client's share of the connections.
func (f *limitFlags) clientConnections() int {
	return cmp.Or(f.ClientConnections, max(1, f.Connections*3/4))
}

func (f *limitFlags) limits() server.Config {
	limits := wire.DefaultLimits()
	limits.BodyBytes, limits.Samples, limits.ImagePixels = int64(f.MaxBody), f.MaxImages, f.MaxPixels
	return server.Config{Limits: limits, BodyMemory: int64(f.BodyMemory), ClientMemory: int64(f.ClientMemory), Timeout: f.Timeout, Page: !f.NoPage, KeepRecent: f.KeepRecent, Missing: reward.MissingPolicy(f.Missing), Compat: compat.Config{SampleErrors: f.UniRLSampleErrors}}
}

// planMemory settles what the server may hold, tells it, and has the garbage collector
// keep to it unless GOMEMLIMIT says otherwise.
func (c *serveCommand) planMemory(d *deployment) error {
	plan := budget.Plan{
		Bodies: int64(c.BodyMemory), Queue: int64(c.QueueBytes), Cache: int64(c.Cache), Groups: groups.DefaultConfig().Bytes,
		Jobs: jobs.DefaultConfig().AnswerBytes, Recent: int64(c.KeepRecent) * recent.EntryBytes, Connections: c.Connections, Decoders: runtime.GOMAXPROCS(0), ImagePixels: c.MaxPixels,
	}
	if c.Memory > 0 {
		var err error
		if plan, err = plan.Within(int64(c.Memory)); err != nil {
			return cli.Usage("memory", err)
		}
	}
	c.QueueBytes, c.Cache = cli.ByteSize(plan.Queue), cli.ByteSize(plan.Cache)
	d.memory, d.config.BodyMemory = plan.Total(), plan.Bodies
	d.config.Groups = groups.DefaultConfig()
	d.config.Groups.Bytes = plan.Groups
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(plan.Total())
	}
	d.config.Logger.Info("memory", "limit_bytes", plan.Total(), "bodies_and_answers", plan.Bodies, "queue", plan.Queue,
		"cache", plan.Cache, "groups", plan.Groups, "models", "counted when they are warm")
	return nil
}

// accessFlags say who may come in.
type accessFlags struct {
	Tokens   *string  `placeholder:"FILE" help:"Bearer tokens, one a line, a name before it if you like, and after both the rights score, metrics or admin, with commas between them. Without it everybody who can reach the address is let in."`
	NoTokens bool     `name:"no-tokens" help:"Let in everybody who can reach a --public address, without tokens or certificates of clients."`
	Host     []string `placeholder:"NAME" help:"Name under which a loopback address is reached as well, such as that of a proxy before it. Requests for other hosts are refused, so that no web page can make a browser send them."`
	TLSCert  string   `name:"tls-cert" and:"tls" placeholder:"FILE" help:"Certificate chain, PEM."`
	TLSKey   string   `name:"tls-key" and:"tls" placeholder:"FILE" help:"Private key, PEM."`
	ClientCA string   `name:"client-ca" placeholder:"FILE" help:"Authorities, PEM; clients must then show a certificate of theirs."`
}

func (f *accessFlags) openAccess(d *deployment) error {
	if f.Tokens != nil {
		if *f.Tokens == "" {
			return cli.Usage("tokens", errors.New("the name of the file is empty"))
		}
		tokens, err := credentials.OpenTokens(*f.Tokens)
		if err != nil {
			return err
		}
		d.config.Tokens = tokens
		d.files = append(d.files, tokens)
	}
	if f.TLSCert == "" {
		if f.ClientCA != "" {
			return cli.Usage("client-ca", errors.New("needs --tls-cert and --tls-key"))
		}
		return nil
	}
	certificate, err := credentials.OpenCertificate(credentials.CertificateFiles{Cert: f.TLSCert, Key: f.TLSKey, ClientCA: f.ClientCA})
	if err != nil {
		return err
	}
	d.front.Certificate = certificate
	d.files = append(d.files, certificate)
	return nil
}

// operationFlags are for whoever runs the server.
type operationFlags struct {
	Config config.Flag `placeholder:"FILE" help:"TOML file of flags: listen = \"0.0.0.0:8080\", public = true. The command line goes before it."`

	DrainDelay  time.Duration `default:"0s" placeholder:"TIME" help:"How long requests are still taken after readiness went off. [${default}]"`
	DrainLimit  time.Duration `default:"30s" placeholder:"TIME" help:"How long requests that were taken may take to finish. [${default}]"`
	DebugListen string        `placeholder:"ADDR" help:"Loopback address of profiles and metrics, off without it."`
	Traces      string        `placeholder:"URL" help:"OpenTelemetry collector (OTLP over HTTP) for traces, off without it."`
	TraceRatio  float64       `default:"1" placeholder:"X" help:"Share of requests traced whose caller has not decided. [${default}]"`
	PushMetrics string        `name:"push-metrics" placeholder:"URL" help:"OpenTelemetry collector (OTLP over HTTP) for metrics, off without it: http://HOST:4318/v1/metrics."`
	AccessLog   bool          `default:"true" negatable:"" help:"Log a line for each request."`
	LogLevel    slog.Level    `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error. [${default}]"`
	LogFormat   string        `enum:"text,json" default:"text" placeholder:"FORMAT" help:"text or json, where each line is an object and durations are in seconds. [${default}]"`
}

func (f *operationFlags) check() error {
	return cmp.Or(cli.AtLeast("drain-delay", f.DrainDelay, 0), cli.AtLeast("drain-limit", f.DrainLimit, 0))
}

// logJSON is the value of --log-format that makes every line of serve's log JSON.
const logJSON = "json"

func (f *operationFlags) logger(t cli.Terminal) *slog.Logger {
	if f.LogFormat == logJSON {
		return slog.New(slog.NewJSONHandler(t.Err, cli.JSONLogOptions(f.LogLevel)))
	}
	return slog.New(slog.NewTextHandler(t.Err, &slog.HandlerOptions{Level: f.LogLevel}))
}

func (f *operationFlags) openPush(ctx context.Context, d *deployment, m *telemetry.Metrics) error {
	if f.PushMetrics == "" {
		return nil
	}
	pushed, err := otlp.PushMetrics(ctx, f.PushMetrics, buildVersion(), m.Registry())
	if err != nil {
		return err
	}
	d.closers = append(d.closers, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), f.DrainLimit)
		defer cancel()
		return pushed.Shutdown(ctx)
	})
	return nil
}

func (f *operationFlags) openTracing(ctx context.Context, d *deployment) error {
	if f.Traces == "" {
		return nil
	}
	traces, err := otlp.NewTracing(ctx, f.Traces, buildVersion(), f.TraceRatio)
	if err != nil {
		return err
	}
	d.config.Tracing = traces
	d.closers = append(d.closers, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), f.DrainLimit)
		defer cancel()
		return traces.Shutdown(ctx)
	})
	return nil
}
