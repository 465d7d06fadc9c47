package loadgen

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/denseflow/densereward/reward/wire"
)

// Score makes a Poster of POST /v1/score at base ("http://host:port"). Requests
// hold batch images each, taken round and round from the list, and prompts
// that never repeat, however many runs the Poster serves; with a label that no
// other Poster has, no answer comes from the server's cache. ask, if not nil, may set the rest of a request.
func Score(base string, client *http.Client, label string, batch int, images []wire.Image, ask func(*wire.Request)) *Poster {
	var next atomic.Int64
	return &Poster{
		URL: base + wire.ScorePath, ContentType: wire.MediaType, Deadline: wire.HeaderTimeout, Client: client,
		Make: func() (Shot, error) {
			first := next.Add(int64(batch)) - int64(batch)
			q := &wire.Request{Prompts: make([]string, batch), Images: make([]wire.Image, batch)}
			for i := range batch {
				n := first + int64(i)
				q.Prompts[i] = fmt.Sprintf("a photograph, %s, number %d", label, n)
				q.Images[i] = images[n%int64(len(images))]
			}
			if ask != nil {
				ask(q)
			}
			// What the server refuses is for the server to say.
			limits := wire.DefaultLimits()
			limits.BodyBytes, limits.Samples = 1<<40, 1<<20
			m, err := q.Encode(limits)
			if err != nil {
				return Shot{}, err
			}
			return Shot{Body: m.Reader, Length: m.Len(), Images: batch}, nil
		},
		Read: readScore,
	}
}

// readScore reads a response of protocol version 1.
func readScore(s Shot, status int, body []byte) Answer {
	if status != http.StatusOK {
		e, err := wire.DecodeError(body, status)
		if err != nil {
			return Answer{Code: fmt.Sprintf("http %d", status)}
		}
		return Answer{Code: e.Code()}
	}
	p, err := wire.DecodeResponse(body)
	if err != nil || len(p.Rewards) != s.Images {
		return Answer{Code: CodeAnswer}
	}
	a := Answer{Code: OK, Images: s.Images}
	for _, e := range p.Errors {
		if e != nil {
			a.Images--
			a.Failed++
		}
	}
	return a
}
