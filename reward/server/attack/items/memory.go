//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// memoryAttacks are those on what the server holds.
func memoryAttacks() []attack {
	return []attack{
		{
			item: "1", name: "nine large answers that nobody reads, --body-memory 512MiB",
			flags: []string{"--body-memory", "512MiB"}, against: unreadAnswers,
		},
		{item: "1b", name: "forty jobs of large answers that nobody fetches, --body-memory 512MiB", flags: []string{"--body-memory", "512MiB"}, against: unfetchedJobs},
		{item: "2", name: "a prompt of 7,000 tokens", against: longPrompt},
		{item: "3", name: "8,000 requests with a method of their own each", against: labels, remote: true},
		{item: "4", name: "8 MiB of latents in one column", vae: true, against: column},
		{
			item: "5", name: "40 clients with 50 MB each, --body-memory 256MiB",
			flags: []string{"--body-memory", "256MiB"}, against: bodies(false, 0),
		},
		{
			item: "5b", name: "200 zstd bodies whose window is 8 MiB, stalled, --body-memory 256MiB",
			flags: []string{"--body-memory", "256MiB"}, against: bodies(true, 1),
		},
		{
			item: "5d", name: "the same, each with 1 MiB that has been decoded",
			flags: []string{"--body-memory", "256MiB"}, against: bodies(true, 8),
		},
		{
			item: "5e", name: "the same, each with 12 MiB that have been decoded",
			flags: []string{"--body-memory", "256MiB"}, against: bodies(true, 96),
		},
		{item: "5f", name: "700 connections with headers of 60 KiB in small fields, and bodies that stall", against: headers(60 << 10)},
		{item: "5g", name: "the same with headers of 15 KiB", against: headers(15 << 10)},
	}
}

func unreadAnswers(ctx context.Context, t *target) verdict {
	body := request("a cat", 256, 1, func(q *wire.Request) { q.Return = []wire.Return{wire.ReturnHeatmaps} })
	for range 9 {
		if _, err := t.begin(ctx, wire.ScorePath, wire.MediaType, len(body), body); err != nil {
			break
		}
	}
	time.Sleep(15 * time.Second)
	_, later := t.grew()
	time.Sleep(15 * time.Second)
	most, last := t.grew()
	return verdict{most < 1<<30, fmt.Sprintf("%d bytes nine times took %s, after 15 s %s, after 30 s %s", len(body), mib(most), mib(later), mib(last))}
}

func unfetchedJobs(ctx context.Context, t *target) verdict {
	body := request("a cat", 256, 1, func(q *wire.Request) { q.Return = []wire.Return{wire.ReturnHeatmaps} })
	if a := t.ask(ctx, time.Minute, http.MethodPost, wire.JobsPath, wire.MediaType, body); a.status == http.StatusNotFound {
		return verdict{true, "there are no jobs"}
	}
	taken := 0
	for range 39 {
		if t.ask(ctx, time.Minute, http.MethodPost, wire.JobsPath, wire.MediaType, body).status == http.StatusAccepted {
			taken++
		}
		time.Sleep(300 * time.Millisecond)
	}
	time.Sleep(5 * time.Second)
	most, last := t.grew()
	// 1 GiB of answers, and what collects the garbage later.
	return verdict{most < 2200<<20, fmt.Sprintf("%d jobs taken, %s at most, %s in the end", taken, mib(most), mib(last))}
}

func longPrompt(ctx context.Context, t *target) verdict {
	a := t.score(ctx, time.Minute, request(words(7000), 1, 64, nil))
	most, _ := t.grew()
	return verdict{most < 600<<20, fmt.Sprintf("status %d after %.1f s, %s%s", a.status, a.took.Seconds(), mib(most), refusal(a.body))}
}

// refusal is why the first sample was refused, if it was.
func refusal(body []byte) string {
	p, err := wire.DecodeResponse(body)
	if err != nil || len(p.Errors) == 0 || p.Errors[0] == nil {
		return ""
	}
	return fmt.Sprintf("; %.120s", p.Errors[0].Message())
}

