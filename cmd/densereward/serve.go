package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/cmd/densereward/hosting"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/places"
)

type serveCommand struct {
	Listen string `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address and port; port 0 is a free one, which the log names. [${default}]"`
	Public bool   `help:"Allow an address that other machines can reach. Consider --tokens and --tls-cert."`
	Check  bool   `help:"Compare the checkpoints' files with SHA256SUMS or what the hub's client noted, load and warm everything that serving needs, then stop."`

	hosting.LatentFlags    `group:"Latents:"`
	queueFlags             `group:"Queue and cache:"`
	limitFlags             `group:"Limits:"`
	accessFlags            `group:"Access:"`
	operationFlags         `group:"Operation:"`
	hosting.EvaluatorFlags `group:"Evaluator flags:"`
}

func (serveCommand) Help() string {
	return `Answers POST /v1/score (msgpack, protocol version 1; see reward/PROTOCOL.md), GET /v1/models, /healthz, /readyz and /metrics, with a page for people at /, and Flow-Factory's GET /health and POST /compute. Only this machine can reach it unless --public allows more.

Several evaluators can be hosted at once, each with a queue, cache and metrics of its own; requests name one, and the first is the default. In a configuration file each has a table:

	[evaluator.doctor]
	kind = "imagedoctor"
	source = "/models/ImageDoctor"
	device = ["cuda:0", "cuda:1"]  # otherwise that of --device
	batch = 32                     # otherwise that of --batch
	repetition-penalty = 1.05      # and what else its kind knows

Kinds and their sources:

` + evaluators.Kinds().Help() + `
SIGTERM and SIGINT drain: readiness goes off, what was taken is answered, the process ends with 0. A second signal ends it at once. SIGHUP reads the tokens and certificates again, which otherwise happens every minute.

Examples:

	densereward serve --model DIR --device cuda
	densereward serve --model DIR --device cuda:0,cuda:1 --batch 32
	densereward serve --evaluator doctor=imagedoctor:DIR --evaluator ocr=ocr --evaluator pick=pickscore:DIR
	densereward serve --model DIR --vae sd3=stable-diffusion-3.5-medium/vae --vae flux=FLUX.1-dev/vae
	densereward serve --model DIR --listen 0.0.0.0:8443 --public --tokens tokens.txt --tls-cert cert.pem --tls-key key.pem`
}

