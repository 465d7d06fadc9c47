package download

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	connectTimeout = 3 * time.Second  // to a host, per attempt
	answerTimeout  = 10 * time.Second // for the headers of an answer
)

// Client gives up soon on a host that does not answer, and honours the proxy that the
// environment names.
func Client() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = dialQuickly
	t.TLSHandshakeTimeout = connectTimeout
	t.ResponseHeaderTimeout = answerTimeout
	return &http.Client{Transport: t}
}

func dialQuickly(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, network, address)
}