func labels(ctx context.Context, t *target) verdict {
	c, err := t.dial(ctx)
	if err != nil {
		return verdict{false, err.Error()}
	}
	go func() {
		drain := make([]byte, 64<<10)
		for {
			if _, err := c.Read(drain); err != nil {
				return
			}
		}
	}()
	for i := range 8000 {
		if _, err := fmt.Fprintf(c, "M%s%d /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", strings.Repeat("X", 30_000), i); err != nil {
			break
		}
	}
	time.Sleep(2 * time.Second)
	a := t.ask(ctx, time.Minute, http.MethodGet, "/metrics", "", nil)
	most, _ := t.grew()
	return verdict{a.status == http.StatusOK && len(a.body) < 1<<20, fmt.Sprintf("/metrics has %d kB, %s", len(a.body)/1000, mib(most))}
}

// channels asks what latents the server's decoder takes.
func (t *target) channels(ctx context.Context) int {
	var models struct{ Decoders []struct{ Channels int } }
	a := t.ask(ctx, time.Minute, http.MethodGet, wire.ModelsPath, "", nil)
	if json.Unmarshal(a.body, &models) != nil || len(models.Decoders) == 0 {
		return 16
	}
	return models.Decoders[0].Channels
}

func column(ctx context.Context, t *target) verdict {
	c := t.channels(ctx)
	rows := 4 << 20 / c
	body := request("a cat", 1, 1, func(q *wire.Request) {
		q.Images, q.VAE = nil, "vae"
		q.Latents = &reward.Tensor{Type: reward.Float16, Shape: []int{1, c, rows, 1}, Data: make([]byte, 2*c*rows)}
	})
	a := t.score(ctx, time.Minute, body)
	most, _ := t.grew()
	return verdict{most < 300<<20, fmt.Sprintf("%d rows: status %d after %.1f s, %s", rows, a.status, a.took.Seconds(), mib(most))}
}

// windowed is the beginning of a zstd frame whose window is 8 MiB, with so many blocks of
// 128 KiB of one repeated byte.
func windowed(blocks int) []byte {
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68}, bytes.Repeat([]byte{0x02, 0x00, 0x10, 0x82}, blocks)...)
}

// bodies hold what they have sent, without their last byte.
func bodies(compressed bool, blocks int) func(context.Context, *target) verdict {
	return func(ctx context.Context, t *target) verdict {
		part := make([]byte, 1<<20)
		var sending sync.WaitGroup
		n := 40
		if compressed {
			n = 200
		}
		for range n {
			sending.Go(func() {
				if compressed {
					_, _ = t.begin(ctx, wire.ScorePath, wire.MediaType, 50<<20, windowed(blocks), "Content-Encoding", "zstd")
					return
				}
				c, err := t.begin(ctx, wire.ScorePath, wire.MediaType, 50<<20, nil)
				for i := 0; i < 50 && err == nil; i++ {
					_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
					_, err = c.Write(part[:len(part)-i/49])
				}
			})
		}
		sending.Wait()
		time.Sleep(3 * time.Second)
		most, last := t.grew()
		return verdict{most < 640<<20, fmt.Sprintf("%s at most, %s in the end", mib(most), mib(last))}
	}
}

func headers(size int) func(context.Context, *target) verdict {
	return func(ctx context.Context, t *target) verdict {
		var many strings.Builder
		for i := 0; many.Len() < size; i++ {
			fmt.Fprintf(&many, "%03x:\r\n", i)
		}
		opened := 0
		for range 700 {
			c, err := t.dial(ctx)
			if err != nil {
				break
			}
			opened++
			_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 1000\r\n%s\r\nx", wire.ScorePath, wire.MediaType, many.String())
		}
		time.Sleep(3 * time.Second)
		most, _ := t.grew()
		return verdict{most < 700*(128<<10)+100<<20, fmt.Sprintf("%d connections took %s", opened, mib(most))}
	}
}
