package server

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/compat"
	"github.com/denseflow/densereward/reward/compat/openapi"
	"github.com/denseflow/densereward/reward/groups"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/server/budget"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/jobs"
	"github.com/denseflow/densereward/reward/server/page"
	"github.com/denseflow/densereward/reward/server/recent"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/server/watch"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/trace"
)

// Scorer is what scores a model's samples; a batch.Scheduler in a running
// server.
type Scorer = scoring.Scorer

// Model is an evaluator that requests can name.
type Model struct {
	Description reward.Description
	Scorer      Scorer
}

// Config is what a Server is made of. Only Models is required.
type Config struct {
	// Models score the images. Their names differ; the first is the default
	// of requests that name none.
	Models []Model
	// Notes gives what else there is to know of an evaluator at the moment, "" for
	// nothing; nil means nothing.
	Notes func(evaluator string) string
	// Decoders turn latents into images. Their names differ.
	Decoders []reward.LatentDecoder
	// Files decodes image files, within its own limits; nil means a new one
	// with those of Limits.
	Files *image.Decoder
	// Limits bound a request; the zero value means wire.DefaultLimits.
	Limits wire.Limits
	// Groups bounds the groups that span requests; the zero value means
	// groups.DefaultConfig.
	Groups groups.Config
	// Jobs bounds the requests whose answers are fetched later; the zero value
	// means jobs.DefaultConfig.
	Jobs jobs.Config
	// Timeout is how long a request may take that brings no X-Request-Timeout;
	// 0 means DefaultTimeout. Without one a hanging evaluator would hold its
	// callers for ever.
	Timeout time.Duration
	// BodyMemory bounds the bytes of all bodies that are being read or scored and of
	// all answers, from before they are computed until they are sent; beyond it,
	// requests are refused as overload. 0 means DefaultBodyMemory.
	BodyMemory int64
	// ClientMemory bounds those of one client, which is the owner of a token or else an
	// address, once it has some; 0 means three quarters of BodyMemory.
	ClientMemory int64
	// DataRate bounds slow clients; the zero value means DefaultDataRate.
	DataRate DataRate
	// Missing is what becomes of a sample whose answer lacks a part where the request does
	// not say, as other people's protocols cannot; "" is reward.MissingZero.
	Missing reward.MissingPolicy
	// Compat is how other people's protocols are answered.
	Compat compat.Config
	// Tokens let clients in; nil lets in everybody.
	Tokens *credentials.Tokens
	// Hosts are the names for which requests are answered, beside loopback addresses;
	// nil answers for every name. A server of this machine alone needs them: a web
	// page can give its own name the address 127.0.0.1 and have a browser send
	// requests there (DNS rebinding).
	Hosts []string
	// Page answers GET / with a page for people; see package page.
	Page bool
	// KeepRecent is how many of the samples scored last people may look at, each by the
	// owner of its token; see package recent.
	KeepRecent int
	// Ready reports why the server should not get requests yet, nil when it
	// should. A nil Ready is always ready.
	Ready func() error
	// Logger gets faults of the server; nil means slog.Default.
	Logger *slog.Logger
	// AccessLog gets a line for each request; nil logs none.
	AccessLog *slog.Logger
	// Metrics count; nil means new ones. GET /metrics shows them.
	Metrics *telemetry.Metrics
	// Tracing makes spans; nil makes none.
	Tracing trace.TracerProvider
	// Now is the clock that stages are timed with; nil means time.Now.
	Now func() time.Time
	// NewRequestID names a request that came without an id; nil means random.
	NewRequestID func() string
}

// DefaultBodyMemory is the memory for bodies and answers if nobody says otherwise: sixteen
// of the largest.
const DefaultBodyMemory = 4 << 30

// Server answers protocol version 1. It is safe for concurrent use.
type Server struct {
	cfg      Config
	echo     *echo.Echo
	models   map[string]*scoring.Pipeline
	decoders map[string]reward.LatentDecoder
	budget   *budget.Budget // of bodies and answers
	buffers  budget.Buffers // of bodies
	groups   *groups.Barrier
	jobs     *jobs.Store
	page     *page.Page // nil without
	recent   *recent.Store
	streams  *watch.Streams
	// rewarding has an element for each request whose completions are being rewarded.
	rewarding chan struct{}
	ignored   sync.Once // what requests hold and the server ignores is told once
}

var _ http.Handler = (*Server)(nil)

