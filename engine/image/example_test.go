package image_test

import (
	"fmt"
	"os"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/image/resize"
)

// A image on its way into the model, as the reference does it.
func Example() {
	data, err := os.ReadFile("testdata/files/photo-420.jpg")
	if err != nil {
		fmt.Println(err)
		return
	}
	img, err := image.Decode(data, image.Limits{MaxPixels: 4 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	var resizer resize.Resizer // keeps its tables between images
	square := resizer.Resize(img, 504, 504)
	fmt.Printf("%dx%d pixels, the first is %v\n", square.Width, square.Height, square.Pix[:3])
	// Output: 504x504 pixels, the first is [155 150 157]
}

func ExampleFromTensor() {
	// One row of two pixels: (1, 2, 3) float16 ones and zeros.
	tensor := image.Tensor{
		DType: image.Float16, Layout: image.HWC, Height: 1, Width: 2,
		Data: []byte{0, 0x3c, 0, 0, 0, 0, 0, 0, 0, 0x3c, 0, 0},
	}
	img, err := image.FromTensor(tensor, image.Limits{}, false)
	fmt.Println(img.Pix, err)

	tensor.Data[1] = 0x7c // infinity
	_, err = image.FromTensor(tensor, image.Limits{}, false)
	fmt.Println(err)
	// Output:
	// [255 0 0 0 255 0] <nil>
	// image value is not finite: float16 tensor of 2x1 pixels at index 0
}
