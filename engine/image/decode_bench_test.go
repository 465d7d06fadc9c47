package image

import "testing"

// BenchmarkDecode decodes photographs of 512x512 and gives them back, as a server
// does.
func BenchmarkDecode(b *testing.B) {
	run := func(name, file string, d *Decoder) {
		b.Run(name, func(b *testing.B) {
			data := readFile(b, file)
			b.ReportAllocs()
			for b.Loop() {
				img, err := d.Decode(data)
				if err != nil {
					b.Fatal(err)
				}
				d.Recycle(img)
			}
		})
	}
	d := new(Decoder)
	run("PNG", "images/astronaut.png", d)
	run("WebP", "files/photo.webp", d)
	run("JPEG", "files/photo-420.jpg", d)
	run("progressive JPEG", "files/photo-420-progressive.jpg", d)
}

// BenchmarkFromTensor makes images of 512x512 tensors.
func BenchmarkFromTensor(b *testing.B) {
	for _, dtype := range []DType{Uint8, Float16, BFloat16, Float32} {
		for layout, name := range []string{"HWC", "CHW"} {
			b.Run(dtype.String()+" "+name, func(b *testing.B) {
				data := make([]byte, 512*512*3*dtype.Size())
				for i := range data {
					data[i] = byte(i) & 0x3b // finite in every type
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := FromTensor(Tensor{dtype, Layout(layout), 512, 512, data}, Limits{}, true); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
