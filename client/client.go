package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// Client asks one or more servers for scores.
type Client struct {
	servers servers
	opts    options
}

// New makes a client of the server at an address such as
// "http://localhost:8080". It does not connect yet.
func New(address string, opts ...Option) (*Client, error) {
	c := &Client{opts: defaultOptions()}
	for _, o := range opts {
		o(&c.opts)
	}
	if err := checkToken(c.opts.token); err != nil {
		return nil, err
	}
	for _, a := range append([]string{address}, c.opts.addresses...) {
		base, err := parseAddress(a)
		if err != nil {
			return nil, err
		}
		c.servers.all = append(c.servers.all, &server{base: base})
	}
	return c, nil
}

func parseAddress(address string) (string, error) {
	u, err := url.Parse(address)
	if err == nil && u.User != nil {
		return "", fmt.Errorf("client: address of %s holds a user name or password: a bearer token goes into WithToken", u.Host)
	}
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("client: address %q: want http://host:port or https://host:port", address)
	}
	return strings.TrimSuffix(address, "/"), nil
}

// Score sends q and waits for its answer. What ctx has left of its deadline
// travels along, so that the server drops work nobody waits for.
//
// A request of more samples than fit is sent in parts at the same time, and
// their responses are joined; see WithPartSize. Its images must not change
// until Score returns.
func (c *Client) Score(ctx context.Context, q *wire.Request) (*wire.Response, error) {
	ctx, cancel := c.opts.bound(ctx)
	defer cancel()
	return c.score(ctx, q, c.exchange)
}

// exchange is one way to have a server answer a request, once.
type exchange func(ctx context.Context, s *server, message *wire.Message) (*wire.Response, error)

// score has q answered, by the servers where its groups meet.
func (c *Client) score(ctx context.Context, q *wire.Request, once exchange) (*wire.Response, error) {
	if q.Groups.Step != "" && checkWhole(q, c.opts.limits) == nil {
		if homes := c.homes(q); len(homes) > 1 {
			return c.scoreHomes(ctx, q, homes, once)
		}
	}
	return c.scoreHome(ctx, q, once)
}

// scoreHome has q answered, in parts where it does not fit.
func (c *Client) scoreHome(ctx context.Context, q *wire.Request, once exchange) (*wire.Response, error) {
	if len(q.Prompts) > c.opts.partSize() {
		return c.scoreParts(ctx, q, once)
	}
	return c.scoreOne(ctx, q, once)
}

// scoreOne sends q as one request, as often as it takes.
func (c *Client) scoreOne(ctx context.Context, q *wire.Request, once exchange) (*wire.Response, error) {
	message, err := q.Encode(c.opts.limits)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	key := c.key(q, 0)
	attempts := c.servers.attempts(key, c.opts.tries)
	ctx = withPlacement(ctx, key)
	patience := awayPatience
	var last error // of the tries so far
	for {
		s, pause := attempts.next(c.opts.now())
		if s == nil {
			return nil, fmt.Errorf("client: tried %d times: %w", attempts.failed, last)
		}
		if interrupted := c.pause(ctx, pause); interrupted != nil {
			if last == nil {
				return nil, fmt.Errorf("client: %w; %s rests", interrupted, s.base)
			}
			return nil, fmt.Errorf("client: %w; the last of %d tries: %w", interrupted, attempts.failed, last)
		}
		away := attempts.away(s)
		response, err := within(ctx, away, patience, func(ctx context.Context) (*wire.Response, error) { return once(ctx, s, message) })
		if err == nil {
			s.succeeded()
			return response, nil
		}
		if away && ctx.Err() == nil && alone(err) {
			patience *= 2
			last = err
			continue
		}
		if !retryable(err) || ctx.Err() != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		attempts.fail(s, err, &c.opts)
		last = err
	}
}

// awayPatience is how long a request waits at first for its group on another server than
// the group's own, which others may have found back meanwhile; it doubles each time.
const awayPatience = 5 * time.Second

// within calls once, with a limit of time if limited.
func within(ctx context.Context, limited bool, limit time.Duration, once func(context.Context) (*wire.Response, error)) (*wire.Response, error) {
	if !limited {
		return once(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return once(ctx)
}

// alone reports whether a request ended without having met its group.
func alone(err error) bool {
	return errors.Is(err, reward.ErrGroupIncomplete) || errors.Is(err, reward.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// pause waits unless there is nothing to wait for.
func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	return c.opts.sleep(ctx, d)
}
