package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// demonstration is a server whose evaluator makes its answers up.
func demonstration() *httptest.Server {
	fake := &rewardtest.Fake{}
	scheduler, err := batch.New(batch.DefaultConfig(), fake)
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.New(server.Config{Models: []server.Model{{Description: fake.Describe(), Scorer: scheduler}}})
	if err != nil {
		log.Fatal(err)
	}
	return httptest.NewServer(s)
}

// A rollout of four images for one prompt: rewards, dense maps on SD3's latent
// grid, and advantages within the group.
func Example() {
	web := demonstration()
	defer web.Close()

	c, err := client.New(web.URL)
	if err != nil {
		log.Fatal(err)
	}
	q := &wire.Request{Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO}}
	for i := range 4 {
		image := rewardtest.Image(uint64(i), 512, 512) // the trainer's images
		q.Prompts = append(q.Prompts, "a red panda reads a newspaper")
		q.Images = append(q.Images, wire.Image{Tensor: reward.Uint8Tensor(image.Pix, 512, 512, 3)})
	}
	p, err := c.Score(context.Background(), q)
	if err != nil {
		log.Fatal(err)
	}
	advantages, err := p.Advantages.Float64s()
	if err != nil {
		log.Fatal(err)
	}
	for i, r := range p.Rewards {
		fmt.Printf("reward %.3f  advantage %+.3f\n", r, advantages[i])
	}
	fmt.Printf("maps of %dx%d cells\n", p.Dense.Height, p.Dense.Width)
	// Output:
	// reward 0.568  advantage +0.084
	// reward 0.788  advantage +1.583
	// reward 0.465  advantage -0.616
	// reward 0.401  advantage -1.051
	// maps of 64x64 cells
}

// Files and tensors can be mixed, and one that cannot be read fails alone.
func ExampleClient_Score() {
	web := demonstration()
	defer web.Close()

	c, err := client.New(web.URL, client.WithTimeout(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.Score(context.Background(), &wire.Request{
		Prompts: []string{"a cat", "a dog"},
		Images: []wire.Image{
			{Encoded: rewardtest.PNG(rewardtest.Image(1, 64, 64))},
			{Encoded: []byte("not an image")},
		},
		Return: []wire.Return{}, // scores alone
	})
	if err != nil {
		log.Fatal(err)
	}
	for i := range p.Rewards {
		if failed := p.Errors[i]; failed != nil {
			fmt.Println(failed)
			continue
		}
		fmt.Printf("alignment %.2f\n", p.Score("semantic_alignment")[i])
	}
	// Output:
	// alignment 0.59
	// image_unsupported: unknown image format: want PNG, JPEG or WebP
}

// Latents go as the trainer holds them; the server decodes them.
func ExampleClient_Score_latents() {
	web := demonstration()
	defer web.Close()

	c, err := client.New(web.URL)
	if err != nil {
		log.Fatal(err)
	}
	latents := make([]float32, 2*16*64*64)
	_, err = c.Score(context.Background(), &wire.Request{
		Prompts: []string{"a cat", "a dog"},
		Latents: reward.Float32Tensor(latents, 2, 16, 64, 64),
		VAE:     "sd3", // serve -vae sd3=DIR
	})
	var e *reward.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code())
	}
	// Output: unknown_vae
}

// Each of many ranks sends its share of a group and gets advantages over the
// whole of it.
func ExampleClient_Score_groups() {
	web := demonstration()
	defer web.Close()

	c, err := client.New(web.URL)
	if err != nil {
		log.Fatal(err)
	}
	const ranks = 2
	advantages := make(chan float64, ranks)
	for rank := range ranks {
		go func() {
			p, err := c.Score(context.Background(), &wire.Request{
				Prompts:   []string{"a cat"},
				Images:    []wire.Image{{Tensor: rewardtest.Tensor(rewardtest.Image(uint64(rank), 64, 64))}},
				Groups:    reward.Groups{Step: "run 7, step 120", Size: ranks, Members: []int{rank}},
				Advantage: &reward.Advantage{Method: reward.AdvantageFlowGRPO},
			})
			if err != nil {
				log.Fatal(err)
			}
			a, err := p.Advantages.Float64s()
			if err != nil {
				log.Fatal(err)
			}
			advantages <- a[0]
		}()
	}
	fmt.Printf("their sum is %.1f\n", (<-advantages)+(<-advantages))
	// Output: their sum is 0.0
}

// Several servers share the work; a request that one of them fails goes to the
// next at once.
func ExampleWithServers() {
	one, two := demonstration(), demonstration()
	defer one.Close()
	defer two.Close()

	c, err := client.New(one.URL,
		client.WithServers(two.URL),
		client.WithTries(20),                            // of each server,
		client.WithBackoff(time.Second, 30*time.Second), // with longer pauses:
		client.WithPartSize(64),                         // large requests are spread
		client.WithToken("0123456789abcdef"),            // where the servers ask for one
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Ready(context.Background()))
	// Output: <nil>
}

func ExampleClient_Models() {
	web := demonstration()
	defer web.Close()

	c, err := client.New(web.URL)
	if err != nil {
		log.Fatal(err)
	}
	m, err := c.Models(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range m.Evaluators {
		fmt.Println(e.Name, e.Modes, e.Demonstration)
	}
	// Output: fake [answer think] true
}
