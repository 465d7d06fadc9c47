package server_test

import (
	"context"
	"fmt"
	"image/png"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// BenchmarkOverhead measures the server with a stand-in for the evaluator, over
// real connections, for requests of 16 photographs of 512x512 and four of them
// in flight. The load generator runs in the same process, so that cpu-ms/image
// is the processor time of both sides. PERFORMANCE.md has figures.
func BenchmarkOverhead(b *testing.B) {
	photograph := readPhotograph(b)
	for _, form := range []loadgen.Form{loadgen.Raw, loadgen.JPEG, loadgen.PNG} {
		for _, cache := range []int64{0, 256 << 20} {
			b.Run(fmt.Sprintf("%s/cache=%dMiB", form, cache>>20), func(b *testing.B) {
				image, err := loadgen.Encode(photograph, form)
				if err != nil {
					b.Fatal(err)
				}
				s := newStack(b, &rewardtest.Fake{}, func(q *batch.Config, _ *server.Config) {
					q.CacheBytes, q.MaxDelay = cache, batch.DefaultConfig().MaxDelay
				})
				web := httptest.NewServer(s.server)
				defer web.Close()
				overhead(b, loadgen.Score(web.URL, loadgen.NewClient(4), b.Name(), 16, []wire.Image{image}, nil))
			})
		}
	}
}

// overhead sends b.N requests, four at a time.
func overhead(b *testing.B, target loadgen.Target) {
	const concurrency = 4
	cpu := loadgen.CPU()
	work := make(chan struct{})
	ended := make(chan loadgen.Answer)
	for range concurrency {
		go func() {
			for range work {
				ended <- target.Ask(context.Background())
			}
		}()
	}
	b.ResetTimer()
	go func() {
		for range b.N {
			work <- struct{}{}
		}
		close(work)
	}()
	for range b.N {
		if a := <-ended; a.Code != loadgen.OK || a.Failed > 0 {
			b.Fatalf("%+v", a)
		}
	}
	images := float64(16 * b.N)
	b.ReportMetric(images/b.Elapsed().Seconds(), "images/s")
	b.ReportMetric(float64(loadgen.CPU()-cpu)/float64(time.Millisecond)/images, "cpu-ms/image")
}

func readPhotograph(b *testing.B) *reward.Image {
	b.Helper()
	f, err := os.Open("../../engine/image/testdata/images/astronaut.png")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	im, err := png.Decode(f)
	if err != nil {
		b.Fatal(err)
	}
	return loadgen.FromImage(im)
}

// BenchmarkTail offers 80 % of what batches of 32 allow, single images
// arriving at random over real connections, and reports the latency in batch
// times.
func BenchmarkTail(b *testing.B) {
	const (
		batchTime = 100 * time.Millisecond
		maxBatch  = 32
		load      = 0.8
	)
	s := newStack(b, &rewardtest.Fake{Delay: batchTime}, func(q *batch.Config, _ *server.Config) {
		q.MaxBatch, q.MaxDelay = maxBatch, batch.DefaultConfig().MaxDelay
	})
	web := httptest.NewServer(s.server)
	defer web.Close()
	image, err := loadgen.Encode(loadgen.Photograph(1, 256, 256), loadgen.Raw)
	if err != nil {
		b.Fatal(err)
	}
	const concurrency = 1000
	target := loadgen.Score(web.URL, loadgen.NewClient(concurrency), b.Name(), 1, []wire.Image{image}, nil)
	var r *loadgen.Report
	for b.Loop() {
		r, err = loadgen.Run(b.Context(), loadgen.Load{
			Concurrency: concurrency, Rate: load * maxBatch / batchTime.Seconds(), Random: true, Seed: 1,
			Warmup: time.Second, Duration: 5 * time.Second, Timeout: time.Minute,
		}, target)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(r.Latency.P50/float64(batchTime.Milliseconds()), "p50-batches")
	b.ReportMetric(r.Latency.P99/float64(batchTime.Milliseconds()), "p99-batches")
	b.ReportMetric(r.ImagesPerSecond, "images/s")
}
