package ort_test

import (
	"context"
	"fmt"
	"log"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
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
	session, err := runtime.NewSession(addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	outputs, err := session.Run(ctx, []ort.Tensor{ort.Float32s([]int64{2, 2}, []float32{1, 2, 3, 4})})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(outputs[0], outputs[0].Float32s())
	// Output: float32[2 2] [2 4 6 8]
}
