package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/labstack/echo/v4"
)

// Config is what a Server is made of. Only Evaluators is required.
type Config struct {
	// Evaluators judge the pictures. Their names differ; the first is the
	// default of requests that name none.
	Evaluators []reward.Evaluator
	// Decoders turn latents into pictures. Their names differ.
	Decoders []reward.LatentDecoder
	// Limits bound a request; the zero value means reward.DefaultLimits.
	Limits reward.Limits
	// DecodeWorkers bounds the pictures that are decoded at the same time over
	// all requests; 0 means one a core.
	DecodeWorkers int
	// Ready reports why the server should not get requests yet, nil when it
	// should. A nil Ready is always ready.
	Ready func() error
	// Logger gets faults of the server; nil means slog.Default.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// NewRequestID names a request that came without an id; nil means random.
	NewRequestID func() string
}

// Server answers protocol version 1. It is safe for concurrent use.
type Server struct {
	cfg        Config
	echo       *echo.Echo
	evaluators map[string]reward.Evaluator
	decoders   map[string]reward.LatentDecoder
	decoding   chan struct{} // a token for each picture being decoded
	bodies     bodyPool
}

var _ http.Handler = (*Server)(nil)

// New makes a server. It fails if there is no evaluator or two share a name.
func New(cfg Config) (*Server, error) {
	s := &Server{
		cfg:        withDefaults(cfg),
		evaluators: map[string]reward.Evaluator{},
		decoders:   map[string]reward.LatentDecoder{},
	}
	if len(cfg.Evaluators) == 0 {
		return nil, errors.New("server: no evaluator")
	}
	for _, e := range cfg.Evaluators {
		name := e.Describe().Name
		if _, taken := s.evaluators[name]; taken || name == "" {
			return nil, fmt.Errorf("server: evaluator name %q is empty or taken", name)
		}
		s.evaluators[name] = e
	}
	for _, d := range cfg.Decoders {
		name := d.Describe().Name
		if _, taken := s.decoders[name]; taken || name == "" {
			return nil, fmt.Errorf("server: latent decoder name %q is empty or taken", name)
		}
		s.decoders[name] = d
	}
	s.decoding = make(chan struct{}, s.cfg.DecodeWorkers)
	s.route()
	return s, nil
}

func withDefaults(cfg Config) Config {
	if cfg.Limits == (reward.Limits{}) {
		cfg.Limits = reward.DefaultLimits()
	}
	if cfg.DecodeWorkers == 0 {
		cfg.DecodeWorkers = runtime.GOMAXPROCS(0)
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
	if cfg.NewRequestID == nil {
		cfg.NewRequestID = randomID
	}
	return cfg
}

func (s *Server) route() {
	s.echo = echo.New()
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(s.identify, s.contain)
	s.echo.POST(reward.ScorePath, s.score)
	s.echo.GET(reward.ModelsPath, s.models)
	s.echo.GET("/healthz", s.healthz)
	s.echo.GET("/readyz", s.readyz)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }
