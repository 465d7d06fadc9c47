package safetensors_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/denseflow/densereward/engine/safetensors"
)

// A small tensor with values and a large one without any make a stand-in for a
// checkpoint, which needs almost no disk.
func Example() {
	dir, err := os.MkdirTemp("", "checkpoint")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	err = safetensors.WriteShards(dir, []safetensors.Source{
		{Name: "embed.weight", DType: safetensors.BF16, Shape: []int64{151936, 2048}},
		{Name: "norm.weight", DType: safetensors.F32, Shape: []int64{2}, Fill: func(w io.Writer) error {
			return binary.Write(w, binary.LittleEndian, []float32{1, 0.5})
		}},
	}, 256<<20)
	if err != nil {
		log.Fatal(err)
	}

	c, err := safetensors.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range c.Names() {
		t, _ := c.Tensor(name)
		fmt.Println(t.Name, t.DType, t.Shape, t.Length, t.File)
	}
	data, err := c.Read("norm.weight")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("% x\n", data)
	// Output:
	// embed.weight BF16 [151936 2048] 622329856 model-00001-of-00002.safetensors
	// norm.weight F32 [2] 8 model-00002-of-00002.safetensors
	// 00 00 80 3f 00 00 00 3f
}
