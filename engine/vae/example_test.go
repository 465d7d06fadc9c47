package vae_test

import (
	"context"
	"fmt"
	"log"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

func Example() {
	ctx := context.Background()
	lib, err := provision.Find(ctx, provision.Options{})
	if err != nil {
		log.Fatal(err)
	}
	runtime, err := ort.Open(lib)
	if err != nil {
		log.Fatal(err)
	}
	defer runtime.Close()
	decoder, err := vae.Load(ctx, "testdata/vae-sd3-nano", vae.Options{Runtime: runtime, Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer decoder.Close()

	latents := reward.Float32Tensor(make([]float32, 2*16*8*12), 2, 16, 8, 12)
	images, errs, err := decoder.Decode(ctx, latents, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	layout, err := decoder.Layout(latents.Shape, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(images), "images of", images[0].Width, "by", images[0].Height, "pixels, errors", errs)
	fmt.Println("dense grid", layout.GridHeight, "by", layout.GridWidth)
	// Output:
	// 2 images of 96 by 64 pixels, errors []
	// dense grid 8 by 12
}