// Run serves until ctx ends and then drains.
func (c *serveCommand) Run(ctx context.Context, t cli.Terminal) (err error) {
	logger := c.logger(t)
	d, err := c.deployment(ctx, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	decoders, err := c.Decoders(c.Device)
	if err != nil {
		return err
	}
	if c.Check {
		specs, err := c.Specs()
		if err != nil {
			return err
		}
		if err := hosting.CheckFiles(ctx, logger, c.Finder(t), specs, decoders); err != nil {
			return err
		}
	}
	e, err := c.Open(ctx, t, logger, decoders...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	d.config.Decoders = e.LatentDecoders()
	s, err := hosting.NewService(e.Evaluators.Hosted, c.scheduling(), d.config, buildVersion())
	if err != nil {
		return err
	}
	if err := c.openPush(ctx, d, s.Metrics); err != nil {
		return err
	}
	s.Metrics.WatchConnections(d.listener.Refused)
	for _, h := range e.Evaluators.Hosted {
		about := h.Description
		logger.Info("loaded", "evaluator", about.Name, "kind", about.Kind, "fingerprint", about.Fingerprint,
			"demonstration", about.Demonstration, "devices", h.Devices)
	}
	for _, decoder := range e.Decoders {
		about := decoder.Describe()
		logger.Info("loaded", "vae", about.Name, "fingerprint", about.Fingerprint, "channels", about.Channels)
		if _, reason := decoder.Precision(); reason != "" {
			logger.Warn("decodes in float32", "vae", about.Name, "reason", reason)
		}
	}
	if c.Check {
		return e.Check(ctx)
	}
	d.announce()
	return c.serve(ctx, d, s, e)
}

// serve answers clients while it warms up, and stops when that fails, ctx ends
// or the debug listener breaks.
func (c *serveCommand) serve(ctx context.Context, d *deployment, s *hosting.Service, e *hosting.Engine) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go d.keepFresh(ctx)
	warmed := make(chan error, 1)
	go func() {
		began := time.Now()
		err := s.Warm(ctx, e)
		if err != nil {
			stop(err)
		} else {
			f := e.Footprint
			d.config.Logger.Info("memory with models", "limit_bytes", d.memory+f.Loaded+f.Working, "server", d.memory, "loaded", f.Loaded, "working", f.Working)
			d.config.Logger.Info("ready", "warm_up", time.Since(began))
		}
		warmed <- err
	}()
	if d.debug != nil {
		go func() { _ = http.Serve(d.debug, server.DebugHandler(s.Metrics)) }() // ends when d is closed
	}
	err := d.front.Serve(ctx, d.listener, s.Handler, s.Readiness, s.Shutdown)
	if failed := <-warmed; failed != nil && !errors.Is(failed, context.Canceled) {
		err = errors.Join(failed, err)
	}
	d.config.Logger.Info("stopped")
	return err
}

// deployment is what a running server holds beside its evaluators.
type deployment struct {
	memory   int64 // the most that the server itself holds
	config   server.Config
	front    front.Front
	listener *places.Listener
	debug    net.Listener // nil without --debug-listen
	files    []credentials.Reloader
	closers  []func() error
}

// deployment checks the flags and opens all that they name, so that a mistake
// shows before the model is loaded.
func (c *serveCommand) deployment(ctx context.Context, logger *slog.Logger) (*deployment, error) {
	if err := cmp.Or(c.queueFlags.check(), c.limitFlags.check(), c.operationFlags.check()); err != nil {
		return nil, err
	}
	d := &deployment{config: c.limits(), front: front.Default()}
	d.config.Logger, d.front.Logger = logger, logger
	d.front.DrainDelay, d.front.DrainLimit = c.DrainDelay, c.DrainLimit
	if err := c.planMemory(d); err != nil {
		return nil, err
	}
	if c.AccessLog {
		d.config.AccessLog = logger
	}
	if err := errors.Join(c.openAccess(d), c.openTracing(ctx, d), c.openListeners(ctx, d)); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (c *serveCommand) openListeners(ctx context.Context, d *deployment) error {
	listener, err := front.Listen(ctx, c.Listen, c.Public, c.Connections, c.clientConnections())
	switch {
	case errors.Is(err, front.ErrNotLoopback):
		return cli.Usage("listen", fmt.Errorf("%w; --public allows it", err))
	case err != nil:
		return err
	}
	d.listener = listener
	d.closers = append(d.closers, listener.Close)
	if front.IsLoopback(listener.Addr()) {
		d.config.Hosts = append([]string{"localhost"}, c.Host...)
	} else if c.Tokens == nil && c.ClientCA == "" {
		if !c.NoTokens {
			return cli.Usage("public", errors.New("everybody who can reach the address would be let in: give --tokens or --client-ca, or --no-tokens if that is meant"))
		}
		d.config.Logger.Warn("everybody who can reach the address is let in", "address", listener.Addr().String())
	}
	if c.DebugListen == "" {
		return nil
	}
	debug, err := front.Listen(ctx, c.DebugListen, false, c.Connections, c.Connections)
	if err != nil {
		return cli.Usage("debug-listen", err)
	}
	d.debug = debug
	d.closers = append(d.closers, d.debug.Close)
	return nil
}

// announce logs where clients find the server.
func (d *deployment) announce() {
	where := []any{"address", d.listener.Addr().String()}
	if d.debug != nil {
		where = append(where, "debug", d.debug.Addr().String())
	}
	d.config.Logger.Info("listening", where...)
}

// close gives everything back; closing what the server closed already is no
// failure.
func (d *deployment) close() error {
	var errs []error
	for _, closer := range d.closers {
		if err := closer(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// keepFresh follows the files of tokens and certificates.
func (d *deployment) keepFresh(ctx context.Context) {
	if len(d.files) == 0 {
		return
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	credentials.KeepFresh(ctx, reloadInterval, hangups, d.config.Logger, d.files...)
}

const reloadInterval = time.Minute
