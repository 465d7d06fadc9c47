package attack_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/wire"
)

// junk are requests, each with the first line of its answer, that want something other
// than a score, or a score in a way that none may have it.
func junk(good []byte) map[string]struct{ sent, want string } {
	request := func(method, path, header string, body []byte) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", method, path, header, len(body), body)
	}
	score := func(header string, body []byte) string {
		return request(http.MethodPost, wire.ScorePath, "Content-Type: "+wire.MediaType+"\r\n"+header, body)
	}
	inJSON := func(body string) string {
		return request(http.MethodPost, wire.ScorePath, "Content-Type: application/json\r\n", []byte(body))
	}
	zip := func(body []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body)
		_ = w.Close()
		return b.Bytes()
	}
	deep := func(open string) string { return strings.Repeat(open, 1_000_000) }
	type c = struct{ sent, want string }
	return map[string]c{
		"a WebSocket":               {request("GET", "/healthz", "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n", nil), "200"},
		"HTTP/2 by an upgrade":      {score("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", good), "200"},
		"HTTP/2 at once":            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\x00\x00\x00\x04\x00\x00\x00\x00\x00", 1000), "40"},
		"a header of a megabyte":    {request("GET", "/healthz", "X-A: "+strings.Repeat("a", 1<<20)+"\r\n", nil), "431"},
		"two lengths":               {"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456", "400"},
		"a coding of codings":       {"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "501"},
		"a chunk past 64 bits":      {"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + wire.MediaType + "\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", "400"},
		"a path upwards":            {request("GET", "/assets/..%2f..%2f..%2fetc%2fpasswd", "", nil), "404"},
		"a path upwards, overlong":  {request("GET", "/assets/%c0%ae%c0%ae/etc/passwd", "", nil), "404"},
		"a path that ends early":    {request("GET", "/v1/models%00.js", "", nil), "404"},
		"a form":                    {request("POST", wire.ScorePath, "Content-Type: multipart/form-data; boundary=x\r\n", []byte(strings.Repeat("--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n", 1000))), "415"},
		"compressed twice":          {score("Content-Encoding: gzip, gzip\r\n", zip(zip(good))), "415"},
		"compressed by nobody":      {score("Content-Encoding: br\r\n", good), "415"},
		"empty files before a body": {score("Content-Encoding: gzip\r\n", append(bytes.Repeat(zip(nil), 10_000), zip(good)...)), "200"},
		"JSON a million deep":       {inJSON(`{"metadata":[` + deep("[")), "400"},
		"JSON of one long number":   {inJSON(`{"clamp":` + deep("9") + "}"), "400"},
		"JSON of UTF-16":            {inJSON("\xff\xfe{\x00"), "400"},
		"msgpack a million deep":    {score("", []byte("\x81\xa7prompts"+deep("\x91"))), "400"},
		"msgpack of 2^32 keys":      {score("", []byte("\xdf\xff\xff\xff\xff"+strings.Repeat("\xa1a\xc0", 100))), "400"},
		"msgpack of an extension":   {score("", []byte("\x81\xa7prompts\x91\xc7\x03\x05abc")), "400"},
		"msgpack of no such byte":   {score("", []byte("\x81\xa7prompts\xc1")), "400"},
	}
}

func TestJunkIsAnsweredAtOnceAndCostsNothing(t *testing.T) {
	s := newServer(t, &rewardtest.Fake{}, nil)
	ctx, stop := context.WithCancel(t.Context())
	l, err := front.Listen(ctx, "127.0.0.1:0", false, 64, 48)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	facing := front.Default()
	facing.Logger = slog.New(slog.DiscardHandler)
	go func() { ended <- facing.Serve(ctx, l, s, &front.Readiness{}, nil) }()
	good := scoreBody(t, "a cat", 1)
	for name, c := range junk(good) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		go func() { _, _ = io.WriteString(conn, c.sent) }()
		answer := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(conn, answer); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+c.want) {
			t.Errorf("%s: %q, %v, want %s", name, answer, err, c.want)
		}
		_ = conn.Close()
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if held := s.BodyMemoryHeld(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}
