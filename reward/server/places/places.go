// Package places bounds the connections of a server. Where all places are taken, those
// on which no request is being answered are closed for new ones, and a few more are
// taken for requests that need no place: health checks, and clients with a token.
package places

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Patience is how long a connection may be without a request before it can be closed
// for another: as long as a header and the end of an answer take.
const Patience = time.Second

// Listener accepts while it has places.
type Listener struct {
	net.Listener
	places, spare, share int

	mu      sync.Mutex
	open    map[*Place]struct{}
	clients map[string]int // places by whose they are
	refused int64          // connections, for their client's share
	spares  int            // of open
	freed   chan struct{}  // closed, and made anew, when a place is free
	closed  chan struct{}
	once    sync.Once
}

// Limit has at most places connections of l open, of which a client has share, and spare
// ones beyond them. A client is an address, or the owner of a token once it has shown it.
func Limit(l net.Listener, places, spare, share int) *Listener {
	return &Listener{
		Listener: l, places: places, spare: spare, share: share,
		clients: map[string]int{}, open: map[*Place]struct{}{}, freed: make(chan struct{}), closed: make(chan struct{}),
	}
}

// Place is that of one connection.
type Place struct {
	net.Conn
	listener *Listener
	spare    bool
	leave    sync.Once

	client    string // whose it is; guarded by the listener, as is
	answering bool
	since     time.Time // when it was opened or its last answer ended
	trusted   bool      // its client has shown a token

	gone chan struct{} // closed with the connection

	writing       sync.Mutex // guards the next three
	begun         bool       // the answer
	old           bool       // the client does not know interim answers
	writeDeadline time.Time

	reading      sync.Mutex // guards the next two
	readDeadline time.Time
	changed      chan struct{} // closed, and made anew, with readDeadline
}

// Accept waits for a place, then for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	p := &Place{listener: l, gone: make(chan struct{}), changed: make(chan struct{})}
	for {
		freed, again, ok := l.enter(p)
		if ok {
			break
		}
		timer := time.NewTimer(again)
		select {
		case <-freed:
		case <-timer.C:
		case <-l.closed:
			return nil, net.ErrClosed
		}
		timer.Stop()
	}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			p.giveUp()
			return nil, err
		}
		if l.assign(p, c) {
			return p, nil
		}
		_ = c.Close()
	}
}

// assign gives a connection its place, unless its client has its share of them and uses
// them all.
func (l *Listener) assign(p *Place, c net.Conn) bool {
	client := "address " + host(c.RemoteAddr())
	l.mu.Lock()
	if l.clients[client] >= l.share {
		if own := l.useless(client); own != nil && time.Since(own.since) >= Patience {
			l.mu.Unlock()
			_ = own.Close()
			l.mu.Lock()
		}
	}
	defer l.mu.Unlock()
	if !l.count(p, client) {
		return false
	}
	p.Conn, p.since = c, time.Now()
	return true
}

// count makes a place a client's, unless that has its share. It is called under the lock.
func (l *Listener) count(p *Place, client string) bool {
	if p.client == client {
		return true
	}
	if l.clients[client] >= l.share {
		l.refused++
		return false
	}
	l.uncount(p)
	p.client = client
	l.clients[client]++
	return true
}

func (l *Listener) uncount(p *Place) {
	if p.client == "" {
		return
	}
	if l.clients[p.client]--; l.clients[p.client] == 0 {
		delete(l.clients, p.client)
	}
	p.client = ""
}

// Refused is how many connections were refused because their client had its share.
func (l *Listener) Refused() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// host is an address without its port.
func host(a net.Addr) string {
	name, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return name
}

// enter takes a place for p, closing a connection for it if need be. Otherwise it says
// what to wait for and for how long.
func (l *Listener) enter(p *Place) (freed <-chan struct{}, again time.Duration, ok bool) {
	l.mu.Lock()
	if len(l.open)-l.spares < l.places {
		l.open[p] = struct{}{}
		l.mu.Unlock()
		return nil, 0, true
	}
	now := time.Now()
	useless := l.useless("")
	switch {
	case useless != nil && now.Sub(useless.since) >= Patience:
		l.mu.Unlock()
		_ = useless.Close()
		return l.enter(p)
	case l.spares < l.spare:
		p.spare = true
		l.spares++
		l.open[p] = struct{}{}
		l.mu.Unlock()
		return nil, 0, true
	}
	defer l.mu.Unlock()
	again = time.Hour
	if useless != nil {
		again = Patience - now.Sub(useless.since)
	}
	return l.freed, again, false
}

// useless is the connection that has been without a request longest, first of those
// without a token; nil if all are answered. A client other than "" has it among its own.
func (l *Listener) useless(client string) *Place {
	var found *Place
	for p := range l.open {
		if p.answering || p.Conn == nil || client != "" && p.client != client {
			continue
		}
		if found == nil || found.trusted && !p.trusted || found.trusted == p.trusted && p.since.Before(found.since) {
			found = p
		}
	}
	return found
}

// Close stops Accept, also one that waits for a place.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// giveUp makes the place free, once.
func (p *Place) giveUp() {
	p.leave.Do(func() {
		close(p.gone)
		l := p.listener
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, p)
		l.uncount(p)
		if p.spare {
			l.spares--
		}
		close(l.freed)
		l.freed = make(chan struct{})
	})
}

// Close closes the connection and makes its place free.
func (p *Place) Close() error {
	err := p.Conn.Close()
	p.giveUp()
	return err
}

// CloseWrite ends what is sent and leaves the other direction open for a while, as
// net/http does after an answer that comes before the end of its request's body: a
// connection that is closed with bytes unread is reset, and its client then never sees
// the answer. It returns errors.ErrUnsupported where the connection has no such half.
func (p *Place) CloseWrite() error {
	half, ok := p.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Spare reports whether the connection was taken although all places were. nil is one
// whose connections are not counted.
func (p *Place) Spare() bool { return p != nil && p.spare }

// Trust notes that the client has shown a token of the owner. It reports false where the
// owner has its share of the places.
func (p *Place) Trust(owner string) bool {
	if p == nil {
		return true
	}
	p.listener.mu.Lock()
	defer p.listener.mu.Unlock()
	if !p.listener.count(p, "token of "+owner) {
		return false
	}
	p.trusted = true
	return true
}

func (p *Place) answer(now bool) {
	p.listener.mu.Lock()
	defer p.listener.mu.Unlock()
	p.answering = now
	p.since = time.Now()
	if !now { // one that waits for a place may have it soon
		close(p.listener.freed)
		p.listener.freed = make(chan struct{})
	}
}

type key struct{}

// Context is for the ConnContext of an http.Server of a Listener.
func Context(ctx context.Context, c net.Conn) context.Context {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = over.NetConn()
	}
	if p, ok := c.(*Place); ok {
		return context.WithValue(ctx, key{}, p)
	}
	return ctx
}

// Of is the place of a request's connection, nil where connections are not counted.
func Of(ctx context.Context) *Place {
	p, _ := ctx.Value(key{}).(*Place)
	return p
}

// Handler notes which connections are being answered.
func Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := Of(r.Context()); p != nil {
			p.begin(r)
			p.answer(true)
			defer p.answer(false)
		}
		h.ServeHTTP(w, r)
	})
}
