// Goclient sends raw images through the Go client for a while and prints how
// many were scored in a second. The throughput of the Python client is compared
// with it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

func main() {
	address := flag.String("server", "", "address of the server")
	images := flag.Int("images", 16, "images in a request")
	requests := flag.Int("requests", 4, "requests at a time")
	side := flag.Int("side", 512, "width and height of an image")
	duration := flag.Duration("for", 3*time.Second, "how long to send")
	flag.Parse()
	c, err := client.New(*address)
	if err != nil {
		log.Fatal(err)
	}
	q := &wire.Request{}
	for i := range *images {
		image := rewardtest.Image(uint64(i), *side, *side)
		q.Prompts = append(q.Prompts, "a cat")
		q.Images = append(q.Images, wire.Image{Tensor: reward.Uint8Tensor(image.Pix, *side, *side, 3)})
	}
	fmt.Printf("%.1f\n", measure(c, q, *requests, *duration))
}

// measure is the images scored in a second.
func measure(c *client.Client, q *wire.Request, requests int, duration time.Duration) float64 {
	var scored atomic.Int64
	var senders sync.WaitGroup
	start := time.Now()
	for range requests {
		senders.Go(func() {
			for time.Since(start) < duration {
				if _, err := c.Score(context.Background(), q); err != nil {
					log.Fatal(err)
				}
				scored.Add(int64(len(q.Prompts)))
			}
		})
	}
	senders.Wait()
	return float64(scored.Load()) / time.Since(start).Seconds()
}
