package client

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// One connection would carry all uploads.
func TestAServerOfHTTP2IsSpokenToInHTTP1(t *testing.T) {
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	ours := transport()
	defer ours.CloseIdleConnections()
	ours.TLSClientConfig = web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	ours.TLSClientConfig.NextProtos = nil
	answer, err := (&http.Client{Transport: ours}).Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.ProtoMajor != 1 {
		t.Errorf("spoke %s", answer.Proto)
	}
}

// A cluster's servers are inside it, and Python's client uses none either.
func TestTheProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	if transport().Proxy != nil {
		t.Error("requests go through the environment's proxies")
	}
}
