package pixels_test

import (
	"fmt"
	"os"

	"github.com/denseflow/densereward/engine/pixels"
)

// A picture on its way into the model, as the reference does it.
func Example() {
	data, err := os.ReadFile("testdata/files/photo-420.jpg")
	if err != nil {
		fmt.Println(err)
		return
	}
	decoder, err := pixels.NewDecoder(pixels.DecoderConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	img, err := decoder.Decode(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	var resizer pixels.Resizer
	square := resizer.Resize(img, 512, 512)
	h, w, err := pixels.SmartResize(square.Height, square.Width, 28, 3136, 12845056)
	if err != nil {
		fmt.Println(err)
		return
	}
	input := resizer.ResizeTorch(square, w, h)
	config := pixels.DefaultPatchConfig()
	rows, cols := config.Grid(input)
	patches := make([]float32, rows*cols*config.Values())
	pixels.Patches(patches, input, config)
	fmt.Printf("%dx%d pixels, %d patches of %d values, the first is %.4f\n",
		w, h, rows*cols, config.Values(), patches[0])
	// Output: 504x504 pixels, 1296 patches of 1176 values, the first is 0.4705
}

func ExampleFromTensor() {
	// One row of two pixels: (1, 2, 3) float16 ones and zeros.
	tensor := pixels.Tensor{
		DType: pixels.Float16, Layout: pixels.HWC, Height: 1, Width: 2,
		Data: []byte{0, 0x3c, 0, 0, 0, 0, 0, 0, 0, 0x3c, 0, 0},
	}
	img, err := pixels.FromTensor(tensor, pixels.Limits{})
	fmt.Println(img.Pix, err)

	tensor.Data[1] = 0x7c // infinity
	_, err = pixels.FromTensor(tensor, pixels.Limits{})
	fmt.Println(err)
	// Output:
	// [255 0 0 0 255 0] <nil>
	// image value is not finite: float16 tensor of 2x1 pixels at index 0
}