// New makes a server. It fails if there is no model or two share a name.
func New(cfg Config) (*Server, error) {
	if len(cfg.Models) == 0 {
		return nil, errors.New("server: no model")
	}
	s := &Server{
		cfg:      withDefaults(cfg),
		models:   map[string]*scoring.Pipeline{},
		decoders: map[string]reward.LatentDecoder{},

		rewarding: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	cells := map[string]int{}
	for _, d := range s.cfg.Decoders {
		about := d.Describe()
		name := about.Name
		if _, taken := s.decoders[name]; taken || name == "" {
			return nil, fmt.Errorf("server: latent decoder name %q is empty or taken", name)
		}
		s.decoders[name], cells[name] = d, about.GridScale
	}
	for i := range s.cfg.Models {
		m := &s.cfg.Models[i]
		name := m.Description.Name
		if err := m.Description.Validate(); err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		if _, taken := s.models[name]; taken {
			return nil, fmt.Errorf("server: model name %q is taken", name)
		}
		s.cfg.Metrics.Describe(m.Description)
		s.models[name] = &scoring.Pipeline{
			Evaluator: m.Description, Scorer: m.Scorer, Files: s.cfg.Files, Logger: s.cfg.Logger, Cells: cells, Missing: s.cfg.Missing,
			Limits: scoring.Limits{ImagePixels: s.cfg.Limits.ImagePixels, MapCells: s.cfg.Limits.MapCells},
		}
	}
	s.budget = budget.New(s.cfg.BodyMemory, s.cfg.ClientMemory, s.cfg.DataRate.MinRate)
	s.groups = groups.New(s.cfg.Groups)
	s.cfg.Metrics.WatchServer(s.groups.WaitingNow, s.budget.Held, s.budget.Refused)
	s.jobs = jobs.New(s.cfg.Jobs, s.cfg.Now)
	s.recent = recent.New(s.cfg.KeepRecent, s.cfg.Now)
	s.streams = watch.New(watch.Config{
		Activity: s.cfg.Metrics.Activity(), Recent: s.recent, Waiting: s.groups.Waiting, Held: s.budget.Held, Now: s.cfg.Now,
		Ending: func() bool { return errors.Is(s.cfg.Ready(), front.ErrDraining) },
	})
	if s.cfg.Page {
		var err error
		if s.page, err = page.New(s.cfg.Tokens != nil); err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
	}
	s.route()
	return s, nil
}

func withDefaults(cfg Config) Config {
	if cfg.Limits == (wire.Limits{}) {
		cfg.Limits = wire.DefaultLimits()
	}
	if cfg.Files == nil {
		cfg.Files = image.NewDecoder(image.Limits{MaxPixels: cfg.Limits.ImagePixels})
	}
	if cfg.Groups == (groups.Config{}) {
		cfg.Groups = groups.DefaultConfig()
	}
	if cfg.Jobs == (jobs.Config{}) {
		cfg.Jobs = jobs.DefaultConfig()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.BodyMemory == 0 {
		cfg.BodyMemory = DefaultBodyMemory
	}
	if cfg.ClientMemory == 0 {
		cfg.ClientMemory = cfg.BodyMemory / 4 * 3
	}
	if cfg.DataRate == (DataRate{}) {
		cfg.DataRate = DefaultDataRate()
	}
	if cfg.Metrics == nil {
		cfg.Metrics = telemetry.NewMetrics("")
	}
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Compat.Now == nil {
		cfg.Compat.Now = cfg.Now
	}
	if cfg.NewRequestID == nil {
		cfg.NewRequestID = randomID
	}
	return cfg
}

// Paths beside those of package reward.
const (
	healthPath  = "/healthz"
	readyPath   = "/readyz"
	metricsPath = "/metrics"
)

func (s *Server) route() {
	s.echo = echo.New()
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(s.identify(), s.watch, s.trace, s.contain(), s.secure(), s.checkHost, s.limitDataRate, s.authorize)
	s.echo.POST(wire.ScorePath, s.score)
	s.echo.POST(wire.RFTPath, s.rewardCompletions)
	s.echo.POST(wire.JobsPath, s.startJob)
	s.get(wire.JobsPath+"/:id", s.fetchJob)
	s.echo.DELETE(wire.JobsPath+"/:id", s.dropJob)
	s.get(wire.ModelsPath, s.listModels)
	s.get(healthPath, s.healthz)
	s.get(readyPath, s.readyz)
	s.routeForeign()
	s.get(openapi.Path, func(c echo.Context) error { return c.JSONBlob(http.StatusOK, openapi.Document) })
	if s.page != nil {
		s.get(page.Root, echo.WrapHandler(s.page))
		s.get(page.Folder+"*", s.pageFile)
	}
	s.get(watch.Path, s.watchServer)
	s.get(metricsPath, echo.WrapHandler(s.cfg.Metrics.Handler()))
}

// get answers GET on a path, and HEAD as HTTP wants it of whatever answers GET.
func (s *Server) get(path string, handler echo.HandlerFunc) {
	s.echo.GET(path, handler)
	s.echo.HEAD(path, handler)
}

// ServeHTTP answers one request. Slashes that end a path or come twice mean
// nothing.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if clean := path.Clean("/" + r.URL.Path); clean != r.URL.Path {
		at := *r.URL
		at.Path, at.RawPath = clean, ""
		r = r.WithContext(r.Context())
		r.URL = &at
	}
	s.echo.ServeHTTP(w, r)
}

// BodyMemoryHeld is how many bytes of bodies and answers are held.
func (s *Server) BodyMemoryHeld() int64 { return s.budget.Held() }

// pipeline finds the evaluator of a name, "" being the default.
func (s *Server) pipeline(name string) (*scoring.Pipeline, error) {
	if name == "" {
		name = s.cfg.Models[0].Description.Name
	}
	p, ok := s.models[name]
	if !ok {
		return nil, reward.ErrUnknownEvaluator.With("evaluator: no evaluator %.80q, the server has %v", name, slices.Sorted(maps.Keys(s.models)))
	}
	return p, nil
}
